import type { Queryable } from '../proto/runtime/database.ts';
import { maybeRow, onlyRow } from '../proto/runtime/database.ts';
import type { BusMessage } from '../proto/runtime/event-bus.ts';
import type { Cursor, Delivery, DeliveryState, Move, Plan } from './delivery.ts';

// The relay's rows. A payment's row is locked before any of its deliveries is touched, so that receiving and delivering are serial
// for each payment. Every time is the database's (R37).

/** A row of `transactions`, locked until the tx ends. */
export interface Payment extends Cursor {
  readonly transactionId: string;
  readonly claim: number;
  /** An attempt is running, or its lease has not been freed yet. */
  readonly claimed: boolean;
}

const PAYMENT = `transaction_id as "transactionId", done_through as "doneThrough", final_told as "finalTold", claim,
  claimed_until is not null as claimed`;

/** Creates the payment's row with its first event; `merchant` is null while it is not known. */
export async function openPayment(tx: Queryable, transactionId: string, merchant: string | null): Promise<Payment> {
  return onlyRow(
    await tx.query<Payment>(
      `insert into transactions (transaction_id, merchant) values ($1, coalesce($2, '-'))
       on conflict (transaction_id) do update set merchant = coalesce($2, transactions.merchant)
       returning ${PAYMENT}`,
      [transactionId, merchant],
    ),
  );
}

export async function lockPayment(tx: Queryable, transactionId: string): Promise<Payment> {
  return onlyRow(
    await tx.query<Payment>(`select ${PAYMENT} from transactions where transaction_id = $1 for update`, [
      transactionId,
    ]),
  );
}

/** Takes away one lease that ran out; its holder, if it lives, finds that it lost it. */
export async function freeExpiredLease(tx: Queryable): Promise<Payment | undefined> {
  return maybeRow(
    await tx.query<Payment>(
      `update transactions set claim = claim + 1, claimed_until = null
       where transaction_id = (
         select transaction_id from transactions
         where claimed_until <= now()
         order by claimed_until limit 1
         for update skip locked)
       returning ${PAYMENT}`,
    ),
  );
}

/** All deliveries above the cursor, by sequence. */
export async function listDeliveries(tx: Queryable, payment: Payment): Promise<Delivery[]> {
  return tx.query<Delivery>(
    `select event_id as "eventId", sequence, type, state
     from deliveries
     where transaction_id = $1 and sequence > $2
     order by sequence, received_at`,
    [payment.transactionId, payment.doneThrough],
  );
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
}

/** False if the event was seen before; one that could not be read is replaced. */
export async function putDelivery(tx: Queryable, delivery: NewDelivery, delayMs: number): Promise<boolean> {
  const { eventId, transactionId, sequence, type, state, body, sealedWith, message } = delivery;
  const rows = await tx.query(
    `insert into deliveries (event_id, transaction_id, sequence, type, state, body, sealed_with, message, due_at, finished_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9 * interval '1 millisecond',
             case when $5::text = 'not_for_wix' then now() end)
     on conflict (event_id) do update
     set type = excluded.type, state = excluded.state, body = excluded.body, sealed_with = excluded.sealed_with,
         message = excluded.message, due_at = excluded.due_at, finished_at = excluded.finished_at
     where deliveries.message is not null
     returning event_id`,
    [eventId, transactionId, sequence, type, state, body, sealedWith, message, delayMs],
  );
  return rows.length > 0;
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

/**
 * Puts the payment where the plan says, free to be claimed. The same event goes on waiting for its time, or for retryMs from now; another
 * one goes when it is due.
 */
export async function savePlan(
  tx: Queryable,
  transactionId: string,
  plan: Plan,
  retryMs: number | null,
): Promise<void> {
  await tx.query(
    `update transactions t
     set done_through = $2, final_told = $3, claimed_until = null,
         next_event_id = d.event_id,
         next_attempt_at = case when d.event_id = t.next_event_id
                                then coalesce(now() + $6 * interval '1 millisecond', t.next_attempt_at)
                                else d.due_at end,
         retrying = coalesce(d.attempts > 0, false),
         gap_alert_at = case when $5 then coalesce(t.gap_alert_at, now() + interval '10 minutes') end
     from (values ($1::uuid, $4::uuid)) as planned (transaction_id, event_id)
     left join deliveries d using (event_id)
     where t.transaction_id = planned.transaction_id`,
    [transactionId, plan.doneThrough, plan.finalTold, plan.next?.eventId ?? null, plan.gap, retryMs],
  );
}

/** A delivery to attempt, held under a lease on its payment. */
export interface Claim {
  readonly transactionId: string;
  readonly merchant: string;
  readonly claim: number;
  readonly eventId: string;
  readonly sequence: bigint;
  readonly type: string;
  readonly body: Uint8Array;
  readonly sealedWith: string | null;
  readonly attempts: number;
  readonly stuck: boolean;
  /** Its first attempt was three days ago (R29). */
  readonly threeDaysOld: boolean;
}

/** The newest word of an operator on whether deliveries go on. */
const PAUSED = `(select action from decisions where action in ('pause', 'resume') order by id desc limit 1) is not distinct from 'pause'`;

/** A claim looks at no more merchants than this; the next one goes on from there. */
const MERCHANTS_MAX = 1_000;

/**
 * Claims at most `limit` payments that are due, one event of each; none while paused. First attempts go before retries, and among them
 * merchants take turns (R29): one payment of each, beginning with the merchant that comes next to `after`, without those that are `full`.
 * `next` is where the next claim is to begin. What is open counts for nothing: each merchant is found by a step down an index.
 */
export async function claimDue(
  db: Queryable,
  { limit, leaseMs, after, full }: { limit: number; leaseMs: number; after: string; full: readonly string[] },
): Promise<{ claims: Claim[]; next: string }> {
  const open = 't.next_attempt_at is not null and t.claimed_until is null';
  const [{ next, claimed } = { next: after, claimed: [] }] = await db.query<{
    next: string;
    claimed: { eventId: string; claim: number }[];
  }>(
    `with recursive stretches (stretch, retrying, above, upto) as (
       values (1, false, $3, null), (2, false, '', $3), (3, true, $3, null), (4, true, '', $3)),
     turns (turn, stretch, retrying, merchant, is_due) as (
       select 0, 1, false, $3::text collate "C", false where not ${PAUSED}
       union all
       select turns.turn + 1, found.*
       from turns cross join lateral (
         select s.stretch, s.retrying, first.merchant, first.next_attempt_at <= now()
         from stretches s cross join lateral (
           select t.merchant, t.next_attempt_at from transactions t
           where ${open} and t.retrying = s.retrying
             and t.merchant > case when s.stretch = turns.stretch then turns.merchant else s.above end
           order by t.merchant, t.next_attempt_at limit 1) first
         where s.stretch >= turns.stretch and (s.upto is null or first.merchant <= s.upto)
         order by s.stretch limit 1) found
       where turns.turn < ${MERCHANTS_MAX}),
     due as materialized (
       select turns.turn, turns.merchant, first.transaction_id
       from turns cross join lateral (
         select t.transaction_id from transactions t
         where ${open} and t.retrying = turns.retrying
           and (t.merchant, t.next_attempt_at) >= (turns.merchant, '-infinity')
           and (t.merchant, t.next_attempt_at) <= (turns.merchant, now())
         order by t.merchant, t.next_attempt_at limit 1
         for update skip locked) first
       where turns.is_due and turns.merchant <> all ($4::text[])
       limit $1),
     once as (select distinct on (merchant) transaction_id from due order by merchant, turn),
     claimed as (
       update transactions t
       set claim = claim + 1, claimed_until = now() + $2 * interval '1 millisecond'
       from once
       where t.transaction_id = once.transaction_id
       returning t.next_event_id, t.claim)
     select coalesce(case when (select count(*) from due) = $1 then (select merchant from due order by turn desc limit 1)
                          else (select merchant from turns order by turn desc limit 1) end, $3) as next,
            (select coalesce(json_agg(json_build_object('eventId', next_event_id, 'claim', claim)), '[]') from claimed) as claimed`,
    [limit, leaseMs, after, full],
  );
  if (claimed.length === 0) return { claims: [], next };
  const claims = await db.query<Claim>(
    `select d.transaction_id as "transactionId", t.merchant, claimed.claim, d.event_id as "eventId", d.sequence, d.type, d.body,
            d.sealed_with as "sealedWith", d.attempts, d.stuck,
            coalesce(d.first_attempt_at <= now() - interval '3 days', false) as "threeDaysOld"
     from unnest($1::uuid[], $2::integer[]) as claimed (event_id, claim)
     join deliveries d using (event_id)
     join transactions t on t.transaction_id = d.transaction_id`,
    [claimed.map(({ eventId }) => eventId), claimed.map(({ claim }) => claim)],
  );
  return { claims, next };
}

/** Whether the lease is still the claim's and lasts for so long from now (R27). */
export async function leaseOutlives(db: Queryable, claim: Claim, ms: number): Promise<boolean> {
  const rows = await db.query(
    `select 1 from transactions
     where transaction_id = $1 and claim = $2 and claimed_until > now() + $3 * interval '1 millisecond'`,
    [claim.transactionId, claim.claim, ms],
  );
  return rows.length === 1;
}

export interface Attempt {
  readonly eventId: string;
  readonly delivered: boolean;
  readonly stuck: boolean;
  readonly durationMs: number;
  readonly httpStatus: number | null;
  readonly error: string | null;
  readonly answer: string;
  /** Null after the last attempt. */
  readonly retryMs: number | null;
}

/** Records an attempt and what it makes of its delivery; answers its number. */
export async function recordAttempt(tx: Queryable, attempt: Attempt): Promise<number> {
  const { eventId, delivered, stuck, durationMs, httpStatus, error, answer, retryMs } = attempt;
  const { number } = onlyRow(
    await tx.query<{ number: number }>(
      `with tried as (
         update deliveries
         set attempts = attempts + 1, first_attempt_at = coalesce(first_attempt_at, now()), stuck = $3,
             state = case when $2 then 'delivered' else state end,
             finished_at = case when $2 then now() else finished_at end
         where event_id = $1
         returning event_id, attempts)
       insert into attempts (event_id, number, started_at, duration_ms, http_status, error, answer, next_attempt_at)
       select event_id, attempts, now() - $4::integer * interval '1 millisecond', $4::integer, $5, $6, $7,
              now() + $8 * interval '1 millisecond'
       from tried
       returning number`,
      [eventId, delivered, stuck, durationMs, httpStatus, error, answer, retryMs],
    ),
  );
  return number;
}

/**
 * After a pending event that may have reached Wix late: the payment's final event, if Wix has heard it or is hearing it, is to be told
 * once more (R27). What is being told now will not count as told.
 */
export async function reopenFinal(tx: Queryable, transactionId: string): Promise<Payment> {
  return onlyRow(
    await tx.query<Payment>(
      `with final as (
         update deliveries set state = 'waiting', finished_at = null
         where transaction_id = $1 and state = 'delivered' and type in ('TRANSACTION_APPROVED', 'TRANSACTION_DECLINED')
         returning sequence)
       update transactions t
       set final_told = null,
           done_through = least(done_through, (select min(sequence) - 1 from final)),
           claim = claim + (select count(*) from deliveries d
                            where d.event_id = t.next_event_id and t.claimed_until is not null
                              and d.type in ('TRANSACTION_APPROVED', 'TRANSACTION_DECLINED'))::integer
       where transaction_id = $1
       returning ${PAYMENT}`,
      [transactionId],
    ),
  );
}

/** When Wix is back, everything that waits for its next attempt is due (R29). */
export async function retryEverything(db: Queryable, signal: AbortSignal): Promise<void> {
  // Of a million, one statement would run out of its time.
  const limit = 5_000;
  for (let count = limit; count === limit && !signal.aborted; ) {
    const rows = await db.query(
      `update transactions set next_attempt_at = now()
       where transaction_id in (
         select transaction_id from transactions
         where retrying and next_attempt_at > now() and claimed_until is null
         limit $1
         for update skip locked)
       returning transaction_id`,
      [limit],
    );
    count = rows.length;
  }
}

/** Payments that have missed an event for ten minutes; each of them again after an hour. */
export async function takeGaps(db: Queryable): Promise<{ transactionId: string; doneThrough: bigint }[]> {
  return db.query(
    `update transactions set gap_alert_at = now() + interval '1 hour'
     where gap_alert_at <= now()
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
  const rows = await db.query<{ keyId: string }>(
    `select distinct sealed_with as "keyId" from deliveries where finished_at is null and sealed_with is not null`,
  );
  return rows.map(({ keyId }) => keyId);
}

/** How many deliveries are open, for how many seconds the oldest has been due and is not being attempted, and whether all are paused. */
export async function measure(db: Queryable): Promise<{ open: number; oldestDueSeconds: number; paused: boolean }> {
  return onlyRow(
    await db.query<{ open: number; oldestDueSeconds: number; paused: boolean }>(
      `select (select count(*)::integer from deliveries where finished_at is null) as open,
              (select coalesce(greatest(extract(epoch from now() - min(next_attempt_at)), 0), 0)::float8
               from transactions where next_attempt_at is not null and claimed_until is null) as "oldestDueSeconds",
              ${PAUSED} as paused`,
    ),
  );
}
