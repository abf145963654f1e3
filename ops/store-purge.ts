import type { Queryable } from '../proto/runtime/database.ts';
import { maybeRow } from '../proto/runtime/database.ts';

// What is old enough to go (R35). Each table is walked once, in the order of an index, a batch at a time; with `isDry` nothing is deleted.

/** How far a walk has come, and what it found in its batch. */
export interface Step {
  /** Undefined: the walk is over. */
  readonly next: string | undefined;
  readonly found: number;
}

/** Links of buyers whose operation ended so long ago. */
export async function purgeLinks(
  db: Queryable,
  after: string,
  days: number,
  limit: number,
  isDry: boolean,
): Promise<Step> {
  const batch = `with batch as (select token_hash, operation_id from buyer_links
      where token_hash > decode($1, 'hex') order by token_hash limit $3),
    old as (select token_hash from batch join operations on operations.id = operation_id
      where operations.finished_at < now() - $2 * interval '1 day')`;
  const gone = isDry
    ? 'select token_hash from old'
    : 'delete from buyer_links where token_hash in (select token_hash from old) returning token_hash';
  const row = maybeRow(
    await db.query<{ last: string | null; found: number; size: number }>(
      `${batch}, gone as (${gone})
       select encode((select token_hash from batch order by token_hash desc limit 1), 'hex') as last,
         (select count(*)::integer from gone) as found, (select count(*)::integer from batch) as size`,
      [after, days, limit],
    ),
  );
  return { next: row && row.size === limit ? (row.last ?? undefined) : undefined, found: row?.found ?? 0 };
}

/** Events that were published so long ago, oldest first; it ends at the first batch that has none that is so old. */
export async function purgeOutbox(
  db: Queryable,
  after: string,
  days: number,
  limit: number,
  isDry: boolean,
): Promise<Step> {
  const gone = isDry ? 'select id from old' : 'delete from outbox where id in (select id from old) returning id';
  const row = maybeRow(
    await db.query<{ last: string | null; found: number; isOld: boolean }>(
      `with batch as (select id, occurred_at, published_at from outbox where id > $1::bigint order by id limit $3),
         old as (select id from batch where published_at < now() - $2 * interval '1 day'),
         gone as (${gone})
       select (select max(id)::text from batch) as last, (select count(*)::integer from gone) as found,
         coalesce((select bool_or(occurred_at < now() - $2 * interval '1 day') from batch), false) as "isOld"`,
      [after || '0', days, limit],
    ),
  );
  // What was published again is young, and older events stand behind it.
  return { next: row?.isOld ? (row.last ?? undefined) : undefined, found: row?.found ?? 0 };
}

/** Deliveries that ended so long ago, with their attempts; of the relay's schema. What a payment's order still needs stays. */
export async function purgeDeliveries(
  db: Queryable,
  after: string,
  days: number,
  limit: number,
  isDry: boolean,
): Promise<Step> {
  const [at = '-infinity', id = '00000000-0000-0000-0000-000000000000'] = after.split('|');
  const gone = isDry
    ? 'select event_id from old'
    : `delete from deliveries where event_id in (select event_id from old) returning event_id`;
  const tries = isDry
    ? 'select event_id from old'
    : 'delete from attempts where event_id in (select event_id from old) returning event_id';
  const row = maybeRow(
    await db.query<{ last: string | null; found: number; size: number }>(
      `with batch as (select event_id, transaction_id, sequence, received_at, finished_at from deliveries
           where (received_at, event_id) > ($1::timestamptz, $2::uuid) and received_at < now() - $3 * interval '1 day'
           order by received_at, event_id limit $4),
         old as (select event_id from batch join transactions using (transaction_id)
           where finished_at < now() - $3 * interval '1 day' and sequence <= done_through),
         tries as (${tries}),
         gone as (${gone})
       select (select received_at::text || '|' || event_id from batch order by received_at desc, event_id desc limit 1) as last,
         (select count(*)::integer from gone) as found, (select count(*)::integer from batch) as size`,
      [at || '-infinity', id, days, limit],
    ),
  );
  return { next: row && row.size === limit ? (row.last ?? undefined) : undefined, found: row?.found ?? 0 };
}

/** Payments at rest that have not changed for so long, locked, oldest first. */
export async function oldPayments(
  tx: Queryable,
  after: string,
  days: number,
  limit: number,
): Promise<{ ids: string[]; next: string | undefined }> {
  const [at = '-infinity', id = '00000000-0000-0000-0000-000000000000'] = after.split('|');
  const batch = await tx.query<{ id: string; cursor: string; isOld: boolean }>(
    `select id, created_at::text || '|' || id as cursor,
       state in ('captured', 'voided', 'expired', 'declined') and updated_at < now() - $3 * interval '1 day'
         and not exists (select from operations where transaction_id = transactions.id
           and (state in ('running', 'waiting', 'unknown') or changed_at >= now() - $3 * interval '1 day'))
         and not exists (select from outbox where transaction_id = transactions.id and published_at is null) as "isOld"
     from transactions
     where (created_at, id) > ($1::timestamptz, $2::uuid) and created_at < now() - $3 * interval '1 day'
     order by created_at, id limit $4 for update skip locked`,
    [at || '-infinity', id, days, limit],
  );
  return {
    ids: batch.flatMap((row) => (row.isOld ? [row.id] : [])),
    next: batch.length === limit ? batch.at(-1)?.cursor : undefined,
  };
}

/** Of these payments, those of which the relay has nothing more to tell; of the relay's schema. */
export async function allTold(db: Queryable, ids: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ id: string }>(
    `select given.id from unnest($1::uuid[]) as given (id)
     where not exists (select from deliveries where transaction_id = given.id and finished_at is null)`,
    [ids],
  );
  return rows.map(({ id }) => id);
}

/** Everything of these payments but what the relay has. */
export async function deletePayments(tx: Queryable, ids: readonly string[]): Promise<void> {
  const ofOperations =
    'operation_id in (select operations.id from operations where operations.transaction_id = any ($1::uuid[]))';
  for (const sql of [
    `delete from buyer_links where ${ofOperations}`,
    `delete from reports where ${ofOperations} or transaction_id = any ($1::uuid[])`,
    'delete from outbox where transaction_id = any ($1::uuid[])',
    'delete from operations where transaction_id = any ($1::uuid[])',
    'delete from transactions where id = any ($1::uuid[])',
  ])
    await tx.query(sql, [ids]);
}

/** Whatever the relay has of these payments; of its schema. */
export async function deleteOrders(tx: Queryable, ids: readonly string[]): Promise<void> {
  for (const sql of [
    'delete from attempts where event_id in (select event_id from deliveries where transaction_id = any ($1::uuid[]))',
    'delete from deliveries where transaction_id = any ($1::uuid[])',
    'delete from transactions where transaction_id = any ($1::uuid[])',
  ])
    await tx.query(sql, [ids]);
}
