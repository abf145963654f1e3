import { once } from 'node:events';
import net from 'node:net';

// A road to PostgreSQL that a test can block: at one statement, to kill a service exactly there, or as a whole, as when a firewall
// forgets a connection and nobody is told.

export interface Gate {
  /** How many statements, or answers to them, stand before it. */
  readonly held: number;
  open(): void;
}

/** Sees a statement and all statements of its tx so far, itself included. */
export type Matches = (sql: string, tx: readonly string[]) => boolean;

export interface PostgresProxy {
  /** The same database by this road. */
  url(databaseUrl: string): string;
  /** Holds back every such statement before the server sees it, or, once the server has done it, its answer. */
  hold(when: 'before' | 'after', matches: Matches): Gate;
  /** Swallows all that is sent, both ways, and closes nothing. What is connected by then never hears anything again. */
  goDark(): void;
  /** New connections get through again. */
  lightUp(): void;
  stop(): Promise<void>;
}

interface Hold extends Gate {
  readonly when: 'before' | 'after';
  readonly matches: Matches;
  pass(): Promise<void>;
}

export async function startPostgresProxy(target: string): Promise<PostgresProxy> {
  const { hostname, port } = new URL(target);
  const host = decodeURIComponent(hostname);
  const upstream = () =>
    host.startsWith('/') ? net.connect(`${host}/.s.PGSQL.5432`) : net.connect(Number(port || 5432), host);
  const sockets = new Set<net.Socket>();
  const holds = new Set<Hold>();
  let dark = false;
  let nights = 0;

  function keep(socket: net.Socket): net.Socket {
    sockets.add(socket);
    return socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
  }

  const server = net.createServer((client) => {
    keep(client);
    if (dark) return void client.resume();
    const database = keep(upstream());
    const born = nights;
    const isLost = () => born !== nights;
    const tx: string[] = [];
    const prepared = new Map<string, string>();
    // Several statements may be on their way: each one's answer ends with a ReadyForQuery.
    const answers: (Hold | undefined)[] = [];

    /** A statement goes on with the message behind it: a server that has half of it waits for the rest, and no time ends that. */
    const parsed: Buffer[] = [];
    eachMessage(client, 'startup', async (message) => {
      const sql = statementIn(message, prepared);
      if (sql !== undefined) {
        if (sql.startsWith('begin') || ENDS.includes(tx.at(-1) ?? '')) tx.length = 0;
        tx.push(sql);
        const found = [...holds].find(({ matches }) => matches(sql, tx));
        if (found?.when === 'before') await found.pass();
        answers.push(found?.when === 'after' ? found : undefined);
      }
      parsed.push(message);
      if (message[0] === PARSE) return;
      const whole = Buffer.concat(parsed.splice(0));
      if (!isLost()) database.write(whole);
    });
    const heard = eachMessage(database, 'typed', async (message) => {
      if (message[0] === READY_FOR_QUERY) await answers.shift()?.pass();
      if (!isLost()) client.write(message);
    });
    // A client that ends takes its session along at once, and what was held is never sent. What the server said before it ended is
    // still heard. In the dark nobody hears of an end.
    client.once('close', () => isLost() || database.destroy());
    database.once('close', () => isLost() || heard().then(() => client.end()));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port: own } = server.address() as net.AddressInfo;

  return {
    url: (databaseUrl) => {
      const url = new URL(databaseUrl);
      url.host = `127.0.0.1:${own}`;
      return url.href;
    },
    hold: (when, matches) => {
      const opened = Promise.withResolvers<void>();
      const hold: Hold = {
        when,
        matches,
        held: 0,
        pass: () => {
          (hold as { held: number }).held += 1;
          return opened.promise;
        },
        open: () => {
          holds.delete(hold);
          opened.resolve();
        },
      };
      holds.add(hold);
      return hold;
    },
    goDark: () => {
      dark = true;
      nights += 1;
    },
    lightUp: () => {
      dark = false;
    },
    stop: async () => {
      for (const hold of holds) hold.open();
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

const ENDS = ['commit', 'rollback'];
const READY_FOR_QUERY = 'Z'.charCodeAt(0);
const QUERY = 'Q'.charCodeAt(0);
const PARSE = 'P'.charCodeAt(0);
const BIND = 'B'.charCodeAt(0);

/**
 * Every message of the PostgreSQL protocol, one after the other: a byte for its type, save in a client's first, length, content.
 * Answers when all that came is handled.
 */
function eachMessage(
  socket: net.Socket,
  first: 'startup' | 'typed',
  handle: (message: Buffer) => Promise<void>,
): () => Promise<void> {
  let rest = Buffer.alloc(0);
  let type = first === 'startup' ? 0 : 1;
  let handled = Promise.resolve();
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= type + 4) {
      const size = type + rest.readInt32BE(type);
      if (rest.length < size) break;
      const message = rest.subarray(0, size);
      handled = handled.then(() => handle(message));
      rest = rest.subarray(size);
      type = 1;
    }
  });
  return () => handled;
}

/** The SQL of a simple query, or of one that is executed now; undefined in any other message. */
function statementIn(message: Buffer, prepared: Map<string, string>): string | undefined {
  if (message[0] === QUERY) return message.toString('utf8', 5, message.length - 1);
  const textAt = (from: number) => message.toString('utf8', from, message.indexOf(0, from));
  const first = textAt(5);
  const second = () => textAt(5 + Buffer.byteLength(first) + 1);
  if (message[0] === PARSE) prepared.set(first, second());
  return message[0] === BIND ? prepared.get(second()) : undefined;
}
