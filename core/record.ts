import type { Queryable } from '../proto/runtime/database.ts';
import type { EventType } from './decide.ts';
import { buildEvent } from './event.ts';
import type { Operation } from './operation.ts';
import { insertOperation, type NewOperation } from './store/operations.ts';
import { insertEvent } from './store/outbox.ts';
import { updateTransaction } from './store/transactions.ts';
import type { Refusal, Transaction } from './transaction.ts';

/** What a call recorded in tx 1: an operation that runs now, or one that is finished as it is recorded. */
export interface Recorded {
  readonly transaction: Transaction;
  readonly operation: Operation;
  readonly event?: EventType;
}

/** Writes an operation with what it changes of its payment and what it says, in the caller's tx and under the payment's lock. */
export async function record(
  tx: Queryable,
  before: Transaction,
  patch: Partial<Transaction>,
  operation: Omit<NewOperation, 'reason' | 'errorCode' | 'errorMessage' | 'transactionId' | 'caller'> & {
    refusal?: Refusal;
    /** Wix unless it is said. */
    caller?: string;
  },
  event?: EventType,
): Promise<Recorded> {
  const { refusal, ...fields } = operation;
  const inserted = await insertOperation(tx, {
    caller: 'wix',
    ...fields,
    transactionId: before.id,
    reason: refusal?.reason ?? null,
    errorCode: refusal?.errorCode || null,
    errorMessage: refusal?.message || null,
  });
  const isChanged = event !== undefined || Object.keys(patch).length > 0;
  const sequence = event ? before.sequence + 1n : before.sequence;
  const transaction = isChanged ? await updateTransaction(tx, { ...before, ...patch, sequence }, before.state) : before;
  if (!event) return { transaction, operation: inserted };
  await insertEvent(tx, buildEvent(event, transaction, inserted));
  return { transaction, operation: inserted, event };
}
