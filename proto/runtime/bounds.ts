import type { Server, Socket } from 'node:net';
import { Code } from '@connectrpc/connect';
import { counter } from './metrics.ts';
import { rpcError } from './rpc.ts';

// What strangers, and callers that misbehave, can take of a port: connections, calls and memory (R33).

const evicted = counter('connections_evicted_total', 'Connections closed to make room for others.');

/** Of one caller at one port. */
const CALLER_BYTES_MAX = 64 * 1024 * 1024;

export interface Room<T> {
  /** Whether somebody had to go. */
  enter(key: unknown, member: T): boolean;
  /** From now on it is not closed to make room. */
  keep(key: unknown): void;
  /** It may be again, as the newest. */
  release(key: unknown): void;
  leave(key: unknown, member: T): void;
  closeAll(): void;
}

/** Over `max` members the oldest that is not kept is closed; where all are kept, the new one. */
export function createRoom<T>(max: number, close: (member: T) => void): Room<T> {
  const all = new Map<unknown, T>();
  const waiting = new Map<unknown, T>();
  const room: Room<T> = {
    enter(key, member) {
      all.set(key, member);
      room.release(key);
      const [oldest] = waiting;
      if (all.size <= max || !oldest) return false;
      room.leave(...oldest);
      close(oldest[1]);
      return true;
    },
    keep: (key) => void waiting.delete(key),
    release(key) {
      const member = all.get(key);
      waiting.delete(key);
      if (member) waiting.set(key, member);
    },
    // Another may have come under its key.
    leave(key, member) {
      for (const members of [all, waiting]) if (members.get(key) === member) members.delete(key);
    },
    closeAll: () => all.forEach(close),
  };
  return room;
}

/** Names a connection as grpc-js does too; the same for a TLS socket and the one beneath it. */
export const peerOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress}:${remotePort}`;

/**
 * Bounds the connections of a server, by their peers, without shutting out who is known: one that is kept as soon as it has shown who it
 * is stays, unless more than `max` others connect in that time.
 */
export function boundConnections(server: Server, max: number): Room<Socket> {
  const room = createRoom<Socket>(max, (socket) => socket.destroy());
  server.on('connection', (socket: Socket) => {
    const peer = peerOf(socket);
    if (room.enter(peer, socket)) evicted.inc();
    socket.once('close', () => room.leave(peer, socket));
  });
  return room;
}

export interface Holding {
  /** Throws RESOURCE_EXHAUSTED over the bound. */
  take(bytes: number): void;
  /** May be called more than once. */
  end(): void;
}

/** Bounds what all calls of a caller hold in memory, messages that never come to their end among them. */
export function createHoldings(): (caller: string) => Holding {
  const totals = new Map<string, number>();
  return (caller) => {
    let own = 0;
    const add = (bytes: number) => {
      own += bytes;
      totals.set(caller, (totals.get(caller) ?? 0) + bytes);
    };
    return {
      take(bytes) {
        add(bytes);
        if ((totals.get(caller) ?? 0) > CALLER_BYTES_MAX)
          throw rpcError(Code.ResourceExhausted, 'MESSAGES_TOO_MANY', 'messages of this caller hold too much memory');
      },
      end: () => add(-own),
    };
  };
}
