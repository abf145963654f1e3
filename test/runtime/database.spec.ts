import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Secret } from '../../proto/runtime/config.ts';
import {
  createDatabase,
  type Database,
  type DatabaseOptions,
  isOutage,
  maybeRow,
  onlyRow,
  type Queryable,
} from '../../proto/runtime/database.ts';
import { ensureServer, migrate } from '../../proto/runtime/migrate.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';

const log = quietLog();
const opened: Database[] = [];

function open(url: string, options: Partial<DatabaseOptions> = {}): Database {
  const db = createDatabase({ url, schema: 'core', log, ...options });
  opened.push(db);
  return db;
}
const pidOf = async (db: { query: Database['query'] }) =>
  onlyRow(await db.query<{ pid: number }>('select pg_backend_pid() as pid')).pid;

describe('the database', () => {
  let url: string;
  let db: Database;

  before(async () => {
    url = await freshDatabase();
    db = open(url);
    await db.query('create schema if not exists core');
    await db.query('create table note (id int8 primary key, text text)');
  });
  afterEach(async () => {
    for (const other of opened.splice(1)) await other.close();
  });
  after(() => opened.pop()?.close());

  it('R31 makes connections by the password before while a renewed one is not the database’s yet, and by that once it is', async () => {
    const role = `renewed_${process.pid}`;
    const urlBy = (password: string) => url.replace(/\/\/[^@]*@/, `//${role}:${password}@`);
    await db.query(`create role ${role} superuser login password 'first'`);
    const secret = new Secret(urlBy('first'));
    const other = createDatabase({ url: secret, schema: 'core', log, poolSize: 2 });
    opened.push(other);
    const hangUp = () => db.query('select pg_terminate_backend(pid) from pg_stat_activity where usename = $1', [role]);
    const isThere = () => Promise.all([pidOf(other), pidOf(other), other.inTx(pidOf)]);
    await isThere();
    secret.become(new Secret(urlBy('second')));
    for (const change of [undefined, `alter role ${role} password 'second'`]) {
      if (change) await db.query(change);
      await hangUp();
      // What hung up is noticed by a query at the latest.
      await eventually(isThere);
      await isThere();
    }
    await other.close();
    opened.pop();
    await db.query(`drop role ${role}`);
  });

  const notes = async () => (await db.query<{ id: bigint }>('select id from note order by id')).map(({ id }) => id);

  it('gives int8 as bigint, int4 as number, and what it was given in bytes and times', async () => {
    const [big, bytes, time] = [9_007_199_254_740_993n, Buffer.from([0, 255]), new Date('2026-11-24T10:00:00.123Z')];
    const row = onlyRow(
      await db.query(
        'select $1::int8 as big, 5 as small, $2::bytea as bytes, $3::timestamptz as time, $4::text[] as list',
        [big, bytes, time, ['a', 'b"c']],
      ),
    );
    assert.deepEqual(row, { big, small: 5, bytes, time, list: ['a', 'b"c'] });
  });

  it('works in its own schema', async () => {
    assert.deepEqual(await db.query('select current_schema() as schema'), [{ schema: 'core' }]);
  });

  it('R50 depends on no default of its database: DateStyle, time zone, isolation, search path', async () => {
    const own = await freshDatabase();
    const name = new URL(own).pathname.slice(1);
    const defaults = ["datestyle = 'german'", "timezone = 'Asia/Kathmandu'", "search_path = 'public'"];
    for (const each of [...defaults, "default_transaction_isolation = 'serializable'"])
      await db.query(`alter database ${name} set ${each}`);
    const there = open(own);
    const time = new Date('2026-11-02T10:00:00.123Z');
    const sql = `select $1::timestamptz as time, ($1::timestamptz)::text as text, current_schema() as schema,
      current_setting('transaction_isolation') as isolation`;
    const found = { time, text: '2026-11-02 10:00:00.123+00', schema: 'core', isolation: 'read committed' };
    assert.deepEqual(await there.query(sql, [time]), [found]);
    assert.deepEqual(await there.inTx((tx) => tx.query(sql, [time])), [found]);
  });

  it('R50 takes nothing from PGPORT, PGOPTIONS and the like', async () => {
    const foreign = {
      PGPORT: '1',
      PGSSLMODE: 'require',
      PGOPTIONS: '-c nonsense=1',
      PGREPLICATION: 'true',
      PGBINARY: '1',
    };
    const before = { ...process.env };
    Object.assign(process.env, foreign);
    try {
      assert.deepEqual(await open(url).query('select 1 as one'), [{ one: 1 }]);
      assert.equal(process.env.PGPORT, '1');
    } finally {
      for (const name of Object.keys(foreign)) delete process.env[name];
      Object.assign(process.env, before);
    }
  });

  it('commits a tx when its work resolves, and rolls it back when it rejects', async () => {
    await db.inTx((tx) => tx.query('insert into note values (1)'));
    const failing = db.inTx(async (tx) => {
      await tx.query('insert into note values (2)');
      throw new Error('no');
    });
    await assert.rejects(failing, /^Error: no$/);
    assert.deepEqual(await notes(), [1n]);
  });

  it('keeps the connection when a tx is rolled back for a reason of its own', async () => {
    const one = open(url, { poolSize: 1 });
    const before = await pidOf(one);
    await assert.rejects(one.inTx(() => Promise.reject(new Error('no'))));
    await assert.rejects(
      one.inTx((tx) => tx.query('select 1/0')),
      /division by zero/,
    );
    assert.equal(await pidOf(one), before);
  });

  it('never takes a tx for committed in which a statement failed, even if its error was swallowed', async () => {
    const work = db.inTx(async (tx) => {
      await tx.query('insert into note values (3)');
      await tx.query('select 1/0').catch(() => undefined);
    });
    await assert.rejects(work, /cannot be committed/);
    assert(!(await notes()).includes(3n));
  });

  it('refuses a tx after it has ended', async () => {
    const tx = await db.inTx(async (running) => running);
    await assert.rejects(tx.query('select 1'), /has ended/);
  });

  it('R43 fails when no connection becomes free in time, while its ping still answers', async () => {
    const small = open(url, { poolSize: 1, acquireTimeoutMs: 1000 });
    await small.inTx(async () => {
      await assert.rejects(small.query('select 1'), /timeout exceeded/);
      await assert.rejects(
        small.inTx(async () => undefined),
        /timeout exceeded/,
      );
      assert.equal(await small.ping(), undefined);
    });
    await small.query('select 1');
  });

  it('R43 ends a statement and a wait for a lock in time', async () => {
    const hasty = open(url, { statementTimeoutMs: 400, lockTimeoutMs: 100 });
    await assert.rejects(hasty.query('select pg_sleep(60)'), /statement timeout/);
    await db.inTx(async (tx) => {
      await tx.query('lock table note');
      await assert.rejects(hasty.query('select * from note'), /lock timeout/);
    });
    await hasty.query('select * from note');
  });

  it('R47 tells an outage, after which the same may work, from what it will not take', async () => {
    const impatient = open(url, { statementTimeoutMs: 300, lockTimeoutMs: 100, acquireTimeoutMs: 200, poolSize: 1 });
    const failing = (other: Database, run: (tx: Queryable) => Promise<unknown>) =>
      other.inTx(run).then(
        () => assert.fail('it did not fail'),
        (error) => isOutage(error),
      );
    await db.inTx(async (tx) => {
      await tx.query('lock table note');
      assert.equal(await failing(impatient, (other) => other.query('select id from note')), true);
    });
    assert.equal(await failing(impatient, (tx) => tx.query('select pg_sleep(1)')), true);
    await impatient.inTx(() => failing(impatient, async () => 0).then((isIt) => assert.equal(isIt, true)));
    assert.equal(
      await failing(impatient, async (tx) => {
        const pid = await pidOf(tx);
        await db.query('select pg_terminate_backend($1)', [pid]);
        await tx.query('select 1');
      }),
      true,
    );
    assert.equal(await failing(open('postgres://nobody:secret@127.0.0.1:1/none'), async () => 0), true);
    for (const text of ['NUL \0', 'x'.repeat(10)])
      assert.equal(await failing(db, (tx) => tx.query('select $1::text, $1::int', [text])), false);
    assert.equal(await failing(db, () => Promise.reject(new Error('of its own'))), false);
  });

  it('R42 is freed by the server from a tx that says nothing any more', async () => {
    let left: () => void = () => undefined;
    const stalled = db.inTx(
      async (tx) => {
        await tx.query('lock table note');
        await new Promise<void>((resolve) => {
          left = resolve;
        });
      },
      { idleTimeoutMs: 100 },
    );
    await eventually(() => db.query('select * from note'));
    left();
    await assert.rejects(stalled);
  });

  it('survives the loss of its connections, idle and in a tx', async () => {
    const one = open(url, { poolSize: 1 });
    const kill = async (pid: number) => db.query('select pg_terminate_backend($1, 5000)', [pid]);
    await kill(await pidOf(one));
    await eventually(() => one.query('select 1'));
    const lost = one.inTx(async (tx) => {
      await kill(await pidOf(tx));
      await tx.query('select 1');
    });
    await assert.rejects(lost);
    await one.query('select 1');
  });

  it('R43 gives up on a server that says nothing more, and comes back with it', async () => {
    const proxy = await openProxy(url);
    const far = open(proxy.url, { poolSize: 1, statementTimeoutMs: 100, acquireTimeoutMs: 500 });
    await far.query('select 1');
    proxy.silence(true);
    await assert.rejects(far.query('select 1'), /timeout/);
    await assert.rejects(far.query('select 1'), /time/);
    assert.equal(await far.ping(), 'unreachable');
    proxy.silence(false);
    await far.query('select 1');
    await far.close();
    await proxy.close();
  });

  it('R10 refuses a server with synchronous_commit = off', async () => {
    await ensureServer(db);
    const name = new URL(url).pathname.slice(1);
    await db.query(`alter database ${name} set synchronous_commit = off`);
    await assert.rejects(ensureServer(open(url)), /synchronous_commit/);
    await db.query(`alter database ${name} reset synchronous_commit`);
  });

  it('says so when there are fewer or more rows than there can be', () => {
    assert.equal(onlyRow([1]), 1);
    assert.equal(maybeRow([]), undefined);
    assert.equal(maybeRow([1]), 1);
    assert.throws(() => onlyRow([]));
    assert.throws(() => onlyRow([1, 2]));
    assert.throws(() => maybeRow([1, 2]));
  });
});

describe('migrating a schema', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'migrations-'));
    writeFileSync(path.join(dir, '0001_first.sql'), '-- Up Migration\ncreate table thing (id int8);\n');
  });
  afterEach(async () => {
    rmSync(dir, { recursive: true });
    for (const db of opened.splice(0)) await db.close();
  });

  it('is done once by several processes that start together', async () => {
    const url = await freshDatabase();
    const lines = quietLog();
    await Promise.all([1, 2, 3].map(() => migrate({ url, schema: 'fresh', dir, log: lines })));
    assert.equal(lines.lines.filter(({ event }) => event === 'database.migrated').length, 1);
    await open(url, { schema: 'fresh' }).query('select id from thing');
  });

  it('does all of it or nothing, and goes on from where it was', async () => {
    const url = await freshDatabase();
    await migrate({ url, schema: 'fresh', dir, log });
    writeFileSync(path.join(dir, '0002_second.sql'), '-- Up Migration\nalter table thing add column name text;\n');
    writeFileSync(path.join(dir, '0003_third.sql'), '-- Up Migration\nselect 1/0;\n');
    await assert.rejects(migrate({ url, schema: 'fresh', dir, log }), /division by zero/);
    const db = open(url, { schema: 'fresh' });
    await assert.rejects(db.query('select name from thing'), /does not exist/);
    rmSync(path.join(dir, '0003_third.sql'));
    await migrate({ url, schema: 'fresh', dir, log });
    await db.query('select name from thing');
  });
});

/** Stands before the server's socket and can swallow everything that goes through. */
async function openProxy(url: string) {
  const target = new URL(url);
  const host = decodeURIComponent(target.hostname);
  const folder = mkdtempSync(path.join(tmpdir(), 'proxy-'));
  const sockets = new Set<net.Socket>();
  let silent = false;
  const server = net.createServer((near) => {
    const far = host.startsWith('/')
      ? net.connect(path.join(host, '.s.PGSQL.5432'))
      : net.connect(Number(target.port || 5432), host);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', (data) => silent || to.write(data));
      from.on('close', () => to.destroy());
      from.on('error', () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(path.join(folder, '.s.PGSQL.5432'), resolve));
  target.host = encodeURIComponent(folder);
  return {
    url: url.replace(/@[^/]*\//, `@${encodeURIComponent(folder)}/`),
    silence: (on: boolean) => {
      silent = on;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
