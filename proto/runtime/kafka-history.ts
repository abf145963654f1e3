import type { BusMessage } from './event-bus.ts';
import { toBusMessage } from './kafka.ts';
import { createClient, createWatch, type KafkaConfig, refusedBatch } from './kafka-client.ts';
import type { Log } from './log.ts';

const REQUEST_MS = 10_000;

/**
 * Hands over what is on the topic from a time to now, in batches that are in order within a partition. Leaves the offsets of the relay's
 * group alone: it reads in one of its own, KAFKA_GROUP with `.recover` behind it. Throws when Kafka cannot be read.
 */
export async function readTopicSince(options: {
  config: KafkaConfig;
  since: Date;
  log: Log;
  take: (messages: readonly BusMessage[]) => Promise<void>;
}): Promise<void> {
  const { config, since, log, take } = options;
  const { KAFKA_TOPIC: topic } = config;
  const groupId = `${config.KAFKA_GROUP}.recover`;
  const kafka = createClient(config, createWatch(log, 'consumer'), REQUEST_MS);
  const admin = kafka.admin();
  await admin.connect();
  try {
    const ends = new Map(
      (await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => [partition, BigInt(high)]),
    );
    const starts = await admin.fetchTopicOffsetsByTimestamp(topic, since.getTime());
    /** Partitions that hold something since then, with the offset behind it. */
    const left = new Map<number, bigint>();
    for (const { partition, offset } of starts) {
      const end = ends.get(partition) ?? 0n;
      if (BigInt(offset) >= 0n && BigInt(offset) < end) left.set(partition, end);
    }
    if (left.size === 0) return;

    const consumer = kafka.consumer({
      groupId,
      allowAutoTopicCreation: false,
      retry: { restartOnFailure: async () => false },
    });
    const done = Promise.withResolvers<void>();
    // What fails before it is waited for is said by whoever failed.
    done.promise.catch(() => undefined);
    const stalled = setTimeout(
      () => done.reject(new Error(`nothing of ${topic} came for ${STALL_MS / 1000} s`)),
      STALL_MS,
    );
    consumer.on(consumer.events.CRASH, ({ payload }) => done.reject(refusedBatch(payload.error, topic)));
    try {
      await consumer.connect();
      await consumer.subscribe({ topic, fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatch: async ({ batch: { partition, messages }, heartbeat }) => {
          stalled.refresh();
          const end = left.get(partition);
          if (end === undefined) return;
          const wanted = messages.filter(({ offset }) => BigInt(offset) < end);
          for (let from = 0; from < wanted.length; from += CHUNK) {
            await take(wanted.slice(from, from + CHUNK).map(toBusMessage));
            await heartbeat();
            stalled.refresh();
          }
          if (BigInt(messages.at(-1)?.offset ?? 0) + 1n >= end) left.delete(partition);
          if (left.size === 0) done.resolve();
        },
      });
      for (const { partition, offset } of starts)
        consumer.seek({ topic, partition, offset: left.has(partition) ? offset : String(ends.get(partition) ?? 0n) });
      await done.promise;
    } finally {
      clearTimeout(stalled);
      await consumer.disconnect();
    }
  } finally {
    await admin.disconnect();
  }
}

const STALL_MS = 60_000;

/** Messages that are taken between two heartbeats. */
const CHUNK = 200;
