import { createRequire } from 'node:module';
import path from 'node:path';
import type { Event } from '../../proto/gen/payments/v1/event_pb.js';
import { parseConfig } from '../../proto/runtime/config.ts';
import { createDatabase } from '../../proto/runtime/database.ts';
import { createLog } from '../../proto/runtime/log.ts';
import { migrate } from '../../proto/runtime/migrate.ts';
import { relayConfig } from '../../webhook-relay/config.ts';
import { createReceiver } from '../../webhook-relay/receive.ts';
import { createRelay } from '../../webhook-relay/service.ts';
import { createWixClient } from '../../webhook-relay/wix-client.ts';
import { renderEvent } from '../../webhook-relay/wix-event.ts';
import { KEYS, KEYS_TEXT, messageOf } from '../webhook-relay/relay-kit.ts';

// Three queues in PostgreSQL that tell Wix of events: the webhook-relay and two libraries, each as its documents say it is fast. All make
// the relay's two calls with the relay's client.

export interface Queue {
  /** Makes the schema. */
  prepare(): Promise<void>;
  /** The events are durable once this resolves. */
  feed(events: readonly Event[]): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface QueueOptions {
  readonly databaseUrl: string;
  readonly wixUrl: string;
  /** Deliveries at once. */
  readonly concurrency: number;
}

/** Of the library's queue, as many as the relay has. */
const CONNECTIONS = 10;
export const PEERS = path.join(import.meta.dirname, 'peers');
const requirePeer = createRequire(path.join(PEERS, 'package.json'));
const MIGRATIONS = path.join(import.meta.dirname, '../../webhook-relay/migrations');

const configOf = ({ databaseUrl, wixUrl, concurrency }: QueueOptions) =>
  parseConfig(relayConfig, {
    ...{ DATABASE_URL: databaseUrl, EVENTS_KEY: KEYS_TEXT, EVENT_DELAY_MS: '0', RELAY_PORT: '0' },
    ...{ WIX_API_URL: wixUrl, WIX_APP_ID: 'bench', WIX_APP_SECRET: 'a-secret-of-the-bench' },
    ...{ WIX_USER_AGENT: 'bench/1.0', RELAY_CONCURRENCY: String(concurrency) },
  });

export const QUEUES: Readonly<Record<string, (options: QueueOptions) => Queue>> = {
  'webhook-relay': (options) => {
    const log = createLog('relay', 'error');
    const url = options.databaseUrl;
    const db = createDatabase({ url, schema: 'relay', log });
    const receiver = createReceiver({ db, keys: KEYS, log, delayMs: 0 });
    const relay = createRelay(configOf(options), { log });
    return {
      prepare: () => migrate({ url, schema: 'relay', dir: MIGRATIONS, log }),
      feed: async (events) => {
        await receiver.receive(events.map((event) => messageOf(event)));
        relay.wake();
      },
      start: relay.start,
      stop: async () => {
        await relay.stop();
        await db.close();
      },
    };
  },

  'graphile-worker': (options) => {
    const { databaseUrl: connectionString, concurrency } = options;
    const { makeWorkerUtils, run, Logger } = requirePeer('graphile-worker') as Graphile;
    const logger = new Logger(() => () => undefined);
    const utils = makeWorkerUtils({ connectionString, logger });
    const { tell, close } = teller(options);
    let runner: { stop(): Promise<void> } | undefined;
    return {
      prepare: async () => (await utils).migrate(),
      feed: async (events) =>
        (await utils).addJobs(events.map((event) => ({ identifier: 'tell', payload: { body: bodyOf(event) } }))),
      start: async () => {
        runner = await run({
          ...{ connectionString, logger, concurrency, maxPoolSize: CONNECTIONS, noHandleSignals: true },
          taskList: { tell: ({ body }) => tell(body) },
          preset: { worker: { localQueue: { size: 2 * concurrency }, completeJobBatchDelay: 0 } },
        });
      },
      stop: async () => {
        await runner?.stop();
        await (await utils).release();
        await close();
      },
    };
  },

  'pg-boss': (options) => {
    const { databaseUrl: connectionString, concurrency } = options;
    const { PgBoss } = requirePeer('pg-boss') as Boss;
    const boss = new PgBoss({ connectionString, max: CONNECTIONS });
    boss.on('error', (error) => process.stderr.write(`pg-boss: ${error}\n`));
    const { tell, close } = teller(options);
    const work = { localConcurrency: 8, batchSize: Math.ceil(concurrency / 8), burstWhenBatchFull: true };
    return {
      prepare: async () => {
        await boss.start();
        await boss.createQueue('tell');
      },
      feed: (events) =>
        boss.insert(
          'tell',
          events.map((event) => ({ data: { body: bodyOf(event) } })),
        ),
      start: () =>
        boss.work('tell', { ...work, pollingIntervalSeconds: 0.5 }, (jobs) =>
          Promise.all(jobs.map(({ data }) => tell(data.body))),
        ),
      stop: async () => {
        await boss.stop();
        await close();
      },
    };
  },
};

/** Whether a queue's tables hold nothing that is to be delivered. */
export const DRAINED: Readonly<Record<string, string>> = {
  'webhook-relay': 'not exists (select from relay.transactions where next_event_id is not null)',
  'graphile-worker': 'not exists (select from graphile_worker._private_jobs)',
  'pg-boss': "not exists (select from pgboss.job where name = 'tell' and state < 'completed')",
};

const bodyOf = (event: Event): string => Buffer.from(renderEvent(event, KEYS)).toString();

/** Throws unless Wix takes it, so that the queue tries again. */
function teller(options: QueueOptions) {
  const wix = createWixClient(configOf(options));
  const tell = async (body: string) => {
    const { token, answer } = await wix.fetchToken();
    if (token === undefined) throw new Error(`token: ${answer.error}`);
    const { error } = await wix.submitEvent(token, Buffer.from(body));
    if (error) throw new Error(`event: ${error}`);
  };
  return { tell, close: wix.close };
}

// As far as they are used here: the libraries are there only where the bench has run.

interface Graphile {
  readonly Logger: new (factory: () => () => void) => object;
  makeWorkerUtils(options: object): Promise<{
    migrate(): Promise<void>;
    addJobs(jobs: readonly object[]): Promise<void>;
    release(): Promise<void>;
  }>;
  run(
    options: Record<string, unknown> & { taskList: Record<string, (payload: { body: string }) => Promise<void>> },
  ): Promise<{ stop(): Promise<void> }>;
}

interface Boss {
  readonly PgBoss: new (
    options: object,
  ) => {
    on(event: 'error', listener: (error: Error) => void): void;
    start(): Promise<void>;
    createQueue(name: string): Promise<void>;
    insert(name: string, jobs: readonly object[]): Promise<void>;
    work(
      name: string,
      options: object,
      handler: (jobs: readonly { data: { body: string } }[]) => Promise<unknown>,
    ): Promise<void>;
    stop(): Promise<void>;
  };
}
