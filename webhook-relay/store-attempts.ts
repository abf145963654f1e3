import type { Queryable } from '../proto/runtime/database.ts';
import { toRecords } from '../proto/runtime/database.ts';
import { PAUSED } from './store.ts';

// What is attempted: claims under a lease, and what became of them.

/** Takes away some of the leases that ran out; their holders, if they live, find that they lost them. Answers the payments. */
export async function freeExpiredLeases(tx: Queryable, limit: number): Promise<string[]> {
  const rows = await tx.query<{ transactionId: string }>(
    `update transactions set claim = claim + 1, claimed_until = null
     where transaction_id = any (array(
       select transaction_id from transactions
       where claimed_until <= now()
       order by claimed_until limit $1
       for update skip locked))
     returning transaction_id as "transactionId"`,
    [limit],
  );
  return rows.map(({ transactionId }) => transactionId);
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
  /** Of the event; null without a trace. */
  readonly traceparent: string | null;
  readonly attempts: number;
  readonly stuck: boolean;
  /** Milliseconds since its first attempt, by the database's time; null before it (R29). */
  readonly ageMs: number | null;
}

/** A claim looks at no more merchants than this; the next one goes on from there. */
const MERCHANTS_MAX = 1_000;

export interface Wanted {
  /** Payments at most. */
  readonly limit: number;
  readonly leaseMs: number;
  /** The merchant after which turns begin. */
  readonly after: string;
  /** How many one merchant may have at once, with those that run: each of these has so many. */
  readonly share: number;
  readonly running: ReadonlyMap<string, number>;
}

/**
 * Claims payments that are due, one event of each; none while paused. First attempts go before retries, and among them merchants take
 * turns (R29), beginning with the one that comes next to `after`: the places are parted equally among those that have something due, up
 * to each one's share. `next` is where the next claim is to begin. What is open counts for nothing: each merchant is found by a step down
 * an index, and no more of them are looked for than there are places.
 */
export async function claimDue(
  db: Queryable,
  wanted: Wanted,
): Promise<{ claims: Claim[]; next: string; hasMore: boolean }> {
  const { limit, leaseMs, after, share, running } = wanted;
  const open = 't.next_attempt_at is not null and t.claimed_until is null';
  const rows = await db.query<{ next: string; hasMore: boolean } & { [Field in keyof Claim]: Claim[Field] | null }>(
    `with recursive stretches (stretch, retrying, above, upto) as (
       values (1, false, $3, null), (2, false, '', $3), (3, true, $3, null), (4, true, '', $3)),
     turns (turn, stretch, retrying, merchant, places, wanting) as (
       select 0, 1, false, $3::text collate "C", 0, 0 where not ${PAUSED}
       union all
       select turns.turn + 1, found.stretch, found.retrying, found.merchant, room.places, turns.wanting + (room.places > 0)::integer
       from turns cross join lateral (
         select s.stretch, s.retrying, first.merchant, first.next_attempt_at <= now() as is_due
         from stretches s cross join lateral (
           select t.merchant, t.next_attempt_at from transactions t
           where ${open} and t.retrying = s.retrying
             and t.merchant > case when s.stretch = turns.stretch then turns.merchant else s.above end
           order by t.merchant, t.next_attempt_at limit 1) first
         where s.stretch >= turns.stretch and (s.upto is null or first.merchant <= s.upto)
         -- They are read in their order, which a sort would do too, but only after it has looked into all of them.
         limit 1) found
       cross join lateral (
         select case when found.is_due then $4 - coalesce(($5::jsonb ->> found.merchant)::integer, 0) else 0 end as places) room
       where turns.turn < ${MERCHANTS_MAX} and turns.wanting < $1),
     wanting as materialized (
       select turn, retrying, merchant, places, least(places, greatest(1, $1 / count(*) over (partition by retrying))) as quota
       from turns
       where places > 0
       order by turn),
     due as materialized (
       select wanting.turn, wanting.merchant, wanting.places, first.transaction_id
       from wanting cross join lateral (
         select t.transaction_id from transactions t
         where ${open} and t.retrying = wanting.retrying
           and (t.merchant, t.next_attempt_at) >= (wanting.merchant, '-infinity')
           and (t.merchant, t.next_attempt_at) <= (wanting.merchant, now())
         order by t.merchant, t.next_attempt_at limit wanting.quota
         for update skip locked) first
       limit $1),
     numbered as (select transaction_id, places, row_number() over (partition by merchant order by turn) as number from due),
     claimed as (
       update transactions t
       set claim = claim + 1, claimed_until = now() + $2 * interval '1 millisecond'
       from numbered, deliveries d
       where numbered.number <= numbered.places and t.transaction_id = numbered.transaction_id
         -- One that changed since this statement began is not found, and stays due.
         and d.event_id = t.next_event_id
       returning t.transaction_id, t.merchant, t.claim, d.event_id, d.sequence, d.type, d.body, d.sealed_with, d.traceparent, d.attempts, d.stuck,
                 (extract(epoch from now() - d.first_attempt_at) * 1000)::float8 as age_ms)
     select turn.next, turn."hasMore", claimed.transaction_id as "transactionId", claimed.merchant, claimed.claim, claimed.event_id as "eventId",
            claimed.sequence, claimed.type, claimed.body, claimed.sealed_with as "sealedWith", claimed.traceparent, claimed.attempts, claimed.stuck,
            claimed.age_ms as "ageMs"
     from (select coalesce(case when (select count(*) from due) = $1 then (select merchant from due order by turn desc limit 1)
                                else (select merchant from turns order by turn desc limit 1) end, $3) as next,
             exists (select from turns where turn = ${MERCHANTS_MAX} or wanting = $1) or (select count(*) from due) = $1
               or exists (select from wanting where quota <= (select count(*) from due where due.turn = wanting.turn))
               or (select count(distinct turn) from due) < (select count(*) from wanting)
               or (select count(*) from claimed) < (select count(*) from due) as "hasMore") turn
     left join claimed on true`,
    [limit, leaseMs, after, share, JSON.stringify(Object.fromEntries(running))],
  );
  return {
    claims: rows.filter((row): row is Claim & { next: string; hasMore: boolean } => row.transactionId !== null),
    next: rows[0]?.next ?? after,
    hasMore: rows[0]?.hasMore ?? true,
  };
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

/** Records attempts, each of another delivery, and what they make of it; answers the number of each, by its event. */
export async function recordAttempts(tx: Queryable, attempts: readonly Attempt[]): Promise<Map<string, number>> {
  const rows = await tx.query<{ eventId: string; number: number }>(
    `with ended as (
       select "eventId" as event_id, delivered, stuck, "durationMs" as ms, "httpStatus" as status, error, answer, "retryMs" as retry_ms
       from json_to_recordset($1) as ended ("eventId" uuid, delivered boolean, stuck boolean, "durationMs" integer,
                                            "httpStatus" integer, error text, answer text, "retryMs" integer)),
     tried as (
       update deliveries d
       set attempts = d.attempts + 1, first_attempt_at = coalesce(d.first_attempt_at, now()), stuck = ended.stuck,
           state = case when ended.delivered then 'delivered' else d.state end,
           finished_at = case when ended.delivered then now() else d.finished_at end
       from ended
       where d.event_id = ended.event_id
       returning d.event_id, d.attempts, ended.ms, ended.status, ended.error, ended.answer, ended.retry_ms)
     insert into attempts (event_id, number, started_at, duration_ms, http_status, error, answer, next_attempt_at)
     select event_id, attempts, now() - ms * interval '1 millisecond', ms, status, error, answer,
            now() + retry_ms * interval '1 millisecond'
     from tried
     returning event_id as "eventId", number`,
    [toRecords(attempts)],
  );
  return new Map(rows.map(({ eventId, number }) => [eventId, number]));
}

/**
 * After a pending event that may have reached Wix late: the payment's final event, if Wix has heard it or is hearing it, is to be told
 * once more (R27). What is being told now will not count as told.
 */
export async function reopenFinal(tx: Queryable, transactionId: string): Promise<void> {
  await tx.query(
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
     where transaction_id = $1`,
    [transactionId],
  );
}

/** When Wix is back, everything that waits for its next attempt is due (R29). */
export async function retryEverything(db: Queryable, signal: AbortSignal): Promise<void> {
  // Of a million, one statement would run out of its time. An array is read once, also where the planner thinks the table empty.
  const limit = 5_000;
  for (let count = limit; count === limit && !signal.aborted; ) {
    const rows = await db.query(
      `update transactions set next_attempt_at = now()
       where transaction_id = any (array(
         select transaction_id from transactions
         where retrying and next_attempt_at > now() and claimed_until is null
         limit $1
         for update skip locked))
       returning transaction_id`,
      [limit],
    );
    count = rows.length;
  }
}
