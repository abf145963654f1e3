import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import { freePort, isAlive } from '../faults/program.ts';
import { newKey, openSurroundings, type Surroundings } from '../faults/surroundings.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';

// The commands of the README as a user starts and ends them: by npm.

const ROOT = path.join(import.meta.dirname, '../..');
const TOKEN = 'a-token-of-thirty-two-characters';
/** Takes free ports. */
const FREE = { GATEWAY_PORT: '0', GATEWAY_ADMIN_PORT: '0', CORE_GRPC_PORT: '0', CORE_HTTP_PORT: '0', RELAY_PORT: '0' };

type Env = Readonly<Record<string, string>>;

/** `npm run` with these arguments, as the leader of a process group of its own, as a shell would start it. */
function npm(env: Env, ...args: string[]): { child: ChildProcess; printed(): string } {
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn('npm', ['run', ...args], { cwd: ROOT, env: { PATH, HOME, ...FREE, ...env }, detached: true });
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
  return { child, printed: () => printed };
}

/** All that this process started, and what these started. */
function offspring(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const parent = /^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1];
        return [[Number(name), Number(parent)] as const];
      } catch {
        // It has just ended.
        return [];
      }
    });
  const of = (parent: number): number[] =>
    parents.flatMap(([child, its]) => (its === parent ? [child, ...of(child)] : []));
  return of(pid);
}

describe('a command of the README', function () {
  this.timeout(60_000);
  let stage: Surroundings;
  let folder: string;
  const started: number[] = [];

  before(async function () {
    if (process.platform !== 'linux') this.skip();
    stage = await openSurroundings();
    folder = mkdtempSync(path.join(tmpdir(), 'npm-'));
    chmodSync(folder, 0o755);
  });
  after(async () => {
    for (const pid of started.filter(isAlive)) process.kill(pid, 'SIGKILL');
    await stage?.close();
    if (folder) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  /** What each needs, what it prints once it is up, and how many processes it is then at least. */
  const COMMANDS: Record<
    string,
    { env?: () => Promise<Env> | Env; args?: () => string[]; up: RegExp; least?: number }
  > = {
    start: {
      env: async () => ({ ENGINE_HTTP_PORT: '0', WIX_PORT: await freePort(), CONTROL_PORT: await freePort() }),
      args: () => ['--', '--data', path.join(folder, 'start')],
      up: /^Ready after/m,
      least: 3,
    },
    connector: {
      env: () => ({ ...stage.env, DATA_DIR: path.join(folder, 'connector') }),
      up: /"event":"gateway.listening"/,
      least: 3,
    },
    demo: {
      env: async () => ({ CONTROL_PORT: await freePort() }),
      args: () => ['--', '--data', path.join(folder, 'demo')],
      up: /^ok /m,
      least: 3,
    },
    engine: {
      env: () => ({
        ENGINE_TOKEN: TOKEN,
        ENGINE_PORT: '0',
        ENGINE_HTTP_PORT: '0',
        ENGINE_DATA: path.join(folder, 'engine'),
      }),
      up: /listens on/,
    },
    gateway: { env: () => ({ ...stage.env, CORE_TOKEN: TOKEN }), up: /"event":"gateway.listening"/ },
    core: {
      env: async () => ({
        ...stage.env,
        DATABASE_URL: await freshDatabase(),
        CORE_TOKENS: `wix:gateway:${TOKEN}`,
        // Nobody is there: payments go on all the same.
        KAFKA_BROKERS: `127.0.0.1:${await freePort()}`,
      }),
      up: /"event":"(core.started|kafka.trouble)"/,
    },
    'webhook-relay': {
      env: async () => ({
        ...stage.env,
        DATABASE_URL: await freshDatabase(),
        EVENTS_KEY: newKey(),
        KAFKA_BROKERS: `127.0.0.1:${await freePort()}`,
      }),
      up: /"event":"kafka.trouble"/,
    },
    'bench:rpc': { args: () => ['--', '--seconds', '60'], up: /^/, least: 2 },
  };

  for (const [name, { env, args, up, least = 1 }] of Object.entries(COMMANDS))
    for (const [signal, how] of [
      ['SIGTERM', 'SIGTERM to npm'],
      ['SIGINT', 'Ctrl-C'],
    ] as const)
      it(`R38 npm run ${name} ends at ${how}, and all that it started with it`, async () => {
        const { child, printed } = npm((await env?.()) ?? {}, name, ...(args?.() ?? []));
        const pid = child.pid ?? 0;
        const ended = once(child, 'close');
        let all: number[] = [];
        await eventually(
          () => {
            assert.equal(child.exitCode ?? child.signalCode, null, printed());
            assert.match(printed(), up);
            all = offspring(pid);
            started.push(pid, ...all);
            const names = all.map((each) => readFileSync(`/proc/${each}/comm`, 'utf8'));
            assert.ok(names.filter((comm) => !comm.startsWith('sh')).length >= least, names.join());
          },
          { timeoutMs: 30_000 },
        );
        process.kill(signal === 'SIGINT' ? -pid : pid, signal);
        await ended;
        await eventually(() => assert.deepEqual(all.filter(isAlive), []));
        assert.doesNotMatch(printed(), /service_forced|uncaught|\n\s+at /);
      });
});

describe('the Node that runs the commands', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'node-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  /** run.sh where `node` is a program that says this is its version, and can do nothing else. */
  function runWith(version: string) {
    writeFileSync(path.join(folder, 'node'), `#!/bin/sh\n[ "$*" = --version ] && echo ${version}\n`, { mode: 0o755 });
    const env = { PATH: `${folder}:${process.env.PATH}` };
    return spawnSync('sh', ['run.sh', 'connector.ts', '--help'], { cwd: ROOT, env, encoding: 'utf8' });
  }

  it('is refused in one line with the remedy where it is too old, or does not run', () => {
    for (const version of ['v20.20.2', 'v22.11.0', 'v8.0.0', '; exit 1']) {
      const { status, stdout, stderr } = runWith(version);
      assert.equal(status, 1, version);
      assert.match(stderr, /^This needs Node 24 or newer, and node is .+: npm ci --include=optional [^\n]+\n$/);
      assert.equal(stdout, '');
    }
    for (const version of ['v24.0.0', 'v26.10.0', 'v30.1.0']) assert.equal(runWith(version).stderr, '', version);
  });

  it('opens no debugger at SIGUSR1, and leaves no memory in a core file', async function () {
    if (process.platform !== 'linux') return this.skip();
    const file = path.join(folder, 'waits.mjs');
    writeFileSync(file, `process.send('up'); process.on('disconnect', () => process.exit());`);
    const child = spawn('sh', ['run.sh', file], { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    await once(child, 'message');
    const proc = (name: string) => readFileSync(`/proc/${child.pid}/${name}`, 'utf8');
    const caught = BigInt(`0x${/^SigCgt:\s*(\w+)$/m.exec(proc('status'))?.[1]}`);
    assert.equal(caught & (1n << BigInt(constants.signals.SIGUSR1 - 1)), 0n);
    assert.match(proc('limits'), /^Max core file size +0 +0 /m);
    child.disconnect();
    await once(child, 'exit');
  });

  it('comes from the lock file with its hash, by no install script', () => {
    const { packages } = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8'));
    const { scripts, optionalDependencies, allowScripts } = JSON.parse(
      readFileSync(path.join(ROOT, 'package.json'), 'utf8'),
    );
    for (const platform of ['linux-x64', 'linux-arm64']) {
      const locked = packages[`node_modules/node-${platform}`];
      assert.equal(locked.version, optionalDependencies[`node-${platform}`]);
      assert.match(locked.integrity, /^sha512-/);
      assert.equal(locked.hasInstallScript, undefined);
    }
    assert.equal(packages['node_modules/node'], undefined);
    assert.equal(allowScripts.node, undefined);
    const others = Object.entries<string>(scripts).filter(([, script]) => !script.startsWith('exec sh run.sh '));
    assert.deepEqual(others.map(([name]) => name).sort(), ['check', 'format', 'generate', 'sbom']);
    // A package without a hash is one that npm ci would not verify.
    const unverified = Object.entries<Record<string, unknown>>(packages).filter(
      ([, { integrity, link }]) => !integrity && !link,
    );
    assert.deepEqual(
      unverified.map(([name]) => name),
      [''],
    );
  });
});
