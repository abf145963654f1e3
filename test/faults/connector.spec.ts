import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DEVELOPMENT_MARK } from '../../proto/runtime/config.ts';
import { openBooks } from '../engine/books.ts';
import { eventually } from '../support/eventually.ts';
import { startEngine } from './engine-process.ts';
import { endPostgres, endPrograms, isAlive, postmasterOf, startProgram } from './program.ts';
import { createShoppers, type Shoppers } from './shoppers.ts';
import {
  adminUrlOf,
  connectMerchant,
  disagreements,
  letLeasesEnd,
  openSurroundings,
  type Surroundings,
  startConnector,
  untilSettled,
} from './surroundings.ts';

describe('the connector as a program', function () {
  this.timeout(90_000);
  let stage: Surroundings;
  let folder: string;
  let dataDir: string;

  before(async () => {
    stage = await openSurroundings();
    folder = mkdtempSync(path.join(tmpdir(), 'connector-'));
    chmodSync(folder, 0o755);
    dataDir = path.join(folder, 'data');
  });
  after(async () => {
    await endPrograms();
    await endPostgres(dataDir);
    await stage?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('R14 charges each payment once under load while it, its PostgreSQL and the engine are killed', async () => {
    const engineData = path.join(folder, 'engine');
    let engine = await startEngine(engineData);
    const env = { ...stage.env, DATA_DIR: dataDir, PROCESSOR_URL: engine.url };
    let connector = await startConnector(env);
    const shoppers = createShoppers(stage.wix, [await connectMerchant(stage.wix, connector.url)]);

    const shopping = shoppers.shop({ inFlight: 8, more: (begun) => begun < 80 });
    await whenDone(shoppers, 15);
    await connector.kill();
    await letLeasesEnd(adminUrlOf(dataDir));
    connector = await startConnector(env);
    await whenDone(shoppers, 35);
    await Promise.all([connector.kill(), endPostgres(dataDir, 'SIGKILL')]);
    connector = await startConnector(env);
    await letLeasesEnd(adminUrlOf(dataDir));
    await whenDone(shoppers, 55);
    await engine.kill();
    await eventually(() => assert.ok(connector.lines.some(({ event }) => event === 'processor.no_answer')));
    engine = await engine.again();
    await shopping;

    await untilSettled(stage.wix, adminUrlOf(dataDir), 30_000);
    const books = openBooks(engineData, { readOnly: true });
    assert.deepEqual(disagreements(stage.wix, books, shoppers.payments), []);
    assert.equal(shoppers.payments.length, 80);
    books.close();
    await connector.kill();
    await engine.kill();
  });

  it('R38 ends at SIGTERM under load: answers what is in flight, takes no more, and its PostgreSQL ends too', async () => {
    const patient = { PROCESSOR_TIMEOUT_MS: '6000', ANSWER_BUDGET_MS: '6000' };
    const env = { ...stage.env, ...patient, DATA_DIR: dataDir };
    const connector = await startConnector(env);
    const { url } = connector;
    const postgres = postmasterOf(dataDir)!;
    const merchant = await connectMerchant(stage.wix, url);
    const answer = Promise.withResolvers<undefined>();
    let asked = 0;
    stage.engine.fault = () => {
      asked += 1;
      return answer.promise;
    };
    const inFlight = Array.from({ length: 8 }, () => stage.wix.pay(merchant));
    await eventually(() => assert.equal(asked, 8));
    connector.signal('SIGTERM');
    await eventually(() => assert.rejects(fetch(url)));
    answer.resolve(undefined);
    const payments = await Promise.all(inFlight);
    for (const { answer: said } of payments) assert.deepEqual([said.status, said.body?.reasonCode], [200, undefined]);
    // It would be 1 if it had been forced after 10 s.
    assert.equal(await connector.ended, 0, connector.out);
    assert.ok(!isAlive(postgres));
    assert.equal(postmasterOf(dataDir), undefined);

    // What it had no time to tell is told after its next start.
    const next = await startConnector(env);
    await untilSettled(stage.wix, adminUrlOf(dataDir));
    await next.kill();
    assert.deepEqual(disagreements(stage.wix, stage.engine.books, payments), []);
  });

  it('R34 keeps its secrets from the PostgreSQL that it starts', async function () {
    if (process.platform !== 'linux') return this.skip();
    const connector = await startConnector({ ...stage.env, DATA_DIR: dataDir });
    const environ = readFileSync(`/proc/${postmasterOf(dataDir)}/environ`, 'utf8');
    assert.match(environ, /^LC_ALL=C\0?$/);
    await connector.kill();
  });

  it('says in one line each what its configuration lacks, and ends with 1', async () => {
    const connector = startProgram('connector.ts', { CREDENTIALS_KEY: 'not-a-key-and-never-printed' });
    assert.equal(await connector.ended, 1);
    const lines = connector.err.trimEnd().split('\n');
    const named = lines.map((line) => /^connector: (\w+) [^\n]+$/.exec(line)?.[1]);
    const missing = ['WIX_PUBLIC_KEY', 'WIX_APP_ID', 'WIX_APP_SECRET', 'WIX_USER_AGENT', 'PROCESSOR_URL'];
    const more = ['PROCESSOR_TOKEN', 'CREDENTIALS_KEY', 'EVENTS_KEY', 'MODE_WHEN_ABSENT', 'DATABASE_URL'];
    assert.deepEqual(new Set(named), new Set([...missing, ...more]), connector.err);
    assert.equal(named.length, missing.length + more.length);
    assert.doesNotMatch(connector.err + connector.out, /never-printed|\n\s+at /);
  });

  it('R34 refuses the secrets of development before it touches any data', async () => {
    const key = (rest: string) => `dev:${Buffer.from(DEVELOPMENT_MARK + rest).toString('base64')}`;
    const tokens = `backoffice:backoffice:${DEVELOPMENT_MARK}-backoffice-token`;
    const other = path.join(folder, 'other');
    const secrets = {
      CREDENTIALS_KEY: key(DEVELOPMENT_MARK),
      EVENTS_KEY: `${stage.env.EVENTS_KEY},${key('-key-for-events-')}`,
      CORE_TOKENS: tokens,
    };
    const connector = startProgram('connector.ts', { ...stage.env, ...secrets, DATA_DIR: other });
    assert.equal(await connector.ended, 1);
    const refused = connector.err.trimEnd().split('\n').sort();
    assert.deepEqual(
      refused,
      Object.keys(secrets)
        .sort()
        .map((name) => `connector: ${name} is a development secret that everybody knows`),
    );
    assert.ok(!existsSync(other));
  });
});

const whenDone = (shoppers: Shoppers, count: number) =>
  eventually(() => assert.ok(shoppers.done >= count), { timeoutMs: 30_000 });
