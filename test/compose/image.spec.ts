import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execForm, instructionsOf, ROOT, readStages } from './compose-file.ts';

// What the Dockerfile puts into its images, found without building them.

const PRODUCT = ['gateway', 'core', 'webhook-relay', 'connector'];
const lock = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8'));
const manifest = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));

/** Whether .dockerignore keeps a file from the build: the last rule that fits decides. */
function isIgnored(file: string): boolean {
  const rules = readFileSync(path.join(ROOT, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line && !line.startsWith('#'));
  const fits = (rule: string) => {
    const [start, ...rest] = rule.split('**/');
    const pattern = [start, ...rest]
      .map((part) => part?.replaceAll('.', '\\.').replaceAll('*', '[^/]*'))
      .join('(?:.*/)?');
    return new RegExp(`^${pattern}(?:/.*)?$`).test(file);
  };
  return rules.reduce((ignored, rule) => (fits(rule.replace(/^!/, '')) ? !rule.startsWith('!') : ignored), false);
}

/** The files of this repository in a target's image. */
function filesOf(target: string): string[] {
  const sources = instructionsOf(target)
    .filter(({ word, rest }) => word === 'COPY' && !rest.startsWith('--from='))
    .flatMap(({ rest }) => rest.split(' ').slice(0, -1));
  return sources.flatMap((source) => {
    assert.ok(existsSync(path.join(ROOT, source)), `${source} is copied and does not exist`);
    const found = globSync([source, `${source}/**`], { cwd: ROOT, withFileTypes: true });
    return found
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(ROOT, path.join(entry.parentPath, entry.name)))
      .filter((file) => !isIgnored(file));
  });
}

/** What a file imports, and all that this imports: files of the repository, and packages. */
function reach(file: string, seen = new Set<string>(), packages = new Set<string>()) {
  if (seen.has(file)) return { files: seen, packages };
  seen.add(file);
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  for (const [, isType, target = ''] of text.matchAll(/^(?:import|export) (type )?(?:[^'";]*? from )?'([^']+)'/gm)) {
    if (isType || target.startsWith('node:')) continue;
    if (target.startsWith('.')) reach(path.join(path.dirname(file), target), seen, packages);
    else
      packages.add(
        target
          .split('/')
          .slice(0, target.startsWith('@') ? 2 : 1)
          .join('/'),
      );
  }
  return { files: seen, packages };
}

/** The main file of a target. */
const mainOf = (target: string) => execForm(target, 'CMD').at(-1) ?? '';

describe('the images', () => {
  let place: string;
  beforeEach(() => {
    place = mkdtempSync(path.join(tmpdir(), 'image-'));
  });
  afterEach(() => rmSync(place, { recursive: true }));

  it('are built in stages on the official Node 24, and hold no development dependency', () => {
    for (const { from, name } of readStages()) assert.match(from, /^(node:24-slim|product)$/, name);
    const install = readStages()[0]?.instructions.find(({ word }) => word === 'RUN')?.rest ?? '';
    for (const flag of ['npm ci', '--omit=dev', '--omit=optional', '--ignore-scripts'])
      assert.ok(install.includes(flag), flag);
  });

  it('R38 run as nobody special, and hear SIGTERM themselves', () => {
    for (const target of [...PRODUCT, 'engine']) {
      const instructions = instructionsOf(target);
      assert.equal(instructions.findLast(({ word }) => word === 'USER')?.rest, '1000:1000', target);
      assert.equal(instructions.findLast(({ word }) => word === 'STOPSIGNAL')?.rest, 'SIGTERM', target);
      // It becomes Node.
      assert.deepEqual(execForm(target, 'CMD').slice(0, -1), ['sh', 'run.sh'], target);
      assert.ok(instructions.some(({ word, rest }) => word === 'ENV' && rest === 'NODE_ENV=production'));
    }
    assert.equal(readStages().at(-1)?.name, 'connector', 'the default target is a product');
  });

  it('hold the product alone: nothing of test/, no specs, no secrets', () => {
    for (const target of PRODUCT) {
      const strangers = filesOf(target).filter(
        (file) => !/^(proto|gateway|core|webhook-relay)\/|^(package|run|connector)\./.test(file),
      );
      assert.deepEqual(strangers, [], target);
    }
    assert.deepEqual(
      filesOf('engine').filter((file) => /\.spec\.|examples/.test(file)),
      [],
    );
    for (const kept of [
      '.env',
      'secrets/core_tokens.txt',
      'node_modules/pg/package.json',
      'test/start.ts',
      'core/.types/x.d.ts',
    ])
      assert.ok(isIgnored(kept), kept);
    assert.ok(!isIgnored('core/migrations/0001_payments.sql'));
  });

  for (const target of [...PRODUCT, 'engine'])
    it(`hold all that ${target} imports, from packages that are there`, () => {
      const { files, packages } = reach(mainOf(target));
      const held = new Set(filesOf(target));
      assert.deepEqual(
        [...files].filter((file) => !held.has(file)),
        [],
      );
      assert.deepEqual(
        [...packages].filter((name) => !manifest.dependencies[name]),
        [],
      );
      assert.ok(files.size > 20, `${files.size} files`);
    });

  it('start from exactly these files, and say what is missing in their environment', () => {
    for (const file of filesOf('engine')) {
      mkdirSync(path.dirname(path.join(place, file)), { recursive: true });
      cpSync(path.join(ROOT, file), path.join(place, file));
    }
    for (const [name, { dev, optional, devOptional }] of Object.entries<Record<string, boolean>>(lock.packages)) {
      const isThere = /^node_modules\/(@[^/]+\/)?[^/]+$/.test(name) && !dev && !optional && !devOptional;
      if (!isThere) continue;
      mkdirSync(path.dirname(path.join(place, name)), { recursive: true });
      symlinkSync(path.join(ROOT, name), path.join(place, name));
    }
    for (const target of [...PRODUCT, 'engine']) {
      const [command = '', ...args] = execForm(target, 'CMD');
      const { status, stderr } = spawnSync(command, args, {
        cwd: place,
        env: { PATH: `${path.dirname(process.execPath)}:/usr/bin:/bin` },
        encoding: 'utf8',
      });
      assert.equal(status, 1, stderr);
      assert.match(stderr, /^(\w|-)+: [A-Z_]+ is missing$/m);
      assert.doesNotMatch(stderr, /Error|Warning/);
    }
  }).timeout(60_000);

  describe('R45 by their health check', () => {
    const PORTS = { gateway: 8081, core: 50052, 'webhook-relay': 8082, connector: 8081 };
    let status = 200;
    const server = createServer((_, response) => response.writeHead(status).end());
    before(async () => once(server.listen(0, '127.0.0.1'), 'listening'));
    after(() => server.close());

    for (const [target, own] of Object.entries(PORTS))
      it(`${target} is healthy while it is ready, and not else`, async () => {
        const [command, flag = '', script = ''] = execForm(target, 'HEALTHCHECK');
        assert.equal(command, 'node');
        assert.ok(script.includes(`http://127.0.0.1:${own}/health/ready`));
        const exposed = instructionsOf(target)
          .findLast(({ word }) => word === 'EXPOSE')
          ?.rest.split(' ');
        assert.ok(exposed?.includes(String(own)));
        const here = script.replace(String(own), String((server.address() as AddressInfo).port));
        for (const [answer, due] of [
          [200, 0],
          [503, 1],
        ]) {
          status = answer!;
          const [code] = await once(spawn(process.execPath, [flag, here]), 'exit');
          assert.equal(code, due, String(answer));
        }
      });
  });
});
