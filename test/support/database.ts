import { randomUUID } from 'node:crypto';
import pg from 'pg';

/** Holds the schemas `core` and `relay`, migrated once for the whole run. */
export const TEMPLATE = 'template_payments';

/** A superuser's url of any database of the run's server; set before the first spec runs. */
export function testDatabaseUrl(database: string): string {
  const admin = process.env.TEST_DATABASE_URL;
  if (!admin) throw new Error('TEST_DATABASE_URL is set by test/support/setup.ts: read it within a hook or a test');
  const url = new URL(admin);
  url.pathname = `/${database}`;
  return url.href;
}

/** The url of a database of one's own, with both schemas. It is never dropped: the whole cluster goes at the end. */
export async function freshDatabase(): Promise<string> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await asAdmin((client) => client.query(`create database ${name} template ${TEMPLATE}`));
  return testDatabaseUrl(name);
}

export function asAdmin<T>(run: (client: pg.Client) => Promise<T>): Promise<T> {
  return asDatabase(testDatabaseUrl('postgres'), run);
}

export async function asDatabase<T>(url: string, run: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
}
