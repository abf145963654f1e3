import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { z } from 'zod';
import { callerList } from '../../proto/runtime/callers.ts';
import {
  ConfigError,
  DEVELOPMENT_MARK,
  databaseUrl,
  type Env,
  flag,
  integer,
  isLoopback,
  keyRing,
  milliseconds,
  parseConfig,
  port,
  publicUrl,
  refuseDevelopmentSecrets,
  Secret,
  secret,
  secretNames,
  text,
  token,
  url,
} from '../../proto/runtime/config.ts';

const KEY = Buffer.alloc(32, 'key 7').toString('base64');
const CALLER_SECRET = 's'.repeat(32);

function problemsOf(schema: z.ZodObject, env: Env): readonly string[] {
  try {
    parseConfig(schema, env);
  } catch (error) {
    assert(error instanceof ConfigError, String(error));
    assert.equal(error.message, error.problems.join('\n'));
    return error.problems;
  }
  return [];
}

describe('the configuration', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'config-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  function file(content: string | Buffer): string {
    const name = path.join(folder, String(Math.random()));
    writeFileSync(name, content);
    return name;
  }

  it('R36 takes for the address of browsers what is https, or on this machine, and nothing behind its path', () => {
    const schema = z.object({ PUBLIC_URL: publicUrl() });
    for (const [given, read] of [
      ['https://pay.example', 'https://pay.example'],
      ['https://pay.example/', 'https://pay.example'],
      ['https://pay.example:8443/psp/', 'https://pay.example:8443/psp'],
      ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
      ['http://[::1]:8080/', 'http://[::1]:8080'],
    ] as const)
      assert.equal(parseConfig(schema, { PUBLIC_URL: given }).PUBLIC_URL, read);
    for (const bad of ['http://pay.example', 'pay.example', 'ftp://pay.example', 'javascript:alert(1)'])
      assert.deepEqual(problemsOf(schema, { PUBLIC_URL: bad }), [
        'PUBLIC_URL must be a URL that begins with https://, or with http:// on this machine',
      ]);
    for (const bad of ['?a=1', '#a', `/${'x'.repeat(500)}`])
      assert.deepEqual(problemsOf(schema, { PUBLIC_URL: `https://pay.example${bad}` }), [
        'PUBLIC_URL must have no query, fragment or user, and at most 500 characters',
      ]);
  });

  it('takes defaults for what is absent or empty', () => {
    const schema = z.object({ PORT: port(8080), WAIT_MS: milliseconds(500), ON: flag(true), NAME: text().optional() });
    assert.deepEqual(parseConfig(schema, { PORT: '', WAIT_MS: '  ' }), { PORT: 8080, WAIT_MS: 500, ON: true });
  });

  it('reads what is set, without the space around it', () => {
    const schema = z.object({
      PORT: port(1),
      ON: flag(false),
      NAME: text(),
      AT: url('http:', 'https:'),
      N: integer(5),
    });
    const env = { PORT: ' 65535 ', ON: 'true', NAME: ' a name ', AT: 'https://a.example', N: '0' };
    assert.deepEqual(parseConfig(schema, env), {
      PORT: 65535,
      ON: true,
      NAME: 'a name',
      AT: 'https://a.example',
      N: 0,
    });
  });

  it('tells all problems at once, by name and without a value', () => {
    const schema = z.object({
      PORT: port(1),
      WAIT_MS: milliseconds(1, { max: 100 }),
      ON: flag(true),
      NAME: text(),
      AT: url('https:'),
      PASSWORD: secret(32),
      MODE: z.enum(['live', 'sandbox']),
      KEYS: keyRing(),
      TOKENS: callerList(),
      KEYS_FROM_NOWHERE: keyRing(),
    });
    const wrong = 'hunter2';
    const names = Object.keys(schema.shape).filter((name) => !['NAME', 'KEYS_FROM_NOWHERE'].includes(name));
    const env: Env = Object.fromEntries(names.map((name) => [name, wrong]));
    env.KEYS_FROM_NOWHERE_FILE = path.join(folder, 'nowhere');
    const problems = problemsOf(schema, env);
    assert.deepEqual(
      problems.map((problem) => problem.split(' ')[0]).sort(),
      [...names, 'NAME', 'KEYS_FROM_NOWHERE_FILE'].sort(),
    );
    assert(problems.includes('NAME is missing'));
    assert(problems.includes('WAIT_MS must be a whole number from 1 to 100'));
    assert(problems.includes('AT must be a URL that begins with https:'));
    assert.doesNotMatch(problems.join(), /hunter2/);
  });

  it('refuses numbers that only look like some', () => {
    for (const value of ['1e3', '0x10', '1.5', '-1', '65536', '٣', '1 000'])
      assert.equal(problemsOf(z.object({ PORT: port(1) }), { PORT: value }).length, 1, value);
  });

  it('takes the address of a Kubernetes Service under the name of a port for what it is', () => {
    const schema = z.object({ GATEWAY_PORT: port(8080) });
    for (const link of ['tcp://10.0.0.1:8080', 'udp://10.0.0.1:53', 'tcp://[fd00::1]:8080'])
      assert.deepEqual(parseConfig(schema, { GATEWAY_PORT: link }), { GATEWAY_PORT: 8080 }, link);
    for (const wrong of ['tcp', '10.0.0.1:8080', 'http://10.0.0.1:8080'])
      assert.equal(problemsOf(schema, { GATEWAY_PORT: wrong }).length, 1, wrong);
  });

  it('knows the first name of an .env file that begins with a byte order mark', () => {
    const schema = z.object({ NAME: text() });
    assert.equal(parseConfig(schema, { '\uFEFFNAME': 'one' }).NAME, 'one');
    assert.equal(parseConfig(schema, { '\uFEFFNAME_FILE': file('two') }).NAME, 'two');
    assert.equal(parseConfig(schema, { NAME: 'three', '\uFEFFNAME': 'one' }).NAME, 'three');
  });

  it('refuses a file that is no UTF-8, and takes one with a byte order mark', () => {
    const schema = z.object({ PASSWORD: secret() });
    const utf16 = Buffer.from('\uFEFFhunter2', 'utf16le');
    const withoutMark = utf16.subarray(2);
    for (const bytes of [utf16, withoutMark, Buffer.from(utf16).swap16(), Buffer.from([0x68, 0xe9])])
      assert.deepEqual(problemsOf(schema, { PASSWORD_FILE: file(bytes) }), ['PASSWORD_FILE must be text in UTF-8']);
    assert.equal(parseConfig(schema, { PASSWORD_FILE: file('\uFEFFhunter2\r\n') }).PASSWORD.reveal(), 'hunter2');
  });

  it('R33 refuses one caller with two roles, and one secret for two callers', () => {
    const schema = z.object({ TOKENS: callerList() });
    const [one, two] = ['1', '2'].map((digit) => digit.repeat(32));
    assert.deepEqual(problemsOf(schema, { TOKENS: `ada:reader:${one},ada:operator:${two}` }), [
      'TOKENS has one name with two roles',
    ]);
    assert.deepEqual(problemsOf(schema, { TOKENS: `ada:reader:${one},bob:reader:${one}` }), [
      'TOKENS has the same secret twice',
    ]);
    assert.deepEqual(problemsOf(schema, { TOKENS: `ada:reader:${one},ada:reader:${two}` }), []);
  });

  it('R33 refuses a token that no header carries', () => {
    const schema = z.object({ ONE: token().optional(), ALL: callerList().optional() });
    for (const wrong of ['t'.repeat(31), `${'t'.repeat(32)} t`, `${'t'.repeat(32)}é`, `${'t'.repeat(32)}\nt`]) {
      assert.equal(problemsOf(schema, { ONE: wrong }).length, 1, wrong);
      assert.equal(problemsOf(schema, { ALL: `a:reader:${wrong}` }).length, 1, wrong);
    }
    assert.deepEqual(problemsOf(schema, { ONE: 't'.repeat(32), ALL: `a:reader:${'t'.repeat(32)}` }), []);
  });

  it('R34 takes any value from the file that NAME_FILE names', () => {
    const env = { PASSWORD_FILE: file('from the file\n'), KEYS_FILE: file(`a:${KEY}\n`) };
    const config = parseConfig(z.object({ PASSWORD: secret(), KEYS: keyRing() }), env);
    assert.equal(config.PASSWORD.reveal(), 'from the file');
    assert.deepEqual(config.KEYS.ids, ['a']);
  });

  it('refuses a value and a file for the same name', () => {
    const env = { NAME: 'one', NAME_FILE: file('two') };
    assert.deepEqual(problemsOf(z.object({ NAME: text() }), env), ['NAME_FILE and NAME are both set']);
  });

  it('R34 prints no secret, whichever way it is printed', () => {
    const env = { PASSWORD: 'hunter2', KEYS: KEY, TOKENS: `a:reader:${CALLER_SECRET}` };
    const config = parseConfig(z.object({ PASSWORD: secret(), KEYS: keyRing(), TOKENS: callerList() }), env);
    const printed = `${inspect(config, { depth: 9, showHidden: true })} ${JSON.stringify(config)} ${config.PASSWORD}`;
    for (const value of ['hunter2', KEY, CALLER_SECRET]) assert(!printed.includes(value), printed);
    assert.equal(config.PASSWORD.reveal(), 'hunter2');
    assert.equal(config.TOKENS.identify(CALLER_SECRET)?.name, 'a');
  });

  it('R34 names the entries that are secret, optional ones too', () => {
    const schema = z.object({
      PORT: port(1),
      PASSWORD: secret(),
      OTHER: secret().optional(),
      KEYS: keyRing(),
      TOKENS: callerList().optional(),
      LAST: secret().default(new Secret('x')),
    });
    assert.deepEqual(secretNames(schema), ['PASSWORD', 'OTHER', 'KEYS', 'TOKENS', 'LAST']);
  });

  it('checks rules over several names after those of each', () => {
    const schema = z
      .object({ A: text().optional(), B: text().optional() })
      .refine(({ A, B }) => A ?? B, { path: ['A'], message: 'or B must be set' });
    assert.deepEqual(problemsOf(schema, {}), ['A or B must be set']);
    assert.deepEqual(problemsOf(schema, { B: 'x' }), []);
  });

  it('takes a database only as a URL that names its host, and quotes none', () => {
    const schema = z.object({ DATABASE_URL: databaseUrl() });
    const socket = 'postgres://core:s3cret@%2Ftmp%2Fpg-1%2Fsocket/payments';
    const good = [
      'postgres://h/d',
      'postgresql://u:p%40w@[::1]:5433/d?sslmode=verify-full',
      socket,
      'postgres://u:5%@h/d',
    ];
    for (const url of [...good, 'postgresql://u:p@/d?host=/var/run/postgresql'])
      assert.equal(parseConfig(schema, { DATABASE_URL: url }).DATABASE_URL.reveal(), url);
    const bad = [
      'jdbc:postgresql://u:s3cret@h/d',
      'u:s3cret@h/d',
      'postgres://u:s3/cret@h/d',
      'postgres://u:s3cret@h:x/d',
    ];
    for (const url of [
      ...bad,
      'postgres:s3cret',
      'postgres:///s3cret',
      'host=h password=s3cret',
      'postgres://u:%ff@h/s3cret',
    ])
      assert.throws(
        () => parseConfig(schema, { DATABASE_URL: url }),
        (error: ConfigError) => {
          assert.match(
            error.message,
            /^DATABASE_URL must be a URL such as postgres:\/\/USER:PASSWORD@HOST:5432\/DATABASE/,
          );
          assert.doesNotMatch(error.message, /s3|jdbc/);
          return true;
        },
        url,
      );
    assert.deepEqual(secretNames(schema), ['DATABASE_URL']);
  });

  it('R33 knows which addresses are on this machine', () => {
    for (const address of ['127.0.0.1:50051', 'localhost:1', 'http://localhost', 'https://127.1.2.3/x', '[::1]:1'])
      assert(isLoopback(address), address);
    for (const address of ['core:50051', '10.0.0.1', '127.0.0.1.example', 'http://localhost.example', '0.0.0.0:1', ''])
      assert(!isLoopback(address), address);
  });

  it('R34 refuses the secrets of development by value, as text, as key and from a file', () => {
    const schema = z.object({ PASSWORD: secret(), KEYS: keyRing(), TOKENS: callerList().optional(), NAME: text() });
    const key = `dev:${Buffer.from(DEVELOPMENT_MARK.repeat(2)).toString('base64')}`;
    const refused = (env: Env) => {
      try {
        refuseDevelopmentSecrets(schema, env);
      } catch (error) {
        assert(error instanceof ConfigError);
        return error.problems.map((problem) => problem.split(' ')[0]);
      }
      return [];
    };
    const own = { PASSWORD: 'own', KEYS: `a:${KEY}`, TOKENS: `a:reader:${CALLER_SECRET}`, NAME: DEVELOPMENT_MARK };
    assert.deepEqual(refused(own), []);
    assert.deepEqual(refused({ ...own, KEYS: `a:${KEY},${key}` }), ['KEYS']);
    assert.deepEqual(refused({ ...own, PASSWORD: '', PASSWORD_FILE: file(`${DEVELOPMENT_MARK}-x`) }), ['PASSWORD']);
    assert.deepEqual(refused({ ...own, TOKENS: `a:reader:${DEVELOPMENT_MARK}-${CALLER_SECRET}` }), ['TOKENS']);
  });
});
