import type { Queryable } from '../proto/runtime/database.ts';
import type { Log } from '../proto/runtime/log.ts';
import { planDeliveries } from './delivery.ts';
import { moveDeliveries, type Payment, type Planned, savePlans } from './store.ts';

/**
 * Brings the rows of locked payments in line with the order of their events, whatever has just changed, and frees them to be claimed.
 * `deliveries` are theirs as they are after that change. Answers the plans. `last`: for the last statement, if the tx ends with it.
 */
export async function settle(
  tx: Queryable,
  log: Log,
  payments: readonly (Payment & { readonly retryMs?: Planned['retryMs'] })[],
  last = tx,
): Promise<readonly Planned[]> {
  const plans = payments.map((payment) => {
    const { transactionId, deliveries, retryMs = null } = payment;
    return { transactionId, retryMs, ...planDeliveries(payment, deliveries) };
  });
  const moves = plans.flatMap((plan) => plan.moves);
  await Promise.all([moves.length > 0 && moveDeliveries(tx, moves), plans.length > 0 && savePlans(last, plans)]);
  for (const plan of plans)
    for (const { eventId, state } of plan.moves) {
      const ids = { transactionId: plan.transactionId, eventId };
      if (state === 'held') log.alert('event_conflict', { ...ids, problem: 'a second final event' });
      else log.info(`delivery.${state}`, ids);
    }
  return plans;
}
