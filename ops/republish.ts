import { z } from 'zod';
import { unpublishPayment, unpublishPeriod } from '../core/store/outbox.ts';
import { databaseUrl, flag, parseConfig } from '../proto/runtime/config.ts';
import { createDatabase } from '../proto/runtime/database.ts';
import { createLog } from '../proto/runtime/log.ts';
import { ensureSafety } from '../proto/runtime/safe-config.ts';
import { runCommand, UsageError } from './command.ts';

const HELP = `Publishes events again from the core's outbox, which keeps them for 90 days: for a gap on the topic, or a new consumer.

  node ops/republish.ts --transaction ID                all events of one payment, by our id or Wix's
  node ops/republish.ts --since TIME [--until TIME]     whatever was published in that time, such as 2026-11-24T10:00:00Z

  --help

Needs DATABASE_URL. It marks the events; the running cores publish them at once, oldest first and before anything newer, so go by
hours rather than weeks. Ids, sequences and bytes are those of the first time: receivers drop what they have.
`;

/** Republishing a month rewrites many rows. */
const STATEMENT_MS = 600_000;

const time = z.iso.datetime({ offset: true, error: 'must be a time such as 2026-11-24T10:00:00Z' }).optional();
const chosenSchema = z
  .object({ transaction: z.string().optional(), since: time, until: time })
  .refine(({ transaction, since }) => !transaction !== !since, 'either --transaction or --since is needed');

const databaseConfig = z
  .object({ DATABASE_URL: databaseUrl(), ALLOW_PLAINTEXT: flag(false) })
  .superRefine(ensureSafety);

if (import.meta.main)
  await runCommand({
    name: 'republish',
    help: HELP,
    options: { transaction: { type: 'string' }, since: { type: 'string' }, until: { type: 'string' } },
    async run(values) {
      const chosen = chosenSchema.safeParse(values);
      if (!chosen.success) throw new UsageError(chosen.error.issues.map(({ message }) => message).join(', '));
      const { transaction, since = '', until } = chosen.data;
      const url = parseConfig(databaseConfig, process.env).DATABASE_URL.reveal();
      const log = createLog('republish', 'warn');
      const db = createDatabase({ url, schema: 'core', poolSize: 1, statementTimeoutMs: STATEMENT_MS, log });
      const marked = transaction ? unpublishPayment(db, transaction) : unpublishPeriod(db, since, until);
      process.stdout.write(`${await marked.finally(db.close)} events will be published again by the running cores.\n`);
      return 0;
    },
  });
