import { connect as connectHttp2 } from 'node:http2';
import net from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

// A worker that floods a port until it is terminated. It says once when all of it has begun.

export type Flood =
  /** One connection for each message. `again`: says it anew after each answer. Whoever is thrown out comes back after a second. */
  | {
      readonly kind: 'sockets';
      readonly port: number;
      readonly messages: readonly Uint8Array[];
      readonly again?: boolean;
    }
  /** One gRPC call for each set of headers, over so many connections; a message that is not whole never ends. */
  | {
      readonly kind: 'calls';
      readonly port: number;
      readonly connections: number;
      readonly headers: readonly Record<string, string>[];
      readonly message: Uint8Array;
      readonly isWhole: boolean;
    };

const BACK_MS = 1_000;
// A reset is one of the ways in which a connection is closed.
const ignore = () => undefined;

const flood = workerData as Flood;
const size = flood.kind === 'sockets' ? flood.messages.length : flood.headers.length;
let begun = 0;
const begin = () => {
  begun += 1;
  if (begun === size) parentPort?.postMessage('begun');
};

if (flood.kind === 'sockets') {
  const open = (message: Uint8Array) => {
    const socket = net.connect(flood.port, '127.0.0.1', begin).on('error', ignore).resume();
    socket.write(message);
    if (flood.again) socket.on('data', () => socket.write(message));
    socket.once('close', () => setTimeout(open, BACK_MS, message));
  };
  for (const message of flood.messages) open(message);
} else {
  const sessions = Array.from({ length: flood.connections }, () =>
    connectHttp2(`http://127.0.0.1:${flood.port}`).on('error', ignore),
  );
  for (const [i, headers] of flood.headers.entries()) {
    const call = sessions[i % sessions.length]!.request({
      ':method': 'POST',
      'content-type': 'application/grpc',
      ...headers,
    });
    call.on('error', ignore).resume();
    call.write(flood.message, begin);
    if (flood.isWhole) call.end();
  }
}
