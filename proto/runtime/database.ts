import { runner } from 'node-pg-migrate';
import pg from 'pg';
import type { Log } from './log.ts';
import { counter } from './metrics.ts';

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

/** No connection became free in time (R43). */
export class DatabaseBusy extends Error {
  override name = 'DatabaseBusy';
}

export interface DatabaseOptions {
  url: string;
  /** What names without a schema mean. */
  schema: string;
  log: Log;
  poolSize?: number;
  statementTimeoutMs?: number;
  acquireTimeoutMs?: number;
  lockTimeoutMs?: number;
}

/** int8 is bigint, int4 number, timestamptz Date, bytea Buffer. Connects when it is first used. */
export function createDatabase(options: DatabaseOptions): Database {
  const { url, schema, log, poolSize = 10, statementTimeoutMs = 4000, acquireTimeoutMs = 2000 } = options;
  const busy = counter('database_busy_total', 'Queries that got no connection in time.', ['schema']);

  const connection: pg.ClientConfig = {
    connectionString: url,
    application_name: schema,
    keepAlive: true,
    connectionTimeoutMillis: acquireTimeoutMs,
    // The server cancels first; this one is for a server that says nothing more.
    query_timeout: statementTimeoutMs + 1000,
    types: { getTypeParser },
  };
  const settings = {
    search_path: schema,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: statementTimeoutMs,
    lock_timeout: options.lockTimeoutMs ?? 3000,
  };
  const pool = new pg.Pool({ ...connection, max: poolSize, onConnect: prepare });
  pool.on('error', (err) => log.warn('database.connection_lost', { err }));

  async function prepare(client: pg.ClientBase): Promise<void> {
    // A connection may be lost between two queries of a tx; the next query says so.
    client.on('error', () => undefined);
    await client.query('select set_config(name, value, false) from unnest($1::text[], $2::text[]) as s (name, value)', [
      Object.keys(settings),
      Object.values(settings),
    ]);
  }

  async function acquire(): Promise<pg.PoolClient> {
    try {
      return await pool.connect();
    } catch (error) {
      if (!(error instanceof Error) || error.message !== 'timeout exceeded when trying to connect') throw error;
      busy.inc({ schema });
      throw new DatabaseBusy('no database connection became free in time', { cause: error });
    }
  }

  /** Gives the connection back, or destroys it when it is in a state that nobody knows. */
  async function withConnection<T>(work: (ask: Ask) => Promise<T>): Promise<T> {
    const client = await acquire();
    let lost = false;
    const ask: Ask = async (sql, values = []) => {
      if (lost) throw new Error('the database connection was lost');
      try {
        return (await client.query(sql, [...values])).rows;
      } catch (error) {
        // Only an answer of a living server leaves the connection in a known state.
        lost = sql === 'rollback' || !(error instanceof pg.DatabaseError) || error.severity === 'FATAL';
        throw error;
      }
    };
    try {
      return await work(ask);
    } finally {
      client.release(lost);
    }
  }

  function inTx<T>(work: (tx: Queryable) => Promise<T>, options: { idleTimeoutMs?: number } = {}): Promise<T> {
    return withConnection(async (ask) => {
      let open = true;
      let failed = false;
      const tx: Queryable = {
        query: async <Row>(sql: string, values?: readonly unknown[]) => {
          if (!open) throw new Error('this tx has ended');
          try {
            return (await ask(sql, values)) as Row[];
          } catch (error) {
            failed = true;
            throw error;
          }
        },
      };
      await ask('begin');
      try {
        if (options.idleTimeoutMs !== undefined)
          await ask(`set local idle_in_transaction_session_timeout = ${Math.ceil(options.idleTimeoutMs)}`);
        const result = await work(tx);
        open = false;
        // PostgreSQL would answer such a commit with a rollback, and with no error.
        if (failed) throw new Error('a tx in which a statement failed cannot be committed');
        await ask('commit');
        return result;
      } catch (error) {
        open = false;
        await ask('rollback').catch(() => undefined);
        throw error;
      }
    });
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
    query: <Row extends object>(sql: string, values?: readonly unknown[]) =>
      withConnection(async (ask) => (await ask(sql, values)) as Row[]),
    inTx,
    ping,
    close: async () => {
      if (!pool.ended) await pool.end();
    },
  };
}

type Ask = (sql: string, values?: readonly unknown[]) => Promise<object[]>;

const getTypeParser = ((oid: number, format?: 'text' | 'binary') =>
  oid === pg.types.builtins.INT8 && format !== 'binary'
    ? BigInt
    : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser;

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
  const client = new pg.Client({ connectionString: url, lock_timeout: 30_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const quiet = () => undefined;
    const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
    const migrations = await runner({
      dbClient: client,
      schema,
      createSchema: true,
      dir,
      migrationsTable: 'migrations',
      direction: 'up',
      singleTransaction: true,
      advisoryLockMode: 'wait',
      logger,
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
