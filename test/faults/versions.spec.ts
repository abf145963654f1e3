import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'mocha';
import { createAuthorizer, createCallers, type Role } from '../../proto/runtime/callers.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createEngine, type Engine } from '../engine/engine.ts';
import { KEYS, QUICK } from '../support/core.ts';
import { asAdmin, testDatabaseUrl } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { createWix, type Merchant, type Payment, type Wix } from '../wix/wix.ts';
import { endPrograms, numberIn, type Program, startProgram } from './program.ts';

// R41: this version beside the one before it, on one database, as in a rolling upgrade and back: each finishes what the other began, and events that one
// has recorded are told by the other. VERSION_BEFORE names another commit than the last one.

const ROOT = path.join(import.meta.dirname, '../..');
const BEFORE = process.env.VERSION_BEFORE ?? 'HEAD~1';
const ENGINE_TOKEN = randomBytes(32).toString('hex');
const CORE_TOKEN = randomBytes(32).toString('hex');
const METHODS = ['VerifyAccount', 'Authorize', 'Capture', 'Void', 'Refund', 'GetOperation', 'Cancel', 'Reverse'];
const ALLOWED: Record<string, readonly Role[]> = Object.fromEntries(METHODS.map((name) => [name, ['engine']]));

const git = (...args: string[]) =>
  execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

/** The files of that commit, with the packages of this one; undefined where its history or its packages are not here. */
function checkOutBefore(): string | undefined {
  try {
    if (git('show', `${BEFORE}:package.json`) === '') return undefined;
    const folder = mkdtempSync(path.join(tmpdir(), 'version-before-'));
    execFileSync('sh', ['-c', `git archive ${BEFORE} | tar -x -C "${folder}"`], { cwd: ROOT });
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
    return folder;
  } catch {
    return undefined;
  }
}

/** What it needs of packages is here, if it needs nothing but what this version has. */
function hasItsPackages(folder: string): boolean {
  const needed = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  return Object.keys(needed.dependencies).every((name) => existsSync(path.join(ROOT, 'node_modules', name)));
}

describe('R41 two versions side by side', function () {
  this.timeout(240_000);
  let folder: string | undefined;
  let wix: Wix;
  let engine: Engine;
  let engineServer: ReturnType<typeof createGrpcServer>;
  let env: Record<string, string>;
  before(async function () {
    folder = checkOutBefore();
    if (!folder || !hasItsPackages(folder)) {
      process.stderr.write(
        `Two versions are not tried side by side: ${BEFORE} is not in the history of this checkout, or needs other packages\n`,
      );
      this.skip();
    }
    const log = quietLog();
    engine = createEngine({ data: ':memory:', log, pendingMs: 200 });
    engineServer = createGrpcServer({
      ...{ host: '127.0.0.1', port: 0, routes: engine.routes, log },
      authorizer: createAuthorizer(createCallers(`core:engine:${ENGINE_TOKEN}`), ALLOWED, log),
    });
    engine.start();
    wix = createWix({ log });
    const database = `versions_${randomUUID().replaceAll('-', '')}`;
    await asAdmin((client) => client.query(`create database ${database}`));
    env = {
      ...{ ...KEYS, ...QUICK, ANSWER_BUDGET_MS: '8000', PROCESSOR_TIMEOUT_MS: '10000', RECONCILE_GRACE_MS: '500' },
      ...{
        GATEWAY_PORT: '0',
        GATEWAY_ADMIN_PORT: '0',
        RELAY_PORT: '0',
        EVENT_DELAY_MS: '20',
        WIX_USER_AGENT: 'versions/1.0',
      },
      ...{
        WIX_API_URL: await wix.start(),
        WIX_PUBLIC_KEY: wix.publicKeyPem,
        WIX_APP_ID: wix.appId,
        WIX_APP_SECRET: wix.appSecret,
      },
      ...{
        DATABASE_URL: testDatabaseUrl(database),
        PROCESSOR_URL: `http://127.0.0.1:${await engineServer.start()}`,
        PROCESSOR_TOKEN: ENGINE_TOKEN,
      },
      CORE_TOKENS: `gateway:gateway:${CORE_TOKEN}`,
    };
  });
  after(async () => {
    await endPrograms();
    await engineServer?.stop(0);
    await engine?.stop();
    await wix?.stop();
    if (folder) rmSync(folder, { recursive: true, force: true });
  });

  const start = (checkout: string, file: string, more: Record<string, string>) =>
    startProgram(path.join(path.relative(ROOT, checkout), file), more);
  const urlOf = async (program: Program) =>
    `http://127.0.0.1:${await program.until((it) => numberIn(it, 'gateway.listening', 'port'))}`;

  interface Side {
    readonly connector: Program;
    readonly url: string;
    readonly corePort: number;
  }
  async function startSide(checkout: string): Promise<Side> {
    const connector = start(checkout, 'connector.ts', env);
    const corePort = await connector.until((it) => numberIn(it, 'grpc.listening', 'port'));
    return { connector, corePort, url: await urlOf(connector) };
  }
  const startGateway = (checkout: string, { corePort }: Side) => {
    const { WIX_PUBLIC_KEY = '' } = env;
    return start(checkout, 'gateway/main.ts', {
      ...{ GATEWAY_PORT: '0', GATEWAY_ADMIN_PORT: '0', CORE_TOKEN, WIX_PUBLIC_KEY },
      CORE_URL: `127.0.0.1:${corePort}`,
    });
  };

  it('each finishes what the other began, while one is killed and comes back, and Wix hears one story', async () => {
    const before = await startSide(folder!);
    const merchant = await wix.connect(before.url);
    const held: Payment[] = [];
    for (let i = 0; i < 3; i++) held.push(await wix.pay(merchant, { authorizeOnly: true }));

    // The new one migrates while the old one works.
    const now = await startSide(ROOT);
    const [oldGateway, newGateway] = [startGateway(folder!, now), startGateway(ROOT, before)];
    const urls = [before.url, now.url, await urlOf(oldGateway), await urlOf(newGateway)];
    const by = (url: string): Merchant => ({ ...merchant, gatewayUrl: url });

    let isOver = false;
    const made: Payment[] = [];
    const unanswered: Payment['request'][] = [];
    const load = urls.map(async (url, i) => {
      for (let n = 0; !isOver; n++) {
        const other = by(urls[(i + n) % urls.length]!);
        const call = async <T>(work: () => Promise<T>) => work().catch(() => undefined);
        const payment = await call(() =>
          wix.pay(by(url), { authorizeOnly: n % 2 === 0, ...(n % 5 === 4 && { number: '4000000000009235' }) }),
        );
        if (!payment) continue;
        made.push(payment);
        if (payment.answer.status !== 200) unanswered.push(payment.request);
        else if (n % 2 === 0 && n % 5 !== 4) await call(() => wix.capture({ ...payment, merchant: other }));
        else if (n % 5 !== 4) await call(() => wix.refund({ ...payment, merchant: other }, { amount: 100 }));
      }
    });
    const untilMade = (count: number) => eventually(async () => assert.ok(made.length >= count, `${made.length}`));
    await untilMade(40);
    await before.connector.kill();
    await untilMade(60);
    // And back again, on the schema of the new one.
    const again = await startSide(folder!);
    await untilMade(made.length + 20);
    for (const [i, payment] of held.entries()) {
      const answer = await wix.capture({ ...payment, merchant: by(i % 2 === 0 ? now.url : again.url) });
      assert.deepEqual([answer.status, answer.body], [200, {}]);
    }
    await now.connector.kill();
    const last = await wix.pay(by(again.url));
    assert.equal(last.answer.status, 200);
    isOver = true;
    await Promise.all(load);
    // Wix repeats what was not answered.
    for (const request of unanswered) await wix.create(by(again.url), request);

    // What the killed ones had claimed is free after its lease.
    await eventually(async () => assert.deepEqual(wix.untold, []), { timeoutMs: 90_000 });
    assert.deepEqual(wix.violations, []);
    const approvals = engine.books
      .list()
      .filter(({ kind, outcome }) => kind === 'authorize' && outcome.kind.case === 'approved');
    assert.equal(
      new Set(approvals.map(({ transactionId }) => transactionId)).size,
      approvals.length,
      'nobody is charged twice',
    );
    for (const { connector } of [before, now, again])
      assert.deepEqual(
        connector.lines.filter(({ alert }) => alert !== undefined).map(({ alert }) => alert),
        [],
      );
  });
});
