import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'mocha';
import type { z } from 'zod';
import { standaloneConfig as coreConfig } from '../core/config.ts';
import { coreSwitches } from '../core/switches.ts';
import { standaloneConfig as gatewayConfig } from '../gateway/config.ts';
import { standaloneConfig as relayConfig } from '../webhook-relay/config.ts';

// The rules of this repository that neither the compiler nor the linter knows.

const root = path.join(import.meta.dirname, '..');
const files = globSync('**/*.ts', {
  cwd: root,
  exclude: ['node_modules/**', 'proto/gen/**', '**/.types/**', '.data/**'],
})
  .filter((file) => !/(^|\/)(node_modules|\.types|\.data)\//.test(file))
  .sort();
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const lines = (file: string) => read(file).split('\n').length - 1;
/** Code without comments, so that prose may speak of anything. */
const code = (file: string) => read(file).replaceAll(/\/\*[\s\S]*?\*\/|(?<![:'"`])\/\/.*$/gm, '');

const isProduct = (file: string) => /^(proto\/runtime|gateway|core|webhook-relay|ops)\//.test(file);
const isService = (file: string) => /^(gateway|core|webhook-relay)\//.test(file);
/** A file of its service with a `main` guard. */
const isCommand = (file: string) => code(file).includes('import.meta.main');
const product = files.filter(isProduct);

const violators = (of: readonly string[], breaks: (file: string) => boolean) => of.filter(breaks);

describe('the house', () => {
  it('has small rooms: no file over 400 lines, product files under 150 on average', () => {
    assert.deepEqual(
      violators(files, (file) => lines(file) > 400),
      [],
    );
    const total = product.reduce((sum, file) => sum + lines(file), 0);
    assert.ok(total / product.length < 150, `${total / product.length} lines on average`);
  });

  it('names files in kebab-case', () => {
    assert.deepEqual(
      violators(files, (file) => !/^[a-z0-9-]+(\.spec|\.d)?\.ts$/.test(path.basename(file))),
      [],
    );
  });

  it('imports hand-written files as .ts and generated ones as .js', () => {
    const wrong = (file: string) =>
      [...code(file).matchAll(/from '(\.[^']+)'/g)].some(([, target = '']) =>
        target.includes('proto/gen/') || target.startsWith('../gen/')
          ? !target.endsWith('_pb.js')
          : !target.endsWith('.ts'),
      );
    assert.deepEqual(violators(files, wrong), []);
  });

  it('keeps SQL in stores', () => {
    const hasSql = (file: string) => /`\s*(select|insert into|update|delete from|with)\s/i.test(code(file));
    const allowed = (file: string) =>
      file.includes('/store') ||
      /^proto\/runtime\/(database|migrate)\.ts$/.test(file) ||
      file.startsWith('proto/runtime/embedded');
    assert.deepEqual(
      violators(product, (file) => hasSql(file) && !allowed(file)),
      [],
    );
  });

  it('R41 names the columns that it reads and writes', () => {
    const careless = (file: string) => /\b(select|returning)\s+\*|insert into \w+ (values|select)/i.test(code(file));
    assert.deepEqual(violators(product, careless), []);
  });

  it('R37 asks the database for the time of leases, due times and expiries', () => {
    const asksTheClock = (file: string) => /Date\.now\(|new Date\(\)/.test(code(file));
    assert.deepEqual(
      violators(
        files.filter((file) => /^(core|webhook-relay)\//.test(file)),
        asksTheClock,
      ),
      [],
    );
  });

  it('touches the process in a main or a command alone', () => {
    const touches = (file: string) => /\bprocess\.(env|exit|on|argv|std)/.test(code(file));
    assert.deepEqual(
      violators(files.filter(isService), (file) => touches(file) && !file.endsWith('/main.ts') && !isCommand(file)),
      [],
    );
  });

  it('does no I/O in pure files', () => {
    const pure = ['core/transaction.ts', 'core/operation.ts', 'core/decide.ts', 'core/outcome.ts', 'core/reason.ts'];
    pure.push(
      'core/event.ts',
      'core/ids.ts',
      'core/currencies.ts',
      'webhook-relay/delivery.ts',
      'webhook-relay/breaker.ts',
    );
    const impure = (file: string) =>
      /from '(node:|pg|\.\/store|.*\/runtime\/(database|log|loop))|await |Date\.now|Math\.random/.test(
        code(file).replaceAll(/^import type .*$/gm, ''),
      );
    assert.deepEqual(violators(pure, impure), []);
  });

  it('has no file that nobody imports', () => {
    const imported = new Set(
      files.flatMap((file) =>
        [...read(file).matchAll(/(?:from|import\(|import) ?'(\.[^']+)'/g)].map(([, target = '']) =>
          path.normalize(path.join(path.dirname(file), target)),
        ),
      ),
    );
    assert.deepEqual(
      violators(product, (file) => !imported.has(file) && !file.endsWith('/main.ts') && !isCommand(file)),
      [],
    );
  });

  it('leaves no marks of unfinished work', () => {
    const marks = new RegExp(
      ['TO' + 'DO', 'FIX' + 'ME', 'HA' + 'CK', 'X' + 'XX'].map((mark) => `\\b${mark}\\b`).join('|'),
    );
    assert.deepEqual(
      violators(files, (file) => marks.test(read(file))),
      [],
    );
  });
});

describe('the documents', () => {
  it('list every name of the configuration, and no other', () => {
    const schemas: z.ZodType[] = [gatewayConfig, coreConfig, relayConfig];
    const known = new Set(schemas.flatMap((schema) => Object.keys((schema as z.ZodObject).shape)));
    known.add('DATA_DIR');
    const table = /### Configuration([\s\S]*?)\n`GET/.exec(read('README.md'))?.[1] ?? '';
    const listed = new Set([...table.matchAll(/^\| ([A-Z_, ]+) \|/gm)].flatMap(([, names = '']) => names.split(', ')));
    assert.deepEqual(
      [...known].filter((name) => !listed.has(name)),
      [],
      'missing in the README',
    );
    assert.deepEqual(
      [...listed].filter((name) => !known.has(name)),
      [],
      'unknown in the README',
    );
  });

  it('explain every alert with its first command', () => {
    const operations = read('docs/OPERATIONS.md');
    const names = new Set(
      product.flatMap((file) => [...code(file).matchAll(/alert(?:\(|: )'([a-z_]+)'/g)].map(([, name = '']) => name)),
    );
    assert.ok(names.size > 10);
    assert.deepEqual(
      [...names].filter((name) => !operations.includes(`### ${name}\n`)),
      [],
    );
  });
});

describe('the switches', () => {
  const rows = read('docs/CONTRACT-SWITCHES.md')
    .split('\n')
    .filter((line) => /^\| U\d/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  const namesIn = (cell = '') => cell.match(/[A-Z]+(_[A-Z]+)+/g) ?? [];

  it('have a row for each open point of the contract, with its settings or why there is none', () => {
    const points = Array.from({ length: 17 }, (_, i) => `U${i + 1}`);
    assert.deepEqual(
      rows.map(([, point]) => point),
      points,
    );
    for (const [, point, unclear, setting, , changes] of rows) {
      assert.ok(unclear && changes, point);
      assert.ok(setting === 'none' || namesIn(setting).length > 0, point);
    }
  });

  it('are in the configuration with the defaults that the table has', () => {
    const shapes = [gatewayConfig, coreConfig, relayConfig].map(({ shape }) => shape as Record<string, z.ZodType>);
    for (const [, point, , setting, byDefault] of rows) {
      for (const name of namesIn(setting)) {
        const entry = shapes.find((shape) => name in shape)?.[name];
        assert.ok(entry, `${point}: ${name}`);
        const { data } = entry.safeParse(undefined);
        // Without a default it has to be set, or another setting stands in for it.
        if (data !== undefined) assert.equal(String(data), byDefault, `${point}: ${name}`);
      }
    }
  });

  it('have tests that carry their number', () => {
    const specs = files.filter((file) => file.endsWith('.spec.ts')).map(read);
    const held = new Set(
      specs.flatMap((spec) => [...spec.matchAll(/\b(?:it|describe)\([`'].*?\b(U\d+)\b/g)].map(([, u]) => u)),
    );
    const without = rows.filter(([, point, , setting]) => setting !== 'none' && !held.has(point));
    assert.deepEqual(without, []);
  });

  it('are all in the table', () => {
    const listed = new Set(rows.flatMap(([, , , setting]) => namesIn(setting)));
    assert.deepEqual(
      Object.keys(coreSwitches).filter((name) => !listed.has(name)),
      [],
    );
  });
});

describe('the threat model', () => {
  it('names tests that are there, at least one for each threat', () => {
    const [, model = ''] = read('docs/SECURITY.md').split(/^## /m);
    const threats = model.split('\n').filter((line) => /^\| (?!who \||---)/.test(line));
    assert.ok(threats.length > 10);
    for (const threat of threats) {
      const named = [...threat.matchAll(/`(test\/[\w/-]+\.spec\.ts)` "([^"]+)"/g)];
      assert.ok(named.length > 0, threat);
      for (const [, file = '', title = ''] of named) assert.ok(read(file).includes(`'${title}'`), `${file}: ${title}`);
    }
  });
});

describe('the rules', () => {
  it('have a test each that carries their number', () => {
    const rules = new Set([...read('docs/RULES.md').matchAll(/\*\*(R\d+)\b/g)].map(([, rule = '']) => rule));
    const specs = files.filter((file) => file.startsWith('test/')).map(read);
    const held = new Set(specs.flatMap((spec) => [...spec.matchAll(/\bR\d+\b/g)].map(([rule]) => rule)));
    assert.ok(rules.size > 40);
    assert.deepEqual(
      [...rules].filter((rule) => !held.has(rule)),
      [],
    );
  });
});
