import { randomUUID } from 'node:crypto';
import type { CallOptions, Client } from '@connectrpc/connect';
import type { PaymentsService } from '../proto/gen/payments/v1/payments_service_pb.js';
import type { Log } from '../proto/runtime/log.ts';
import { Unanswered } from './wix-answer.ts';

export type PaymentsClient = Client<typeof PaymentsService>;

/** Makes one call to the core. The id is this call's own, the same when the call is repeated (R21). */
export type AskCore = <Answer>(
  call: (payments: PaymentsClient, callId: string, options: CallOptions) => Promise<Answer>,
) => Promise<Answer>;

/**
 * An error says that the call has no answer, not that nothing happened: it is repeated once with what is left of the deadline if it
 * came before the answer budget was over (R1). Without an answer after that: 503. No call is ever ended because Wix hung up (R3):
 * only the deadline is given along.
 */
export function createAskCore(
  payments: PaymentsClient,
  { deadlineMs, budgetMs, log }: { deadlineMs: number; budgetMs: number; log: Log },
): AskCore {
  return async (call) => {
    const callId = randomUUID();
    const startedAt = performance.now();
    const elapsedMs = () => performance.now() - startedAt;
    try {
      return await call(payments, callId, { timeoutMs: deadlineMs });
    } catch (err) {
      if (elapsedMs() >= Math.min(budgetMs, deadlineMs)) throw noAnswer(callId, err);
      log.warn('core.asked_again', { callId, err });
    }
    try {
      return await call(payments, callId, { timeoutMs: Math.ceil(deadlineMs - elapsedMs()) });
    } catch (err) {
      throw noAnswer(callId, err);
    }
  };

  function noAnswer(callId: string, err: unknown): Unanswered {
    log.error('core.no_answer', { callId, err });
    return new Unanswered(503, 'the core gave no answer');
  }
}
