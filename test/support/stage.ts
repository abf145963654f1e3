import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  createRouterTransport,
  type Interceptor,
} from '@connectrpc/connect';
import { createConnector } from '../../connector.ts';
import { operationId } from '../../core/ids.ts';
import {
  type GetTransactionResponse,
  PaymentsService,
  type ReportOutcomeResponse,
} from '../../proto/gen/payments/v1/payments_service_pb.js';
import {
  ProcessorService,
  type VerifyAccountRequest,
  VerifyAccountResponseSchema,
} from '../../proto/gen/processor/v1/processor_pb.js';
import { actAs, type Role } from '../../proto/runtime/callers.ts';
import { createDatabase, type Database } from '../../proto/runtime/database.ts';
import { errorInfo } from '../../proto/runtime/rpc.ts';
import { createEngine, type Engine } from '../engine/engine.ts';
import type { Fault, Method, OutcomeInit } from '../engine/fault.ts';
import type { Answer } from '../wix/client.ts';
import type { ConnectOptions, PaymentOptions } from '../wix/requests.ts';
import { createWix, type Merchant, type Payment, type Wix } from '../wix/wix.ts';
import { KEYS, QUICK } from './core.ts';
import { freshDatabase } from './database.ts';
import { eventually } from './eventually.ts';
import { assertKept } from './judge.ts';
import { quietLog } from './log.ts';

// The stage of the stories: the whole connector in one process, over a real database, between the simulated Wix and the simulated
// engine. Wix comes over HTTP, as it does in life.

/** For stories of calls that wait in vain: Wix has its answer long before a call of the engine is given up. */
export const SLOW = { ANSWER_BUDGET_MS: '1500' };

/** For stories of answers that are lost: a call of the engine is given up soon. */
export const LOSSY = { ANSWER_BUDGET_MS: '1500', PROCESSOR_TIMEOUT_MS: '500' };

/** Sets a stage for all stories of one `describe`, and judges each of them when it is over. Filled before the first one begins. */
export function useStage(
  options: { env?: Record<string, string>; judge?: (stage: Stage) => Promise<void>; road?: Road } = {},
): Stage {
  const { env, judge = assertKept, road } = options;
  const stage = {} as Stage;
  before(() => setStage(stage, env, road));
  afterEach(() => {
    stage.heal();
    return judge(stage);
  });
  after(() => stage.stop());
  return stage;
}

const ENV = {
  ...KEYS,
  ...QUICK,
  // Nothing is given up only because this machine is busy.
  ANSWER_BUDGET_MS: '8000',
  PROCESSOR_TIMEOUT_MS: '20000',
  WIX_USER_AGENT: 'stories/1.0',
  EVENT_DELAY_MS: '20',
  PUBLIC_URL: 'https://pay.harbor.example',
  GATEWAY_PORT: '0',
  GATEWAY_ADMIN_PORT: '0',
  RELAY_PORT: '0',
  DRAIN_MS: '500',
};

/** The connector's way to its database, such as through a pooler. */
type Road = (databaseUrl: string) => Promise<string>;

/** What the engine says of an account; undefined: what it decides by itself. */
type Verdict = (request: VerifyAccountRequest) => MessageInitShape<typeof VerifyAccountResponseSchema> | undefined;

/** Calls that wait at the engine's door. */
export interface Held {
  /** The first one is there. */
  readonly reached: Promise<void>;
  /** How many have come. */
  calls(): number;
  release(): void;
}

export interface Stage {
  readonly wix: Wix;
  readonly engine: Engine;
  /** The engine's port, for what happens at the engine alone. */
  readonly processor: Client<typeof ProcessorService>;
  readonly gatewayUrl: string;
  /** WIX_API_URL. */
  readonly wixUrl: string;
  /** CORE_URL; only with CORE_TOKENS. */
  readonly coreGrpc: string;
  /** Of the core's HTTP port. */
  readonly coreUrl: string;
  /** The core's schema. */
  readonly db: Database;
  readonly url: string;
  readonly log: ReturnType<typeof quietLog>;
  readonly merchant: Merchant;
  verdict: Verdict | undefined;
  /** Another merchant that is connected, with an account of its own. */
  connect(options?: ConnectOptions): Promise<Merchant>;
  /** A payment to the merchant. */
  pay(options?: PaymentOptions): Promise<Payment>;
  as(name: string, role: Role): Client<typeof PaymentsService>;
  find(payment: Payment): Promise<GetTransactionResponse>;
  /**
   * Reports an outcome of a payment's operation of this kind, the open one or else the newest: as the engine, or as an operator who
   * gives a reason.
   */
  report(payment: Payment, kind: Kind, outcome: OutcomeInit, overrideReason?: string): Promise<ReportOutcomeResponse>;
  /** What happened to a payment by its events, those included that Wix never gets. */
  happened(payment: { wixTransactionId: string }): Promise<string[]>;
  /** Resolves when the relay has nothing more to tell of a payment. */
  settled(payment: { wixTransactionId: string }): Promise<void>;
  /** The names of the alerts about a payment. */
  alerts(payment: Payment): string[];
  /** The event that tells Wix of this, once it has come. */
  told(payment: { wixTransactionId: string }, kind: string, reasonCode?: number): ReturnType<Wix['eventFor']>;
  /** Minor units that the engine has taken from the buyer and not returned. */
  charged(payment: Payment): bigint;
  /** By which the engine knows a payment's authorize. */
  requestId(payment: Payment): string;
  /** Where the engine was told to send the buyer back to; empty: it may show no page. */
  returnUrl(payment: Payment): string;
  /** The buyer follows that link, or another token's: what the gateway answers to the browser. */
  comeBack(payment: Payment, token?: string): Promise<Returned>;
  /** How often the engine was sent an order of this kind. */
  sends(payment: Payment, kind: Kind): Promise<number>;
  /** Spoils the next call of one method to the engine. */
  once(method: Method, fault: Fault): void;
  /** Spoils every call of one method to the engine, until it is healed. */
  always(method: Method, fault: Fault): void;
  /** Lets calls of one method wait at the engine's door until they are released; what they are told then may be given. */
  hold(method: Method, fault?: Fault): Held;
  heal(): void;
  stop(): Promise<void>;
}

/** What a browser gets at the link. */
export interface Returned {
  readonly status: number;
  /** Where it is sent on to; null: nowhere. */
  readonly location: string | null;
  readonly headers: Headers;
  readonly text: string;
}

/** Asserts what an answer says: success without a reason. */
export function assertSays(answer: Answer, reasonCode?: number, errorCode?: string): void {
  const said = { status: answer.status, reasonCode: answer.body?.reasonCode, errorCode: answer.body?.errorCode };
  assert.deepEqual(said, { status: 200, reasonCode, errorCode });
}

/** Asserts that a call of the PSP's own services has no answer, and why. */
export function assertFails(call: Promise<unknown>, code: Code, reason: string): Promise<void> {
  return assert.rejects(call, (error) => {
    assert.ok(error instanceof ConnectError);
    assert.deepEqual([Code[error.code], errorInfo(error)?.reason], [Code[code], reason]);
    return true;
  });
}

export type Kind = 'authorize' | 'capture' | 'void' | 'refund' | 'reversal';

/** `env` overrides the quick configuration. */
async function setStage(
  stage: Stage,
  env: Record<string, string> = {},
  road: Road = async (url) => url,
): Promise<void> {
  const log = quietLog();
  const url = await freshDatabase();
  const wix = createWix({ log });
  const wixUrl = await wix.start();
  const engine = createEngine({ data: ':memory:', log, pendingMs: 200 });
  const script = new Map<Method, () => Fault | undefined | Promise<Fault | undefined>>();
  const returnUrls = new Map<string, string>();
  engine.fault = (method, request, requestId) => {
    if (request.$typeName === 'processor.v1.AuthorizeRequest') returnUrls.set(requestId, request.returnUrl);
    return script.get(method)?.();
  };
  const speak: Interceptor = (next) => async (request) => {
    const response = await next(request);
    const told =
      request.method.name === 'VerifyAccount' ? stage.verdict?.(request.message as VerifyAccountRequest) : undefined;
    return told && !response.stream ? { ...response, message: create(VerifyAccountResponseSchema, told) } : response;
  };
  const processor = createRouterTransport((router) => engine.routes(router), { router: { interceptors: [speak] } });
  const connector = await createConnector(
    {
      ...ENV,
      DATABASE_URL: await road(url),
      WIX_API_URL: wixUrl,
      WIX_PUBLIC_KEY: wix.publicKeyPem,
      WIX_APP_ID: wix.appId,
      WIX_APP_SECRET: wix.appSecret,
      ...env,
    },
    { processor, log: () => log },
  );
  await connector.start();
  const { core, gateway } = connector;
  const as = (name: string, role: Role) => {
    const interceptors = [...core.interceptors, actAs({ name, role })];
    return createClient(PaymentsService, createRouterTransport(core.routes, { router: { interceptors } }));
  };
  engine.reportTo = as('engine', 'engine');
  engine.start();
  const db = createDatabase({ url, schema: 'core', poolSize: 2, log });
  const gatewayUrl = `http://127.0.0.1:${gateway.port}`;

  const requestId = ({ wixTransactionId: id }: Payment) => operationId('authorize', id, 'wix', id, 1);
  const returnUrl = (payment: Payment) => returnUrls.get(requestId(payment)) ?? assert.fail('the engine was not asked');
  const operationsOf = (payment: Payment, kind: Kind) =>
    db.query<{ id: string }>(
      `select operations.id from operations join transactions on transactions.id = transaction_id
       where external_id = $1 and kind = $2 order by finished_at nulls first, operations.created_at desc`,
      [payment.wixTransactionId, kind],
    );

  Object.assign(stage, {
    ...{ wix, wixUrl, engine, gatewayUrl, db, url, log, as },
    coreGrpc: `127.0.0.1:${core.grpcPort()}`,
    coreUrl: `http://127.0.0.1:${core.httpPort()}`,
    processor: createClient(ProcessorService, processor),
    verdict: undefined,
    connect: async (options) => {
      const credentials = { api_key: 'test', account_ref: randomUUID() };
      const merchant = await wix.connect(gatewayUrl, { credentials, ...options });
      assert.ok(merchant.accountId, `the merchant was not connected: ${merchant.answer.text}`);
      return merchant;
    },
    pay: (options) => wix.pay(stage.merchant, options),
    find: ({ wixTransactionId: value }) =>
      as('viewer', 'reader').getTransaction({ key: { case: 'externalId', value } }),
    report: async (payment, kind, outcome, overrideReason) => {
      const requestId = (await operationsOf(payment, kind))[0]?.id ?? '';
      return overrideReason === undefined
        ? as('engine', 'engine').reportOutcome({ requestId, outcome })
        : as('ada', 'operator').reportOutcome({ requestId, outcome, override: true, overrideReason });
    },
    happened: async ({ wixTransactionId }) => {
      const rows = await db.query<{ type: string }>(
        `select type from outbox join transactions on transactions.id = transaction_id
         where external_id = $1 order by outbox.sequence`,
        [wixTransactionId],
      );
      return rows.map(({ type }) => type);
    },
    settled: ({ wixTransactionId }) =>
      eventually(async () => {
        const open = await db.query(
          `select event_id from outbox join transactions on transactions.id = transaction_id
           where external_id = $1 and not exists (select from relay.deliveries
             where event_id = outbox.event_id and state in ('delivered', 'superseded', 'not_for_wix'))`,
          [wixTransactionId],
        );
        assert.deepEqual(open, []);
      }),
    alerts: ({ pluginTransactionId }) =>
      log.lines
        .filter(({ alert, transactionId }) => alert !== undefined && transactionId === pluginTransactionId)
        .map(({ alert }) => String(alert)),
    told: ({ wixTransactionId }, kind, reasonCode) =>
      wix.eventFor(wixTransactionId, (event) => event.kind === kind && event.body.reasonCode === reasonCode),
    charged: ({ pluginTransactionId }) => engine.books.charged(pluginTransactionId),
    requestId,
    returnUrl,
    comeBack: async (payment, token = path.basename(returnUrl(payment))) => {
      const response = await fetch(`${gatewayUrl}/return/${token}`, { redirect: 'manual' });
      const { status, headers } = response;
      return { status, headers, location: headers.get('location'), text: await response.text() };
    },
    sends: async (payment, kind) => {
      const operations = await operationsOf(payment, kind);
      return operations.reduce((sum, { id }) => sum + engine.books.calls(id), 0);
    },
    once: (method, fault) => {
      script.set(method, () => {
        script.delete(method);
        return fault;
      });
    },
    always: (method, fault) => void script.set(method, () => fault),
    hold: (method, fault) => {
      const reached = Promise.withResolvers<void>();
      const released = Promise.withResolvers<void>();
      let calls = 0;
      script.set(method, async () => {
        calls += 1;
        reached.resolve();
        await released.promise;
        return fault;
      });
      const release = () => {
        script.delete(method);
        released.resolve();
      };
      return { reached: reached.promise, calls: () => calls, release };
    },
    heal: () => {
      script.clear();
      stage.verdict = undefined;
    },
    stop: async () => {
      await connector.stop();
      await engine.stop();
      await wix.stop();
      await db.close();
    },
  } satisfies Omit<Stage, 'merchant'>);
  Object.assign(stage, { merchant: await stage.connect() });
}
