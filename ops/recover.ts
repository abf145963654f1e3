import { existsSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { coreConfig, processorConfig } from '../core/config.ts';
import { acceptDatabase } from '../core/database-identity.ts';
import { lacksEvents, type Recovered, type Trouble } from '../core/recover/run.ts';
import type { RecoverOptions } from '../core/recover.ts';
import { createCore } from '../core/service.ts';
import { blockStarts, isNoted, lastSeen, writeLack } from '../core/store/database-identity.ts';
import { unpublishPeriod } from '../core/store/outbox.ts';
import { withToken } from '../proto/runtime/callers.ts';
import { databaseUrl, parseConfig, Secret, text } from '../proto/runtime/config.ts';
import { createDatabase } from '../proto/runtime/database.ts';
import { runningPostgres, startEmbeddedPostgres } from '../proto/runtime/embedded-postgres.ts';
import { createGrpcTransport } from '../proto/runtime/grpc-transport.ts';
import { hideTimerWarnings } from '../proto/runtime/kafka.ts';
import { kafkaConfig } from '../proto/runtime/kafka-client.ts';
import { readTopicSince } from '../proto/runtime/kafka-history.ts';
import { createLog, type Log } from '../proto/runtime/log.ts';
import { ensureSafety } from '../proto/runtime/safe-config.ts';
import { readTls } from '../proto/runtime/tls.ts';
import { createProgress, runCommand, UsageError } from './command.ts';
import { readReason, recorded } from './duty.ts';

const HELP = `Brings back what a database lacks that was restored from a backup: from the events on Kafka and from your engine. Then cores start on it.

  npm run recover -- --reason TEXT [--since TIME] [--dry-run]
  npm run recover -- --accept --reason TEXT

  --since TIME   from when on something may be missing, such as 2026-11-24T10:00:00Z; by default ten minutes before a core was last seen in the backup
  --accept       cores may start on this database as it is; with --since, it is recovered all the same, and what cannot be brought back is left
  --reason TEXT  kept in core.duties
  --dry-run      says what would be brought back, and changes nothing
  --as NAME      in whose name; by default the login on this machine
  --help

Configured as the core is: DATABASE_URL or DATA_DIR, CREDENTIALS_KEY, EVENTS_KEY, MODE_WHEN_ABSENT, PROCESSOR_URL, PROCESSOR_TOKEN, and KAFKA_BROKERS where
events go over Kafka. It migrates the database, may be stopped and run again, also beside running cores: what is there stays. docs/RESTORE.md tells the whole.
`;

/** A core looks four times a minute; clocks and the topic's own times may be off a little. */
const BEFORE_MS = 10 * 60_000;

const config = z
  .object({ ...coreConfig.shape, ...processorConfig.shape, ...kafkaConfig.shape })
  .extend({
    DATABASE_URL: databaseUrl().optional(),
    DATA_DIR: text().optional(),
    KAFKA_BROKERS: kafkaConfig.shape.KAFKA_BROKERS.optional(),
  })
  .refine(({ DATABASE_URL, DATA_DIR }) => (DATABASE_URL === undefined) !== (DATA_DIR === undefined), {
    path: ['DATABASE_URL'],
    message: 'or DATA_DIR must be set, and not both',
    when: () => true,
  })
  .superRefine(ensureSafety);

const TROUBLES: Record<Trouble, string> = {
  gap: 'earlier events of it are missing: go back further with --since',
  account: "its merchant's account is not known here: once the merchant has connected again, run this again",
  conflict: 'this ledger has told of it under the same number: settle it by hand (npm run explain)',
  unclear: 'an older version told of it, and did not say whether it only holds the money',
  refused: 'it was refused here since, and the engine had done it: it is booked now, and Wix has heard both',
  'unknown order': 'the engine has it without our record: compare it with your books',
  expired: 'the engine says that it has expired; whether it had been approved before no event tells: settle it by hand',
  'not asked': 'the engine could not be asked whether its approval came too late: run this again',
  misfit: 'it does not fit what the ledger says of its payment: compare it with your books',
};
const SHOWN = 20;
/** Of a large outbox many rows are looked at. */
const STATEMENT_MS = 600_000;

if (import.meta.main) {
  hideTimerWarnings(process);
  await runCommand({
    name: 'recover',
    help: HELP,
    options: {
      since: { type: 'string' },
      accept: { type: 'boolean' },
      reason: { type: 'string' },
      'dry-run': { type: 'boolean' },
      as: { type: 'string' },
    },
    async run({ since: from, accept = false, reason: given, 'dry-run': isDry = false, as }) {
      const since = readSince(from);
      const reason = isDry ? '' : readReason(given);
      const { DATABASE_URL, DATA_DIR, KAFKA_BROKERS, ...rest } = parseConfig(config, process.env);
      const log = createLog('recover', 'error');
      const embedded = DATA_DIR ? await openEmbedded(DATA_DIR, log) : undefined;
      const url = DATABASE_URL ?? new Secret(embedded?.url ?? '');
      const db = createDatabase({
        url: url.reveal(),
        schema: 'core',
        poolSize: 2,
        statementTimeoutMs: STATEMENT_MS,
        log,
      });
      const processor = createGrpcTransport({
        url: rest.PROCESSOR_URL,
        tls: readTls('PROCESSOR', rest),
        interceptors: [withToken(rest.PROCESSOR_TOKEN)],
        defaultTimeoutMs: rest.PROCESSOR_TIMEOUT_MS,
      });
      const unused = { publish: () => Promise.reject(new Error('nothing is published here')) };
      const core = createCore({ ...rest, DATABASE_URL: url }, { log, processor, events: unused });
      const accepted = async (isWhole: boolean) => {
        if (!isDry) await acceptDatabase(db, isWhole);
      };
      try {
        if (!isDry) await core.prepareDatabase();
        else if (!(await isNoted(db)))
          throw new Error('there is no database of this version: a run that is no dry one migrates it');
        if (accept && !since) {
          if (!isDry)
            await recorded(db, { command: 'recover', as, reason, asked: { accept } }, async () => {
              const open = await core.endRecovery();
              await accepted(true);
              return { open };
            });
          process.stdout.write(`Cores ${isDry ? 'might' : 'may'} start on this database.\n`);
          return 0;
        }
        const last = await lastSeen(db);
        const lacksSince = last?.lacksSince ?? last?.seenAt;
        if (!since && !lacksSince) throw new UsageError('no core was ever seen in this database: say --since');
        if (since && lacksSince && since > lacksSince && !accept)
          throw new UsageError(
            `something may be missing since ${lacksSince.toISOString()}: --since must not be later, or add --accept`,
          );
        const start = since ?? new Date((lacksSince?.getTime() ?? 0) - BEFORE_MS);
        if (!isDry) await writeLack(db, new Date(start.getTime() + BEFORE_MS));
        const kafka = KAFKA_BROKERS && { ...rest, KAFKA_BROKERS };
        process.stdout.write(
          `From ${start.toISOString()} on, from the engine${kafka ? ` and the topic ${kafka.KAFKA_TOPIC}` : '; there is no Kafka'}.\n`,
        );
        const progress = createProgress();
        const options: RecoverOptions = {
          since: start,
          readEvents: kafka && ((take) => readTopicSince({ config: kafka, since: start, log, take })),
          isDry,
          accept,
          onProgress: ({ messages, payments, events, operations, answers }, step) =>
            progress.show(
              `${step}: ${payments} payments, ${operations} operations, ${events} events of ${messages} messages, ${answers} answers`,
            ),
        };
        // What stopped half-way is to be run again before any core starts.
        const orBlock =
          <T>(run: () => Promise<T>) =>
          async () => {
            try {
              return await run();
            } catch (error) {
              await blockStarts(db).catch(() => undefined);
              throw error;
            }
          };
        const asked = { since: start.toISOString(), accept };
        const work = async () => {
          const { troubles, ...counts } = await core.recover(options);
          progress.end();
          return { ...counts, troubles: Object.fromEntries(troubles) };
        };
        const result = isDry
          ? await work()
          : await recorded(db, { command: 'recover', as, reason, asked }, orBlock(work));
        const recovered = { ...result, troubles: new Map(Object.entries(result.troubles)) };
        process.stdout.write(tell(recovered, isDry));
        // A relay whose rows were restored too lacks what it had not received then.
        const again = kafka && !isDry ? await unpublishPeriod(db, start.toISOString()) : 0;
        if (again > 0)
          process.stdout.write(`${again} events of that time are published again: whoever has them drops them.\n`);
        if (lacksEvents(recovered) && !accept) {
          if (!isDry) await blockStarts(db);
          process.stdout.write(
            `Cores do not start on it yet: go back further with --since, or say --since ${start.toISOString()} --accept.\n`,
          );
          return 1;
        }
        await accepted(accept || recovered.troubles.size === 0);
        if (!isDry) process.stdout.write('Cores may start on this database.\n');
        if (!isDry && recovered.troubles.size > 0 && !accept)
          process.stdout.write(
            `Run again, it begins at the same time; --accept says that what is left will not come.\n`,
          );
        return recovered.troubles.size > 0 ? 1 : 0;
      } finally {
        processor.close();
        await core.stop();
        await db.close();
        await embedded?.stop();
      }
    },
  });
}

function readSince(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const time = z.iso.datetime({ offset: true }).safeParse(text).data;
  if (!time) throw new UsageError('--since must be a time such as 2026-11-24T10:00:00Z');
  if (new Date(time) > new Date()) throw new UsageError('--since is in the future');
  return new Date(time);
}

/** The PostgreSQL of a connector's DATA_DIR: the one that runs, or one that is started for as long as this takes. */
async function openEmbedded(dataDir: string, log: Log): Promise<{ url: string; stop(): Promise<void> }> {
  const roles = ['core', 'relay'];
  const running = runningPostgres(path.resolve(dataDir), roles);
  if (running) return { url: running.core ?? '', stop: async () => undefined };
  if (!existsSync(path.join(dataDir, 'cluster'))) throw new Error(`there is no database in DATA_DIR ${dataDir}`);
  const postgres = await startEmbeddedPostgres({ dataDir, roles, log });
  return { url: postgres.urls.core ?? '', stop: postgres.stop };
}

function tell(recovered: Recovered, isDry: boolean): string {
  const { engineLists, messages, unsigned, payments, operations, events, answers, open, troubles } = recovered;
  const lines = [
    `${isDry ? 'Would bring' : 'Brought'} back ${payments} payments, ${operations} operations, ${events} events (of ${messages} messages).`,
    engineLists
      ? `The engine told of ${answers} outcomes that no event had told of.`
      : 'The engine does not offer ListOperations: what happened without an event is not known here. Compare your books.',
    ...(unsigned > 0
      ? [`${unsigned} messages are no events of ours, or signed with a key that is not in EVENTS_KEY.`]
      : []),
    ...(isDry ? [] : [`${open} operations are open: the cores ask the engine about them.`]),
  ];
  const byTrouble = Map.groupBy(troubles, ([, trouble]) => trouble);
  for (const [trouble, ids] of byTrouble) {
    const shown = ids.slice(0, isDry ? undefined : SHOWN).map(([id]) => `  ${id}`);
    lines.push(`${ids.length} to look at, since ${TROUBLES[trouble]}`, ...shown);
    if (ids.length > shown.length) lines.push(`  and ${ids.length - shown.length} more, in core.duties`);
  }
  return `${lines.join('\n')}\n`;
}
