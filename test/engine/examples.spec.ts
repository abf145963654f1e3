import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../support/eventually.ts';

// docs/PROCESSORS.md, followed to the letter: its commands generate the code, and its examples are held by its suite.

const run = promisify(execFile);
const root = path.join(import.meta.dirname, '../..');
const examples = path.join(import.meta.dirname, 'examples');
const TOKEN = 'a-token-of-the-tests-that-is-long-enough';
const DATA = path.join(root, '.data');

/** The lines of the document that begin with one of these words, as commands for this machine. */
function commands(...beginnings: string[]): string {
  const lines = readFileSync(path.join(root, 'docs/PROCESSORS.md'), 'utf8').split('\n');
  const found = lines.filter((line) => beginnings.some((beginning) => line.startsWith(`    ${beginning}`)));
  assert.ok(found.length >= beginnings.length, `the document shows ${beginnings.join(', ')}`);
  return found.join('\n').replaceAll('../connector', root);
}

/** In a folder within the repository, so that its packages are found as in one's own. */
function workplace(): string {
  mkdirSync(DATA, { recursive: true });
  return mkdtempSync(path.join(DATA, 'engine-example-'));
}

async function shell(cwd: string, script: string): Promise<void> {
  const PATH = `${path.join(root, 'node_modules/.bin')}:${process.env.PATH}`;
  await run('bash', ['-euc', script], { cwd, env: { ...process.env, PATH } });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await promisify(server.close.bind(server))();
  return port;
}

async function isListening(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect').finally(() => socket.destroy());
}

/** `npm run test:processor` with these arguments. */
async function suite(...args: string[]): Promise<{ code: number; printed: string }> {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'test-processor.ts'), ...args], {
    env: { ...process.env, PROCESSOR_TOKEN: TOKEN },
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      printed += chunk;
    });
  const [code] = await once(child, 'close');
  return { code, printed };
}

describe('the example engines', () => {
  let place: string;
  let engine: ChildProcess | undefined;
  let url: string;

  async function start(command: string, args: string[], env: Record<string, string> = {}): Promise<void> {
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    engine = spawn(command, args, {
      cwd: place,
      env: { ...process.env, ENGINE_TOKEN: TOKEN, ENGINE_PORT: String(port), ...env },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    await eventually(() => isListening(port), { timeoutMs: 15_000 });
  }
  async function kill(): Promise<void> {
    if (!engine || engine.exitCode !== null || engine.signalCode !== null) return;
    engine.kill('SIGKILL');
    await once(engine, 'exit');
  }

  beforeEach(() => {
    place = workplace();
  });
  afterEach(async () => {
    await kill();
    rmSync(place, { recursive: true, force: true });
  });

  it('are under a hundred lines each, and need the versions that this repository has', () => {
    for (const name of ['engine.ts', 'engine.py'])
      assert.ok(readFileSync(path.join(examples, name), 'utf8').split('\n').length <= 100, name);
    const { dependencies, devDependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
    const shown = commands('npm i -E').matchAll(/(@[\w/-]+)@([\d.]+)/g);
    for (const [, name = '', version] of shown)
      assert.equal({ ...dependencies, ...devDependencies }[name], version, name);
  });

  it('in TypeScript: its code is generated and it holds every promise that it has cards for', async () => {
    await shell(place, commands('npx buf generate', "sed 's|"));
    const generated = globSync('**/*.js', { cwd: path.join(place, 'gen') });
    assert.ok(generated.includes('processor/v1/processor_pb.js'));
    for (const file of generated)
      assert.equal(
        readFileSync(path.join(place, 'gen', file), 'utf8'),
        readFileSync(path.join(root, 'proto/gen', file), 'utf8'),
      );
    await start(process.execPath, ['engine.ts']);
    const { code, printed } = await suite('--url', url, '--cards', path.join(examples, 'engine.ts.cards.json'));
    assert.equal(code, 0, printed);
    assert.match(printed, /^[4-9]\d held, \d+ skipped, 0 broken$/m);
  }).timeout(60_000);

  it('in Python: its code is generated and it holds every promise that it has cards for, also after kill -9', async function () {
    const python = await pythonWithGrpc(commands('python3 -m venv', '.venv/bin/pip'));
    if (!python) return this.skip();
    symlinkSync(python, path.join(place, '.venv'));
    await shell(place, commands('mkdir -p gen', '.venv/bin/python -m grpc_tools', 'cp '));
    const command = path.join(place, '.venv/bin/python');
    const env = { PYTHONPATH: 'gen', ENGINE_FILE: 'books.sqlite' };
    await start(command, ['engine.py'], env);
    const cards = path.join(examples, 'engine.py.cards.json');
    const first = await suite('--url', url, '--cards', cards);
    assert.equal(first.code, 0, first.printed);
    await kill();
    await start(command, ['engine.py'], env);
    const again = await suite('--url', url, '--cards', cards, '--only', 'one request id');
    assert.equal(again.code, 0, again.printed);
  }).timeout(180_000);

  it('are told what they break, and a suite that cannot begin says why', async () => {
    await start(process.execPath, [path.join(examples, 'engine.ts')]);
    const simulated = await suite('--url', url, '--only', 'a capture is declined');
    assert.equal(simulated.code, 1);
    assert.match(simulated.printed, /BROKEN {2}holds on to the money.*\n.*it said approved/);
    assert.match(simulated.printed, /^0 held, 0 skipped, 1 broken$/m);
    for (const [args, why] of [
      [[], /--url is missing/],
      [['--url', 'http://10.1.2.3:1'], /not on this machine/],
      [['--url', url, '--token', 'wrong'], /Unauthenticated/],
      [['--url', url, '--cards', '/nowhere.json'], /nowhere/],
      [['--url', url, '--only', 'no such promise'], /no promise/],
    ] as const) {
      const { code, printed } = await suite(...args);
      assert.equal(code, 2, printed);
      assert.match(printed, why);
    }
    assert.match((await suite('--help')).printed, /npm run test:processor/);
    assert.match((await suite('--list')).printed, /\[pendingThenApproved\]/);
  }).timeout(60_000);
});

/**
 * A virtual environment with grpcio, made as the document says and kept for the next run. Without Python or its packages the test is
 * skipped, but not where CI counts on it.
 */
async function pythonWithGrpc(script: string): Promise<string | undefined> {
  const wanted = createHash('sha256')
    .update(readFileSync(path.join(examples, 'requirements.txt')))
    .digest('hex');
  const kept = path.join(DATA, `python-${wanted.slice(0, 12)}`);
  if (existsSync(kept)) return kept;
  const place = mkdtempSync(path.join(DATA, 'python-'));
  try {
    await shell(place, script);
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    process.stderr.write(`    skipped: no Python with grpcio (${(error as Error).message.split('\n').at(-2)})\n`);
    return undefined;
  }
  if (!existsSync(kept)) symlinkSync(path.join(place, '.venv'), kept);
  return kept;
}
