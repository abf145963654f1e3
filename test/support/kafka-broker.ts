import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import kafkajs from 'kafkajs';
import { eventually } from './eventually.ts';

// A real Apache Kafka broker, from Maven's jars: one node, broker and controller in one JVM, its data in a temporary folder.

const POM = path.join(import.meta.dirname, 'kafka/pom.xml');
/** Kept between runs. */
const JARS = path.join(import.meta.dirname, 'kafka/.jars');

export const KAFKA_NEEDS =
  'Kafka needs java (17 or newer) and mvn, which fetches its jars the first time; or a broker of your own, in KAFKA_BROKERS.';

/** By whom the broker's TLS listener lets itself be called; development only. */
export const SASL = { username: 'connector', password: 'password-of-the-tests' };

export interface KafkaBroker {
  /** `host:port` without TLS. */
  readonly address: string;
  /** `host:port` with TLS and SASL PLAIN. */
  readonly tlsAddress: string;
  /**
   * Holds `ca.pem`, `broker.log` and `pid`. The broker is started again whenever it ends, unless there is a file `down`; so any process
   * can kill it and hold it down.
   */
  readonly dir: string;
  stop(): void;
}

const run = promisify(execFile);

/** Resolves once the broker's addresses are known; it comes up within seconds after that. */
export async function startKafkaBroker(): Promise<KafkaBroker> {
  try {
    await run('java', ['-version']);
    if (!existsSync(JARS)) await fetchJars();
  } catch (cause) {
    throw new Error(KAFKA_NEEDS, { cause });
  }
  const dir = mkdtempSync(path.join(tmpdir(), 'payments-kafka-'));
  const [port = 0, controller = 0, tls = 0] = await freePorts(3);
  writeFileSync(path.join(dir, 'server.properties'), properties(dir, port, controller, tls));
  let child: ChildProcess | undefined;
  let stopped = false;

  const java = (...args: string[]) => {
    const log = openSync(path.join(dir, 'broker.log'), 'a');
    const options = ['-Xmx512m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-cp', `${JARS}/*`];
    child = spawn('java', [...options, ...args], { stdio: ['ignore', log, log], cwd: dir });
    writeFileSync(path.join(dir, 'pid'), String(child.pid));
    const { promise, resolve } = Promise.withResolvers<void>();
    child.once('exit', resolve).once('error', () => resolve());
    return promise;
  };
  const supervise = async () => {
    await makeKeys(dir);
    const clusterId = randomBytes(16).toString('base64url');
    if (!stopped) await java('kafka.tools.StorageTool', 'format', '-t', clusterId, '-c', 'server.properties');
    while (!stopped) {
      if (existsSync(path.join(dir, 'down'))) await delay(50);
      else await java('kafka.Kafka', 'server.properties');
    }
  };
  void supervise().catch((error: Error) => {
    if (!stopped) writeFileSync(path.join(dir, 'broker.log'), String(error), { flag: 'a' });
  });
  return {
    address: `127.0.0.1:${port}`,
    tlsAddress: `127.0.0.1:${tls}`,
    dir,
    stop: () => {
      if (stopped) return;
      stopped = true;
      child?.kill('SIGKILL');
      rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

async function fetchJars(): Promise<void> {
  const copy = ['dependency:copy-dependencies', `-DoutputDirectory=${JARS}`, '-DincludeScope=runtime'];
  await run('mvn', ['-q', '-B', '-f', POM, ...copy]).catch((error: unknown) => {
    rmSync(JARS, { recursive: true, force: true });
    throw error;
  });
}

/** Waits until the broker answers: an open port says nothing. */
export function untilKafkaAnswers(address: string): Promise<void> {
  return eventually(
    async () => {
      const kafka = new kafkajs.Kafka({
        brokers: [address],
        retry: { retries: 0 },
        logLevel: kafkajs.logLevel.NOTHING,
      });
      const admin = kafka.admin();
      try {
        await admin.connect();
        await admin.describeCluster();
      } finally {
        await admin.disconnect();
      }
    },
    { timeoutMs: 60_000, every: 100 },
  );
}

/** A certificate of the broker's own, for its TLS listener. */
async function makeKeys(dir: string): Promise<void> {
  const store = ['-keystore', path.join(dir, 'keys.p12'), '-storetype', 'PKCS12', '-storepass', SASL.password];
  const name = ['-alias', 'broker', '-keyalg', 'EC', '-dname', 'CN=broker', '-ext', 'san=ip:127.0.0.1'];
  await run('keytool', ['-genkeypair', ...name, '-validity', '30', ...store]);
  await run('keytool', ['-exportcert', '-rfc', '-alias', 'broker', '-file', path.join(dir, 'ca.pem'), ...store]);
}

/** Short sessions of broker and groups: after a kill nothing waits for the dead for long. */
function properties(dir: string, port: number, controller: number, tls: number): string {
  return `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${controller}
listeners=PLAINTEXT://127.0.0.1:${port},SASL_SSL://127.0.0.1:${tls},CONTROLLER://127.0.0.1:${controller}
advertised.listeners=PLAINTEXT://127.0.0.1:${port},SASL_SSL://127.0.0.1:${tls}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
ssl.keystore.location=${dir}/keys.p12
ssl.keystore.type=PKCS12
ssl.keystore.password=${SASL.password}
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_${SASL.username}="${SASL.password}";
log.dirs=${dir}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
`;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const { promise, resolve } = Promise.withResolvers<ReturnType<typeof createServer>>();
      const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
      return promise;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))));
  return ports;
}
