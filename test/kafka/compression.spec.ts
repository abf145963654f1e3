import assert from 'node:assert/strict';
import kafkajs from 'kafkajs';
import { createKafkaPublisher, createKafkaReceiver } from '../../proto/runtime/kafka.ts';
import { eventually } from '../support/eventually.ts';
import { useKafka } from '../support/kafka.ts';
import { quietLog } from '../support/log.ts';
import { kafkaOf } from './kit.ts';

describe('a topic that compresses', function () {
  this.timeout(60_000);
  const kafka = useKafka();
  const admin = async (work: (admin: kafkajs.Admin) => Promise<unknown>) => {
    const brokers = kafka.newEnv().KAFKA_BROKERS.split(',');
    const client = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING }).admin();
    await client.connect();
    await work(client).finally(() => client.disconnect());
  };
  const compress = (name: string, value: string) => {
    const configEntries = [{ name: 'compression.type', value }];
    const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name, configEntries }];
    return admin((client) => client.alterConfigs({ validateOnly: false, resources }));
  };
  const makeTopic = (topic: string, compression: string) =>
    admin(async (client) => {
      const configEntries = [{ name: 'compression.type', value: compression }];
      await client.createTopics({ topics: [{ topic, numPartitions: 4, replicationFactor: 1, configEntries }] });
      await eventually(() => client.fetchTopicMetadata({ topics: [topic] }));
    });
  const messages = Array.from({ length: 50 }, (_, i) => ({
    key: `payment ${i}`,
    value: Buffer.from('the same words, again and again. '.repeat(20)),
    headers: {},
  }));
  /** What the broker compresses, whoever sends it. */
  const send = async (env: Record<string, string>) => {
    const client = new kafkajs.Kafka({ brokers: [env.KAFKA_BROKERS!], logLevel: kafkajs.logLevel.NOTHING });
    const producer = client.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
    await producer.connect();
    await producer.send({ topic: env.KAFKA_TOPIC!, messages });
    await producer.disconnect();
  };

  for (const compression of ['gzip', 'zstd', 'uncompressed'])
    it(`R40 with ${compression} is written and read`, async () => {
      const env = kafka.newEnv();
      await makeTopic(env.KAFKA_TOPIC, compression);
      const received: string[] = [];
      const publisher = createKafkaPublisher({ config: kafkaOf(env), sendMs: 3_000, log: quietLog() });
      const receiver = createKafkaReceiver({
        config: kafkaOf(env),
        receive: async (batch) => void received.push(...batch.map(({ key, value }) => `${key}: ${Buffer.from(value)}`)),
        log: quietLog(),
      });
      await publisher.start();
      await receiver.start();
      try {
        await publisher.publish(messages);
        await eventually(() =>
          assert.deepEqual(received.toSorted(), messages.map(({ key, value }) => `${key}: ${value}`).toSorted()),
        );
      } finally {
        await receiver.stop();
        await publisher.stop();
      }
    });

  it('R40 R44 has held lz4 before: the relay is not ready, says which, and alerts once although it joins again and again', async () => {
    const env = kafka.newEnv();
    await makeTopic(env.KAFKA_TOPIC, 'lz4');
    await send(env);
    await compress(env.KAFKA_TOPIC, 'producer');
    const log = quietLog();
    const receiver = createKafkaReceiver({ config: kafkaOf(env), receive: async () => undefined, log });
    const realNow = performance.now.bind(performance);
    await receiver.start();
    try {
      const troubles = () => log.lines.filter((line) => JSON.stringify(line).includes('compressed with lz4'));
      await eventually(() => assert.ok(troubles().length > 2), { timeoutMs: 30_000 });
      assert.match(
        JSON.stringify(troubles()[0]),
        new RegExp(`the topic ${env.KAFKA_TOPIC} holds messages compressed with lz4`),
      );
      assert.equal(receiver.isMoving(), false);
      performance.now = () => realNow() + 60_000;
      await eventually(() => assert.ok(log.lines.some(({ alert }) => alert === 'kafka_trouble')), {
        timeoutMs: 30_000,
      });
      const seen = troubles().length;
      await eventually(() => assert.ok(troubles().length > seen + 2), { timeoutMs: 30_000 });
      assert.equal(log.lines.filter(({ alert }) => alert === 'kafka_trouble').length, 1);
      assert.equal(log.lines.filter(({ event }) => event === 'kafka.recovered').length, 0);
    } finally {
      performance.now = realNow;
      await receiver.stop();
    }
  });
});
