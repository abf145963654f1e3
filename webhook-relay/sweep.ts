import type { Database } from '../proto/runtime/database.ts';
import type { Log } from '../proto/runtime/log.ts';
import { gauge } from '../proto/runtime/metrics.ts';
import { settle } from './settle.ts';
import { freeExpiredLease, measure, takeGaps } from './store.ts';

// What no attempt and no message would notice.

/**
 * Frees leases that ran out, alerts payments that have missed an event for ten minutes (R26), and measures. Answers how many payments it
 * freed.
 */
export async function sweep({ db, log }: { db: Database; log: Log }): Promise<number> {
  let freed = 0;
  while (await freeOne(db, log)) freed++;
  for (const { transactionId, doneThrough } of await takeGaps(db))
    log.alert('event_gap', { transactionId, doneThrough: String(doneThrough) });
  const { open, oldestDueSeconds, paused } = await measure(db);
  gauge('relay_paused', 'Whether an operator has paused all deliveries.').set(Number(paused));
  gauge('relay_deliveries_open', 'Deliveries that are not finished.').set(open);
  gauge('relay_oldest_due_seconds', 'Seconds for which the oldest due delivery has waited for its attempt.').set(
    oldestDueSeconds,
  );
  return freed;
}

/** A deliverer died or slept: the payment is planned anew, since more events may have come meanwhile. */
function freeOne(db: Database, log: Log): Promise<boolean> {
  return db.inTx(async (tx) => {
    const payment = await freeExpiredLease(tx);
    if (!payment) return false;
    log.warn('delivery.lease_expired', { transactionId: payment.transactionId });
    await settle(tx, log, payment);
    return true;
  });
}
