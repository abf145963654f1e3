import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { eventually } from '../support/eventually.ts';
import { assertSays, useStage } from '../support/stage.ts';

const HAS_PGBOUNCER = spawnSync('pgbouncer', ['--version']).status === 0;
const NOBODY = 65_534;
/** Connections to the server, of all that it carries. */
const POOL = 3;

describe(`a pooler in transaction mode${HAS_PGBOUNCER ? '' : ' (not tried: put pgbouncer on PATH, as by apt-get install pgbouncer)'}`, () => {
  if (!HAS_PGBOUNCER) return void it('R42 carries the whole connector');
  const folder = fs.mkdtempSync(path.join(tmpdir(), 'pgbouncer-'));
  let pooler: ChildProcess;
  const stage = useStage({
    // PgBouncer before 1.21 cannot hand on prepared statements.
    env: { DATABASE_PREPARE: 'false' },
    road: async (databaseUrl) => {
      const started = await startPgBouncer(folder, databaseUrl);
      pooler = started.pooler;
      return started.url;
    },
  });
  after(async () => {
    const ended = once(pooler, 'exit');
    pooler.kill('SIGTERM');
    await ended;
    fs.rmSync(folder, { recursive: true });
  });

  it('R42 carries the whole connector over fewer connections than it opens', async () => {
    const paid = await Promise.all(Array.from({ length: 15 }, () => stage.pay()));
    for (const { answer } of paid) assertSays(answer);
    const [payment, other] = paid;
    assertSays(await stage.wix.refund(payment!, { amount: 1000 }));
    await stage.told(payment!, 'transaction');
    await stage.told(payment!, 'refund');
    await stage.told(other!, 'transaction');
    const connections = await stage.db.query('select from pg_stat_activity where datname = current_database()');
    // Two may be the test's own.
    assert.ok(connections.length <= POOL + 2, `${connections.length} connections`);
  });
});

/** Leads to one database. It listens on TCP alone and refuses to be root. */
async function startPgBouncer(folder: string, databaseUrl: string): Promise<{ pooler: ChildProcess; url: string }> {
  const { hostname, port, pathname, username, password } = new URL(databaseUrl);
  const name = pathname.slice(1);
  const listenPort = await freePort();
  const target = `host=${decodeURIComponent(hostname)} port=${port || 5432} dbname=${name} user=${username} password=${password}`;
  const settings = `[databases]
${name} = ${target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${POOL}
`;
  const file = path.join(folder, 'pgbouncer.ini');
  fs.writeFileSync(file, settings);
  const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  if (user.uid) for (const each of [folder, file]) fs.chownSync(each, NOBODY, NOBODY);
  const pooler = spawn('pgbouncer', [file], { ...user, stdio: 'ignore' });
  await eventually(async () => {
    const socket = net.connect(listenPort, '127.0.0.1');
    await once(socket, 'connect').finally(() => socket.destroy());
  });
  return { pooler, url: `postgres://anybody@127.0.0.1:${listenPort}/${name}` };
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
