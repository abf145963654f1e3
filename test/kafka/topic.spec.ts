import assert from 'node:assert/strict';
import { createHmac, hkdfSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import kafkajs from 'kafkajs';
import type { Event } from '../../proto/gen/payments/v1/event_pb.js';
import type { ConfigError } from '../../proto/runtime/config.ts';
import type { Database } from '../../proto/runtime/database.ts';
import { createKafkaPublisher, createKafkaReceiver } from '../../proto/runtime/kafka.ts';
import { KEYS } from '../support/core.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { useKafka } from '../support/kafka.ts';
import { quietLog } from '../support/log.ts';
import { commitEvents, coreDatabase, disorder, kafkaOf, makeEvents, startCore, unpublished } from './kit.ts';
import { READERS, type Read, wireFields } from './read-topic.ts';

describe('the events on Kafka', () => {
  const kafka = useKafka();
  let env: Record<string, string> & ReturnType<typeof kafka.newEnv>;
  let db: Database;
  let core: Awaited<ReturnType<typeof startCore>>;
  let events: Event[];
  before(async function () {
    this.timeout(30_000);
    env = kafka.newEnv();
    const url = await freshDatabase();
    db = coreDatabase(url);
    core = await startCore(url, env);
    events = makeEvents(100, 5);
    await commitEvents(db, events);
    await eventually(async () => assert.equal(await unpublished(db), 0));
  });
  after(async () => {
    await core?.stop();
    await db?.close();
  });

  for (const [name, reader] of Object.entries(READERS))
    describe(`as ${name} sees them`, () => {
      let read: Read[];
      before(async () => {
        read = await reader(env);
      });

      it('are all there, once', () => {
        const ids = read.map(({ headers }) => headers['event-id']);
        assert.deepEqual(ids.toSorted(), events.map(({ id }) => id).toSorted());
      });

      it('have the transaction id as their key, and one payment stays on one partition, in order', () => {
        assert.deepEqual(disorder(read), []);
        const partitions = Map.groupBy(read, ({ key }) => key);
        for (const [key, ofPayment] of partitions) {
          assert.equal(ofPayment.length, 5);
          assert.equal(new Set(ofPayment.map(({ partition }) => partition)).size, 1);
          assert.ok(events.some(({ transactionId }) => transactionId === key));
        }
        assert.equal(new Set(read.map(({ partition }) => partition)).size, 4);
      });

      it('have the headers of docs/EVENTS.md and no other', () => {
        const documented = readFileSync(new URL('../../docs/EVENTS.md', import.meta.url), 'utf8').matchAll(
          /^\| `([a-z-]+)` \|/gm,
        );
        // Traces are off here.
        const names = Array.from(documented, ([, name]) => name)
          .filter((name) => name !== 'traceparent')
          .toSorted();
        for (const event of events.slice(0, 20)) {
          const { headers } = read.find((candidate) => candidate.headers['event-id'] === event.id) as Read;
          assert.deepEqual(Object.keys(headers).toSorted(), names);
          assert.equal(headers['event-type'], event.sequence === 1n ? 'transaction_approved' : 'refund_succeeded');
          assert.equal(headers.sequence, String(event.sequence));
          assert.equal(headers.schema, 'payments.v1.Event');
          assert.equal(headers['content-type'], 'application/protobuf');
          assert.ok(Math.abs(Date.parse(headers['occurred-at'] ?? '') - Date.now()) < 60_000);
        }
      });

      it('have a value in protobuf, by the field numbers of payments.v1.Event', () => {
        for (const event of events) {
          const fields = wireFields(read.find(({ headers }) => headers['event-id'] === event.id)?.value as Buffer);
          const text = (number: number) => String(fields.get(number)?.[0]);
          assert.deepEqual(
            [text(1), text(5), text(6), text(10)],
            [event.id, event.transactionId, event.externalId, 'EUR'],
          );
          assert.deepEqual([fields.get(3)?.[0], fields.get(2)?.[0]], [event.sequence, BigInt(event.type)]);
          assert.equal(fields.get(21)?.[0], event.operationAmount);
        }
      });

      it('R39 are signed as docs/EVENTS.md says', () => {
        const [id, key = ''] = KEYS.EVENTS_KEY.split(':');
        const derived = Buffer.from(hkdfSync('sha256', Buffer.from(key, 'base64'), '', 'event signature', 32));
        for (const message of read.slice(0, 50)) {
          const { signature, ...headers } = message.headers;
          const others = Object.entries(headers).toSorted(([one], [other]) => (one < other ? -1 : 1));
          const signed = JSON.stringify([message.key, message.value.toString('base64'), others]);
          const mac = createHmac('sha256', derived).update(signed);
          assert.equal(signature, `${id}:${mac.digest('base64')}`);
        }
      });
    });
});

describe('the topic', () => {
  const kafka = useKafka();
  const log = quietLog();
  const admin = async <T>(work: (admin: kafkajs.Admin) => Promise<T>): Promise<T> => {
    const brokers = kafka.newEnv().KAFKA_BROKERS.split(',');
    const client = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING }).admin();
    await client.connect();
    return work(client).finally(() => client.disconnect());
  };
  const settingsOf = async (name: string) => {
    const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name }];
    const { resources: described } = await admin((client) =>
      client.describeConfigs({ resources, includeSynonyms: false }),
    );
    return new Map(described[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]));
  };
  const makeTopic = (topic: string, numPartitions: number, settings: Record<string, string>) =>
    admin(async (client) => {
      const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
      const topics = [{ topic, numPartitions, replicationFactor: 1, configEntries }];
      await client.createTopics({ topics, waitForLeaders: false });
      await eventually(() => client.fetchTopicMetadata({ topics: [topic] }));
    });
  /** Starts either side on a topic, waits until it works, and ends it. */
  const sides = {
    publisher: async (env: Record<string, string>) => {
      const publisher = createKafkaPublisher({ config: kafkaOf(env), sendMs: 3_000, log });
      await publisher.start();
      await eventually(() => publisher.publish([{ key: 'k', value: new Uint8Array(), headers: {} }]));
      await publisher.stop();
    },
    receiver: async (env: Record<string, string>) => {
      const receiver = createKafkaReceiver({ config: kafkaOf(env), receive: async () => undefined, log });
      await receiver.start();
      await eventually(() => assert.ok(receiver.isMoving()));
      await receiver.stop();
    },
  };

  it('is made at the first start, with partitions, replication and retention of the configuration', async () => {
    const env: Record<string, string> = { ...kafka.newEnv(), KAFKA_PARTITIONS: '3', KAFKA_RETENTION_MS: '700000000' };
    await Promise.all([sides.publisher(env), sides.publisher(env), sides.receiver(env)]);
    const name = env.KAFKA_TOPIC ?? '';
    const { topics } = await admin((client) => client.fetchTopicMetadata({ topics: [name] }));
    assert.deepEqual(
      topics[0]?.partitions.map(({ replicas }) => replicas.length),
      [1, 1, 1],
    );
    const settings = await settingsOf(name);
    assert.equal(settings.get('cleanup.policy'), 'delete');
    assert.equal(settings.get('retention.ms'), '700000000');
    assert.equal(settings.get('min.insync.replicas'), '1');
    assert.equal(settings.get('compression.type'), 'producer');
  });

  for (const [side, start] of Object.entries(sides)) {
    it(`R40 is refused by the ${side} unless it deletes, keeps 7 days and has the configured partitions`, async () => {
      const wrong: [RegExp, number, Record<string, string>][] = [
        [/has 2 partitions instead of KAFKA_PARTITIONS=4/, 2, {}],
        [/has 8 partitions instead of KAFKA_PARTITIONS=4/, 8, {}],
        [/has cleanup.policy=compact, not delete/, 4, { 'cleanup.policy': 'compact' }],
        [/has cleanup.policy=compact,delete, not delete/, 4, { 'cleanup.policy': 'compact,delete' }],
        [/has retention.ms=604799999, less than 7 days/, 4, { 'retention.ms': '604799999' }],
        [/has compression.type=lz4, not producer, uncompressed/, 4, { 'compression.type': 'lz4' }],
        [/has compression.type=snappy, not producer, uncompressed/, 4, { 'compression.type': 'snappy' }],
      ];
      for (const [problem, numPartitions, settings] of wrong) {
        const env = kafka.newEnv();
        await makeTopic(env.KAFKA_TOPIC, numPartitions, settings);
        await assert.rejects(start(env), problem);
      }
    });

    it(`R40 is taken by the ${side} with 7 days, or with endless retention`, async () => {
      for (const value of ['604800000', '-1']) {
        const env = kafka.newEnv();
        await makeTopic(env.KAFKA_TOPIC, 4, { 'retention.ms': value });
        await start(env);
      }
    });
  }

  it('is reached by TLS and SASL, and not with another password', async function () {
    const env = kafka.secureEnv();
    if (!env.KAFKA_BROKERS) return this.skip();
    const received: string[] = [];
    const receiver = createKafkaReceiver({
      config: kafkaOf(env),
      receive: async (batch) => void received.push(...batch.map(({ key }) => key)),
      log,
    });
    const publisher = createKafkaPublisher({ config: kafkaOf(env), sendMs: 3_000, log });
    await receiver.start();
    await publisher.publish([{ key: 'k', value: new Uint8Array([1]), headers: {} }]);
    await eventually(() => assert.deepEqual(received, ['k']));
    await receiver.stop();
    await publisher.stop();
    for (const wrong of [{ KAFKA_SASL_PASSWORD: 'wrong' }, { KAFKA_SSL_CA_FILE: '' }]) {
      const refused = createKafkaPublisher({ config: kafkaOf({ ...env, ...wrong }), sendMs: 3_000, log });
      await assert.rejects(refused.publish([]), /SASL|certificate/);
      await refused.stop();
    }
  });

  it('is described by a configuration that is whole', () => {
    const good = { KAFKA_BROKERS: 'kafka-1:9092, kafka-2:9092' };
    assert.deepEqual(kafkaOf(good).KAFKA_BROKERS, ['kafka-1:9092', 'kafka-2:9092']);
    const problems = (changes: Record<string, string>) => {
      try {
        kafkaOf({ ...good, ...changes });
        return [];
      } catch (error) {
        return (error as ConfigError).problems;
      }
    };
    assert.deepEqual(problems({ KAFKA_BROKERS: '' }), ['KAFKA_BROKERS is missing']);
    assert.deepEqual(problems({ KAFKA_BROKERS: 'kafka' }), ['KAFKA_BROKERS must be host:port,...']);
    assert.match(problems({ KAFKA_RETENTION_MS: '604799999' }).join(), /^KAFKA_RETENTION_MS must be .* 604800000 /);
    assert.match(problems({ KAFKA_TOPIC: randomUUID().repeat(7) }).join(), /^KAFKA_TOPIC /);
  });
});
