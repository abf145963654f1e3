import { readdirSync } from 'node:fs';
import path from 'node:path';
import { findStrangeness } from '../../core/database-identity.ts';
import { isNoted } from '../../core/store/database-identity.ts';
import { createDatabase, type Database } from '../../proto/runtime/database.ts';
import { createLog } from '../../proto/runtime/log.ts';
import { appliedMigrations, serverFacts } from '../store-doctor.ts';
import { type Check, type Finding, fail, ok, reasonOf, skip, warn } from './check.ts';

const CLOCK_MS = 2_000;
const CLOCK_MS_MAX = 30_000;

const GRANT = (schema: string) =>
  `let the owner run: create schema if not exists ${schema}; alter schema ${schema} owner to ROLE (README, The database)`;

/** Whether a server can be the ledger, and its clock; and whether `connections` are left on it. */
export function serverCheck(url: string, connections: number): Check {
  return {
    name: 'database',
    run: () =>
      asking(url, 'core', true, unreachable, async (db) => {
        const before = Date.now();
        const facts = await serverFacts(db, 'core');
        const skewMs = facts.now.getTime() - (before + Date.now()) / 2;
        const { connectionsLeft: left } = facts;
        const room = warn(
          `${left} connections are left, and the services looked at take ${connections}`,
          'raise max_connections, or lower DATABASE_POOL_SIZE; a rolling upgrade takes twice as many',
        );
        return [...aboutServer(facts), ...aboutClock(skewMs), ...(left < connections ? [room] : [])];
      }),
  };
}

/** One service's schema: its rights, its migrations, and the keys of what it holds. */
export function schemaCheck(options: {
  service: 'core' | 'webhook-relay';
  schema: 'core' | 'relay';
  url: string;
  prepare: boolean;
  keys: (db: Database) => Promise<Finding[]>;
}): Check {
  const { service, schema, url, prepare, keys } = options;
  return {
    name: `${service}: schema`,
    run: () =>
      asking(
        url,
        schema,
        prepare,
        () => [skip('not looked at: the database cannot be asked')],
        async (db) => {
          const { hasSchema, hasMigrations, mayCreate, closedTables } = await serverFacts(db, schema);
          if (!hasSchema)
            return mayCreate
              ? [ok(`no schema ${schema} yet: the first start makes it`)]
              : [fail(`no schema ${schema}, and no right to make it`, GRANT(schema))];
          if (closedTables > 0)
            return [fail(`${closedTables} tables of ${schema} may not be read, added to and changed`, GRANT(schema))];
          if (!hasMigrations) return [ok(`the schema ${schema} is empty: the first start fills it`)];
          return [...aboutMigrations(schema, service, await appliedMigrations(db)), ...(await keys(db))];
        },
      ),
  };
}

const unreachable = (error: unknown) => [
  fail(`cannot be asked: ${reasonOf(error)}`, 'see DATABASE_URL: host, port, name, role, password, sslmode'),
];

async function asking(
  url: string,
  schema: string,
  prepare: boolean,
  otherwise: (error: unknown) => Finding[],
  ask: (db: Database) => Promise<Finding[]>,
): Promise<Finding[]> {
  const db = createDatabase({ url, schema, poolSize: 1, prepare, log: createLog('doctor', 'fatal') });
  try {
    return await ask(db);
  } catch (error) {
    return otherwise(error);
  } finally {
    await db.close();
  }
}

function aboutServer(facts: Awaited<ReturnType<typeof serverFacts>>): Finding[] {
  const { version, versionText, encoding, synchronousCommit, fsync, fullPageWrites, isStandby, isReadOnly } = facts;
  const findings: Finding[] = [];
  if (version < 150_000) findings.push(fail(`PostgreSQL ${versionText}`, 'take 15 or newer'));
  if (encoding !== 'UTF8')
    findings.push(fail(`encoding ${encoding}`, 'create the database with encoding UTF8 template template0'));
  if (synchronousCommit === 'off')
    findings.push(
      fail(
        'synchronous_commit is off: what was answered could be lost',
        'alter database NAME reset synchronous_commit, or of the role',
      ),
    );
  if (fsync === 'off' || fullPageWrites === 'off')
    findings.push(
      fail('fsync or full_page_writes is off: a crash can ruin the ledger', 'set both to on in postgresql.conf'),
    );
  if (isStandby) findings.push(fail('it is a standby, and takes no writes', 'let DATABASE_URL lead to the primary'));
  else if (isReadOnly)
    findings.push(
      fail('default_transaction_read_only is on', 'alter database NAME reset default_transaction_read_only'),
    );
  return findings.length > 0 ? findings : [ok(`PostgreSQL ${versionText}, ${encoding}, durable, writable`)];
}

function aboutClock(skewMs: number): Finding[] {
  const seconds = `${(Math.abs(skewMs) / 1000).toFixed(1)} s`;
  const remedy = 'set both clocks by NTP';
  if (Math.abs(skewMs) > CLOCK_MS_MAX) return [fail(`its clock and this one differ by ${seconds}`, remedy)];
  return Math.abs(skewMs) > CLOCK_MS ? [warn(`its clock and this one differ by ${seconds}`, remedy)] : [];
}

function aboutMigrations(schema: string, service: string, applied: readonly string[]): Finding[] {
  const folder = path.join(import.meta.dirname, '../..', service, 'migrations');
  const files = readdirSync(folder).flatMap((file) => (file.endsWith('.sql') ? [path.basename(file, '.sql')] : []));
  const missing = files.filter((name) => !applied.includes(name));
  const newer = applied.filter((name) => !files.includes(name));
  if (newer.length > 0)
    return [
      warn(
        `the schema ${schema} is of a newer version (${newer.join(', ')})`,
        'update this checkout, or go on if it is being rolled back by one version (docs/UPGRADE.md)',
      ),
    ];
  if (missing.length > 0)
    return [
      warn(
        `migrations of ${schema} are missing: ${missing.join(', ')}`,
        'the next start applies them (docs/UPGRADE.md)',
      ),
    ];
  return [ok(`all ${files.length} migrations of ${schema} are applied`)];
}

/** Whether cores start on it, or it was restored from a backup. */
export async function aboutIdentity(db: Database): Promise<Finding[]> {
  const found = (await isNoted(db)) ? await findStrangeness(db) : undefined;
  if (!found) return [];
  const remedy = 'run npm run recover, which brings back what a backup lacks (docs/RESTORE.md)';
  return [(found.starts ? warn : fail)(found.problem, remedy)];
}

/** Stored data whose key is missing, and keys that nothing needs any more. */
export function aboutKeys(setting: string, inUse: readonly string[], configured: readonly string[]): Finding[] {
  const missing = inUse.filter((id) => !configured.includes(id));
  if (missing.length > 0)
    return [
      fail(
        `${setting} lacks ${missing.join(', ')}, with which stored data is sealed: the start will fail`,
        'add the key again (docs/ROTATION.md)',
      ),
    ];
  const unused = configured.slice(1).filter((id) => !inUse.includes(id));
  return unused.length > 0
    ? [warn(`nothing stored needs ${unused.join(', ')} of ${setting} any more`, 'it may be removed (docs/ROTATION.md)')]
    : [ok(`${setting} opens all that is stored`)];
}
