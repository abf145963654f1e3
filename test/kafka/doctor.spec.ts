import assert from 'node:assert/strict';
import kafkajs from 'kafkajs';
import { before, describe, it } from 'mocha';
import { examine, newKey } from '../ops/doctor-kit.ts';
import { freshDatabase } from '../support/database.ts';
import { useKafka } from '../support/kafka.ts';

describe('the doctor at Kafka', () => {
  const kafka = useKafka();
  let env: Record<string, string>;
  before(async () => {
    env = {
      ...kafka.newEnv(),
      DATABASE_URL: await freshDatabase(),
      EVENTS_KEY: newKey('test'),
      ...{
        WIX_APP_ID: 'app',
        WIX_APP_SECRET: 'a-secret-of-an-app',
        WIX_API_URL: 'http://127.0.0.1:9',
        WIX_USER_AGENT: 'doctor/1.0',
      },
    };
  });
  const line = async (more: Record<string, string> = {}) =>
    (await examine({ ...env, ...more })).out.split('\n').find((found) => /^\w+ +Kafka /.test(found)) ?? '';
  const admin = async <T>(run: (client: kafkajs.Admin) => Promise<T>): Promise<T> => {
    const client = new kafkajs.Kafka({
      brokers: [env.KAFKA_BROKERS ?? ''],
      logLevel: kafkajs.logLevel.NOTHING,
    }).admin();
    await client.connect();
    return run(client).finally(() => client.disconnect());
  };

  it('R40 makes no topic, and finds one that is not as it must be', async () => {
    const topic = env.KAFKA_TOPIC ?? '';
    assert.match(await line(), /^ok .* no topic .* yet: the first start makes it/);
    assert.ok(!(await admin((client) => client.listTopics())).includes(topic));
    const configEntries = [{ name: 'retention.ms', value: '3600000' }];
    await admin((client) =>
      client.createTopics({
        topics: [{ topic, numPartitions: 2, replicationFactor: 1, configEntries }],
        waitForLeaders: true,
      }),
    );
    assert.match(
      await line(),
      /^FAIL .* has 2 partitions instead of KAFKA_PARTITIONS=4, and has retention.ms=3600000, less than 7 days/,
    );
  });

  it('says which brokers do not answer', async () => {
    assert.match(await line({ KAFKA_BROKERS: '127.0.0.1:9' }), /^FAIL .* 127\.0\.0\.1:9: .*See KAFKA_BROKERS/);
  });
});
