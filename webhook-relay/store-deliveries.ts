import type { Queryable } from '../proto/runtime/database.ts';
import { maybeRow, onlyRow } from '../proto/runtime/database.ts';
import type { PageEnd } from '../proto/runtime/requests.ts';
import type { DeliveryState } from './delivery.ts';
import type { Held } from './store.ts';

// What operators see of the relay's rows, and what they decide about them.

export interface DeliveryRow {
  readonly eventId: string;
  readonly transactionId: string;
  readonly sequence: bigint;
  readonly type: string;
  readonly state: DeliveryState;
  readonly stuck: boolean;
  readonly attempts: number;
  readonly receivedAt: Date;
  readonly firstAttemptAt: Date | null;
  readonly finishedAt: Date | null;
  /** Set while it is the next of its payment. */
  readonly nextAttemptAt: Date | null;
}

const DELIVERY = `d.event_id as "eventId", d.transaction_id as "transactionId", d.sequence, d.type, d.state,
  d.stuck and d.finished_at is null as stuck, d.attempts, d.received_at as "receivedAt",
  d.first_attempt_at as "firstAttemptAt", d.finished_at as "finishedAt", t.next_attempt_at as "nextAttemptAt"
  from deliveries d left join transactions t on t.next_event_id = d.event_id and t.transaction_id = d.transaction_id`;

/** Deliveries for which all of it holds; what is null, empty or false is left out. */
export interface Selection {
  readonly eventId: string | null;
  readonly transactionId: string | null;
  readonly states: readonly DeliveryState[];
  readonly stuck: boolean;
  readonly type: string | null;
  readonly receivedFrom: Date | null;
  readonly receivedBefore: Date | null;
}

const OPEN: readonly DeliveryState[] = ['waiting', 'parked', 'held'];

const SELECTED = `($1::uuid is null or d.event_id = $1)
  and ($2::uuid is null or d.transaction_id = $2)
  and (cardinality($3::text[]) = 0 or d.state = any ($3))
  and (not $4::boolean or d.finished_at is null)
  and (not $5::boolean or d.stuck)
  and ($6::text is null or d.type = $6)
  and ($7::timestamptz is null or d.received_at >= $7)
  and ($8::timestamptz is null or d.received_at < $8)`;

function valuesOf(s: Selection): unknown[] {
  // Said once more in the words of an index: open deliveries are few.
  const open = s.stuck || (s.states.length > 0 && s.states.every((state) => OPEN.includes(state)));
  return [s.eventId, s.transactionId, s.states, open, s.stuck, s.type, s.receivedFrom, s.receivedBefore];
}

/** Newest first, from before a cursor. */
export async function selectDeliveries(
  db: Queryable,
  selection: Selection,
  before: PageEnd | null,
  limit: number,
): Promise<(DeliveryRow & { cursor: string })[]> {
  return db.query<DeliveryRow & { cursor: string }>(
    `select d.received_at::text as cursor, ${DELIVERY}
     where ${SELECTED}
       and ($9::timestamptz is null or (d.received_at, d.event_id) < ($9, $10::uuid))
     order by d.received_at desc, d.event_id desc
     limit $11`,
    [...valuesOf(selection), before?.at ?? null, before?.id ?? null, limit],
  );
}

export type DeliveryWithBody = DeliveryRow & { readonly body: Uint8Array | null; readonly sealedWith: string | null };

export async function deliveryByEvent(db: Queryable, eventId: string): Promise<DeliveryWithBody | undefined> {
  return maybeRow(
    await db.query<DeliveryWithBody>(
      `select d.body, d.sealed_with as "sealedWith", ${DELIVERY}
       where d.event_id = $1`,
      [eventId],
    ),
  );
}

export interface AttemptRow {
  readonly number: number;
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly httpStatus: number | null;
  readonly error: string;
  readonly answer: string;
  readonly nextAttemptAt: Date | null;
}

/** The newest ones, oldest first. */
export async function attemptsOf(db: Queryable, eventId: string, limit: number): Promise<AttemptRow[]> {
  const newest = await db.query<AttemptRow>(
    `select number, started_at as "startedAt", duration_ms as "durationMs", http_status as "httpStatus",
            coalesce(error, '') as error, answer,
            next_attempt_at as "nextAttemptAt"
     from attempts where event_id = $1 order by number desc limit $2`,
    [eventId, limit],
  );
  return newest.reverse();
}

export type Action = 'park' | 'unpark' | 'skip' | 'redrive' | 'pause' | 'resume';

export interface Decision {
  readonly action: Action;
  readonly caller: string;
  readonly reason: string;
  readonly decidedAt: Date;
}

const DECISION = `action, caller, reason, decided_at as "decidedAt"`;

export async function insertDecision(
  tx: Queryable,
  decision: Omit<Decision, 'decidedAt'> & { eventId?: string; selection?: Selection },
): Promise<Decision> {
  const { action, eventId, selection, caller, reason } = decision;
  return onlyRow(
    await tx.query<Decision>(
      `insert into decisions (action, event_id, selection, caller, reason) values ($1, $2, $3, $4, $5)
       returning ${DECISION}`,
      [action, eventId ?? null, selection ? JSON.stringify(selection) : null, caller, reason],
    ),
  );
}

/** Oldest first. */
export async function decisionsOf(db: Queryable, eventId: string): Promise<Decision[]> {
  return db.query<Decision>(`select ${DECISION} from decisions where event_id = $1 order by id`, [eventId]);
}

/** The pause that stands, if one does. */
export async function pauseInForce(db: Queryable): Promise<Decision | undefined> {
  const newest = await db.query<Decision>(
    `select ${DECISION} from decisions where action in ('pause', 'resume') order by id desc limit 1`,
  );
  return newest.find(({ action }) => action === 'pause');
}

/** Moves a delivery from one of these states to another, under its payment's lock. False if it is in none of them. */
export async function moveDelivery(
  tx: Queryable,
  eventId: string,
  from: readonly DeliveryState[],
  to: DeliveryState,
): Promise<boolean> {
  const rows = await tx.query(
    `update deliveries
     set state = $3, finished_at = case when $3 = 'skipped' then now() end,
         message = case when $3 <> 'skipped' then message end
     where event_id = $1 and state = any ($2)
     returning event_id`,
    [eventId, from, to],
  );
  return rows.length > 0;
}

/** The oldest selected ones that are held. */
export async function selectHeld(db: Queryable, selection: Selection, limit: number): Promise<Held[]> {
  return db.query<Held>(
    `select d.event_id as "eventId", d.transaction_id as "transactionId", d.sequence, d.type, d.message as value
     from deliveries d
     where d.finished_at is null and d.state = 'held' and ${SELECTED}
     order by d.received_at, d.event_id limit $9`,
    [...valuesOf(selection), limit],
  );
}

/** How many of these are held. */
export async function countHeld(db: Queryable, eventIds: readonly string[]): Promise<number> {
  const rows = await db.query(`select from deliveries where event_id = any ($1::uuid[]) and state = 'held'`, [
    eventIds,
  ]);
  return rows.length;
}

/** Makes due what goes next of payments that have a selected delivery waiting. Answers how many; what is due already is not among them. */
export async function makeDue(tx: Queryable, selection: Selection, limit: number): Promise<number> {
  const rows = await tx.query(
    `update transactions set next_attempt_at = now()
     where transaction_id = any (array(
       select t.transaction_id from transactions t
       where t.next_attempt_at > now() and t.claimed_until is null
         and exists (select from deliveries d
                     where d.transaction_id = t.transaction_id and d.state = 'waiting' and ${SELECTED})
       limit $9
       for update of t skip locked))
     returning transaction_id`,
    [...valuesOf(selection), limit],
  );
  return rows.length;
}
