import type { Queryable } from '../proto/runtime/database.ts';
import type { Log } from '../proto/runtime/log.ts';
import { planDeliveries } from './delivery.ts';
import { listDeliveries, moveDeliveries, type Payment, savePlan } from './store.ts';

/**
 * Brings a locked payment's rows in line with the order of its events, whatever has just changed, and frees it to be claimed.
 * retryMs: when to try again what was attempted just now, if that is still next.
 */
export async function settle(tx: Queryable, log: Log, payment: Payment, retryMs: number | null = null): Promise<void> {
  const { transactionId } = payment;
  const plan = planDeliveries(payment, await listDeliveries(tx, payment));
  if (plan.moves.length > 0) await moveDeliveries(tx, plan.moves);
  await savePlan(tx, transactionId, plan, retryMs);
  for (const { eventId, state } of plan.moves) {
    if (state === 'held') log.alert('event_conflict', { transactionId, eventId, problem: 'a second final event' });
    else log.info(`delivery.${state}`, { transactionId, eventId });
  }
}
