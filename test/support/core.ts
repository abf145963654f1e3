import { randomBytes, randomUUID } from 'node:crypto';
import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { type Client, createClient, createRouterTransport } from '@connectrpc/connect';
import { coreConfig } from '../../core/config.ts';
import { type CoreService, createCore } from '../../core/service.ts';
import { type Event, EventSchema } from '../../proto/gen/payments/v1/event_pb.js';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import { PaymentDetailsSchema } from '../../proto/gen/payments/v1/payment_details_pb.js';
import { CreateTransactionRequestSchema, PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { actAs, type Caller } from '../../proto/runtime/callers.ts';
import { parseConfig } from '../../proto/runtime/config.ts';
import { createDatabase, type Database } from '../../proto/runtime/database.ts';
import { createEngine, type Engine } from '../engine/engine.ts';
import { freshDatabase } from './database.ts';
import { quietLog } from './log.ts';

export const KEYS = {
  CREDENTIALS_KEY: `test:${randomBytes(32).toString('base64')}`,
  EVENTS_KEY: `test:${randomBytes(32).toString('base64')}`,
};

/** Quick enough for a test to see what takes minutes in production. */
export const QUICK = {
  MODE_WHEN_ABSENT: 'sandbox',
  ANSWER_BUDGET_MS: '1500',
  PROCESSOR_TIMEOUT_MS: '1000',
  RECONCILE_GRACE_MS: '100',
  BUYER_TIMEOUT_MS: '1000',
  CORE_HTTP_PORT: '0',
  CORE_GRPC_PORT: '0',
};

export interface TestCore {
  readonly core: CoreService;
  readonly engine: Engine;
  readonly db: Database;
  /** As the gateway. */
  readonly payments: Client<typeof PaymentsService>;
  /** As somebody else. */
  as(caller: Caller): Client<typeof PaymentsService>;
  /** All events published so far. */
  readonly events: Event[];
  eventsOf(externalId: string): Event[];
  readonly log: ReturnType<typeof quietLog>;
  /** Connects a merchant and returns what its payments carry. */
  connect(): Promise<{ externalMerchantId: string; merchantCredentials: { values: Record<string, string> } }>;
  stop(): Promise<void>;
}

/** A real core over real PostgreSQL, with the simulated engine behind it and a listener in place of the relay. */
export async function createTestCore(
  options: { env?: Record<string, string>; engine?: Engine; url?: string } = {},
): Promise<TestCore> {
  const log = quietLog();
  const url = options.url ?? (await freshDatabase());
  const engine = options.engine ?? createEngine({ data: ':memory:', log, pendingMs: 200 });
  const events: Event[] = [];
  const core = createCore(parseConfig(coreConfig, { DATABASE_URL: url, ...KEYS, ...QUICK, ...options.env }), {
    log,
    processor: createRouterTransport((router) => engine.routes(router)),
    events: { publish: async (batch) => void events.push(...batch.map(({ value }) => fromBinary(EventSchema, value))) },
  });
  await core.start().catch(async (error: unknown) => {
    await core.stop(0);
    throw error;
  });
  engine.start();
  const as = (caller: Caller) =>
    createClient(
      PaymentsService,
      createRouterTransport(core.routes, { router: { interceptors: [...core.interceptors, actAs(caller)] } }),
    );
  const payments = as({ name: 'gateway', role: 'gateway' });
  const db = createDatabase({ url, schema: 'core', poolSize: 2, log });
  return {
    core,
    engine,
    db,
    payments,
    as,
    events,
    eventsOf: (externalId) => events.filter((event) => event.externalId === externalId),
    log,
    connect: async () => {
      const externalMerchantId = randomUUID();
      const credentials = { values: { api_key: 'test', account_ref: randomUUID() } };
      const answer = await payments.connectMerchantAccount({ externalMerchantId, credentials, mode: Mode.SANDBOX });
      return { externalMerchantId, merchantCredentials: { values: answer.credentials?.values ?? {} } };
    },
    stop: async () => {
      await core.stop();
      await engine.stop();
      await db.close();
    },
  };
}

/** A card payment as the gateway sends it. */
export function cardPayment(
  merchant: Awaited<ReturnType<TestCore['connect']>>,
  number = '4242424242424242',
  more: Pick<
    MessageInitShape<typeof CreateTransactionRequestSchema>,
    'amount' | 'currency' | 'authorizeOnly' | 'externalId' | 'returnUrls'
  > = {},
) {
  return create(CreateTransactionRequestSchema, {
    externalId: randomUUID(),
    callId: randomUUID(),
    ...merchant,
    mode: Mode.SANDBOX,
    amount: 4590n,
    currency: 'EUR',
    paymentMethod: 'creditCard',
    details: create(PaymentDetailsSchema, {
      method: { case: 'card', value: { number, expiryMonth: 9, expiryYear: 2031, cvv: '737' } },
    }),
    ...more,
  });
}
