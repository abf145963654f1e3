import { Code } from '@connectrpc/connect';
import { rpcError } from '../proto/runtime/rpc.ts';
import { type Budget, readWithin } from './calls.ts';
import type { Core } from './context.ts';
import * as convert from './convert.ts';
import { operationById } from './store/operations.ts';
import { transactionById } from './store/transactions.ts';

/**
 * The answer to a capture, void or refund, from its row: success, or a refusal. While its outcome is not known there is no answer:
 * UNAVAILABLE, which says nothing of the money, and the event tells the truth later (R19).
 */
export async function answerOperation(core: Core, budget: Budget, id: string) {
  const operation = await readWithin(budget, async () => {
    const found = await core.turns.read(id, () => operationById(core.db, id));
    return found?.state === 'running' ? undefined : found;
  });
  if (!operation || operation.state === 'unknown') throw outcomeUnknown();
  const transaction = await transactionById(core.db, operation.transactionId);
  return {
    operation: convert.toOperation(operation),
    ...(transaction && { transaction: convert.toTransaction(transaction) }),
    ...(operation.state !== 'approved' && { refusal: convert.refusalOf(operation) }),
  };
}

export function outcomeUnknown() {
  return rpcError(Code.Unavailable, 'OUTCOME_UNKNOWN', 'the outcome is not known yet');
}
