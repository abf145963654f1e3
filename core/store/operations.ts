import type { Queryable } from '../../proto/runtime/database.ts';
import { maybeRow, onlyRow } from '../../proto/runtime/database.ts';
import { cut } from '../../proto/runtime/redact.ts';
import type { PageEnd } from '../../proto/runtime/requests.ts';
import type { Operation } from '../operation.ts';
import { selectList } from './columns.ts';

/** All of a row but its due time, as its interface names it. */
export const OPERATION_PROPERTIES = [
  ...(['id', 'transactionId', 'kind', 'state', 'caller', 'key', 'callId', 'attempt', 'amount'] as const),
  ...(['approvedAmount', 'reason', 'errorCode', 'errorMessage', 'why', 'processorReference'] as const),
  ...(['authorizationCode', 'networkTransactionId', 'acquirerReference', 'approvalReceived', 'held'] as const),
  ...(['asked', 'asks', 'expiresAt', 'processedAt', 'createdAt', 'changedAt', 'finishedAt'] as const),
] as const;
const COLUMNS = selectList(OPERATION_PROPERTIES);

/** A new operation. Open ones get their due time from `dueInMs`; refused ones are finished as they are inserted. */
export type NewOperation = Pick<
  Operation,
  | 'id'
  | 'transactionId'
  | 'kind'
  | 'state'
  | 'caller'
  | 'key'
  | 'callId'
  | 'attempt'
  | 'amount'
  | 'reason'
  | 'errorCode'
> &
  Pick<Operation, 'errorMessage' | 'why' | 'approvedAmount'> &
  Partial<Pick<Operation, 'processorReference' | 'processedAt'>> & { readonly dueInMs: number };

/** All operations of a payment, oldest first. Read under the payment's lock where a decision follows. */
export function operationsOf(db: Queryable, transactionId: string): Promise<Operation[]> {
  return operationsOfAll(db, [transactionId]);
}

export async function operationsOfAll(db: Queryable, transactionIds: readonly string[]): Promise<Operation[]> {
  return db.query<Operation>(
    `select ${COLUMNS} from operations where transaction_id = any ($1::uuid[]) order by created_at, attempt, id`,
    [transactionIds],
  );
}

/** The newest operations of a payment from before a cursor, newest first. */
export async function newestOperationsOf(
  db: Queryable,
  transactionId: string,
  { before, limit }: { before: PageEnd | null; limit: number },
): Promise<(Operation & { cursor: string })[]> {
  return db.query<Operation & { cursor: string }>(
    `select ${COLUMNS}, created_at::text as cursor from operations
     where transaction_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2::timestamptz, $3::uuid))
     order by created_at desc, id desc
     limit $4`,
    [transactionId, before?.at ?? null, before?.id ?? null, limit],
  );
}

/**
 * A text that is another whenever a row of a payment has been written: with an event, whose number the payment has, or without one, as
 * when an operation begins or its outcome is unknown. `isOpen`: one of all its operations is open.
 */
export async function revisionOf(db: Queryable, transactionId: string): Promise<{ revision: string; isOpen: boolean }> {
  return onlyRow(
    await db.query<{ revision: string; isOpen: boolean }>(
      `select concat(transactions.xmin, ' ', written) as revision, "isOpen"
       from transactions, lateral (
         select sum(operations.xmin::text::bigint) as written,
           coalesce(bool_or(state in ('running', 'waiting', 'unknown')), false) as "isOpen"
         from operations where transaction_id = transactions.id) as all_operations
       where transactions.id = $1`,
      [transactionId],
    ),
  );
}

export async function operationById(db: Queryable, id: string): Promise<Operation | undefined> {
  return maybeRow(await db.query<Operation>(`select ${COLUMNS} from operations where id = $1`, [id]));
}

export async function operationByCall(db: Queryable, callId: string): Promise<Operation | undefined> {
  return maybeRow(await db.query<Operation>(`select ${COLUMNS} from operations where call_id = $1`, [callId]));
}

export async function refundByKey(db: Queryable, caller: string, key: string): Promise<Operation | undefined> {
  return maybeRow(
    await db.query<Operation>(`select ${COLUMNS} from operations where kind = 'refund' and caller = $1 and key = $2`, [
      caller,
      key,
    ]),
  );
}

/** Refunds of an account that the processor knows by this reference, oldest first (R23). */
export async function refundsByReference(tx: Queryable, accountId: string, reference: string): Promise<Operation[]> {
  return tx.query<Operation>(
    `select ${COLUMNS} from operations
     where kind = 'refund' and processor_reference <> '' and processor_reference = $2
       and exists (select from transactions where transactions.id = transaction_id and account_id = $1)
     order by created_at`,
    [accountId, reference],
  );
}

export async function insertOperation(tx: Queryable, o: NewOperation): Promise<Operation> {
  return onlyRow(
    await tx.query<Operation>(
      `insert into operations (id, transaction_id, kind, state, caller, key, call_id, attempt, amount, approved_amount, reason,
         error_code, error_message, why, processor_reference, processed_at, due_at, finished_at, created_at, changed_at)
       select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $16, $17,
         case when $4 = 'running' then now + $15::float8 * interval '1 millisecond' end,
         case when $4 <> 'running' then now end, now, now
       from (select clock_timestamp() as now) as clock
       returning ${COLUMNS}`,
      // biome-ignore format: in the order of the statement
      [
        o.id, o.transactionId, o.kind, o.state, o.caller, o.key, o.callId, o.attempt, o.amount,
        o.approvedAmount, o.reason, o.errorCode, o.errorMessage, o.why, o.dueInMs, o.processorReference ?? '',
        o.processedAt ?? null,
      ],
    ),
  );
}

/** A claim moved an operation on between its read and its write: what was decided on it has to be decided again (R46). */
export class ClaimedMeanwhile extends Error {
  override name = 'ClaimedMeanwhile';
}

/** Throws ClaimedMeanwhile if it was claimed since it was read. */
export async function closeCancel(tx: Queryable, cancel: Operation): Promise<void> {
  const rows = await tx.query(
    `update operations set state = 'closed', due_at = null, changed_at = clock_timestamp(), finished_at = clock_timestamp()
     where id = $1 and state = $2 and asks = $3
     returning id`,
    [cancel.id, cancel.state, cancel.asks],
  );
  if (rows.length === 0) throw new ClaimedMeanwhile(`operation ${cancel.id} is not as it was read`);
}

/**
 * An operation that reconciliation has claimed: its lease is its own due time, moved on by the claim (R15). `asks` counts its claims, and
 * is thus its revision: whoever decides on what was read before a claim finds out when it writes (R46).
 */
export type Claimed = Operation & { readonly pastExpiry: boolean; readonly now: Date };

const CLAIMED = `${COLUMNS}, coalesce(expires_at <= clock_timestamp(), false) as "pastExpiry", clock_timestamp() as now`;

/** Claims up to `limit` due operations, oldest due first, and marks them asked. The claim of one lasts `leaseMs`. */
export async function claimDue(db: Queryable, limit: number, leaseMs: number): Promise<Claimed[]> {
  return db.query<Claimed>(
    `update operations set due_at = clock_timestamp() + $2::float8 * interval '1 millisecond', asked = true, asks = asks + 1
     where id = any (array(select id from operations where due_at <= clock_timestamp() order by due_at limit $1 for update skip locked))
     returning ${CLAIMED}`,
    [limit, leaseMs],
  );
}

/**
 * Claims up to `limit` authorizations whose money the engine has let go by its own word, to ask it; each again after `againMs`, as long as
 * the money is neither captured nor voided.
 */
export async function claimLapsed(db: Queryable, limit: number, againMs: number): Promise<Operation[]> {
  const rows = await db.query<Operation>(
    `with lapsed (operation_id, is_held) as (
       select operations.id, transactions.state in ('authorized', 'capturing', 'voiding')
       from operations join transactions on transactions.id = transaction_id
       where kind = 'authorize' and operations.state = 'approved' and expires_at <= clock_timestamp()
       order by expires_at limit $1
       for update of operations skip locked)
     update operations
     set expires_at = case when is_held then clock_timestamp() + $2::float8 * interval '1 millisecond' end
     from lapsed where id = operation_id
     returning ${COLUMNS}`,
    [limit, againMs],
  );
  return rows.filter(({ expiresAt }) => expiresAt !== null);
}

/** Said without due_at, so that the one row is found by its id, and never by going through all that are due. */
const IS_DUE = `state in ('running', 'waiting', 'unknown') and not held`;

/** A claimed operation as it is now. Undefined: it is open no more, or somebody has claimed it since. */
export async function stillClaimed(db: Queryable, { id, asks }: Claimed): Promise<Claimed | undefined> {
  return maybeRow(
    await db.query<Claimed>(`select ${CLAIMED} from operations where id = $1 and ${IS_DUE} and asks = $2`, [id, asks]),
  );
}

/** No other due time is that late: what is being brought back waits for the end of that (core/recover.ts). */
const IS_NOT_PARKED = `due_at < clock_timestamp() + interval '12 hours'`;

/** Makes an open operation due again in `ms`. */
export async function postpone(db: Queryable, id: string, ms: number): Promise<void> {
  await db.query(
    `update operations set due_at = clock_timestamp() + $2::float8 * interval '1 millisecond'
     where id = $1 and ${IS_DUE} and ${IS_NOT_PARKED}`,
    [id, ms],
  );
}

/** Claims an unknown operation now, whatever its due time. Undefined: it is not unknown any more, held, or being brought back. */
export async function claimOne(db: Queryable, id: string, leaseMs: number): Promise<Claimed | undefined> {
  return maybeRow(
    await db.query<Claimed>(
      `update operations set due_at = clock_timestamp() + $2::float8 * interval '1 millisecond', asked = true, asks = asks + 1
       where id = $1 and state = 'unknown' and not held and ${IS_NOT_PARKED}
       returning ${CLAIMED}`,
      [id, leaseMs],
    ),
  );
}

const SAID_MAX = 2000;

/** Keeps what did not fit, or what an operator decided (R24), of long words the beginning. False if the same was kept before. */
export async function insertReport(
  tx: Queryable,
  report: {
    kind: 'contradiction' | 'override';
    caller: string;
    said: string;
    why: string;
  } & ({ operationId: string } | { transactionId: string }),
): Promise<boolean> {
  const about = 'operationId' in report ? [report.operationId, null] : [null, report.transactionId];
  const rows = await tx.query(
    `insert into reports (operation_id, transaction_id, kind, caller, said, why)
     select $1, $2, $3, $4, $5, $6
     where not exists (
       select from reports where (operation_id = $1 or transaction_id = $2) and kind = $3 and said = $5 and why = $6)
     returning id`,
    [...about, report.kind, report.caller, cut(report.said, SAID_MAX), report.why],
  );
  return rows.length > 0;
}
