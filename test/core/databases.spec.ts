import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import pg from 'pg';
import { ConfigError } from '../../proto/runtime/config.ts';
import { createDatabase } from '../../proto/runtime/database.ts';
import { startPostgresProxy } from '../faults/postgres-proxy.ts';
import { cardPayment, createTestCore, type TestCore } from '../support/core.ts';
import { asAdmin, freshDatabase, testDatabaseUrl } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { assertFails } from '../support/stage.ts';

// Databases as others run them: with defaults, rights, limits and fail-overs of their own.

const AT_EASE = { ANSWER_BUDGET_MS: '8000', PROCESSOR_TIMEOUT_MS: '20000' };
const nameOf = (url: string) => new URL(url).pathname.slice(1);
const sql = (...statements: string[]) =>
  asAdmin(async (client) => {
    for (const statement of statements) await client.query(statement);
  });

describe('a core', () => {
  const cores: TestCore[] = [];
  afterEach(async () => {
    for (const core of cores.splice(0)) await core.stop();
  });

  async function start(url: string, env: Record<string, string> = {}): Promise<TestCore> {
    const core = await createTestCore({ url, env: { ...AT_EASE, ...env } });
    cores.push(core);
    return core;
  }

  async function payAtOnce(core: TestCore, count: number): Promise<void> {
    const merchant = await core.connect();
    const pay = () => core.payments.createTransaction(cardPayment(merchant));
    const answers = await Promise.all(Array.from({ length: count }, pay));
    assert.ok(answers.every(({ transaction }) => transaction?.capturedAmount === 4590n));
  }

  const askReady = (core: TestCore) => {
    const { httpPort } = core.log.lines.find(({ event }) => event === 'core.started') ?? {};
    return fetch(`http://127.0.0.1:${httpPort}/health/ready`);
  };
  const alerts = (core: TestCore) => core.log.lines.flatMap(({ alert }) => (alert === undefined ? [] : [alert]));

  /** A login that is no superuser, without any right; the url leads to the same database as that login. */
  async function addRole(url: string, more = ''): Promise<{ role: string; roleUrl: string }> {
    const role = `role_${randomUUID().slice(0, 8)}`;
    await sql(`create role ${role} login password 'secret' ${more}`);
    return { role, roleUrl: url.replace(/\/\/[^@]*@/, `//${role}:secret@`) };
  }

  const DEFAULTS = {
    'DateStyle SQL': "datestyle = 'SQL, DMY'",
    'DateStyle German': 'datestyle = german',
    'isolation serializable': 'default_transaction_isolation = serializable',
    'isolation repeatable read': "default_transaction_isolation = 'repeatable read'",
    'a search path of its own': "search_path = 'public'",
  };
  for (const [title, setting] of Object.entries(DEFAULTS))
    it(`R50 takes 15 payments at once and tells of them, whatever the database's default: ${title}`, async () => {
      const url = await freshDatabase();
      await sql(`alter database ${nameOf(url)} set ${setting}`);
      const core = await start(url);
      await payAtOnce(core, 15);
      await eventually(() => assert.equal(core.events.length, 15));
      const { transactions } = await core.as({ name: 'desk', role: 'reader' }).listTransactions({ pageSize: 5 });
      assert.equal(transactions.length, 5);
    });

  it('R50 refuses a database that is not UTF8 at start, in one line that says what to do', async () => {
    for (const encoding of ['LATIN1', 'SQL_ASCII']) {
      const name = `test_${randomUUID().replaceAll('-', '')}`;
      const locale = `locale_provider libc lc_collate 'C' lc_ctype 'C'`;
      await sql(`create database ${name} encoding '${encoding}' template template0 ${locale}`);
      await assert.rejects(start(testDatabaseUrl(name)), (error) => {
        assert.ok(error instanceof ConfigError);
        assert.equal(error.problems.length, 1);
        assert.match(error.message, /^DATABASE_URL must lead to a database of encoding UTF8: create one with/);
        return true;
      });
    }
  });

  it('R50 works in a schema that was made for it, without the right to make one', async () => {
    const name = `test_${randomUUID().replaceAll('-', '')}`;
    await sql(`create database ${name}`);
    const { role, roleUrl } = await addRole(testDatabaseUrl(name));
    await assert.rejects(start(roleUrl), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(
        error.message,
        /^DATABASE_URL names a role without the rights it needs: .*create schema if not exists core/,
      );
      assert.doesNotMatch(error.message, /\n|secret/);
      return true;
    });
    await within(name, `create schema core authorization ${role}`);
    await payAtOnce(await start(roleUrl), 2);
  });

  it('R50 works for a role that may only read and write rows, and says so at start where it may not', async () => {
    const url = await freshDatabase();
    const { role, roleUrl } = await addRole(url);
    await within(
      nameOf(url),
      `grant usage on schema core to ${role}; grant select on all tables in schema core to ${role}`,
    );
    await assert.rejects(
      start(roleUrl),
      /^ConfigError: DATABASE_URL names a role without the rights it needs: .*grant it/,
    );
    await within(nameOf(url), `grant insert, update on all tables in schema core to ${role}`);
    await payAtOnce(await start(roleUrl), 2);
  });

  it('R45 stays ready with a role that is limited to its connections, all of them at work', async () => {
    const url = await freshDatabase();
    const { role, roleUrl } = await addRole(url, 'connection limit 4');
    await within(nameOf(url), `grant all on schema core to ${role}; grant all on all tables in schema core to ${role}`);
    const core = await start(roleUrl, { DATABASE_POOL_SIZE: '4' });
    const merchant = await core.connect();
    // The role's connections are the core's alone.
    await core.db.close();
    const admin = createDatabase({ url, schema: 'core', log: core.log });
    const connections = async () =>
      (await admin.query(`select from pg_stat_activity where usename = $1`, [role])).length;
    const paid = await admin.inTx(async (tx) => {
      await tx.query('lock table core.transactions');
      const calls = Array.from({ length: 12 }, () =>
        core.payments.createTransaction(cardPayment(merchant)).catch(() => 0),
      );
      await eventually(async () => assert.ok((await connections()) >= 3));
      const probes = await Promise.all(Array.from({ length: 50 }, () => askReady(core)));
      assert.ok(probes.every(({ status }) => status === 200));
      assert.equal(await connections(), 4);
      return calls;
    });
    await Promise.all(paid);
    await admin.close();
    assert.equal((await askReady(core)).status, 200);
  });

  it('R45 asks the database once for 400 who ask at the same time', async () => {
    const proxy = await startPostgresProxy(testDatabaseUrl('postgres'));
    let pings = 0;
    proxy.hold('before', (statement) => {
      if (/^select 1$|transaction_read_only/.test(statement)) pings += 1;
      return false;
    });
    const core = await start(proxy.url(await freshDatabase()));
    const probes = await Promise.all(Array.from({ length: 400 }, () => askReady(core)));
    assert.ok(probes.every(({ status }) => status === 200));
    // A second may end while they ask.
    assert.ok(pings >= 1 && pings <= 1 + probes.length / 100, `${pings} pings`);
    await cores.pop()?.stop();
    await proxy.stop();
  });

  it('R50 is unready, with one alert, while its database only reads, and takes payments when it writes again', async () => {
    const url = await freshDatabase();
    const core = await start(url);
    const merchant = await core.connect();
    assert.equal((await askReady(core)).status, 200);
    const cutOff = `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${nameOf(url)}'`;
    await sql(`alter database ${nameOf(url)} set default_transaction_read_only = on`, cutOff);
    // Its loops meet it, whether or not anybody asks for readiness or pays.
    await eventually(() => assert.deepEqual(alerts(core), ['database_read_only']));
    await eventually(async () => {
      const response = await askReady(core);
      assert.equal(response.status, 503);
      assert.deepEqual(await response.json(), { ready: false, detail: { database: 'read-only' } });
    });
    const paid = core.payments.createTransaction(cardPayment(merchant));
    await assertFails(paid, Code.Unavailable, 'DATABASE_UNAVAILABLE');
    // What is connected keeps the setting with which it was made.
    await sql(`alter database ${nameOf(url)} reset default_transaction_read_only`);
    await eventually(async () => assert.equal((await askReady(core)).status, 200));
    await eventually(() => core.payments.createTransaction(cardPayment(merchant)));
    assert.deepEqual(alerts(core), ['database_read_only']);
    assert.ok(core.log.lines.some(({ event }) => event === 'database.writable'));
  });

  it('R45 is unready while its schema is missing', async () => {
    const url = await freshDatabase();
    const core = await start(url);
    await core.db.query('alter schema core rename to away');
    const response = await askReady(core);
    assert.deepEqual(await response.json(), { ready: false, detail: { database: 'schema missing' } });
    await within(nameOf(url), 'alter schema away rename to core');
  });

  it('R50 starts beside a database that only reads, unready, if nothing is to be migrated; else it says why it cannot', async () => {
    const url = await freshDatabase();
    await sql(`alter database ${nameOf(url)} set default_transaction_read_only = on`);
    const core = await start(url);
    assert.equal((await askReady(core)).status, 503);
    const name = `test_${randomUUID().replaceAll('-', '')}`;
    await sql(`create database ${name}`, `alter database ${name} set default_transaction_read_only = on`);
    await assert.rejects(
      start(testDatabaseUrl(name)),
      /^ConfigError: DATABASE_URL leads to a database that only reads/,
    );
  });
});

async function within(database: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: testDatabaseUrl(database) });
  await client.connect();
  await client.query(statement).finally(() => client.end());
}
