import { randomUUID } from 'node:crypto';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Event, Event_Type, EventSchema } from '../../proto/gen/payments/v1/event_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { Secret } from '../../proto/runtime/config.ts';
import { createDatabase, type Database } from '../../proto/runtime/database.ts';
import { type BusMessage, signMessage } from '../../proto/runtime/event-bus.ts';
import { createKeyRing, type KeyRing } from '../../proto/runtime/seal.ts';
import { createDeliverer, type Deliverer } from '../../webhook-relay/deliver.ts';
import { createReceiver, type Receiver } from '../../webhook-relay/receive.ts';
import { createWixClient } from '../../webhook-relay/wix-client.ts';
import { quietLog } from '../support/log.ts';
import { type ScriptedWix, startScriptedWix } from './scripted-wix.ts';

// The relay's parts around a database and a scripted Wix of one's own, driven by hand.

export const KEYS_TEXT = `k1:${Buffer.alloc(32, 'key 1').toString('base64')}`;
export const KEYS = createKeyRing(KEYS_TEXT);
export const APP_SECRET = 'app-secret-of-the-tests';

export interface AttemptRow {
  number: number;
  http_status: number | null;
  error: string | null;
  answer: string;
  duration_ms: number;
  /** From the attempt's end; the jitter of the kit's deliverers is the whole limit. */
  retry_ms: number | null;
}

export interface Kit {
  readonly db: Database;
  readonly wix: ScriptedWix;
  readonly log: ReturnType<typeof quietLog>;
  readonly receiver: Receiver;
  readonly deliverer: Deliverer;
  receive(...events: Event[]): Promise<void>;
  /** Attempts everything that is due, until nothing is. */
  deliver(): Promise<void>;
  /** As if the time of the next attempts had come. */
  makeDue(): Promise<void>;
  /** Deliveries by sequence, as `sequence:state`. */
  states(event: Pick<Event, 'transactionId'>): Promise<string[]>;
  /** What Wix was told of the event's payment: the kind, and the reason if there is one. */
  toldOf(event: Pick<Event, 'externalId'>): string[];
  attemptsOf(event: Pick<Event, 'id'>): Promise<AttemptRow[]>;
  alerts(): string[];
  /** Another deliverer of the same database, or of one around it; timeoutMs is that of each call. */
  anotherDeliverer(timeoutMs?: number, over?: Database, stuckAfterMs?: number): Deliverer;
  close(): Promise<void>;
}

/** On an emptied database. */
export async function openKit(url: string): Promise<Kit> {
  const log = quietLog();
  const db = createDatabase({ url, schema: 'relay', log });
  await db.query('truncate transactions, deliveries, attempts, rejected_messages');
  const wix = await startScriptedWix();
  const config = {
    WIX_API_URL: wix.url,
    WIX_APP_ID: 'app-id',
    WIX_APP_SECRET: new Secret(APP_SECRET),
    WIX_USER_AGENT: 'harbor-pay/1.4.0',
    RELAY_CONCURRENCY: 8,
    NODE_USE_ENV_PROXY: false,
  };
  const anotherDeliverer = (timeoutMs?: number, over: Database = db, stuckAfterMs = 3 * 24 * 3_600_000) =>
    createDeliverer({
      db: over,
      keys: KEYS,
      wix: createWixClient(config, timeoutMs),
      log,
      concurrency: 8,
      stuckAfterMs,
      random: () => 1,
    });
  const receiver = createReceiver({ db, keys: KEYS, log, delayMs: 0 });
  const deliverer = anotherDeliverer();
  return {
    db,
    wix,
    log,
    receiver,
    deliverer,
    receive: (...events) => receiver.receive(events.map((event) => messageOf(event))),
    deliver: async () => {
      do await deliverer.settled();
      while ((await deliverer.runOnce()) > 0);
    },
    makeDue: async () => {
      await db.query('update transactions set next_attempt_at = now() where next_attempt_at is not null');
    },
    states: async ({ transactionId }) => {
      const rows = await db.query<{ sequence: bigint; state: string }>(
        'select sequence, state from deliveries where transaction_id = $1 order by sequence, received_at, state desc',
        [transactionId],
      );
      return rows.map(({ sequence, state }) => `${sequence}:${state}`);
    },
    toldOf: ({ externalId }) =>
      wix.events
        .filter(({ wixTransactionId }) => wixTransactionId === externalId)
        .map(({ kind, body }) => [kind, /"reasonCode":(\d+)/.exec(body)?.[1]].filter(Boolean).join(' ')),
    attemptsOf: ({ id }) =>
      db.query<AttemptRow>(
        `select number, http_status, error, answer, duration_ms,
                (extract(epoch from next_attempt_at - started_at) * 1000 - duration_ms)::float8 as retry_ms
         from attempts where event_id = $1 order by number`,
        [id],
      ),
    alerts: () => log.lines.flatMap(({ alert }) => (typeof alert === 'string' ? [alert] : [])),
    anotherDeliverer,
    close: async () => {
      await deliverer.stop(0);
      await wix.close();
      await db.close();
    },
  };
}

type Fields = Omit<MessageInitShape<typeof EventSchema>, '$typeName' | 'type'>;

/** The events of one payment, numbered as they are made; of a merchant of its own unless one is named. */
export function newPayment(
  externalMerchantId: string = randomUUID(),
): (type: keyof typeof Event_Type, fields?: Fields) => Event {
  const transactionId = randomUUID();
  const externalId = randomUUID();
  let sequence = 0n;
  return (type, fields = {}) => {
    sequence++;
    return create(EventSchema, {
      id: randomUUID(),
      sequence,
      forWix: true,
      transactionId,
      externalId,
      externalMerchantId,
      currency: 'EUR',
      ...(/PENDING/.test(type) && { reason: Reason.PENDING_GENERAL }),
      ...(/DECLINED|FAILED/.test(type) && { reason: Reason.GENERAL_BANK_DECLINE }),
      ...(/CAPTURE|VOID|REFUND/.test(type) && { operationId: randomUUID(), operationAmount: 4590n }),
      ...fields,
      type: Event_Type[type],
    });
  };
}

export function messageOf(event: Event, options: { keys?: KeyRing; value?: Uint8Array } = {}): BusMessage {
  const { keys = KEYS, value = toBinary(EventSchema, event) } = options;
  return signMessage(keys, event.transactionId, value, {
    'event-id': event.id,
    'event-type': Event_Type[event.type].toLowerCase(),
    sequence: String(event.sequence),
    schema: 'payments.v1.Event',
    'content-type': 'application/protobuf',
  });
}
