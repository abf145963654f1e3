import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';
import { hideTimerWarnings } from '../../proto/runtime/kafka.ts';
import { type Books, openBooks } from '../engine/books.ts';
import { eventually } from '../support/eventually.ts';
import { type KafkaBroker, startKafkaBroker, untilKafkaAnswers } from '../support/kafka-broker.ts';
import { quietLog } from '../support/log.ts';
import type { Merchant, Wix } from '../wix/wix.ts';
import { startEngine } from './engine-process.ts';
import { endPostgres, endPrograms, freePort, isAlive, type Program, startProgram } from './program.ts';
import { adminUrlOf, connectMerchant, openSurroundings } from './surroundings.ts';

// Two of each service as processes of their own, from their mains, with a real Kafka broker, one PostgreSQL and the simulated engine,
// which are processes too. Wix is simulated in the process that calls this.

type Env = Record<string, string>;

/** A running program, or whatever was started in its place. */
export interface Instance {
  readonly name: string;
  readonly program: Program;
  /** Starts it anew after it has ended, on the same ports. */
  again(): Promise<void>;
}

export interface ServicesApart {
  readonly wix: Wix;
  readonly services: Readonly<Record<'gateways' | 'cores' | 'relays', readonly Instance[]>>;
  readonly engine: Instance;
  readonly broker: KafkaBroker;
  /** What all services share. */
  readonly env: Env & { readonly KAFKA_BROKERS: string; readonly KAFKA_TOPIC: string };
  /** The superuser's. */
  readonly databaseUrl: string;
  /** The engine's, to be read. */
  readonly books: Books;
  /** Connects a merchant whose calls go to the gateways in turn. */
  connect(): Promise<Merchant>;
  /** Where the merchant's next call would go. */
  readonly gatewayUrl: string;
  killPostgres(): Promise<void>;
  startPostgres(): Promise<void>;
  close(): Promise<void>;
}

/** Everything is kept in the folder, which other users must be able to enter. `changes`: to the services' environment. */
export async function startServicesApart(folder: string, changes: Env = {}): Promise<ServicesApart> {
  hideTimerWarnings(process);
  const dataDir = path.join(folder, 'data');
  const booksDir = path.join(folder, 'engine');
  const stage = await openSurroundings();
  const closing = [stage.close, () => endPostgres(dataDir), endPrograms];
  const close = async () => {
    for (const end of closing.toReversed()) await end();
  };
  const startPostgres = () => startEmbeddedPostgres({ dataDir, roles: ['core', 'relay'], log: quietLog() });
  try {
    const broker = await startKafkaBroker();
    process.once('exit', broker.stop);
    closing.push(async () => broker.stop());
    const { urls } = await startPostgres();
    const enginePort = await freePort();
    const engine = await startInstance('engine', () => startEngine(booksDir, enginePort));
    const books = openBooks(booksDir, { readOnly: true });
    closing.push(async () => books.close());
    const env = {
      ...stage.env,
      KAFKA_BROKERS: broker.address,
      KAFKA_TOPIC: 'payments.events.v1',
      KAFKA_REPLICATION: '1',
      PROCESSOR_URL: `http://127.0.0.1:${enginePort}`,
      LOG_LEVEL: 'warn',
      ...changes,
    };
    await untilKafkaAnswers(broker.address);
    const services = await startServices(env, urls);
    let calls = 0;
    const nextUrl = () => services.gateways[calls++ % 2]?.url ?? '';
    return {
      ...{ wix: stage.wix, services, engine, broker, env, books, close },
      databaseUrl: adminUrlOf(dataDir),
      get gatewayUrl() {
        return nextUrl();
      },
      connect: async () => {
        const { gatewayUrl: _, ...merchant } = await connectMerchant(stage.wix, nextUrl());
        return {
          ...merchant,
          get gatewayUrl() {
            return nextUrl();
          },
        };
      },
      killPostgres: () => endPostgres(dataDir, 'SIGKILL'),
      startPostgres: async () => void (await startPostgres()),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Two of each. Every gateway knows both cores, its own first. */
async function startServices(env: Env, databases: Env) {
  const token = randomBytes(32).toString('hex');
  const numbers = [1, 2];
  const corePorts = await Promise.all(numbers.map(freePort));
  const gatewayPorts = await Promise.all(numbers.map(freePort));
  const database = (role: string, name: string) => ({
    DATABASE_URL: `${databases[role]}?application_name=${name}`,
  });
  const core = async (number: number) => {
    const name = `core-${number}`;
    const CORE_HTTP_PORT = await freePort();
    const own = {
      ...database('core', name),
      CORE_TOKENS: `wix:gateway:${token}`,
      CORE_GRPC_PORT: corePorts[number - 1] ?? '',
      CORE_HTTP_PORT,
      PUBLIC_URL: `http://127.0.0.1:${gatewayPorts[number - 1]}`,
    };
    return startInstance(name, () => startService('core/main.ts', { ...env, ...own }, CORE_HTTP_PORT));
  };
  const relay = async (number: number) => {
    const name = `relay-${number}`;
    const RELAY_PORT = await freePort();
    const own = { ...database('relay', name), RELAY_PORT };
    return startInstance(name, () => startService('webhook-relay/main.ts', { ...env, ...own }, RELAY_PORT));
  };
  const gateway = async (number: number) => {
    const [GATEWAY_PORT = '', GATEWAY_ADMIN_PORT] = [gatewayPorts[number - 1], await freePort()];
    const addresses = (number === 1 ? corePorts : corePorts.toReversed()).map((port) => `127.0.0.1:${port}`);
    const own = {
      ...{ CORE_URL: `ipv4:${addresses}`, CORE_TOKEN: token, ALLOW_PLAINTEXT: 'true' },
      ...{ GATEWAY_PORT, GATEWAY_ADMIN_PORT },
    };
    const start = () => startService('gateway/main.ts', { ...env, ...own }, GATEWAY_ADMIN_PORT);
    return Object.assign(await startInstance(`gateway-${number}`, start), { url: `http://127.0.0.1:${GATEWAY_PORT}` });
  };
  const [cores, relays] = await Promise.all([Promise.all(numbers.map(core)), Promise.all(numbers.map(relay))]);
  const gateways = await Promise.all(numbers.map(gateway));
  return { cores, relays, gateways };
}

async function startInstance(name: string, start: () => Promise<Program>): Promise<Instance> {
  let program = await start();
  return {
    name,
    get program() {
      return program;
    },
    again: async () => {
      program = await start();
    },
  };
}

/** Starts a main and waits until it serves; a relay then still waits for its place in the consumer group. */
export async function startService(file: string, env: Env, adminPort: string): Promise<Program> {
  const program = startProgram(file, env);
  await eventually(
    async () => {
      assert.ok(isAlive(program.pid), `${file} ended: ${program.err}${program.out}`);
      assert.equal((await fetch(`http://127.0.0.1:${adminPort}/health/live`)).status, 200);
    },
    { timeoutMs: 30_000 },
  );
  return program;
}
