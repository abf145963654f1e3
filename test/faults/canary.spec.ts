import assert from 'node:assert/strict';
import { chmodSync, globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { eventually } from '../support/eventually.ts';
import { CANARIES, findCanaries, formsOf, SECURITY_CODE_FIELDS, saysSecurityCode } from './canaries.ts';
import {
  callInVain,
  card,
  connectInVain,
  createCanaryLife,
  followInEveryWay,
  payInEveryWay,
  wallet,
} from './canary-life.ts';
import { startEchoEngine } from './echo-engine.ts';
import { endPostgres, endPrograms, freePort } from './program.ts';
import { adminUrlOf, ask, ENGINE_TOKEN, openSurroundings, type Surroundings, startConnector } from './surroundings.ts';

// Distinctive values go through everything that can happen to a payment; then everything that was written is searched for them.

describe('canaries', function () {
  this.timeout(90_000);
  let stage: Surroundings;
  let dataDir: string;
  let secrets: Record<string, string | Buffer>;
  const texts = { printed: '', errors: '', metrics: '' };

  before(async () => {
    stage = await openSurroundings();
    dataDir = mkdtempSync(path.join(tmpdir(), 'canary-'));
    chmodSync(dataDir, 0o755);
    secrets = { ...CANARIES, 'engine token': ENGINE_TOKEN, 'app secret': stage.wix.appSecret };
    for (const name of ['CREDENTIALS_KEY', 'EVENTS_KEY'] as const) {
      const text = String(stage.env[name]).split(':')[1] ?? '';
      Object.assign(secrets, { [name]: text, [`bytes of ${name}`]: Buffer.from(text, 'base64') });
    }
    const ports = { CORE_HTTP_PORT: await freePort(), RELAY_PORT: await freePort() };
    const env = { ...stage.env, ...ports, DATA_DIR: dataDir, LOG_LEVEL: 'debug' };
    await live(env);
    const echo = await startEchoEngine();
    await live({ ...env, PROCESSOR_URL: echo.url }, 'echo');
    echo.stop();
  });
  after(async () => {
    await endPrograms();
    await endPostgres(dataDir);
    await stage?.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  /** The life of one connector, from its start to its kill. */
  async function live(env: Record<string, string>, engine?: 'echo'): Promise<void> {
    const connector = await startConnector(env);
    const { url } = connector;
    const merchant = await stage.wix.connect(url, {
      credentials: { apiKey: CANARIES['api key'], accountRef: 'canary' },
    });
    const life = createCanaryLife(stage, url, merchant);
    if (engine === 'echo') {
      for (const method of [card(), wallet('googlePay'), wallet('applePay')]) await life.pay(method);
    } else {
      await connectInVain(life);
      await payInEveryWay(life);
      await followInEveryWay(stage, life);
      await callInVain(life);
      await eventually(() =>
        assert.ok(stage.wix.events().some(({ text }) => text.includes(CANARIES['token on file']))),
      );
    }
    for (const port of [env.CORE_HTTP_PORT, env.RELAY_PORT])
      texts.metrics += await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    await ask(adminUrlOf(dataDir), 'checkpoint');
    if (engine !== 'echo') await connector.kill();
    texts.printed += connector.out + connector.err;
    texts.errors += life.errors.join('\n');
  }

  it('would be found in whatever form', () => {
    for (const [name, value] of Object.entries(secrets))
      for (const [form, needle] of Object.entries(formsOf(value))) {
        const haystack = Buffer.concat([Buffer.from('<'), Buffer.from(needle as string), Buffer.from('>')]);
        assert.ok(findCanaries(haystack, { [name]: value }).includes(`${name} as ${form}`));
      }
  });

  for (const where of ['printed', 'errors', 'metrics'] as const)
    it(`R20 R32 are in nothing that is ${where}`, () => {
      assert.ok(texts[where].length > 1000);
      assert.deepEqual(findCanaries(texts[where], secrets), []);
      assert.ok(!saysSecurityCode(texts[where]));
    });

  it('R31 R35 are in no row of any table', async () => {
    const url = adminUrlOf(dataDir);
    const tables = await ask<{ name: string }>(
      url,
      `select table_schema || '.' || table_name as name from information_schema.tables where table_schema in ('core', 'relay')`,
    );
    let rows = 0;
    for (const { name } of tables)
      for (const { row } of await ask<{ row: string }>(url, `select row_of::text as row from ${name} as row_of`)) {
        rows += 1;
        assert.deepEqual(findCanaries(row, secrets), [], `${name}: ${row}`);
        assert.ok(!saysSecurityCode(row), `${name}: ${row}`);
        for (const [, hex = ''] of row.matchAll(/\\x((?:[0-9a-f]{2})+)/g))
          assert.deepEqual(findCanaries(Buffer.from(hex, 'hex'), { ...secrets, ...SECURITY_CODE_FIELDS }), [], name);
      }
    assert.ok(rows > 200, `${rows} rows`);
  });

  it('R31 R35 are in no file of the data folder, its write-ahead log included', () => {
    const files = globSync('**/*', { cwd: dataDir })
      .map((name) => path.join(dataDir, name))
      .filter((name) => statSync(name, { throwIfNoEntry: false })?.isFile());
    assert.ok(files.some((name) => name.includes('pg_wal')));
    for (const file of files)
      assert.deepEqual(findCanaries(readFileSync(file), { ...secrets, ...SECURITY_CODE_FIELDS }), [], file);
  });

  it("are in no entry of the engine's books, but for the token that it gave out itself", () => {
    const { 'token on file': _, ...others } = secrets;
    const entries = stage.engine.books.list();
    assert.ok(entries.length > 30);
    for (const { outcome, later, ...entry } of entries) {
      const text = JSON.stringify(entry, (_, value) => (typeof value === 'bigint' ? String(value) : value));
      assert.deepEqual(findCanaries(text, others), []);
    }
  });
});
