import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { counter } from '../proto/runtime/metrics.ts';

const evicted = counter('gateway_connections_evicted_total', 'Connections closed before their request, to make room.');

/**
 * Bounds the connections of a server without shutting out who is signed: over `max`, the oldest that has not begun a request makes room.
 * One that has is signed, or is closed with its answer (R7); where all are, the new one goes. Wix sends its headers as it connects, so
 * only a flood faster than `max` connections in that time would meet it.
 */
export function boundConnections(server: Server, max: number): void {
  const all = new Set<Socket>();
  const waiting = new Set<Socket>();
  const forget = (socket: Socket) => {
    all.delete(socket);
    waiting.delete(socket);
  };
  server.on('connection', (socket) => {
    all.add(socket);
    waiting.add(socket);
    socket.once('close', () => forget(socket));
    const [oldest] = waiting;
    if (all.size <= max || !oldest) return;
    forget(oldest);
    oldest.destroy();
    evicted.inc();
  });
  for (const event of ['request', 'checkContinue', 'checkExpectation'])
    server.on(event, ({ socket }: IncomingMessage) => waiting.delete(socket));
}
