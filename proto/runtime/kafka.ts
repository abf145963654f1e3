import kafkajs, { type Consumer, type EachBatchPayload, type KafkaMessage, type Producer } from 'kafkajs';
import type { BusMessage, EventPublisher, EventReceiver } from './event-bus.ts';
import {
  createClient,
  createWatch,
  ensureTopic,
  type KafkaConfig,
  refusedBatch,
  TopicRefused,
} from './kafka-client.ts';
import type { Service } from './lifecycle.ts';
import type { Log } from './log.ts';
import { type Loop, sleep, startLoop } from './loop.ts';
import { counter, gauge } from './metrics.ts';

// The event bus over Kafka. PostgreSQL is the truth on both ends: what is not known to be published is published again, and an offset
// is committed after the rows of what lies before it. So either client may be thrown away at any time, and is.

/** Kafka need not be there when a service starts; what it says within this time is heeded. */
const START_MS = 10_000;
const DISCONNECT_MS = 2_000;

/**
 * Publishes within sendMs or rejects. It connects at start, and starts without Kafka too; it refuses to start on a topic that is not
 * as it must be (R40).
 */
export function createKafkaPublisher(options: {
  config: KafkaConfig;
  /** A little less than the time after which the database ends the tx around it. */
  sendMs: number;
  log: Log;
}): EventPublisher & Service {
  const { config, sendMs, log } = options;
  const watch = createWatch(log, 'publisher');
  const kafka = createClient(config, watch, sendMs);
  let current: Promise<Producer> | undefined;

  async function open(): Promise<Producer> {
    await ensureTopic(kafka, config);
    const producer = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    });
    await producer.connect().catch(async (error: unknown) => {
      await producer.disconnect();
      throw error;
    });
    return producer;
  }

  /** The producer that stands or is on its way; one that could not be opened makes room for the next. */
  function opened(): Promise<Producer> {
    current ??= open().catch((error: unknown) => {
      current = undefined;
      throw error;
    });
    return current;
  }

  async function send(batch: readonly BusMessage[]): Promise<void> {
    const end = performance.now() + sendMs;
    const producer = await within(sendMs, opened());
    const messages = batch.map(({ key, value, headers }) => ({ key, value: Buffer.from(value), headers }));
    const sent = producer.send({ topic: config.KAFKA_TOPIC, acks: -1, messages });
    try {
      await within(end - performance.now(), sent);
    } catch (error) {
      // What was sent may have arrived. Under the same numbers brokers would take the next batch for its repeat, and drop it.
      current = undefined;
      // Closed only when its tries are over: each of them would connect it again.
      void sent
        .catch(() => undefined)
        .then(() => producer.disconnect())
        .catch(() => undefined);
      throw error;
    }
  }

  function failed(error: unknown): never {
    watch.trouble(error);
    throw error;
  }

  return {
    publish: (batch) => send(batch).then(watch.works, failed),
    start: () => within(START_MS, opened()).then(watch.works, failed).catch(unlessRefused),
    stop: async () => {
      if (current) await orLeave(current.then((producer) => producer.disconnect()));
    },
  };
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Kafka did not answer within ${Math.round(ms)} ms`)), ms);
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

/** Waits for a client to close, but not for long: one that hangs is left to itself. */
async function orLeave(closing: Promise<void>): Promise<void> {
  await within(DISCONNECT_MS, closing).catch(() => undefined);
}

/** R40: such a topic ends the start; without Kafka the service starts and waits for it. */
function unlessRefused(error: unknown): void {
  if (error instanceof TopicRefused) throw error;
}

export interface KafkaReceiver extends Service {
  /** Whether the consumer is in its group and lately took all that was fetched for it. */
  isMoving(): boolean;
}

/** Messages whose rows are written before an offset is committed. */
const CHUNK = 100;
const HEARTBEAT_MS = 1_000;
const MOVING_MS = 5 * HEARTBEAT_MS;
/** About 5 s of them: a consumer that lives through the restart of a broker need not wait until its group has forgotten it. */
const RETRIES = 8;
/** A consumer that is silent for so long has left its group; its partitions go to others. */
const SESSION_MS = 10_000;
/** Whoever joins a group waits so long for its members at most. */
const REBALANCE_MS = 20_000;

/**
 * Hands over what is on the topic, from its beginning if the group has no offset yet: rows first, offset after. A consumer that
 * crashed, or has not moved for stallMs, is replaced by a new one.
 */
export function createKafkaReceiver(options: {
  config: KafkaConfig;
  receive: EventReceiver;
  log: Log;
  stallMs?: number;
}): KafkaReceiver {
  const { config, receive, log, stallMs = 15_000 } = options;
  const { KAFKA_TOPIC: topic, KAFKA_GROUP: groupId } = config;
  const watch = createWatch(log, 'consumer');
  const kafka = createClient(config, watch, SESSION_MS, RETRIES);
  const lag = gauge('kafka_consumer_lag', 'Messages behind the newest one, as of the last batch.', ['partition']);
  const replaced = counter('kafka_consumers_replaced_total', 'Consumers that crashed or did not move.');
  let movedAt = Number.NEGATIVE_INFINITY;
  let loop: Loop | undefined;

  const moved = () => {
    movedAt = performance.now();
    watch.works();
  };

  /** Runs one consumer for as long as it moves. */
  async function consume(signal: AbortSignal): Promise<number> {
    const consumer = kafka.consumer({
      groupId,
      allowAutoTopicCreation: false,
      sessionTimeout: SESSION_MS,
      heartbeatInterval: HEARTBEAT_MS,
      rebalanceTimeout: REBALANCE_MS,
      maxWaitTimeInMs: HEARTBEAT_MS / 2,
      // Through a short outage it stays the same member; there is one way back after a longer one, and it is here.
      retry: { restartOnFailure: async () => false },
    });
    const { CRASH, HEARTBEAT } = consumer.events;
    const crashed = new Promise<never>((_, reject) => consumer.on(CRASH, ({ payload }) => reject(payload.error)));
    // A heartbeat is sent only after everything that was fetched has been handled; to have joined the group is no progress yet.
    consumer.on(HEARTBEAT, moved);
    const ended = new AbortController();
    const starting = start(consumer);
    try {
      await Promise.race([
        starting.then(() => crashed),
        crashed,
        untilStalled(AbortSignal.any([signal, ended.signal])),
      ]);
    } catch (err) {
      replaced.inc();
      watch.trouble(refusedBatch(err, topic));
    } finally {
      ended.abort();
      movedAt = Number.NEGATIVE_INFINITY;
      // Closed while it starts, it would go on to run.
      await orLeave(starting.catch(() => undefined).then(() => consumer.disconnect()));
    }
    return 0;
  }

  async function start(consumer: Consumer): Promise<void> {
    await ensureTopic(createClient(config, watch, SESSION_MS), config);
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: (payload) => takeIn(consumer, payload),
    });
  }

  async function untilStalled(signal: AbortSignal): Promise<void> {
    const joined = performance.now() + REBALANCE_MS;
    while (!signal.aborted) {
      await sleep(stallMs / 10, signal);
      if (performance.now() - (Number.isFinite(movedAt) ? movedAt : joined) > stallMs)
        throw new Error('the consumer does not move');
    }
  }

  async function takeIn(consumer: Consumer, payload: EachBatchPayload): Promise<void> {
    const { partition, messages } = payload.batch;
    lag.set({ partition: String(partition) }, Number(payload.batch.offsetLag()));
    for (let from = 0; from < messages.length; from += CHUNK) {
      if (!payload.isRunning() || payload.isStale()) return;
      const chunk = messages.slice(from, from + CHUNK);
      await receive(chunk.map(toBusMessage));
      const { offset } = chunk.at(-1) as KafkaMessage;
      payload.resolveOffset(offset);
      await consumer.commitOffsets([{ topic, partition, offset: String(BigInt(offset) + 1n) }]);
      await payload.heartbeat();
      moved();
    }
  }

  return {
    isMoving: () => performance.now() - movedAt < MOVING_MS,
    start: async () => {
      await within(START_MS, ensureTopic(createClient(config, watch, SESSION_MS), config)).catch(unlessRefused);
      loop = startLoop('kafka_consumer', consume, { idleMs: 1_000, log });
    },
    stop: async () => {
      await loop?.stop();
    },
  };
}

/** What is on the topic may be anything; whether it is ours is for the receiver to say (R39). */
export function toBusMessage({ key, value, headers }: KafkaMessage): BusMessage {
  const texts = Object.entries(headers ?? {}).map(([name, content]) => [name, String(content)]);
  return { key: String(key ?? ''), value: value ?? new Uint8Array(), headers: Object.fromEntries(texts) };
}

/** For a main: kafkajs waits for less than nothing now and then, which does no harm. Of that warning, and no other, nothing is said. */
export function hideTimerWarnings(process: NodeJS.Process): void {
  const listeners = process.listeners('warning');
  process.removeAllListeners('warning').on('warning', (warning) => {
    if (warning.name !== 'TimeoutNegativeWarning') for (const print of listeners) print(warning);
  });
}
