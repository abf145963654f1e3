import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';
import { migrate } from '../../proto/runtime/migrate.ts';
import { asAdmin, TEMPLATE, testDatabaseUrl } from './database.ts';
import { prepareKafka } from './kafka.ts';
import { quietLog } from './log.ts';

// One PostgreSQL for the whole run: an embedded one, or the one that TEST_DATABASE_URL names (a superuser's url).

const log = quietLog();
let postgres: EmbeddedPostgres | undefined;
let dataDir: string | undefined;
let stopKafka: (() => void) | undefined;

export async function mochaGlobalSetup(): Promise<void> {
  // A run that is cut off must not leave its server behind. Stopping sends the signal at once, so it works within `exit` too.
  process.once('exit', () => postgres?.stop());
  process.once('exit', () => stopKafka?.());
  process.once('SIGTERM', () => process.exit(143));
  try {
    stopKafka = await prepareKafka();
    await startServer();
    await makeTemplate();
  } catch (error) {
    await mochaGlobalTeardown();
    throw error;
  }
}

async function startServer(): Promise<void> {
  if (process.env.TEST_DATABASE_URL) return;
  dataDir = mkdtempSync(path.join(tmpdir(), 'payments-test-'));
  // What a crash of this machine would lose is of no value.
  const settings = { fsync: 'off', max_connections: '300' };
  postgres = await startEmbeddedPostgres({ dataDir, roles: [], log, settings });
  process.env.TEST_DATABASE_URL = postgres.adminUrl;
}

async function makeTemplate(): Promise<void> {
  await asAdmin(async (client) => {
    await client.query(`drop database if exists ${TEMPLATE}`);
    await client.query(`create database ${TEMPLATE}`);
  });
  for (const [schema, folder] of Object.entries({ core: 'core/migrations', relay: 'webhook-relay/migrations' })) {
    const dir = path.join(import.meta.dirname, '../..', folder);
    const migrations = existsSync(dir) ? readdirSync(dir).filter((name) => name.endsWith('.sql')) : [];
    if (migrations.length > 0) await migrate({ url: testDatabaseUrl(TEMPLATE), schema, dir, log });
  }
}

export async function mochaGlobalTeardown(): Promise<void> {
  stopKafka?.();
  await postgres?.stop();
  if (dataDir) rmSync(dataDir, { recursive: true, force: true });
}
