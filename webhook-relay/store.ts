import type { Queryable } from '../proto/runtime/database.ts';
import { onlyRow, toRecords } from '../proto/runtime/database.ts';
import type { BusMessage } from '../proto/runtime/event-bus.ts';
import type { Cursor, Delivery, DeliveryState, Move, Plan } from './delivery.ts';

// The relay's rows. A payment's row is locked before any of its deliveries is touched, so that receiving and delivering are serial
// for each payment. Whoever locks several locks them by id, so that two never wait for each other. Every time is the database's (R37).

/** A delivery above its payment's cursor. */
export interface Known extends Delivery {
  /** Kept as it came. */
  readonly unread: boolean;
}

/** A row of `transactions`, locked until the tx ends, with its deliveries above the cursor by sequence. */
export interface Payment extends Cursor {
  readonly transactionId: string;
  readonly claim: number;
  /** An attempt is running, or its lease has not been freed yet. */
  readonly claimed: boolean;
  readonly deliveries: readonly Known[];
}

/** Creates the rows of payments with their first event; `merchant` is null while it is not known. */
export async function openPayments(
  tx: Queryable,
  payments: readonly { readonly transactionId: string; readonly merchant: string | null }[],
): Promise<Payment[]> {
  const opening = tx.query(
    `insert into transactions (transaction_id, merchant)
     select "transactionId", coalesce(merchant, '-')
     from json_to_recordset($1) as opened ("transactionId" uuid, merchant text)
     order by "transactionId"
     on conflict (transaction_id) do update
     set merchant = coalesce(nullif(excluded.merchant, '-'), transactions.merchant)`,
    [toRecords(payments)],
  );
  return behind(opening, tx, payments);
}

/** Only payments that are there. */
export async function lockPayments(tx: Queryable, transactionIds: readonly string[]): Promise<Payment[]> {
  const locking = tx.query(
    'select from transactions where transaction_id = any ($1::uuid[]) order by transaction_id for update',
    [transactionIds],
  );
  return behind(
    locking,
    tx,
    transactionIds.map((transactionId) => ({ transactionId })),
  );
}

/** Sent without waiting for the locks, and read once they are held. */
async function behind(
  locking: Promise<unknown>,
  tx: Queryable,
  payments: readonly { readonly transactionId: string }[],
): Promise<Payment[]> {
  const reading = readPayments(
    tx,
    payments.map(({ transactionId }) => transactionId),
  );
  const [, found] = await Promise.all([locking, reading]);
  return found;
}

/** Of payments that this tx has locked. */
export async function readPayments(tx: Queryable, transactionIds: readonly string[]): Promise<Payment[]> {
  const rows = await tx.query<Payment & { eventId: string | null } & Omit<Known, 'eventId'>>(
    `select t.transaction_id as "transactionId", t.done_through as "doneThrough", t.final_told as "finalTold", t.claim,
            t.claimed_until is not null as claimed,
            d.event_id as "eventId", d.sequence, d.type, d.state, d.message is not null as unread
     from transactions t
     left join deliveries d on d.transaction_id = t.transaction_id and d.sequence > t.done_through
     where t.transaction_id = any ($1::uuid[])
     order by t.transaction_id, d.sequence, d.received_at`,
    [transactionIds],
  );
  return [...Map.groupBy(rows, ({ transactionId }) => transactionId).values()].map((ofPayment) => {
    const { transactionId, doneThrough, finalTold, claim, claimed } = ofPayment[0]!;
    const deliveries = ofPayment.flatMap(({ eventId, sequence, type, state, unread }) =>
      eventId === null ? [] : [{ eventId, sequence, type, state, unread }],
    );
    return { transactionId, doneThrough, finalTold, claim, claimed, deliveries };
  });
}

export interface NewDelivery {
  readonly eventId: string;
  readonly transactionId: string;
  /** Null where it cannot be read. */
  readonly merchant: string | null;
  readonly sequence: bigint;
  readonly type: string;
  readonly state: DeliveryState;
  readonly body: Uint8Array | null;
  readonly sealedWith: string | null;
  readonly message: Uint8Array | null;
  readonly traceparent: string | null;
}

/** Answers the ids of those that were new: an event that was seen before stays as it is, except that one that could not be read is replaced. */
export async function putDeliveries(
  tx: Queryable,
  deliveries: readonly NewDelivery[],
  delayMs: number,
): Promise<string[]> {
  const rows = deliveries.map(
    ({ eventId, transactionId, sequence, type, state, body, sealedWith, message, traceparent }) => {
      return { eventId, transactionId, sequence, type, state, body, sealedWith, message, traceparent };
    },
  );
  const put = await tx.query<{ eventId: string }>(
    `insert into deliveries (event_id, transaction_id, sequence, type, state, body, sealed_with, message, traceparent, due_at, finished_at)
     select "eventId", "transactionId", sequence, type, state, decode(body, 'base64'), "sealedWith", decode(message, 'base64'), traceparent,
            now() + $2 * interval '1 millisecond', case when state = 'not_for_wix' then now() end
     from json_to_recordset($1) as new ("eventId" uuid, "transactionId" uuid, sequence bigint, type text, state text, body text,
                                        "sealedWith" text, message text, traceparent text)
     on conflict (event_id) do update
     set type = excluded.type, state = excluded.state, body = excluded.body, sealed_with = excluded.sealed_with,
         message = excluded.message, due_at = excluded.due_at, finished_at = excluded.finished_at
     where deliveries.message is not null
     returning event_id as "eventId"`,
    [toRecords(rows), delayMs],
  );
  return put.map(({ eventId }) => eventId);
}

export async function moveDeliveries(tx: Queryable, moves: readonly Move[]): Promise<void> {
  await tx.query(
    `update deliveries d
     set state = move.state, finished_at = case when move.state <> 'held' then now() end
     from unnest($1::uuid[], $2::text[]) as move (event_id, state)
     where d.event_id = move.event_id and d.state = 'waiting'`,
    [moves.map(({ eventId }) => eventId), moves.map(({ state }) => state)],
  );
}

export interface Planned extends Plan {
  readonly transactionId: string;
  /** When to try again what was attempted just now, if that is still next. */
  readonly retryMs: number | null;
}

/**
 * Puts payments where their plans say, free to be claimed. The same event goes on waiting for its time, or for retryMs from now; another
 * one goes when it is due.
 */
export async function savePlans(tx: Queryable, plans: readonly Planned[]): Promise<void> {
  const rows = plans.map(({ transactionId, doneThrough, finalTold, next, gap, retryMs }) => {
    return { transactionId, doneThrough, finalTold, eventId: next?.eventId ?? null, gap, retryMs };
  });
  await tx.query(
    `update transactions t
     set done_through = planned."doneThrough", final_told = planned."finalTold", claimed_until = null,
         next_event_id = d.event_id,
         next_attempt_at = case when d.event_id = t.next_event_id
                                then coalesce(now() + planned."retryMs" * interval '1 millisecond', t.next_attempt_at)
                                else d.due_at end,
         retrying = coalesce(d.attempts > 0, false),
         gap_alert_at = case when planned.gap then coalesce(t.gap_alert_at, now() + interval '10 minutes') end
     from json_to_recordset($1) as planned ("transactionId" uuid, "doneThrough" bigint, "finalTold" text, "eventId" uuid,
                                            gap boolean, "retryMs" integer)
     left join deliveries d on d.event_id = planned."eventId"
     where t.transaction_id = planned."transactionId"`,
    [toRecords(rows)],
  );
}

/** The newest word of an operator on whether deliveries go on. */
export const PAUSED = `(select action from decisions where action in ('pause', 'resume') order by id desc limit 1) is not distinct from 'pause'`;

/** Payments that have missed an event for ten minutes; each of them again after an hour. */
export async function takeGaps(db: Queryable): Promise<{ transactionId: string; doneThrough: bigint }[]> {
  return db.query(
    `update transactions set gap_alert_at = now() + interval '1 hour'
     where transaction_id = any (array(select transaction_id from transactions where gap_alert_at <= now() for update skip locked))
     returning transaction_id as "transactionId", done_through as "doneThrough"`,
  );
}

/** An event that is held; `value` as it came, or null if it was read and is held beside another. */
export interface Held {
  readonly eventId: string;
  readonly transactionId: string;
  readonly sequence: bigint;
  readonly type: string;
  readonly value: Uint8Array | null;
}

/** Lets a held event that was read wait for its turn, if no other event has its sequence, or only ones that were given up. */
export async function freeUnrivalled(tx: Queryable, eventId: string): Promise<boolean> {
  const rows = await tx.query(
    `update deliveries d set state = 'waiting'
     where d.event_id = $1 and d.state = 'held' and d.body is not null
       and not exists (select from deliveries other
                       where other.transaction_id = d.transaction_id and other.sequence = d.sequence
                         and other.event_id <> d.event_id and other.state <> 'skipped')
     returning event_id`,
    [eventId],
  );
  return rows.length > 0;
}

/** Events that could not be read when they came. */
export async function listUnread(db: Queryable): Promise<(Held & { readonly value: Uint8Array })[]> {
  return db.query(
    `select event_id as "eventId", transaction_id as "transactionId", sequence, type, message as value
     from deliveries
     where message is not null
     order by transaction_id, sequence`,
  );
}

/** Of each rejected message, and of all of them together, no more is kept than this. */
const REJECTED_BYTES_MAX = 16_384;
const REJECTED_MAX = 1_000;

/** A sample for whoever looks into it: the newest thousand, cut. */
export async function keepRejected(db: Queryable, message: BusMessage, problem: string): Promise<void> {
  const { key, headers, value } = message;
  const short = Object.entries(headers)
    .slice(0, 20)
    .map(([name, content]) => [name.slice(0, 100), content.slice(0, 500)]);
  await db.query(
    `with older as (
       delete from rejected_messages
       where id in (select id from rejected_messages order by id desc offset ${REJECTED_MAX - 1} limit 10000))
     insert into rejected_messages (problem, envelope, value) values ($1, $2, $3)`,
    [
      problem,
      JSON.stringify({ key: key.slice(0, 500), headers: Object.fromEntries(short) }),
      Buffer.from(value.subarray(0, REJECTED_BYTES_MAX)),
    ],
  );
}

/** Ids of the keys that bodies still to be sent are sealed with. */
export async function keysInUse(db: Queryable): Promise<string[]> {
  const open = 'from deliveries where finished_at is null and';
  // From one key to the next by the index: there are few, and there may be millions of deliveries.
  const rows = await db.query<{ keyId: string }>(
    `with recursive keys (key_id) as (
       select (select min(sealed_with) ${open} sealed_with is not null)
       union all
       select (select min(sealed_with) ${open} sealed_with > keys.key_id) from keys where keys.key_id is not null)
     select key_id as "keyId" from keys where key_id is not null`,
  );
  return rows.map(({ keyId }) => keyId);
}

/** Open deliveries are counted up to here; beyond it the index knows about how many there are. */
const COUNTED_MAX = 10_000;

/** How many deliveries are open, for how many seconds the oldest has been due and is not being attempted, and whether all are paused. */
export interface Measure {
  readonly open: number;
  /** Of the oldest ones. */
  readonly stuck: number;
  readonly held: number;
  readonly parked: number;
  readonly oldestDueSeconds: number;
  readonly paused: boolean;
}

export async function measure(db: Queryable): Promise<Measure> {
  const oldest = (retrying: boolean) =>
    `(select min(next_attempt_at) from transactions
      where retrying = ${retrying} and next_attempt_at is not null and claimed_until is null)`;
  return onlyRow(
    await db.query<Measure>(
      `select case when counted.open < ${COUNTED_MAX} then counted.open
                   else greatest(${COUNTED_MAX}, (select reltuples from pg_class where oid = 'deliveries_open'::regclass)) end::integer as open,
              coalesce(greatest(extract(epoch from now() - least(${oldest(false)}, ${oldest(true)})), 0), 0)::float8 as "oldestDueSeconds",
              ${PAUSED} as paused, stuck, held, parked
       from (select count(*)::integer as open, (count(*) filter (where stuck))::integer as stuck,
               (count(*) filter (where state = 'held'))::integer as held, (count(*) filter (where state = 'parked'))::integer as parked
             from (select state, stuck from deliveries where finished_at is null order by received_at limit ${COUNTED_MAX}) few) counted`,
    ),
  );
}
