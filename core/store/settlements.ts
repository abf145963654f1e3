import type { Queryable } from '../../proto/runtime/database.ts';
import type { Operation } from '../operation.ts';
import type { Transaction } from '../transaction.ts';
import { columnList, toTableRows } from './columns.ts';
import { operationsOfAll } from './operations.ts';
import type { OutboxRow } from './outbox.ts';
import { lockTransactions } from './transactions.ts';

// tx 2 of many payments: one statement locks and reads them, one reads their operations, one writes what follows.

/** A payment, locked until the tx ends, with its operations, oldest first, and the database's time. */
export interface Locked {
  readonly transaction: Transaction;
  readonly operations: readonly Operation[];
  readonly now: Date;
}

/** Those that there are. The lock is taken in the order of their ids, so that two who lock several do not wait for each other. */
export async function lockPayments(tx: Queryable, ids: readonly string[]): Promise<Map<string, Locked>> {
  // Sent without waiting for the locks, and read once they are held.
  const [transactions, operations] = await Promise.all([lockTransactions(tx, ids), operationsOfAll(tx, ids)]);
  const ofPayment = Map.groupBy(operations, ({ transactionId }) => transactionId);
  return new Map(
    transactions.map(({ now, ...transaction }) => [
      transaction.id,
      { transaction, now, operations: ofPayment.get(transaction.id) ?? [] },
    ]),
  );
}

/** What was learned of an operation, as rows. */
export interface Settlement {
  /** As it was read: who claims an operation does not wait for its payment's lock (R46). */
  readonly read: Operation;
  readonly operation: Operation;
  /** An open operation is due again after so long. */
  readonly dueInMs: number;
  /** Undefined: it stays as it is. */
  readonly transaction: Transaction | undefined;
  readonly event: Omit<OutboxRow, 'id'> | undefined;
}

export type Written = Pick<Operation, 'id' | 'changedAt' | 'finishedAt'>;

const PAYMENT = [
  ...([
    'state',
    'authorizedAmount',
    'capturedAmount',
    'refundedAmount',
    'reason',
    'errorCode',
    'errorMessage',
  ] as const),
  ...(['lapsed', 'awaitedBuyer', 'redirectUrl', 'cardScheme', 'cardBin', 'cardLastFour', 'credentialsOnFile'] as const),
  ...(['credentialsKeyId', 'sequence', 'updatedAt'] as const),
] as const;

const OPERATION = [
  ...(['state', 'approvedAmount', 'reason', 'errorCode', 'errorMessage', 'processorReference'] as const),
  ...(['authorizationCode', 'networkTransactionId', 'acquirerReference', 'approvalReceived', 'held'] as const),
  ...(['expiresAt', 'processedAt'] as const),
] as const;

/** What is written of an event. */
export const EVENT_PROPERTIES = [
  'eventId',
  'transactionId',
  'sequence',
  'type',
  'value',
  'occurredAt',
  'traceparent',
] as const;

/**
 * Rows that belong together stand at the same place of their lists: to join the lists would compare each row with all others. An open
 * operation is due again after a while, or when its expiry comes if that is sooner; while its first call may still run, as before.
 */
const SETTLE = `
  with operation as (
    update operations o set (${columnList(OPERATION)}) = row (${columnList(OPERATION, 'after.')}),
      changed_at = case when o.state = after.state then o.changed_at else now end,
      due_at = case
        when after.state not in ('running', 'waiting', 'unknown') or after.held then null
        when o.state = 'running' and after.state = 'running' then o.due_at
        -- Nobody else is that late: it waits for the end of a recovery (core/recover.ts).
        when o.due_at > now + interval '12 hours' then o.due_at
        when after.expires_at > now then least(after.expires_at, now + due_in_ms * interval '1 millisecond')
        else now + due_in_ms * interval '1 millisecond'
      end,
      finished_at = case when after.state not in ('running', 'waiting', 'unknown') then coalesce(o.finished_at, now) end
    from rows from (
        json_to_recordset($1) as (read_state text, read_asks integer, due_in_ms float8),
        json_populate_recordset(null::operations, $2)) as after,
      (select clock_timestamp() as now) as clock
    where o.id = after.id and o.state = after.read_state and o.asks = after.read_asks
    returning o.id, o.transaction_id, o.changed_at, o.finished_at),
  payment as (
    update transactions t set (${columnList(PAYMENT)}) = row (${columnList(PAYMENT, 'after.')})
    from json_populate_recordset(null::transactions, $3) as after
    where t.id = after.id and after.id = any (array(select transaction_id from operation))),
  event as (
    insert into outbox (${columnList(EVENT_PROPERTIES)})
    select ${columnList(EVENT_PROPERTIES, 'after.')}
    from json_populate_recordset(null::outbox, $4) as after
    where after.transaction_id = any (array(select transaction_id from operation)))
  select id, changed_at as "changedAt", finished_at as "finishedAt" from operation`;

/** Under the payments' locks. What is missing in the answer was claimed since it was read, and is not written (R46). */
export async function writeSettlements(
  tx: Queryable,
  settlements: readonly Settlement[],
): Promise<Map<string, Written>> {
  const read = settlements.map(({ read: { state, asks }, dueInMs }) => {
    return { read_state: state, read_asks: asks, due_in_ms: dueInMs };
  });
  const rows = await tx.query<Written>(SETTLE, [
    JSON.stringify(read),
    toTableRows(
      settlements.map(({ operation }) => operation),
      ['id', ...OPERATION],
    ),
    toTableRows(
      settlements.flatMap(({ transaction }) => transaction ?? []),
      ['id', ...PAYMENT],
    ),
    toTableRows(
      settlements.flatMap(({ event }) => event ?? []),
      EVENT_PROPERTIES,
    ),
  ]);
  return new Map(rows.map((row) => [row.id, row]));
}
