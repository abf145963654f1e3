import { type DescMessage, fromBinary } from '@bufbuild/protobuf';
import { z } from 'zod';
import { type Event, Event_Type, EventSchema } from '../proto/gen/payments/v1/event_pb.js';
import { type Database, isRefusedData, isRolledBack, type Tx } from '../proto/runtime/database.ts';
import { type BusMessage, type EventReceiver, isSigned } from '../proto/runtime/event-bus.ts';
import type { Log } from '../proto/runtime/log.ts';
import { counter } from '../proto/runtime/metrics.ts';
import { cut } from '../proto/runtime/redact.ts';
import type { KeyRing } from '../proto/runtime/seal.ts';
import { readTraceparent } from '../proto/runtime/tracing.ts';
import { settle } from './settle.ts';
import {
  freeUnrivalled,
  type Held,
  type Known,
  keepRejected,
  listUnread,
  lockPayments,
  type NewDelivery,
  openPayments,
  type Payment,
  putDeliveries,
  readPayments,
} from './store.ts';
import { holdsCredentials, renderEvent } from './wix-event.ts';

// From a message to a row: each event becomes one delivery, whose body is rendered here and never again (R28).

/** So many payments are received in one tx, and how long it waits for one that is locked; alone, a payment is waited for longer. */
const PAYMENTS_AT_ONCE = 100;
const LOCK_MS = 250;
/** Of messages that are no events of ours: how long one alert stands for all with the same problem, and how many of them are kept. */
const SPELL_MS = 3_600_000;
const KEPT_OF_SPELL = 100;
/** Characters of a merchant's id by which its payments are known to be one merchant's. */
const MERCHANT_MAX = 200;

/** What the key and headers of a signed message say. */
interface Envelope {
  readonly transactionId: string;
  readonly eventId: string;
  readonly sequence: bigint;
  readonly type: string;
  readonly value: Uint8Array;
  readonly traceparent?: string | undefined;
}

/** With what it came in, so that it can still be held if the database does not take it. */
type Received = NewDelivery & { readonly envelope: Envelope };

/** A delivery as it is kept, if it is new. */
interface Taken {
  readonly delivery: Received;
  readonly isNew: boolean;
  /** Another event has its sequence. */
  readonly conflict: boolean;
}

const envelopeSchema = z.object({
  key: z.guid(),
  'event-id': z.guid(),
  sequence: z.string().regex(/^[1-9]\d{0,17}$/),
  'event-type': z.string().regex(/^\w{1,100}$/),
});

export interface Receiver {
  /** Every message is durable once this resolves: a delivery, or dropped because it was seen before or is no event of ours (R39). */
  receive: EventReceiver;
  /** Tries again what could not be read; called at every start, since a newer version or another key may read it (R26, R28). */
  readUnread(): Promise<void>;
  /** Looks anew at what is held, whyever. What still cannot be told is held as before. */
  readAgain(held: readonly Held[]): Promise<void>;
}

/** delayMs: how long after its receipt an event becomes due (R6). */
export function createReceiver(deps: { db: Database; keys: KeyRing; log: Log; delayMs: number }): Receiver {
  const { db, keys, log, delayMs } = deps;
  const rejected = counter('relay_messages_rejected_total', 'Messages that are no events of ours, by problem.', [
    'problem',
  ]);
  const spells = new Map<string, { since: number; count: number }>();

  async function receive(batch: readonly BusMessage[]): Promise<void> {
    const envelopes: Envelope[] = [];
    for (const message of batch) {
      const envelope = isSigned(keys, message) ? openEnvelope(message) : 'not signed with a key of ours';
      if (typeof envelope === 'object') envelopes.push(envelope);
      else await reject(message, envelope);
    }
    await receiveAll(envelopes);
  }

  /** All are counted. Of each problem one an hour is alerted, and the first hundred are kept: whoever writes junk fills nothing. */
  async function reject(message: BusMessage, problem: string): Promise<void> {
    rejected.inc({ problem });
    const now = performance.now();
    let spell = spells.get(problem);
    if (!spell || now - spell.since >= SPELL_MS) {
      log.alert('message_rejected', { problem, before: spell?.count ?? 0 });
      spell = { since: now, count: 0 };
      spells.set(problem, spell);
    }
    if (++spell.count <= KEPT_OF_SPELL) await keepRejected(db, message, problem);
  }

  /** `overSkipped`: what an operator gave up conflicts with nothing. */
  async function receiveAll(envelopes: readonly Envelope[], overSkipped = false): Promise<void> {
    const payments = [...Map.groupBy(envelopes, ({ transactionId }) => transactionId).values()];
    for (let from = 0; from < payments.length; from += PAYMENTS_AT_ONCE) {
      const some = payments.slice(from, from + PAYMENTS_AT_ONCE);
      await store(
        some.map((ofPayment) => ofPayment.map(readDelivery)),
        overSkipped,
      );
    }
  }

  /**
   * In one tx, or if the database refuses that, each payment in its own. What the database does not take as it is, is held as it came,
   * alone: nothing that is signed may stand in the way of all others.
   */
  async function store(payments: readonly Received[][], overSkipped: boolean): Promise<void> {
    const deliveries = payments.flat();
    const [one] = deliveries;
    try {
      const lockTimeoutMs = payments.length > 1 ? LOCK_MS : undefined;
      for (const taken of await db.inTx((tx) => write(tx, payments, overSkipped), { lockTimeoutMs })) announce(taken);
    } catch (err) {
      if (payments.length > 1 && isRolledBack(err)) for (const payment of payments) await store([payment], overSkipped);
      else if (!isRefusedData(err)) throw err;
      else if (deliveries.length > 1) for (const each of deliveries) await store([[each]], overSkipped);
      else if (one && one.state !== 'held') await store([[held(one.envelope, err)]], overSkipped);
      else throw err;
    }
  }

  async function write(tx: Tx, payments: readonly Received[][], overSkipped: boolean): Promise<Taken[]> {
    const opened = payments.map((deliveries) => {
      const merchant = deliveries.find((delivery) => delivery.merchant)?.merchant ?? null;
      return { transactionId: deliveries[0]!.transactionId, merchant };
    });
    const known = new Map((await openPayments(tx, opened)).map((payment) => [payment.transactionId, payment]));
    const taken = payments.flatMap((deliveries) =>
      compare(known.get(deliveries[0]!.transactionId)!, deliveries, overSkipped),
    );
    const fresh = new Map(
      taken.flatMap(({ delivery, isNew }) => (isNew ? [[delivery.eventId, delivery] as const] : [])),
    );
    if (fresh.size === 0) return taken;
    const put = new Set(await putDeliveries(tx, [...fresh.values()], delayMs));
    const changed = Map.groupBy(
      [...fresh.values()].filter(({ eventId }) => put.has(eventId)),
      ({ transactionId }) => transactionId,
    );
    const free = [...changed].flatMap(([transactionId, deliveries]) => {
      const payment = known.get(transactionId)!;
      return payment.claimed ? [] : [{ ...payment, deliveries: withFresh(payment.deliveries, deliveries) }];
    });
    await settle(tx, log, free, tx.last);
    return taken.map((one) => ({ ...one, isNew: one.isNew && put.has(one.delivery.eventId) }));
  }

  function announce({ delivery, isNew, conflict }: Taken): void {
    const { transactionId, eventId, sequence, type } = delivery;
    log.info(isNew ? 'event.received' : 'event.dropped', { transactionId, eventId, sequence: String(sequence), type });
    if (isNew && conflict)
      log.alert('event_conflict', { transactionId, eventId, problem: 'two events have one sequence' });
  }

  /** What cannot be read is held as it came, and counts as received. */
  function readDelivery(envelope: Envelope): Received {
    const { eventId } = envelope;
    try {
      const event = readEvent(envelope);
      const merchant = cut(event.externalMerchantId, MERCHANT_MAX) || null;
      const read = { ...unread(envelope), merchant, type: Event_Type[event.type] };
      if (!event.forWix) return { ...read, state: 'not_for_wix' };
      const body = renderEvent(event, keys);
      if (!holdsCredentials(event)) return { ...read, state: 'waiting', body };
      return { ...read, state: 'waiting', body: keys.seal(body, eventId), sealedWith: keys.ids[0]! };
    } catch (err) {
      return held(envelope, err);
    }
  }

  function held(envelope: Envelope, err: unknown): Received {
    const { transactionId, eventId, sequence, type, value } = envelope;
    log.alert('event_unreadable', { transactionId, eventId, sequence: String(sequence), type, err });
    return { ...unread(envelope), state: 'held', message: value };
  }

  async function readUnread(): Promise<void> {
    await receiveAll(await listUnread(db));
  }

  async function readAgain(held: readonly Held[]): Promise<void> {
    const unread = held.flatMap(({ value, ...rest }) => (value === null ? [] : [{ ...rest, value }]));
    await receiveAll(unread, true);
    for (const { transactionId, eventId, value } of held) if (value === null) await freeRival(transactionId, eventId);
  }

  /** It was read, and held beside another event. It goes if that one was given up since; if not, it is held as before. */
  async function freeRival(transactionId: string, eventId: string): Promise<void> {
    await db.inTx(async (tx) => {
      const [payment] = await lockPayments(tx, [transactionId]);
      if ((await freeUnrivalled(tx, eventId)) && !payment?.claimed)
        await settle(tx, log, await readPayments(tx, [transactionId]));
    });
  }

  return { receive, readUnread, readAgain };
}

/** What is new of the deliveries of a payment, which of them conflict, and how they are kept. */
function compare(payment: Payment, came: readonly Received[], overSkipped: boolean): Taken[] {
  let known = payment.deliveries;
  return came.map((delivery) => {
    const { eventId, sequence } = delivery;
    const same = known.find((other) => other.eventId === eventId);
    const isNew = sequence > payment.doneThrough && (!same || (same.unread && same.sequence === sequence));
    if (!isNew) return { delivery, isNew, conflict: false };
    const conflict = known.some(
      (other) =>
        other.sequence === sequence && other.eventId !== eventId && !(overSkipped && other.state === 'skipped'),
    );
    // One that Wix never gets has no body to be kept by.
    const message = delivery.body === null ? delivery.envelope.value : null;
    const kept: Received = conflict ? { ...delivery, state: 'held', message } : delivery;
    known = withFresh(known, [kept]);
    return { delivery: kept, isNew, conflict };
  });
}

/** By sequence; an event that could not be read gives its place to itself. */
function withFresh(known: readonly Known[], fresh: readonly Received[]): readonly Known[] {
  const byEvent = new Map(known.map((delivery) => [delivery.eventId, delivery]));
  for (const { eventId, sequence, type, state, message } of fresh)
    byEvent.set(eventId, { eventId, sequence, type, state, unread: message !== null });
  return [...byEvent.values()].sort((a, b) => Number(a.sequence - b.sequence));
}

function unread(envelope: Envelope) {
  const { transactionId, eventId, sequence, type } = envelope;
  return {
    envelope,
    transactionId,
    eventId,
    sequence,
    type,
    merchant: null,
    body: null,
    sealedWith: null,
    message: null,
    traceparent: envelope.traceparent ?? null,
  };
}

/** The envelope, or what is wrong with it. */
function openEnvelope(message: BusMessage): Envelope | string {
  const parsed = envelopeSchema.safeParse({ key: message.key, ...message.headers });
  if (!parsed.success) return 'signed, but without the key and headers of an event';
  const { key, 'event-id': eventId, sequence, 'event-type': type } = parsed.data;
  const traceparent = readTraceparent(message.headers.traceparent);
  return { transactionId: key, eventId, sequence: BigInt(sequence), type, value: message.value, traceparent };
}

function readEvent({ transactionId, eventId, sequence, value }: Envelope): Event {
  const event = fromBinary(EventSchema, value);
  if (event.id !== eventId || event.transactionId !== transactionId || event.sequence !== sequence)
    throw new Error('the event is not the one that its headers name');
  if (event.type === Event_Type.UNSPECIFIED) throw new Error('the event has no type');
  for (const field of (EventSchema as DescMessage).fields) {
    if (field.fieldKind === 'enum' && !field.enum.value[event[field.localName as keyof Event] as number])
      throw new Error(`the event has a ${field.name} that is not known here`);
  }
  return event;
}
