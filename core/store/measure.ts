import { onlyRow, type Queryable } from '../../proto/runtime/database.ts';

// What gauges tell of the ledger. All of it is found by indexes of what is open, and counted to 10,000, however large the ledger is.

const OPEN = ['authorizing', 'awaiting_buyer', 'pending', 'authorized', 'capturing', 'voiding'];
const COUNTED_MAX = 10_000;

export function openPayments(db: Queryable): Promise<{ state: string; count: number }[]> {
  return db.query<{ state: string; count: number }>(
    `select given.state, (select count(*)::integer from (
         select from transactions where state = given.state and state <> 'captured' limit ${COUNTED_MAX}) as few) as count
     from unnest($1::text[]) as given (state)`,
    [OPEN],
  );
}

export interface OpenWork {
  readonly running: number;
  readonly waiting: number;
  readonly unknown: number;
  readonly reversals: number;
  readonly oldestUnknownSeconds: number;
  readonly unpublished: number;
  readonly oldestUnpublishedSeconds: number;
}

/** Operations that reconciliation looks at, and events that wait to be published. */
export async function openWork(db: Queryable): Promise<OpenWork> {
  return onlyRow(
    await db.query<OpenWork>(
      `select running, waiting, unknown, reversals, "oldestUnknownSeconds", unpublished, "oldestUnpublishedSeconds" from (
         select (count(*) filter (where state = 'running'))::integer as running,
           (count(*) filter (where state = 'waiting'))::integer as waiting,
           (count(*) filter (where state = 'unknown'))::integer as unknown,
           (count(*) filter (where kind = 'reversal'))::integer as reversals,
           coalesce(extract(epoch from now() - min(changed_at) filter (where state = 'unknown')), 0)::float8 as "oldestUnknownSeconds"
         from (select state, kind, changed_at from operations where due_at is not null limit ${COUNTED_MAX}) as few) as open,
       (select count(*)::integer as unpublished,
          coalesce(extract(epoch from now() - min(occurred_at)), 0)::float8 as "oldestUnpublishedSeconds"
        from (select occurred_at from outbox where published_at is null order by id limit ${COUNTED_MAX}) as few) as events`,
    ),
  );
}
