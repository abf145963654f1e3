import { randomUUID } from 'node:crypto';
import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { hideTimerWarnings } from '../../proto/runtime/kafka.ts';
import { testDatabaseUrl } from './database.ts';
import { KAFKA_NEEDS, SASL, startKafkaBroker, untilKafkaAnswers } from './kafka-broker.ts';

// One Kafka broker for the whole run, shared by its processes: that of KAFKA_BROKERS, or a real one of the run's own.

const ADDRESS = 'TEST_KAFKA_ADDRESS';
const TLS_ADDRESS = 'TEST_KAFKA_TLS_ADDRESS';
const DIR = 'TEST_KAFKA_DIR';

/** Called once for the run, before its processes fork: begins to start the broker if a spec that uses it is to run. */
export async function prepareKafka(): Promise<(() => void) | undefined> {
  const specs = process.argv.slice(2).flatMap((pattern) => globSync(pattern));
  if (!specs.some((spec) => path.resolve(spec).includes(path.join('test', 'kafka')))) return undefined;
  if (process.env.KAFKA_BROKERS) {
    process.env[ADDRESS] = process.env.KAFKA_BROKERS;
    return undefined;
  }
  const broker = await startKafkaBroker().catch((error: Error) => {
    if (process.env.CI === 'true') throw error;
    process.stdout.write(`The Kafka specs are skipped. ${error.message}\n`);
  });
  if (!broker) return undefined;
  process.env[ADDRESS] = broker.address;
  process.env[TLS_ADDRESS] = broker.tlsAddress;
  process.env[DIR] = broker.dir;
  return broker.stop;
}

export interface TestKafka {
  /** For a topic and group of one's own, with 4 partitions. */
  newEnv(): Record<'KAFKA_BROKERS' | 'KAFKA_TOPIC' | 'KAFKA_GROUP' | 'KAFKA_PARTITIONS' | 'KAFKA_REPLICATION', string>;
  /** What reaches the same broker by TLS and SASL. */
  secureEnv(): Record<string, string>;
  /** kill -9; it stays down until `restart`. */
  kill(): void;
  restart(): void;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
}

/**
 * Within a describe: waits for the broker, or skips. A broker that is killed is nobody else's meanwhile: with `own` these specs run
 * alone among all that use it, and skip with a broker that is not the run's own.
 */
export function useKafka(options: { own?: boolean } = {}): TestKafka {
  before(() => hideTimerWarnings(process));
  let lock: pg.Client | undefined;
  before(async function () {
    this.timeout(180_000);
    const address = process.env[ADDRESS];
    if (!address || (options.own && !process.env[DIR])) {
      if (process.env.CI === 'true') throw new Error(KAFKA_NEEDS);
      return this.skip();
    }
    lock = new pg.Client({ connectionString: testDatabaseUrl('postgres') });
    await lock.connect();
    await lock.query(`select pg_advisory_lock${options.own ? '' : '_shared'}(hashtext('kafka'))`);
    await untilKafkaAnswers(address.split(',')[0] ?? '');
  });
  after(async () => {
    if (options.own && process.env[DIR]) {
      signal('SIGCONT');
      restart();
    }
    await lock?.end();
  });

  const down = () => path.join(process.env[DIR] ?? '', 'down');
  const signal = (name: NodeJS.Signals) =>
    process.kill(Number(readFileSync(path.join(process.env[DIR] ?? '', 'pid'), 'utf8')), name);
  const restart = () => rmSync(down(), { force: true });
  const newEnv = () => ({
    KAFKA_BROKERS: process.env[ADDRESS] ?? '',
    KAFKA_TOPIC: `test.${randomUUID()}`,
    KAFKA_GROUP: `test.${randomUUID()}`,
    KAFKA_PARTITIONS: '4',
    KAFKA_REPLICATION: '1',
  });
  return {
    newEnv,
    secureEnv: () => ({
      ...newEnv(),
      KAFKA_BROKERS: process.env[TLS_ADDRESS] ?? '',
      KAFKA_SSL: 'true',
      KAFKA_SSL_CA_FILE: path.join(process.env[DIR] ?? '', 'ca.pem'),
      KAFKA_SASL_MECHANISM: 'plain',
      KAFKA_SASL_USERNAME: SASL.username,
      KAFKA_SASL_PASSWORD: SASL.password,
    }),
    kill: () => {
      writeFileSync(down(), '');
      signal('SIGKILL');
    },
    restart,
    pause: () => void signal('SIGSTOP'),
    resume: () => void signal('SIGCONT'),
  };
}
