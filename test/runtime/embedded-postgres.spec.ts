import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { eventually } from '../support/eventually.ts';

const PROGRAM = path.join(import.meta.dirname, 'postgres-process.ts');
const NOBODY = 65_534;
const FOREIGN = {
  ...{ PGHOST: '192.0.2.1', PGPORT: '1', PGUSER: 'nobody', PGPASSWORD: 'x', PGDATABASE: 'none', PGSSLMODE: 'require' },
  ...{ PGOPTIONS: '-c datestyle=nonsense', PGAPPNAME: 'x', PGCLIENT_ENCODING: 'latin1', PGREPLICATION: 'true' },
};
const isRoot = process.getuid?.() === 0;

describe('embedded PostgreSQL', function () {
  this.timeout(60_000);
  let folder: string;
  let dataDir: string;
  const children: ChildProcess[] = [];

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(tmpdir(), 'embedded-'));
    fs.chmodSync(folder, 0o755);
    dataDir = path.join(folder, 'data');
  });
  afterEach(async () => {
    for (const child of children.splice(0)) await kill(child, 'SIGTERM');
    const left = await eventually(() => {
      const pid = postmaster();
      assert(pid === undefined || !isAlive(pid));
      return pid;
    }).catch(postmaster);
    if (left !== undefined && isAlive(left)) process.kill(left, 'SIGQUIT');
    fs.rmSync(folder, { recursive: true, force: true });
  });

  /** Runs the program, as user `uid` if given: its answer, or what it said as it failed. */
  async function start(uid?: number, more: Record<string, string> = {}) {
    const child = spawn(process.execPath, [PROGRAM, dataDir], {
      env: { ...process.env, PASSWORD: 'hunter2', ...more },
      ...(uid !== undefined && { uid, gid: uid }),
    });
    children.push(child);
    let out = '';
    let err = '';
    child.stdout.on('data', (data) => {
      out += data;
    });
    child.stderr.on('data', (data) => {
      err += data;
    });
    await Promise.race([once(child.stdout, 'data'), once(child, 'close')]);
    assert(out, err);
    return { child, ...(JSON.parse(out) as { urls: { core: string; relay: string }; adminUrl: string }) };
  }

  function postmaster(): number | undefined {
    const file = path.join(dataDir, 'cluster/postmaster.pid');
    return fs.existsSync(file) ? Number.parseInt(fs.readFileSync(file, 'utf8'), 10) : undefined;
  }

  it('keeps what was committed over a stop', async () => {
    const first = await start();
    await ask(first.urls.core, 'create schema core', 'create table core.kept as select 1 as one');
    await kill(first.child, 'SIGTERM');
    assert.equal(postmaster(), undefined);
    const { urls } = await start();
    assert.deepEqual(await ask(urls.core, 'select one from core.kept'), [{ one: 1 }]);
  });

  it('survives kill -9 of the Node process, after which PostgreSQL still runs', async () => {
    const first = await start();
    await ask(first.urls.core, 'create schema core', 'create table core.kept as select 1 as one');
    await kill(first.child, 'SIGKILL');
    assert(isAlive(postmaster()!));
    const { urls } = await start();
    assert.deepEqual(await ask(urls.core, 'select one from core.kept'), [{ one: 1 }]);
  });

  it('survives a kill of both', async () => {
    const first = await start();
    await ask(first.urls.core, 'create schema core', 'create table core.kept as select 1 as one');
    process.kill(postmaster()!, 'SIGKILL');
    await kill(first.child, 'SIGKILL');
    const { urls } = await start();
    assert.deepEqual(await ask(urls.core, 'select one from core.kept'), [{ one: 1 }]);
  });

  it('survives a kill while it makes its data folder', async () => {
    const child = spawn(process.execPath, [PROGRAM, dataDir]);
    const begun = () => fs.globSync('cluster.new-*/files/PG_VERSION', { cwd: dataDir }).length > 0;
    await eventually(() => assert(begun()), { every: 1 });
    await kill(child, 'SIGKILL');
    const { urls } = await start();
    await ask(urls.core, 'select 1');
  });

  it('starts beside a lock file whose process id has become that of another program', async () => {
    const first = await start();
    await kill(first.child, 'SIGTERM');
    const { uid, gid } = fs.statSync(path.join(dataDir, 'cluster'));
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { uid, gid });
    children.push(other);
    const file = path.join(dataDir, 'cluster/postmaster.pid');
    fs.writeFileSync(file, `${other.pid}\n${path.join(dataDir, 'cluster')}\n1\n5432\n\n\n\n`);
    await start();
    assert(isAlive(other.pid!));
  });

  it('refuses a data folder that a living process uses, and leaves that one alone', async () => {
    const first = await start();
    await assert.rejects(start(), /in use by process/);
    await ask(first.urls.core, 'select 1');
  });

  it('R34 lets in nobody without its password, over a socket that only its own user reaches', async () => {
    const { urls, adminUrl } = await start();
    const mode = (name: string) => (fs.statSync(path.join(dataDir, name)).mode & 0o777).toString(8);
    assert.deepEqual([mode('secret'), mode('socket'), mode('cluster')], ['600', '700', '700']);
    assert.deepEqual(await ask(adminUrl, 'show listen_addresses'), [{ listen_addresses: '' }]);
    for (const url of [urls.core, adminUrl])
      await assert.rejects(
        ask(url.replace(/:[0-9a-f]{64}@/, ':guessed@'), 'select 1'),
        /password authentication failed/,
      );
    assert.equal(new Set([urls.core, urls.relay, adminUrl].map((url) => new URL(url).password)).size, 3);
  });

  it('R34 gives each service a role that is no superuser and sees no other schema', async () => {
    const { urls } = await start();
    const [role] = await ask(
      urls.core,
      'select rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolname = user',
    );
    assert.deepEqual(role, { rolsuper: false, rolcreaterole: false, rolcreatedb: false });
    await ask(urls.core, 'create schema core', 'create table core.kept as select 1 as one');
    await ask(urls.relay, 'create schema relay');
    await assert.rejects(ask(urls.relay, 'select one from core.kept'), /permission denied/);
  });

  it('R34 inherits no environment', async function () {
    if (process.platform !== 'linux') return this.skip();
    await start();
    assert.doesNotMatch(fs.readFileSync(`/proc/${postmaster()}/environ`, 'utf8'), /hunter2|PASSWORD/);
  });

  it('does not stop at a Ctrl-C that is meant for the service', async () => {
    const { child, urls } = await start();
    const groupOf = (pid: number) => fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[4];
    if (process.platform === 'linux') assert.notEqual(groupOf(postmaster()!), groupOf(child.pid!));
    await ask(urls.core, 'select 1');
  });

  it('takes nothing from PGHOST, PGPORT and the like', async () => {
    await start(undefined, FOREIGN);
  });

  it('works for an ordinary user, in a folder with a long name', async () => {
    dataDir = path.join(dataDir, 'a-folder-with-a-long-name'.repeat(4));
    fs.mkdirSync(dataDir, { recursive: true });
    if (isRoot) fs.chownSync(dataDir, NOBODY, NOBODY);
    const { urls } = await start(isRoot ? NOBODY : undefined);
    await ask(urls.core, 'select 1');
  });
});

async function ask(url: string, ...statements: string[]): Promise<object[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    let rows: object[] = [];
    for (const sql of statements) rows = (await client.query(sql)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
