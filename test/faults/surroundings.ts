import assert from 'node:assert/strict';
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import type { Outcome } from '../../proto/gen/payments/v1/outcome_pb.js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { createCallers, requireToken } from '../../proto/runtime/callers.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import type { Books } from '../engine/books.ts';
import { createEngine, type Engine } from '../engine/engine.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { createWix, type Merchant, type Payment, type Wix } from '../wix/wix.ts';
import { numberIn, type Program, startProgram } from './program.ts';

// What stands around a connector that is killed: a simulated Wix and a simulated engine that live on, and a way to look into the
// database that goes past the connector.

export interface Surroundings {
  readonly wix: Wix;
  readonly engine: Engine;
  /** The connector's environment, but for where its data lives. */
  readonly env: Record<string, string>;
  close(): Promise<void>;
}

/** What takes minutes in production takes seconds here. */
const QUICK = {
  ANSWER_BUDGET_MS: '1500',
  PROCESSOR_TIMEOUT_MS: '1000',
  RECONCILE_GRACE_MS: '100',
  EVENT_DELAY_MS: '50',
  MODE_WHEN_ABSENT: 'sandbox',
};

export const ENGINE_TOKEN = randomBytes(32).toString('hex');

export async function openSurroundings(): Promise<Surroundings> {
  const log = quietLog();
  const wix = createWix({ log });
  const engine = createEngine({ data: ':memory:', log, pendingMs: 200 });
  const allowed = Object.fromEntries(ProcessorService.methods.map(({ name }) => [name, ['gateway'] as const]));
  const server = createGrpcServer({
    host: '127.0.0.1',
    port: 0,
    routes: engine.routes,
    interceptors: [requireToken(createCallers(`core:gateway:${ENGINE_TOKEN}`), allowed, log)],
    log,
  });
  const env = {
    ...QUICK,
    WIX_PUBLIC_KEY: wix.publicKeyPem,
    WIX_API_URL: await wix.start(),
    WIX_APP_ID: wix.appId,
    WIX_APP_SECRET: wix.appSecret,
    WIX_USER_AGENT: 'fault-tests/1.0.0',
    PROCESSOR_URL: `http://127.0.0.1:${await server.start()}`,
    PROCESSOR_TOKEN: ENGINE_TOKEN,
    CREDENTIALS_KEY: newKey(),
    EVENTS_KEY: newKey(),
    GATEWAY_PORT: '0',
    GATEWAY_ADMIN_PORT: '0',
    CORE_HTTP_PORT: '0',
    RELAY_PORT: '0',
  };
  engine.start();
  return {
    wix,
    engine,
    env,
    close: async () => {
      await server.stop(0);
      await engine.stop();
      await wix.stop();
    },
  };
}

export const newKey = () => `k${randomUUID().slice(0, 4)}:${randomBytes(32).toString('base64')}`;

/** Starts `npm run connector` and waits until it listens. After the first start it keeps its port, as Wix would expect. */
export async function startConnector(env: Record<string, string>): Promise<Program & { readonly url: string }> {
  const program = startProgram('connector.ts', env);
  const port = await program.until(() => numberIn(program, 'gateway.listening', 'port'));
  env.GATEWAY_PORT = String(port);
  return Object.assign(program, { url: `http://127.0.0.1:${port}` });
}

export async function connectMerchant(wix: Wix, url: string): Promise<Merchant> {
  const merchant = await wix.connect(url, { credentials: { apiKey: 'fault-tests', accountRef: randomUUID() } });
  assert.equal(merchant.answer.status, 200);
  return merchant;
}

/** Repeats a call as Wix does, until there is an answer. */
export function untilAnswered<T>(call: () => Promise<T>, statusOf: (answer: T) => number): Promise<T> {
  return eventually(
    async () => {
      const answer = await call();
      assert.equal(statusOf(answer), 200);
      return answer;
    },
    { timeoutMs: 30_000, every: 100 },
  );
}

/** Where what Wix was told of a payment and what the engine moved for it differ; empty when nobody was charged twice, or unheard. */
export function disagreements(wix: Wix, books: Books, payments: readonly Payment[]): string[] {
  return payments.flatMap((payment) => {
    const told = new Map(
      wix
        .events(payment.wixTransactionId)
        .filter(({ accepted, body }) => accepted && body.reasonCode === undefined)
        .map((event) => [event.text, event]),
    );
    const sums = [...told.values()].map(({ kind, body }) => {
      if (kind === 'transaction') return payment.request.authorizeOnly ? 0n : AMOUNT;
      return kind === 'void' ? 0n : BigInt(String(body.amount)) * (kind === 'refund' ? -1n : 1n);
    });
    const expected = sums.reduce((sum, each) => sum + each, 0n);
    const id = payment.pluginTransactionId;
    const authorizes = books.operations(id).filter(({ kind, outcome }) => kind === 'authorize' && isApproved(outcome));
    return books.charged(id) === expected && authorizes.length === Number(told.size > 0)
      ? []
      : [
          `${id}: Wix was told of ${expected}, the engine took ${books.charged(id)} with ${authorizes.length} approvals`,
        ];
  });
}

/** Of the sample payment. */
export const AMOUNT = 4590n;

const isApproved = (outcome: Outcome) => outcome.kind.case === 'approved';

export async function ask<Row extends object>(databaseUrl: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** The superuser's url of the embedded PostgreSQL in a DATA_DIR. */
export function adminUrlOf(dataDir: string): string {
  const secret = readFileSync(path.join(dataDir, 'secret'), 'utf8');
  const password = createHmac('sha256', secret).update('postgres').digest('hex');
  return `postgres://postgres:${password}@${encodeURIComponent(path.join(dataDir, 'socket'))}/payments`;
}

/** Whatever is not at its end: payments and operations without an outcome, events and deliveries that wait, contradictions. */
export async function openMatters(databaseUrl: string): Promise<string[]> {
  const rows = await ask<{ matter: string }>(
    databaseUrl,
    `select 'payment ' || state as matter from core.transactions
       where state in ('authorizing', 'awaiting_buyer', 'pending', 'capturing', 'voiding')
     union all select kind || ' ' || state from core.operations where state in ('running', 'waiting', 'unknown')
     union all select kind || ' ' || said from core.reports
     union all select 'unpublished ' || type from core.outbox where published_at is null
     union all select state || ' ' || type from relay.deliveries where finished_at is null
     union all select 'rejected ' || problem from relay.rejected_messages`,
  );
  return rows.map(({ matter }) => matter);
}

/** Waits until Wix has been told everything and nothing is open. */
export async function untilSettled(wix: Wix, databaseUrl: string, timeoutMs = 15_000): Promise<void> {
  await eventually(
    async () =>
      assert.deepEqual({ open: await openMatters(databaseUrl), untold: wix.untold }, { open: [], untold: [] }),
    { timeoutMs, every: 50 },
  );
  assert.deepEqual(wix.violations, []);
}

/** As if the time of every lease on a delivery had passed: what a killed deliverer held is free half a minute later. */
export async function letLeasesEnd(databaseUrl: string): Promise<void> {
  await ask(databaseUrl, 'update relay.transactions set claimed_until = now() where claimed_until is not null');
}
