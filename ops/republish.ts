import { z } from 'zod';
import { transactionIdBy } from '../core/store/explain.ts';
import { unpublishPayment, unpublishPeriod } from '../core/store/outbox.ts';
import { runCommand, UsageError } from './command.ts';
import { DATABASES_HELP, openDatabases } from './databases.ts';
import { DUTY_HELP, DUTY_OPTIONS, recorded } from './duty.ts';

const HELP = `Publishes events again from the core's outbox, which keeps them for 90 days: for a gap on the topic, or a new consumer.

  npm run republish -- --transaction ID                all events of one payment, by our id or Wix's
  npm run republish -- --since TIME [--until TIME]     whatever was published in that time, such as 2026-11-24T10:00:00Z

${DUTY_HELP}
It marks the events; the running cores publish them at once, oldest first and before anything newer, so go by hours rather than weeks. Ids,
sequences and bytes are those of the first time: receivers drop what they have.
${DATABASES_HELP}
`;

/** Republishing a month rewrites many rows. */
const STATEMENT_MS = 600_000;

const time = z.iso.datetime({ offset: true, error: 'must be a time such as 2026-11-24T10:00:00Z' }).optional();
const chosenSchema = z
  .object({ transaction: z.string().optional(), since: time, until: time })
  .refine(({ transaction, since }) => !transaction !== !since, 'either --transaction or --since is needed')
  .refine(({ since, until }) => !since || !until || since < until, '--until is not after --since');

if (import.meta.main)
  await runCommand({
    name: 'republish',
    help: HELP,
    options: {
      ...DUTY_OPTIONS,
      transaction: { type: 'string' },
      since: { type: 'string' },
      until: { type: 'string' },
    },
    async run({ 'dry-run': isDry = false, as, data, ...values }) {
      const chosen = chosenSchema.safeParse(values);
      if (!chosen.success) throw new UsageError(chosen.error.issues.map(({ message }) => message).join(', '));
      const { transaction, since = '', until } = chosen.data;
      const databases = openDatabases('republish', { data, statementTimeoutMs: STATEMENT_MS });
      const { core } = databases;
      try {
        if (transaction && !(await transactionIdBy(core, transaction)))
          throw new Error(`no payment has the id ${transaction}`);
        const mark = async () => ({
          events: transaction
            ? await unpublishPayment(core, transaction, isDry)
            : await unpublishPeriod(core, since, until, isDry),
        });
        const { events } = isDry
          ? await mark()
          : await recorded(core, { command: 'republish', as, asked: chosen.data }, mark);
        process.stdout.write(`${events} events ${isDry ? 'would' : 'will'} be published again by the running cores.\n`);
        return 0;
      } finally {
        await databases.close();
      }
    },
  });
