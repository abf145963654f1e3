import type { Database } from '../proto/runtime/database.ts';
import { sleep } from '../proto/runtime/loop.ts';
import { createProgress, runCommand, UsageError } from './command.ts';
import { DATABASES_HELP, openDatabases } from './databases.ts';
import { DUTY_HELP, DUTY_OPTIONS, recorded } from './duty.ts';
import * as store from './store-purge.ts';

const PAYMENT_DAYS_MIN = 400;

const HELP = `Deletes what is kept no longer than it must be (R35), oldest first, in small batches with pauses between them.

  npm run purge [-- --payments-older-than-days N] [--dry-run]

  buyers' links and the shop's pages      30 days after the end of their operation
  deliveries that ended, with attempts    after 90 days
  events that were published              after 90 days
  payments, with all that is theirs       with --payments-older-than-days N, ${PAYMENT_DAYS_MIN} or more: at rest, and unchanged for so long. Never one that
                                          has money on hold, an open operation or an event to be told. Later calls about it are answered
                                          as about a payment that is not known; a buyer can no longer be refunded through Wix

${DUTY_HELP}  --batch N    rows at once (1000)

Run it each night. It may be killed and run again. It needs the right to delete, which no service needs: run it as the owner of the tables.
${DATABASES_HELP}
`;

const LINK_DAYS = 30;
const EVENT_DAYS = 90;
const PAUSE_MS = 20;
const STATEMENT_MS = 30_000;

if (import.meta.main)
  await runCommand({
    name: 'purge',
    help: HELP,
    options: { ...DUTY_OPTIONS, 'payments-older-than-days': { type: 'string' }, batch: { type: 'string' } },
    async run({ 'dry-run': isDry = false, as, data, 'payments-older-than-days': payments, batch = '1000' }) {
      const days = payments === undefined ? undefined : Number(payments);
      if (days !== undefined && !(Number.isInteger(days) && days >= PAYMENT_DAYS_MIN && days < 100_000))
        throw new UsageError(`--payments-older-than-days must be ${PAYMENT_DAYS_MIN} or more`);
      const limit = Number(batch);
      if (!(Number.isInteger(limit) && limit >= 1 && limit <= 10_000)) throw new UsageError('--batch must be 1..10000');
      const databases = openDatabases('purge', { data, statementTimeoutMs: STATEMENT_MS });
      const { core, relay } = databases;
      const progress = createProgress();
      const walk = async (what: string, step: (after: string) => Promise<store.Step>) => {
        let found = 0;
        for (let after: string | undefined = ''; after !== undefined; ) {
          const { next, found: some }: store.Step = await step(after);
          found += some;
          after = next;
          progress.show(`${what}: ${found}`);
          if (after !== undefined) await sleep(PAUSE_MS);
        }
        return found;
      };
      const work = async () => ({
        links: await walk('links', (after) => store.purgeLinks(core, after, LINK_DAYS, limit, isDry)),
        deliveries: await walk('deliveries', (after) => store.purgeDeliveries(relay, after, EVENT_DAYS, limit, isDry)),
        events: await walk('events', (after) => store.purgeOutbox(core, after, EVENT_DAYS, limit, isDry)),
        payments:
          days === undefined
            ? 0
            : await walk('payments', (after) => purgePayments(core, relay, after, days, Math.ceil(limit / 5), isDry)),
      });
      try {
        const asked = { linkDays: LINK_DAYS, eventDays: EVENT_DAYS, paymentDays: days ?? null };
        const done = isDry ? await work() : await recorded(core, { command: 'purge', as, asked }, work);
        progress.end();
        const counts = Object.entries(done).map(([what, count]) => `${count} ${what}`);
        process.stdout.write(`${isDry ? 'would delete' : 'deleted'} ${counts.join(', ')}\n`);
        return 0;
      } finally {
        await databases.close();
      }
    },
  });

/**
 * The relay's rows go first, and are committed first: cut off in between, the payment is found again by the next run. Until the core's commit its
 * rows are locked, so that no event of it can be recorded.
 */
async function purgePayments(
  core: Database,
  relay: Database,
  after: string,
  days: number,
  limit: number,
  isDry: boolean,
): Promise<store.Step> {
  return core.inTx(async (tx) => {
    const { ids, next } = await store.oldPayments(tx, after, days, limit);
    const gone = await store.allTold(relay, ids);
    if (!isDry && gone.length > 0) {
      await relay.inTx((other) => store.deleteOrders(other, gone));
      await store.deletePayments(tx, gone);
    }
    return { next, found: gone.length };
  });
}
