import type { CallOptions } from '@connectrpc/connect';
import type { Outcome } from '../proto/gen/payments/v1/outcome_pb.js';
import { type Budget, type Place, within } from './calls.ts';
import type { Core } from './context.ts';
import type { Operation } from './operation.ts';
import { notDone } from './outcome.ts';
import { sendFirst } from './processor.ts';
import { type Settled, settle } from './settle.ts';
import type { Transaction } from './transaction.ts';

/** What tx 1 recorded: the payment, and the operation that is now running. */
export interface Intent {
  readonly transaction: Transaction;
  readonly operation: Operation;
}

/**
 * Call and outcome after the intent of tx 1 (R14), for every kind of operation. No tx is open across the call; call and tx 2 are
 * detached from the caller (R3) and may outlive this function, which returns when they are done or the budget is over. What was not
 * sent by then never is: it certainly failed (R1). `cardNumber`: what the answer must not quote (R20). `place`: one that was reserved.
 */
export async function perform(
  core: Core,
  budget: Budget,
  { transaction, operation }: Intent,
  send: (options: CallOptions) => Promise<{ outcome?: Outcome | undefined }>,
  cardNumber?: string,
  place: Place = core.calls.take(transaction.externalMerchantId ?? ''),
): Promise<Settled | undefined> {
  const isLate = budget.isOver();
  let settled: Settled | undefined;
  const work = core.calls.run(async () => {
    const learned = isLate
      ? notDone(operation, 'NOT_SENT', 'There was no time left to process it')
      : await sendFirst(core, transaction, operation, send, cardNumber);
    settled = await settle(core, operation, learned);
  }, place);
  await (isLate ? work : within(budget.leftMs(), work));
  return settled;
}

/** Due time of a running operation, in ms from tx 1: its call is certainly over by then (R15). */
export function runningMs(core: Core): number {
  return core.config.PROCESSOR_TIMEOUT_MS + core.config.RECONCILE_GRACE_MS;
}
