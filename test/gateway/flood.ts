import net from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

// A worker that floods a port with connections: silent ones, refused ones and half-asked ones. Whoever is thrown out comes back.

const { port, connections } = workerData as { port: number; connections: number };
const ASKED = ['', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', 'POST /wix/v1/connect-account HTTP/1.1\r\nHost: a\r\n'];
let opened = 0;

function flood(i: number): void {
  const socket = net.connect(port, '127.0.0.1', () => {
    opened += 1;
    if (opened === connections) parentPort?.postMessage('full');
  });
  // A reset is one of the ways in which a connection is closed.
  socket.on('error', () => undefined).resume();
  socket.write(ASKED[i % ASKED.length] ?? '');
  socket.once('close', () => flood(i));
}

for (let i = 0; i < connections; i++) flood(i);
