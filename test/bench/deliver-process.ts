import { newPayment } from '../webhook-relay/relay-kit.ts';
import { QUEUES, type QueueOptions } from './deliver-queues.ts';

// One queue in a process of its own. Its parent says what to do, and is answered when it is done.

export type Order = { readonly feed: number; readonly merchants: number } | { readonly start: true };

const [name = '', options = ''] = process.argv.slice(2);
const queue = QUEUES[name]!(JSON.parse(options) as QueueOptions);
const BATCH = 100;

/** Payments of many merchants with one event each, in batches as they come from the core. */
async function feed(count: number, merchants: number): Promise<void> {
  for (let fed = 0; fed < count; fed += BATCH) {
    const length = Math.min(BATCH, count - fed);
    const ids = Array.from({ length }, (_, i) => `merchant-${(fed + i) % merchants}`);
    await queue.feed(ids.map((id) => newPayment(id)('TRANSACTION_APPROVED')));
  }
}

process.on('message', async (order: Order) => {
  if ('feed' in order) await feed(order.feed, order.merchants);
  else await queue.start();
  process.send?.('done');
});
process.once('SIGTERM', async () => {
  await queue.stop();
  process.exit();
});
process.once('disconnect', () => process.exit());
await queue.prepare();
process.send?.('done');
