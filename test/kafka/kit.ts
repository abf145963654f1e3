import { toBinary } from '@bufbuild/protobuf';
import { createRouterTransport } from '@connectrpc/connect';
import { coreConfig } from '../../core/config.ts';
import { SEND_MS } from '../../core/publish-outbox.ts';
import { type CoreService, createCore } from '../../core/service.ts';
import { type Event, Event_Type, EventSchema } from '../../proto/gen/payments/v1/event_pb.js';
import { parseConfig } from '../../proto/runtime/config.ts';
import { createDatabase, type Database } from '../../proto/runtime/database.ts';
import { createKafkaPublisher, createKafkaReceiver, type KafkaReceiver } from '../../proto/runtime/kafka.ts';
import { type KafkaConfig, kafkaConfig } from '../../proto/runtime/kafka-client.ts';
import type { Service } from '../../proto/runtime/lifecycle.ts';
import { createKeyRing } from '../../proto/runtime/seal.ts';
import { relayConfig } from '../../webhook-relay/config.ts';
import { createRelay, type Relay } from '../../webhook-relay/service.ts';
import { KEYS, QUICK } from '../support/core.ts';
import { quietLog } from '../support/log.ts';
import { newPayment } from '../webhook-relay/relay-kit.ts';
import type { ScriptedWix } from '../webhook-relay/scripted-wix.ts';

// Core and relay with a Kafka broker between them, and events of which nobody need be charged.

type Env = Record<string, string>;

export const kafkaOf = (env: Env): KafkaConfig => parseConfig(kafkaConfig, env);

/** Events of that many payments, `each` of one payment, all of which Wix is told; in the order in which they happened. */
export function makeEvents(payments: number, each = 1): Event[] {
  const nexts = Array.from({ length: payments }, () => newPayment());
  return Array.from({ length: each }, (_, i) =>
    nexts.map((next) => next(i === 0 ? 'TRANSACTION_APPROVED' : 'REFUND_SUCCEEDED')),
  ).flat();
}

/** Commits events to the core's outbox, as if its payments had just changed; `lost`: as if Kafka had had them too. */
export async function commitEvents(db: Database, events: readonly Event[], lost = false): Promise<void> {
  const payments = [...new Map(events.map((event) => [event.transactionId, event.externalId]))];
  await db.inTx(async (tx) => {
    await tx.query(
      `insert into core.transactions (id, external_id, payment_method, authorize_only, buyer_absent, state, reason)
       select id, external_id, 'creditCard', false, false, 'declined', 3000
       from unnest($1::uuid[], $2::text[]) as p (id, external_id) on conflict do nothing`,
      [payments.map(([id]) => id), payments.map(([, externalId]) => externalId)],
    );
    await tx.query(
      `insert into core.outbox (event_id, transaction_id, sequence, type, value, published_at)
       select event.*, case when $6 then now() end
       from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::bytea[]) as event`,
      [
        events.map(({ id }) => id),
        events.map(({ transactionId }) => transactionId),
        events.map(({ sequence }) => sequence),
        events.map(({ type }) => Event_Type[type].toLowerCase()),
        events.map((event) => Buffer.from(toBinary(EventSchema, event))),
        lost,
      ],
    );
  });
}

export interface Part<T> {
  readonly service: T;
  readonly log: ReturnType<typeof quietLog>;
  /** The HTTP status of its readiness. */
  ready(): Promise<number>;
  stop(): Promise<void>;
}

/** A core that publishes to Kafka; no engine stands behind it. */
export async function startCore(databaseUrl: string, kafkaEnv: Env): Promise<Part<CoreService>> {
  const log = quietLog();
  const publisher = createKafkaPublisher({ config: kafkaOf(kafkaEnv), sendMs: SEND_MS, log });
  const core = createCore(parseConfig(coreConfig, { DATABASE_URL: databaseUrl, ...KEYS, ...QUICK }), {
    log,
    processor: createRouterTransport(() => undefined),
    events: publisher,
  });
  await startAll(publisher, core);
  const { httpPort } = log.lines.find(({ event }) => event === 'core.started') ?? {};
  return {
    service: core,
    log,
    ready: () => readiness(Number(httpPort)),
    stop: () => stopAll(core, publisher),
  };
}

/** A relay that receives from Kafka and tells the scripted Wix. */
export async function startRelay(
  databaseUrl: string,
  kafkaEnv: Env,
  wix: ScriptedWix,
  options: { stallMs?: number; receive?: (relay: Relay) => Relay['receive'] } = {},
): Promise<Part<KafkaReceiver>> {
  const log = quietLog();
  const config = parseConfig(relayConfig, { DATABASE_URL: databaseUrl, WIX_API_URL: wix.url, ...KEYS, ...RELAY });
  const relay: Relay = createRelay(config, { log, isReceiving: () => receiver.isMoving() });
  const { receive = () => relay.receive, ...rest } = options;
  const receiver = createKafkaReceiver({ config: kafkaOf(kafkaEnv), receive: receive(relay), log, ...rest });
  await startAll(relay, receiver);
  return {
    service: receiver,
    log,
    ready: () => readiness(relay.adminPort),
    stop: () => stopAll(receiver, relay),
  };
}

/** What Wix was told of each payment, or is to be: kinds in order. */
export function told({
  events,
}: {
  events: readonly (Event | ScriptedWix['events'][number])[];
}): Record<string, string[]> {
  const payments = Map.groupBy(events, (event) => ('kind' in event ? event.wixTransactionId : event.externalId));
  const kinds = { [Event_Type.TRANSACTION_APPROVED]: 'transaction', [Event_Type.REFUND_SUCCEEDED]: 'refund' };
  return Object.fromEntries(
    [...payments].map(([id, ofPayment]) => [
      id,
      ofPayment.map((event) => ('kind' in event ? event.kind : (kinds[event.type as keyof typeof kinds] ?? ''))),
    ]),
  );
}

export const EVENT_KEYS = createKeyRing(KEYS.EVENTS_KEY);

export const RELAY = {
  WIX_APP_ID: 'app-id',
  WIX_APP_SECRET: 'app-secret',
  WIX_USER_AGENT: 'kafka-tests/1.0.0',
  EVENT_DELAY_MS: '0',
  RELAY_PORT: '0',
  RELAY_CONCURRENCY: '16',
};

async function startAll(...services: Service[]): Promise<void> {
  for (const service of services) await service.start();
}

async function stopAll(...services: Service[]): Promise<void> {
  for (const service of services) await service.stop();
}

async function readiness(port: number): Promise<number> {
  const { status } = await fetch(`http://127.0.0.1:${port}/health/ready`);
  return status;
}

export const coreDatabase = (url: string): Database =>
  createDatabase({ url, schema: 'core', poolSize: 2, log: quietLog() });

/** Events that are not published yet. */
export async function unpublished(db: Database): Promise<number> {
  const [row] = await db.query<{ count: bigint }>('select count(*) from core.outbox where published_at is null');
  return Number(row?.count);
}

/** Deliveries by their state. */
export async function deliveries(db: Database): Promise<Record<string, number>> {
  const rows = await db.query<{ state: string; count: bigint }>(
    'select state, count(*) from relay.deliveries group by state',
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, Number(count)]));
}

/** What is wrong with the order of what was read: each payment's sequences begin at 1 and go up by one, but for repeats. */
export function disorder(read: readonly { key: string; headers: Readonly<Record<string, string>> }[]): string[] {
  const highest = new Map<string, number>();
  return read.flatMap(({ key, headers }) => {
    const before = highest.get(key) ?? 0;
    const sequence = Number(headers.sequence);
    highest.set(key, Math.max(before, sequence));
    return sequence <= before + 1 ? [] : [`${key}: ${sequence} after ${before}`];
  });
}
