import type { Database } from '../proto/runtime/database.ts';
import type { Log } from '../proto/runtime/log.ts';
import { gauge } from '../proto/runtime/metrics.ts';
import { settle } from './settle.ts';
import { measure, readPayments, takeGaps } from './store.ts';
import { freeExpiredLeases } from './store-attempts.ts';

// What no attempt and no message would notice.

/**
 * Frees leases that ran out, alerts payments that have missed an event for ten minutes (R26), and measures. Answers how many payments it
 * freed.
 */
export async function sweep({ db, log }: { db: Database; log: Log }): Promise<number> {
  let freed = 0;
  for (let some = FREED_AT_ONCE; some === FREED_AT_ONCE; freed += some) some = await freeSome(db, log);
  for (const { transactionId, doneThrough } of await takeGaps(db))
    log.alert('event_gap', { transactionId, doneThrough: String(doneThrough) });
  const { open, oldestDueSeconds, paused, ...counted } = await measure(db);
  const states = gauge('relay_deliveries', 'Of the 10,000 oldest deliveries that are not finished.', ['state']);
  for (const [state, count] of Object.entries(counted)) states.set({ state }, count);
  gauge('relay_paused', 'Whether an operator has paused all deliveries.').set(Number(paused));
  gauge('relay_deliveries_open', 'Deliveries that are not finished.').set(open);
  gauge('relay_oldest_due_seconds', 'Seconds for which the oldest due delivery has waited for its attempt.').set(
    oldestDueSeconds,
  );
  return freed;
}

const FREED_AT_ONCE = 100;

/** A deliverer died or slept: its payments are planned anew, since more events may have come meanwhile. */
function freeSome(db: Database, log: Log): Promise<number> {
  return db.inTx(async (tx) => {
    const freed = await freeExpiredLeases(tx, FREED_AT_ONCE);
    for (const transactionId of freed) log.warn('delivery.lease_expired', { transactionId });
    await settle(tx, log, await readPayments(tx, freed));
    return freed.length;
  });
}
