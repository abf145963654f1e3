import net, { isIP } from 'node:net';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';
import kafkajs, { type Admin, type ISocketFactory, type Kafka, type SASLOptions } from 'kafkajs';
import { z } from 'zod';
import { flag, integer, parsedBy, type Secret, secret, text } from './config.ts';
import type { Log } from './log.ts';
import { gauge } from './metrics.ts';
import { readCertificates } from './tls.ts';

// What publisher and receiver share: configuration, client, the topic, and what an outage looks like from outside.

const DAY_MS = 86_400_000;
const BRACKETED = /^\[([\da-f:.]+)\](:\d{1,5})$/i;

export const kafkaConfig = z.object({
  /** Some brokers as `host:port,...`; the others are learned from them. */
  KAFKA_BROKERS: text()
    .transform((list) => list.split(',').map((broker) => broker.trim()))
    .refine(
      (list) => list.every((broker) => /^[^\s:[\]]+:\d{1,5}$/.test(broker) || BRACKETED.test(broker)),
      'must be host:port,...',
    ),
  KAFKA_TOPIC: z
    .string()
    .regex(/^[\w.-]{1,249}$/, 'must be the name of a topic')
    .default('payments.events.v1'),
  /** R40: a topic that has another number is refused, since a payment's events would change their partition. */
  KAFKA_PARTITIONS: integer(12, { min: 1, max: 10_000 }),
  KAFKA_REPLICATION: integer(3, { min: 1, max: 9 }),
  KAFKA_RETENTION_MS: integer(30 * DAY_MS, { min: 7 * DAY_MS }),
  /** The relay's consumer group. */
  KAFKA_GROUP: text().default('webhook-relay'),
  KAFKA_SSL: flag(false),
  /** PEM, where the machine's own authorities do not do. */
  KAFKA_SSL_CA: parsedBy(readCertificates).optional(),
  KAFKA_SASL_MECHANISM: z
    .enum(['plain', 'scram-sha-256', 'scram-sha-512'], 'must be plain, scram-sha-256 or scram-sha-512')
    .optional(),
  KAFKA_SASL_USERNAME: text().optional(),
  KAFKA_SASL_PASSWORD: secret().optional(),
});
export type KafkaConfig = z.infer<typeof kafkaConfig>;

/** An outage longer than this is for a human. */
const ALERT_AFTER_MS = 60_000;
/** An outage is over when something has worked so long after trouble was last met: what flaps is one outage. */
const STEADY_MS = 15_000;

export interface Watch {
  /** The last exchange did not work. */
  trouble(err: unknown): void;
  /** It did. */
  works(): void;
}

/**
 * One log line for an outage and one for its end, however much is said in between; an alert when it lasts for a minute, also where
 * something works now and then.
 */
export function createWatch(log: Log, role: 'publisher' | 'consumer'): Watch {
  const up = gauge('kafka_up', 'Whether the last exchange with Kafka worked.', ['role']);
  /** When it began and was last met, and whether anything has worked since then. */
  let outage: { since: number; metAt: number; worked: boolean; alerted: boolean } | undefined;
  return {
    trouble(err) {
      const now = performance.now();
      up.set({ role }, 0);
      // It worked, and then there was nothing to do for it.
      if (outage?.worked && now - outage.metAt >= ALERT_AFTER_MS) outage = undefined;
      log[outage ? 'debug' : 'warn']('kafka.trouble', { role, err });
      outage = { since: now, alerted: false, ...outage, metAt: now, worked: false };
      if (outage.alerted || now - outage.since < ALERT_AFTER_MS) return;
      outage.alerted = true;
      log.alert('kafka_trouble', { role, err });
    },
    works() {
      up.set({ role }, 1);
      if (!outage) return;
      outage.worked = true;
      if (performance.now() - outage.metAt < STEADY_MS) return;
      log.info('kafka.recovered', { role, afterMs: Math.round(outage.metAt - outage.since) });
      outage = undefined;
    },
  };
}

/** By default its tries end within seconds, so that whoever uses it decides what comes next. The errors it logs are the watch's. */
export function createClient(config: KafkaConfig, watch: Watch, requestTimeoutMs: number, retries = 3): Kafka {
  const { KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_USERNAME: username = '', KAFKA_SASL_PASSWORD: password } = config;
  return new kafkajs.Kafka({
    clientId: 'wix-payments',
    brokers: config.KAFKA_BROKERS.map(withoutColons),
    socketFactory: connect,
    ssl: config.KAFKA_SSL_CA && config.KAFKA_SSL ? { ca: config.KAFKA_SSL_CA } : config.KAFKA_SSL,
    ...(mechanism && { sasl: { mechanism, username, password: (password as Secret).reveal() } as SASLOptions }),
    connectionTimeout: 2_000,
    requestTimeout: requestTimeoutMs,
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries },
    logLevel: kafkajs.logLevel.ERROR,
    logCreator:
      () =>
      ({ log }) =>
        watch.trouble(log.error instanceof Error ? log.error : `${log.message} ${log.error ?? ''}`.trim()),
  });
}

/** kafkajs ends a host at its first colon, so that an IPv6 address goes through it as a name, in the form that Windows has for it. */
const LITERAL = '.ipv6-literal.net';
const withoutColons = (broker: string): string =>
  broker.replace(BRACKETED, (_, address: string, port: string) => address.replaceAll(':', '-') + LITERAL + port);

/** As kafkajs does it by itself, but for those names. */
const connect: ISocketFactory = ({ host: named, port, ssl, onConnect }) => {
  const host = named.endsWith(LITERAL) ? named.slice(0, -LITERAL.length).replaceAll('-', ':') : named;
  const socket = ssl
    ? tls.connect({ host, port, ...(isIP(host) === 0 && { servername: host }), ...ssl }, onConnect)
    : net.connect({ host, port }, onConnect);
  return socket.setKeepAlive(true, 60_000);
};

/** Batches that the client can read. Of zstd it knows the number only; lz4 and snappy are not in Node. */
const COMPRESSIONS_READ = ['uncompressed', 'gzip', 'zstd'];
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
  compress: ({ buffer }: { buffer: Buffer }) => promisify(zstdCompress)(buffer),
  decompress: promisify(zstdDecompress),
});

/** The topic is not as it must be: no try will change that (R40). */
export class TopicRefused extends Error {
  override name = 'TopicRefused';
}

/** Of an error that a consumer met: one that says what to do, if what is on the topic cannot be read at all. */
export function refusedBatch(error: unknown, topic: string): unknown {
  const codec = error instanceof Error && /^(\w+) compression not implemented/.exec(error.message)?.[1]?.toLowerCase();
  if (!codec) return error;
  return new TopicRefused(
    `the topic ${topic} holds messages compressed with ${codec}, which cannot be read here; read are ${COMPRESSIONS_READ.join(', ')}`,
    { cause: error },
  );
}

/**
 * Makes the topic if it is missing. Throws TopicRefused unless it keeps every message of at least 7 days, has the configured number of
 * partitions and is not compressed by the broker in a way that cannot be read (R40).
 */
export async function ensureTopic(kafka: Kafka, config: KafkaConfig): Promise<void> {
  const { KAFKA_TOPIC: topic, KAFKA_PARTITIONS: numPartitions, KAFKA_REPLICATION: replicationFactor } = config;
  const admin = kafka.admin();
  try {
    await admin.connect();
    if (!(await admin.listTopics()).includes(topic)) {
      const settings = {
        'cleanup.policy': 'delete',
        // Whatever the broker's default is.
        'compression.type': 'producer',
        'retention.ms': String(config.KAFKA_RETENTION_MS),
        // One broker may be lost without losing what was confirmed.
        'min.insync.replicas': String(Math.min(2, replicationFactor)),
      };
      const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
      await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor, configEntries }] });
    }
    const problems = await topicProblems(admin, config);
    if (problems.length > 0) throw new TopicRefused(`the topic ${topic} ${problems.join(', and ')}`);
  } finally {
    await admin.disconnect();
  }
}

/** What keeps a topic that is there from carrying the events (R40). */
export async function topicProblems(admin: Admin, config: KafkaConfig): Promise<string[]> {
  const { KAFKA_TOPIC: topic, KAFKA_PARTITIONS: numPartitions } = config;
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const { resources } = await admin.describeConfigs({
    resources: [
      {
        type: kafkajs.ConfigResourceTypes.TOPIC,
        name: topic,
        configNames: ['cleanup.policy', 'compression.type', 'retention.ms'],
      },
    ],
    includeSynonyms: false,
  });
  const settings = new Map(resources[0]?.configEntries.map((entry) => [entry.configName, entry.configValue]));
  const partitions = topics[0]?.partitions.length;
  const retentionMs = Number(settings.get('retention.ms'));
  const compression = settings.get('compression.type') ?? '';
  return [
    partitions !== numPartitions && `has ${partitions} partitions instead of KAFKA_PARTITIONS=${numPartitions}`,
    settings.get('cleanup.policy') !== 'delete' && `has cleanup.policy=${settings.get('cleanup.policy')}, not delete`,
    !(retentionMs === -1 || retentionMs >= 7 * DAY_MS) && `has retention.ms=${retentionMs}, less than 7 days`,
    !['producer', ...COMPRESSIONS_READ].includes(compression) &&
      `has compression.type=${compression}, not producer, ${COMPRESSIONS_READ.join(' or ')}`,
  ].filter((problem) => problem !== false);
}
