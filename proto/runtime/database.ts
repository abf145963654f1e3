import { runner } from 'node-pg-migrate';
import pg from 'pg';
import type { Log } from './log.ts';

// PostgreSQL through pg, with time-outs that lie below the answer budget of 8 s (R43).

export interface Queryable {
  query<Row extends object = Record<string, unknown>>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
}

export interface Database extends Queryable {
  /**
   * Runs within one tx: committed when `run` resolves, rolled back when it rejects. The tx is dead once `run` has ended.
   * idleTimeoutMs: the server ends the tx when it hears nothing for so long.
   */
  inTx<T>(run: (tx: Queryable) => Promise<T>, options?: { idleTimeoutMs?: number }): Promise<T>;
  /** Asks the server on a connection of its own, so that a full pool does not look like a dead database (R45). */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  url: string;
  /** What names without a schema mean. */
  schema: string;
  log: Log;
  poolSize?: number;
  statementTimeoutMs?: number;
  /** Until a connection is free, or made. */
  acquireTimeoutMs?: number;
  lockTimeoutMs?: number;
}

/** SQLSTATEs that say nothing of the statement: no connection, another state or tx, no room, no lock, shutdown, disk. */
const PASSING = /^(08|25|40|53|55|57|58)/;

const outages = new WeakSet<object>();

/**
 * Whether the database was away, busy or full, so that the same may work later. Any other failure of a tx is about what was to be
 * written, and would come again.
 */
export function isOutage(error: unknown): boolean {
  return outages.has(Object(error));
}

function noteOutage(error: unknown): never {
  const isPassing = error instanceof pg.DatabaseError ? PASSING.test(error.code ?? '') : !(error instanceof TypeError);
  if (isPassing) outages.add(Object(error));
  throw error;
}

/** int8 is bigint, int4 number, timestamptz Date, bytea Buffer. Connects when it is first used. */
export function createDatabase(options: DatabaseOptions): Database {
  const { url, schema, log, poolSize = 10 } = options;
  const { statementTimeoutMs = 4000, acquireTimeoutMs = 2000, lockTimeoutMs = 3000 } = options;
  const types = new pg.TypeOverrides();
  types.setTypeParser(pg.types.builtins.INT8, BigInt);
  const connection: pg.ClientConfig = {
    connectionString: url,
    application_name: schema,
    keepAlive: true,
    connectionTimeoutMillis: acquireTimeoutMs,
    // The server cancels first; this one is for a server that says nothing more.
    query_timeout: statementTimeoutMs + 1000,
    types,
  };
  const settings = `
    set search_path = ${schema}; set statement_timeout = ${statementTimeoutMs}; set lock_timeout = ${lockTimeoutMs};
    set idle_in_transaction_session_timeout = ${statementTimeoutMs}`;
  async function onConnect(client: pg.ClientBase): Promise<void> {
    // A connection may be lost between two queries of a tx; the next query says so.
    client.on('error', () => undefined);
    await client.query(settings);
  }
  const pool = new pg.Pool({ ...connection, max: poolSize, onConnect });
  pool.on('error', (err) => pool.ending || log.warn('database.connection_lost', { err }));

  async function inTx<T>(run: (tx: Queryable) => Promise<T>, options?: { idleTimeoutMs?: number }): Promise<T> {
    const client = await pool.connect().catch(noteOutage);
    let failure: unknown;
    const ask = async <Row>(sql: string, values: readonly unknown[] = []): Promise<Row[]> => {
      try {
        return (await client.query(sql, [...values]).catch(noteOutage)).rows;
      } catch (error) {
        failure = error;
        throw error;
      }
    };
    let hasEnded = false;
    const query: Queryable['query'] = async (sql, values) => {
      if (hasEnded) throw new Error('this tx has ended');
      return ask(sql, values);
    };
    let isLost = false;
    try {
      await ask('begin');
      if (options?.idleTimeoutMs) await ask(`set local idle_in_transaction_session_timeout = ${options.idleTimeoutMs}`);
      const result = await run({ query }).finally(() => {
        hasEnded = true;
      });
      // PostgreSQL would answer such a commit with a rollback, and with no error.
      if (failure) throw new Error('a tx in which a statement failed cannot be committed');
      await ask('commit');
      return result;
    } catch (error) {
      // Only an answer of a living server leaves the connection in a state that is known.
      const isKnown = failure === undefined || failure instanceof pg.DatabaseError;
      isLost = !isKnown || (await client.query('rollback').catch(() => undefined)) === undefined;
      throw error;
    } finally {
      client.release(isLost);
    }
  }

  async function ping(): Promise<void> {
    const client = new pg.Client(connection);
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query('select 1');
    } finally {
      client.end().catch(() => undefined);
    }
  }

  return {
    query: async (sql, values = []) => (await pool.query(sql, [...values]).catch(noteOutage)).rows,
    inTx,
    ping,
    close: async () => {
      if (!pool.ended) await pool.end();
    },
  };
}

/** Refuses a server that confirms a commit before it is on disk: what was answered could be lost (R10). */
export async function assertDurable(db: Queryable): Promise<void> {
  const { mode } = onlyRow(await db.query<{ mode: string }>(`select current_setting('synchronous_commit') as mode`));
  if (mode === 'off') throw new Error('the database has synchronous_commit = off: it could lose confirmed payments');
}

/**
 * Brings the schema up to date with the plain .sql files of dir, all in one tx, and creates it first if it is missing. Several
 * processes may do so at once: they wait for each other for up to 30 s.
 */
export async function migrate(options: { url: string; schema: string; dir: string; log: Log }): Promise<void> {
  const { url, schema, dir, log } = options;
  // A client of our own: the runner's would still be closing when this returns.
  const client = new pg.Client({ connectionString: url, lock_timeout: 30_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const migrations = await runner({
      dbClient: client,
      schema,
      createSchema: true,
      dir,
      migrationsTable: 'migrations',
      direction: 'up',
      singleTransaction: true,
      advisoryLockMode: 'wait',
      log: () => undefined,
    });
    for (const { name } of migrations) log.info('database.migrated', { schema, migration: name });
  } finally {
    await client.end();
  }
}

export function onlyRow<Row>(rows: readonly Row[]): Row {
  if (rows.length !== 1) throw new Error(`expected one row, got ${rows.length}`);
  return rows[0]!;
}

export function maybeRow<Row>(rows: readonly Row[]): Row | undefined {
  if (rows.length > 1) throw new Error(`expected at most one row, got ${rows.length}`);
  return rows[0];
}
