import type { Database } from '../proto/runtime/database.ts';
import { gauge } from '../proto/runtime/metrics.ts';
import { openPayments, openWork } from './store/measure.ts';

const payments = gauge('payments_open', 'Payments that are not at rest, counted to 10,000, by state.', ['state']);
const operations = gauge('operations_open', 'Operations whose outcome is to come, of 10,000 at most, by state.', [
  'state',
]);
const reversals = gauge('reversals_open', 'Reversals that the engine has not confirmed.');
const oldestUnknown = gauge(
  'operations_oldest_unknown_seconds',
  'For how long the oldest unknown operation has been so.',
);
const unpublished = gauge('outbox_unpublished', 'Events that wait to be published, counted to 10,000.');
const oldestUnpublished = gauge('outbox_oldest_unpublished_seconds', 'For how long the oldest of them has waited.');

/** Sets the gauges of the ledger. Every core shows the same, since they share it. */
export async function measure(db: Database): Promise<void> {
  for (const { state, count } of await openPayments(db)) payments.set({ state }, count);
  const open = await openWork(db);
  for (const state of ['running', 'waiting', 'unknown'] as const) operations.set({ state }, open[state]);
  reversals.set(open.reversals);
  oldestUnknown.set(open.oldestUnknownSeconds);
  unpublished.set(open.unpublished);
  oldestUnpublished.set(open.oldestUnpublishedSeconds);
}
