import type { Queryable } from '../../proto/runtime/database.ts';
import { maybeRow } from '../../proto/runtime/database.ts';

// What is recorded of one payment, for those who ask why it stands where it stands.

/** Our id of the payment that has this id: its own, Wix's, a wixRefundId, or a request id. Of several, the first of these. */
export async function transactionIdBy(db: Queryable, id: string): Promise<string | undefined> {
  const found = maybeRow(
    await db.query<{ id: string }>(
      `with given as (select case when $1 ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then $1::uuid end as uuid)
       select id from (
         select 1 as rank, id from transactions where id = (select uuid from given)
         union all select 2, id from transactions where external_id = $1
         union all select 3, transaction_id from operations where kind = 'refund' and caller = 'wix' and key = $1
         union all select 4, transaction_id from operations where id = (select uuid from given)
       ) as found order by rank limit 1`,
      [id],
    ),
  );
  return found?.id;
}

/** When open operations are looked at next; and the database's time. */
export async function dueTimes(db: Queryable, transactionId: string): Promise<{ due: Map<string, Date>; now: Date }> {
  const rows = await db.query<{ id: string | null; dueAt: Date | null; now: Date }>(
    `select id, due_at as "dueAt", clock_timestamp() as now
     from (select 1) as one left join operations on transaction_id = $1 and due_at is not null`,
    [transactionId],
  );
  const due = rows.flatMap(({ id, dueAt }) => (id !== null && dueAt ? [[id, dueAt] as const] : []));
  return { due: new Map(due), now: rows[0]?.now ?? new Date(0) };
}

/** An event as the outbox keeps it. */
export interface EventRow {
  readonly eventId: string;
  readonly sequence: bigint;
  readonly type: string;
  readonly value: Uint8Array;
  readonly occurredAt: Date;
  readonly publishedAt: Date | null;
}

/** The newest ones, oldest first. */
export async function eventsOf(db: Queryable, transactionId: string, limit: number): Promise<EventRow[]> {
  const newest = await db.query<EventRow>(
    `select event_id as "eventId", sequence, type, value, occurred_at as "occurredAt", published_at as "publishedAt"
     from outbox where transaction_id = $1 order by sequence desc limit $2`,
    [transactionId, limit],
  );
  return newest.reverse();
}

export interface ReportRow {
  readonly operationId: string | null;
  readonly kind: 'contradiction' | 'override';
  readonly caller: string;
  readonly said: string;
  readonly why: string;
  readonly createdAt: Date;
}

/** Oldest first. */
export function reportsOf(db: Queryable, transactionId: string, limit: number): Promise<ReportRow[]> {
  return db.query<ReportRow>(
    `select operation_id as "operationId", kind, caller, said, why, created_at as "createdAt" from (
       select id, operation_id, kind, caller, said, why, created_at from reports
       where operation_id in (select operations.id from operations where operations.transaction_id = $1)
       union all
       select id, operation_id, kind, caller, said, why, created_at from reports where transaction_id = $1
     ) as found order by id limit $2`,
    [transactionId, limit],
  );
}
