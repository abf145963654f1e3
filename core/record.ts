import type { Queryable } from '../proto/runtime/database.ts';
import { type Budget, ensureTime, readWithin } from './calls.ts';
import type { Core } from './context.ts';
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

/**
 * tx 1 of what follows a payment, named by either of its ids: one after the other for each payment, and when there is room (R48). Looked at
 * again while it says undefined, for as long as there is time. Undefined: there was none.
 */
export function receiveInTurn<T>(
  core: Core,
  budget: Budget,
  payment: string,
  receive: (tx: Queryable) => Promise<T | undefined>,
): Promise<T | undefined> {
  const arrival = { kind: 'follow_up', externalId: payment, owner: payment } as const;
  const look = () =>
    core.db.inTx((tx) => {
      ensureTime(budget);
      return receive(tx);
    });
  return core.turns.take(payment, budget, () => readWithin(budget, () => core.admission.admit(arrival, budget, look)));
}

/** Writes an operation with what it changes of its payment and what it says, in the caller's tx and under the payment's lock. */
export async function record(
  core: Core,
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
  await insertEvent(tx, buildEvent(core.config, event, transaction, inserted));
  return { transaction, operation: inserted, event };
}
