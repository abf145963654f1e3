import type { Queryable } from '../../proto/runtime/database.ts';
import { currentTraceparent } from '../../proto/runtime/tracing.ts';

/** A row of `outbox`: an event that is to be published. */
export interface OutboxRow {
  readonly id: bigint;
  readonly eventId: string;
  readonly transactionId: string;
  readonly sequence: bigint;
  readonly type: string;
  readonly value: Uint8Array;
  readonly occurredAt: Date;
  /** W3C traceparent; null or undefined without a trace. */
  readonly traceparent?: string | null | undefined;
}

export async function insertEvent(tx: Queryable, event: Omit<OutboxRow, 'id'>): Promise<void> {
  await tx.query(
    `insert into outbox (event_id, transaction_id, sequence, type, value, occurred_at, traceparent) values ($1, $2, $3, $4, $5, $6, $7)`,
    [
      ...[event.eventId, event.transactionId, event.sequence, event.type, event.value, event.occurredAt],
      event.traceparent ?? currentTraceparent() ?? null,
    ],
  );
}

/** Tries to become the one publisher for this tx (R42). */
export async function lockPublisher(tx: Queryable): Promise<boolean> {
  const [row] = await tx.query<{ locked: boolean }>(
    `select pg_try_advisory_xact_lock(hashtextextended('core.publish_outbox', 0)) as locked`,
  );
  return row?.locked === true;
}

/** The oldest unpublished events. Ids of one payment ascend in commit order, because it changes under its row lock. */
export async function unpublished(tx: Queryable, limit: number): Promise<OutboxRow[]> {
  return tx.query<OutboxRow>(
    `select id, event_id as "eventId", transaction_id as "transactionId", sequence, type, value, occurred_at as "occurredAt",
       traceparent
     from outbox where published_at is null order by id limit $1`,
    [limit],
  );
}

export async function markPublished(tx: Queryable, ids: readonly bigint[]): Promise<void> {
  await tx.query(`update outbox set published_at = clock_timestamp() where id = any ($1::bigint[])`, [ids]);
}

/** Marks the published events of a payment, by our id or the caller's, to be published again. Answers how many. */
export function unpublishPayment(db: Queryable, id: string, isDry = false): Promise<number> {
  return unpublish(
    db,
    `published_at is not null and transaction_id in
       (select id from transactions where external_id = $1 or id = case when $1 ~ '^[0-9a-f-]{36}$' then $1::uuid end)`,
    [id],
    isDry,
  );
}

/** Marks what was published in a time to be published again. Answers how many. */
export function unpublishPeriod(db: Queryable, since: string, until = 'infinity', isDry = false): Promise<number> {
  return unpublish(db, 'published_at >= $1::timestamptz and published_at < $2::timestamptz', [since, until], isDry);
}

async function unpublish(db: Queryable, which: string, values: readonly unknown[], isDry: boolean): Promise<number> {
  const sql = isDry
    ? `select id from outbox where ${which}`
    : `update outbox set published_at = null where ${which} returning id`;
  return (await db.query(sql, values)).length;
}
