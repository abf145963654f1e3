import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ConfigError } from './config.ts';
import { beginWith, Client, hasState, isReadOnly, onlyRow, type Queryable } from './database.ts';
import type { Log } from './log.ts';

// Whether a server can be the ledger, and its schema.

/** Migrations may rewrite tables. */
const MIGRATION_MS = 600_000;
/** Processes of the same or an older version that migrate at once wait for each other under this advisory lock. */
const MIGRATION_LOCK = '7241865325823964';

const CANNOT_SERVE = {
  version: 'must lead to PostgreSQL 15 or newer',
  encoding:
    'must lead to a database of encoding UTF8: create one with `create database NAME encoding UTF8 template template0`',
  durable:
    'leads to a database with synchronous_commit = off, which could lose confirmed payments: `alter database NAME reset synchronous_commit`, or of the role',
} as const;

/** Throws a ConfigError with all that keeps this server from being the ledger: what was answered could be lost (R10), or not kept (R50). */
export async function ensureServer(db: Queryable): Promise<void> {
  const found = onlyRow(
    await db.query<Record<keyof typeof CANNOT_SERVE, boolean>>(
      `select current_setting('server_version_num')::integer >= 150000 as version, current_setting('server_encoding') = 'UTF8' as encoding,
         current_setting('synchronous_commit') <> 'off' as durable`,
    ),
  );
  const problems = Object.entries(CANNOT_SERVE).filter(([name]) => !found[name as keyof typeof CANNOT_SERVE]);
  if (problems.length > 0) throw new ConfigError(problems.map(([, problem]) => `DATABASE_URL ${problem}`));
}

/**
 * Brings the schema up to date with the plain .sql files of dir, all in one tx, and creates it first if it is missing. Several
 * processes may do so at once: they wait for each other for up to 30 s. Throws a ConfigError where the server, or the role's rights, do
 * not do (R50). What is up to date needs no right to change it.
 */
export async function migrate(options: { url: string; schema: string; dir: string; log: Log }): Promise<void> {
  const { url, schema, dir, log } = options;
  // A client of its own: a pool's would still be closing when this returns.
  const client = new Client({ connectionString: url, application_name: schema });
  await client.connect();
  const query = async <Row>(sql: string, values: readonly unknown[] = []): Promise<Row[]> =>
    (await client.query(sql, [...values])).rows;
  const isThere = async (kind: 'regnamespace' | 'regclass', name: string) =>
    onlyRow(await query<{ is: boolean }>(`select to_${kind}($1) is not null as is`, [name])).is;
  try {
    await query(beginWith(schema, MIGRATION_MS, 30_000, MIGRATION_MS));
    await ensureServer({ query });
    await query(`select pg_advisory_xact_lock(${MIGRATION_LOCK})`);
    if (!(await isThere('regnamespace', schema))) await query(`create schema ${schema}`);
    if (!(await isThere('regclass', `${schema}.migrations`)))
      await query(
        'create table migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null)',
      );
    const done = (await query<{ name: string }>('select name from migrations')).map(({ name }) => name);
    const files = readdirSync(dir).filter((file) => file.endsWith('.sql'));
    const missing = files.map((file) => path.basename(file, '.sql')).filter((name) => !done.includes(name));
    for (const name of missing.sort()) {
      await query(readFileSync(path.join(dir, `${name}.sql`), 'utf8').split(/^-- Down Migration/m)[0] ?? '');
      await query('insert into migrations (name, run_on) values ($1, now())', [name]);
    }
    await ensureRights({ query }, schema);
    await query('commit');
    for (const name of missing) log.info('database.migrated', { schema, migration: name });
  } catch (error) {
    if (hasState(error, '42501')) throw new ConfigError([withoutRights(schema)], { cause: error });
    if (isReadOnly(error))
      throw new ConfigError([
        `DATABASE_URL leads to a database that only reads, and the schema ${schema} is to be changed`,
      ]);
    throw error;
  } finally {
    await client.end();
  }
}

const withoutRights = (schema: string) =>
  `DATABASE_URL names a role without the rights it needs: let the database's owner run ` +
  `\`create schema if not exists ${schema}; alter schema ${schema} owner to ROLE\`, or grant it select, insert and update on all ` +
  `tables of a schema ${schema} that is up to date, and usage of it`;

/** Found at start, not at the first payment: another role may have made the tables. */
async function ensureRights(db: Queryable, schema: string): Promise<void> {
  const closed = await db.query(
    `select from pg_class where relnamespace = to_regnamespace($1) and relkind = 'r' and relname <> 'migrations' and not
       (has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert') and has_table_privilege(oid, 'update'))`,
    [schema],
  );
  if (closed.length > 0) throw new ConfigError([withoutRights(schema)]);
}
