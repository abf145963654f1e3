import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import pg from 'pg';
import type { Secret } from './config.ts';
import type { Log } from './log.ts';
import { gauge } from './metrics.ts';

// PostgreSQL through pg, with time-outs that lie below the answer budget of 8 s (R43). What a statement relies on is said with its tx,
// so that neither the defaults of a database or role nor a pooler that hands on connections between two txs can change it (R50).

export interface Queryable {
  query<Row extends object = Record<string, unknown>>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
}

/** Why no payment could be taken now. */
export type DatabaseProblem = 'unreachable' | 'read-only' | 'schema missing';

export interface Tx extends Queryable {
  /**
   * Sends its statement with the commit behind it, which saves a round trip: whatever `run` does after that, what the tx wrote stays if
   * none of its statements failed.
   */
  readonly last: Queryable;
}

export interface Database extends Queryable {
  /**
   * Runs within one tx: committed when `run` resolves, rolled back when it rejects. The tx is dead once `run` has ended.
   * idleTimeoutMs: the server ends the tx when it hears nothing for so long. lockTimeoutMs: how long a statement waits for a row.
   */
  inTx<T>(
    run: (tx: Tx) => Promise<T>,
    options?: { idleTimeoutMs?: number; lockTimeoutMs?: number | undefined },
  ): Promise<T>;
  /**
   * Asks whether the schema could be written to now, on the one connection that is kept for it, so that a full pool does not look like a
   * dead database (R45). However many ask, the server is asked once a second. A database that only reads is alerted. Never rejects.
   */
  ping(): Promise<DatabaseProblem | undefined>;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** A Secret may be renewed: connections made from then on are made with what it is then. */
  url: string | Secret;
  /** What names without a schema mean. */
  schema: string;
  log: Log;
  /** Connections at most, the one of ping() not counted. */
  poolSize?: number;
  statementTimeoutMs?: number;
  /** Until a connection is free, or made. */
  acquireTimeoutMs?: number;
  lockTimeoutMs?: number;
  /** Whether the server keeps the plans of statements; false for a pooler between that cannot. */
  prepare?: boolean;
}

/** SQLSTATEs that say nothing of the statement: no connection, another session, state or tx, no room, no lock, shutdown, disk. */
const PASSING = /^(08|25|26|40|53|55|57|58)/;

const outages = new WeakSet<object>();

/**
 * Whether the database was away, busy or full, so that the same may work later. Any other failure of a tx is about what was to be
 * written, and would come again.
 */
export function isOutage(error: unknown): boolean {
  return outages.has(Object(error));
}

/** Whether the server itself said no, so that nothing of the tx was done: it may go better with fewer rows, or later. */
export function isRolledBack(error: unknown): boolean {
  return error instanceof pg.DatabaseError && !/^(08|57P)/.test(error.code ?? '');
}

/** Whether the database would not take these values: too long, out of range, against a constraint. They would be refused again. */
export function isRefusedData(error: unknown): boolean {
  return error instanceof pg.DatabaseError && /^(22|23|54)/.test(error.code ?? '');
}

function noteOutage(error: unknown): never {
  const isPassing = error instanceof pg.DatabaseError ? PASSING.test(error.code ?? '') : !(error instanceof TypeError);
  if (isPassing) outages.add(Object(error));
  throw error;
}

/** The newest of each schema. */
const pools = new Map<string, pg.Pool>();

function measurePools(): void {
  gauge(
    'database_connections',
    'Connections of the pool, in use and idle, and who waits for one.',
    ['schema', 'state'],
    (all) => {
      for (const [schema, { totalCount, idleCount, waitingCount }] of pools)
        for (const [state, count] of Object.entries({
          in_use: totalCount - idleCount,
          idle: idleCount,
          waited_for: waitingCount,
        }))
          all.set({ schema, state }, count);
    },
  );
}

const PING = `select current_setting('transaction_read_only') = 'off' as writes, to_regclass('migrations') is not null as "isThere"`;
/** How long an answer of ping() serves. */
const PING_SHARED_MS = 1000;
/** A database that only reads is looked at so often until it can be written to again, whoever asks. */
const READ_ONLY_LOOK_MS = 5000;
/** Takes nothing from PGHOST, PGPORT, PGOPTIONS and the like: pg would fill with them whatever a URL leaves out. */
export class Client extends pg.Client {
  constructor(config: pg.ClientConfig) {
    const ambient = Object.entries(process.env).filter(([name]) => name.startsWith('PG'));
    for (const [name] of ambient) delete process.env[name];
    try {
      super(config);
    } finally {
      Object.assign(process.env, Object.fromEntries(ambient));
    }
    // A connection may be lost between two queries; the next one says so.
    this.on('error', () => undefined);
  }
}

/** Begins a tx and says all that its statements rely on, in one message to the server. */
export function beginWith(schema: string, statementMs: number, lockMs: number, idleMs: number): string {
  return `begin isolation level read committed; set local search_path = ${schema}; set local datestyle = iso;
    set local timezone = utc; set local statement_timeout = ${statementMs}; set local lock_timeout = ${lockMs};
    set local idle_in_transaction_session_timeout = ${idleMs}`;
}

/**
 * Every statement finds its few rows by an index. Left to itself the server reads whole tables while they are small, and keeps the plan of
 * a prepared statement while they grow; or it plans a statement anew each time, which takes longer than to run it.
 */
const BY_INDEX = `set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off; set local jit = off;
    set local plan_cache_mode = force_generic_plan`;

/** int8 is bigint, int4 number, timestamptz Date, bytea Buffer. Connects when it is first used. */
export function createDatabase(options: DatabaseOptions): Database {
  const { url, schema, log, poolSize = 9 } = options;
  const { statementTimeoutMs = 4000, acquireTimeoutMs = 2000, lockTimeoutMs = 3000, prepare = true } = options;
  const types = new pg.TypeOverrides();
  types.setTypeParser(pg.types.builtins.INT8, BigInt);
  const begin = (idleMs = statementTimeoutMs, lockMs = lockTimeoutMs) =>
    `${beginWith(schema, statementTimeoutMs, lockMs, idleMs)}; ${BY_INDEX}`;
  const isRenewable = typeof url !== 'string';
  /** While a password changes, one that was renewed is not the database's yet, or the one before is not any more. */
  let takesPrevious = false;
  const urlNow = () => (isRenewable ? ((takesPrevious ? url.revealPrevious() : undefined) ?? url.reveal()) : url);
  const ClientOfNow = class extends Client {
    constructor(config: pg.ClientConfig) {
      super({ ...config, connectionString: urlNow() });
    }
  };
  const connect = async (from: pg.Pool): Promise<pg.PoolClient> => {
    const tookPrevious = takesPrevious;
    try {
      return await from.connect();
    } catch (error) {
      if (!isRenewable || url.revealPrevious() === undefined || !hasState(error, '28P01')) throw error;
      if (takesPrevious === tookPrevious) takesPrevious = !tookPrevious;
      return from.connect();
    }
  };
  const createPool = (more: pg.PoolConfig): pg.Pool => {
    const pool = new pg.Pool({
      application_name: schema,
      keepAlive: true,
      connectionTimeoutMillis: acquireTimeoutMs,
      // The server cancels first; this one is for a server that says nothing more.
      query_timeout: statementTimeoutMs + 1000,
      types,
      // Statements are sent without waiting for the answer to the one before: `begin` costs no round trip.
      pipeline: true,
      Client: ClientOfNow,
      ...more,
    } as pg.PoolConfig);
    return pool.on('error', (err) => void (pool.ending || log.warn('database.connection_lost', { err })));
  };
  const pool = createPool({ max: poolSize });
  pools.set(schema, pool);
  measurePools();
  const pings = createPool({ max: 1, idleTimeoutMillis: 0 });
  let prepares = prepare;

  /** Only an answer of a living server that can write leaves the connection in a state that is worth keeping. */
  const isLost = (error: unknown) => !(error instanceof pg.DatabaseError) || isReadOnly(error);
  /** Some loop meets it at once, however seldom readiness is asked for. */
  const noted = (error: unknown): never => {
    if (isReadOnly(error)) void ping();
    // A pooler has handed the session on: the statement was prepared in another, or is there by somebody else's hand.
    if (prepares && (hasState(error, '26000') || hasState(error, '42P05'))) {
      prepares = false;
      log.warn('database.cannot_prepare', { schema, setting: 'DATABASE_PREPARE=false' });
    }
    return noteOutage(error);
  };

  const send = (client: pg.PoolClient, sql: string) => {
    inOneWrite(client);
    return client.query(sql);
  };
  const execute = (client: pg.PoolClient, sql: string, values: readonly unknown[]) => {
    inOneWrite(client);
    return client.query({ text: sql, values: [...values], ...(prepares && { name: nameOf(sql) }) });
  };

  /** One statement in a tx of its own, in one round trip. */
  async function once<Row extends object>(
    from: pg.Pool,
    sql: string,
    values: readonly unknown[],
    isWorthKeeping = (_rows: Row[]) => true,
  ): Promise<Row[]> {
    const client = await connect(from);
    try {
      const sent = [send(client, begin()), execute(client, sql, values), send(client, 'commit')];
      const rows = ((await Promise.all(sent))[1]?.rows ?? []) as Row[];
      client.release(!isWorthKeeping(rows));
      return rows;
    } catch (error) {
      client.release(isLost(error));
      throw error;
    }
  }

  async function inTx<T>(
    run: (tx: Tx) => Promise<T>,
    options?: { idleTimeoutMs?: number; lockTimeoutMs?: number | undefined },
  ): Promise<T> {
    const client = await connect(pool).catch(noteOutage);
    let failure: unknown;
    const note = async (asked: Promise<pg.QueryResult>) => {
      try {
        return (await asked.catch(noted)).rows;
      } catch (error) {
        failure = error;
        throw error;
      }
    };
    let hasEnded = false;
    const query: Queryable['query'] = async (sql, values) => {
      if (hasEnded) throw new Error('this tx has ended');
      return note(execute(client, sql, values ?? []));
    };
    let committed: Promise<unknown> | undefined;
    const last: Queryable['query'] = (sql, values) => {
      const answer = query<never>(sql, values);
      hasEnded = true;
      committed = note(send(client, 'commit'));
      // It is waited for, unless the statement fails first.
      committed.catch(() => undefined);
      return answer;
    };
    let lost = false;
    try {
      // What follows is sent behind it, and fails with it.
      note(send(client, begin(options?.idleTimeoutMs, options?.lockTimeoutMs))).catch(() => undefined);
      const result = await run({ query, last: { query: last } }).finally(() => {
        hasEnded = true;
      });
      // PostgreSQL would answer such a commit with a rollback, and with no error.
      if (failure) throw new Error('a tx in which a statement failed cannot be committed');
      await (committed ?? note(send(client, 'commit')));
      return result;
    } catch (error) {
      lost = failure !== undefined && isLost(failure);
      lost ||= (await client.query('rollback').catch(() => undefined)) === undefined;
      throw error;
    } finally {
      client.release(lost);
    }
  }

  async function lookOnce(): Promise<DatabaseProblem | undefined> {
    type Found = { writes: boolean; isThere: boolean };
    // After a fail-over a new connection may lead to a server that writes.
    const { writes, isThere } = onlyRow(await once<Found>(pings, PING, [], (rows) => onlyRow(rows).writes));
    if (!writes) return 'read-only';
    return isThere ? undefined : 'schema missing';
  }
  let onlyReads = false;
  async function look(): Promise<DatabaseProblem | undefined> {
    const problem = await lookOnce().catch((): DatabaseProblem => 'unreachable');
    if (problem === 'read-only') {
      if (!onlyReads) log.alert('database_read_only', { schema });
      onlyReads = true;
      setTimeout(ping, READ_ONLY_LOOK_MS).unref();
    } else if (problem === undefined && onlyReads) {
      log.info('database.writable', { schema });
      onlyReads = false;
    }
    return problem;
  }
  const ping = shareFor(PING_SHARED_MS, look);

  return {
    query: <Row extends object>(sql: string, values: readonly unknown[] = []) =>
      once<Row>(pool, sql, values).catch(noted),
    inTx,
    ping,
    close: async () => {
      if (!pool.ended) await Promise.all([pool.end(), pings.end()]);
    },
  };
}

/** Statements are few and their texts constant: each has the name of its text, so that the server parses and plans it once. */
const names = new Map<string, string>();

function nameOf(sql: string): string {
  const name = names.get(sql) ?? createHash('sha256').update(sql).digest('hex').slice(0, 32);
  names.set(sql, name);
  return name;
}

const corked = new WeakSet<Socket>();

/** All that is sent to the server in this turn goes in one system call: each costs as much as a small statement. */
function inOneWrite(client: pg.PoolClient): void {
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
  if (corked.has(stream)) return;
  corked.add(stream);
  stream.cork();
  process.nextTick(() => {
    corked.delete(stream);
    stream.uncork();
  });
}

export const isReadOnly = (error: unknown) => hasState(error, '25006');
export const hasState = (error: unknown, state: string) => error instanceof pg.DatabaseError && error.code === state;

/** One call at a time, whose answer is given to all who ask within `ms` of it. */
function shareFor<T>(ms: number, look: () => Promise<T>): () => Promise<T> {
  let shared: Promise<T> | undefined;
  return () => {
    shared ??= look().finally(() => setTimeout(() => (shared = undefined), ms).unref());
    return shared;
  };
}

/** Rows as a parameter for json_to_recordset: amounts as text, since they may pass 2^53; bytes as base64. */
export function toRecords(rows: readonly object[]): string {
  return JSON.stringify(rows, function (this: Record<string, unknown>, name, value) {
    if (typeof value === 'bigint') return String(value);
    // A Buffer has been made an object by its toJSON() already.
    const own = this[name];
    return own instanceof Uint8Array ? Buffer.from(own).toString('base64') : value;
  });
}

export function onlyRow<Row>(rows: readonly Row[]): Row {
  if (rows.length !== 1) throw new Error(`expected one row, got ${rows.length}`);
  return rows[0]!;
}

export function maybeRow<Row>(rows: readonly Row[]): Row | undefined {
  if (rows.length > 1) throw new Error(`expected at most one row, got ${rows.length}`);
  return rows[0];
}
