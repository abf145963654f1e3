import type { Queryable } from '../../proto/runtime/database.ts';
import type { Operation } from '../operation.ts';
import type { Mode, Transaction } from '../transaction.ts';
import { columnList, toTableRows } from './columns.ts';
import { OPERATION_PROPERTIES } from './operations.ts';
import type { OutboxRow } from './outbox.ts';
import { EVENT_PROPERTIES } from './settlements.ts';
import { TRANSACTION_PROPERTIES } from './transactions.ts';

// Rows of a payment as they were: written whole, with their times, under the payment's lock where it stands.

/** A payment that is missing. False: it is there by now, or another one has its external id. */
export async function insertRestored(tx: Queryable, transaction: Transaction): Promise<boolean> {
  const rows = await tx.query(
    `insert into transactions (${columnList(TRANSACTION_PROPERTIES)})
     select ${columnList(TRANSACTION_PROPERTIES)} from json_populate_recordset(null::transactions, $1)
     on conflict do nothing
     returning id`,
    [toTableRows([transaction], TRANSACTION_PROPERTIES)],
  );
  return rows.length > 0;
}

/** Under the payment's lock. */
export async function updateRestored(tx: Queryable, transaction: Transaction): Promise<void> {
  await tx.query(
    `update transactions set (${columnList(TRANSACTION_PROPERTIES)}) = row (${columnList(TRANSACTION_PROPERTIES, 'restored.')})
     from json_populate_recordset(null::transactions, $1) as restored where transactions.id = restored.id`,
    [toTableRows([transaction], TRANSACTION_PROPERTIES)],
  );
}

/** How long nobody asks the engine about what is being brought back; a run that was stopped is run again by then. */
const PARKED = `clock_timestamp() + interval '1 day'`;

/**
 * Under the payment's lock. One that is open is not looked at until all is brought back: a core would give what it learns the numbers of
 * events that are still to come.
 */
export async function putOperation(tx: Queryable, operation: Operation): Promise<void> {
  await tx.query(
    `insert into operations (${columnList(OPERATION_PROPERTIES)}, due_at)
     select ${columnList(OPERATION_PROPERTIES)}, case when state in ('running', 'waiting', 'unknown') and not held then ${PARKED} end
     from json_populate_recordset(null::operations, $1)
     on conflict (id) do update set (${columnList(OPERATION_PROPERTIES)}, due_at) = row (${columnList(OPERATION_PROPERTIES, 'excluded.')}, excluded.due_at)`,
    [toTableRows([operation], OPERATION_PROPERTIES)],
  );
}

/** The same for what is open and began more than `runningMs` ago. */
export async function parkOpen(db: Queryable, runningMs: number): Promise<void> {
  await db.query(
    `update operations set due_at = ${PARKED}
     where due_at is not null and created_at < clock_timestamp() - $1::float8 * interval '1 millisecond'`,
    [runningMs],
  );
}

/** Its identity is its id, which is derived from these. */
export async function renameOperation(
  db: Queryable,
  id: string,
  { caller, key, callId, why }: Pick<Operation, 'caller' | 'key' | 'callId' | 'why'>,
): Promise<void> {
  await db.query('update operations set caller = $2, key = $3, call_id = $4, why = $5 where id = $1', [
    ...[id, caller, key, callId, why],
  ]);
}

/** To be published again: whoever has it drops it. */
export async function putEvent(tx: Queryable, event: Omit<OutboxRow, 'id'>): Promise<void> {
  await tx.query(
    `insert into outbox (${columnList(EVENT_PROPERTIES)}) select ${columnList(EVENT_PROPERTIES)} from json_populate_recordset(null::outbox, $1)`,
    [toTableRows([event], EVENT_PROPERTIES)],
  );
}

/** The payment's events that the outbox has. */
export function eventsOf(tx: Queryable, transactionId: string): Promise<{ eventId: string; value: Uint8Array }[]> {
  return tx.query(`select event_id as "eventId", value from outbox where transaction_id = $1`, [transactionId]);
}

/** Whether the merchant has the account, with credentials of this mode; null: of either. */
export async function hasAccount(
  tx: Queryable,
  { accountId, externalMerchantId, mode }: { accountId: string; externalMerchantId: string; mode: Mode | null },
): Promise<boolean> {
  const rows = await tx.query(
    `select from merchant_accounts where id = $1 and external_merchant_id = $2
     and exists (select from merchant_credentials where account_id = $1 and ($3::text is null or mode = $3))`,
    [accountId, externalMerchantId, mode],
  );
  return rows.length > 0;
}

/** Of a payment that was being authorized more may have been told than is known here: nothing is said of it before its end. */
export async function pendAuthorizing(db: Queryable, runningMs: number): Promise<void> {
  await db.query(
    `update transactions set state = 'pending', reason = 5009
     where state = 'authorizing' and created_at < clock_timestamp() - $1::float8 * interval '1 millisecond'`,
    [runningMs],
  );
}

/** Makes due what is open, as soon as its first call is certainly over, `runningMs` after it began (R15). Answers how much is open. */
export async function makeOpenDue(db: Queryable, runningMs: number): Promise<number> {
  await db.query(
    `update operations set due_at = greatest(clock_timestamp(), created_at + $1::float8 * interval '1 millisecond')
     where due_at > clock_timestamp()`,
    [runningMs],
  );
  const [row] = await db.query<{ open: number }>(
    'select count(*)::integer as open from operations where due_at is not null',
  );
  return row?.open ?? 0;
}
