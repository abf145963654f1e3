import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import kafkajs from 'kafkajs';
import { startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';
import { hideTimerWarnings } from '../../proto/runtime/kafka.ts';
import { createLog } from '../../proto/runtime/log.ts';
import { sleep } from '../../proto/runtime/loop.ts';
import type { EngineProcess } from '../faults/engine-process.ts';
import { freePort, postmasterOf } from '../faults/program.ts';
import { ENGINE_TOKEN, newKey } from '../faults/surroundings.ts';
import { startKafkaBroker, untilKafkaAnswers } from '../support/kafka-broker.ts';
import { toJson } from '../wix/json.ts';
import type { Keys } from '../wix/keys.ts';
import { type Connected, connectRequest } from '../wix/requests.ts';
import { createConnection, post } from './http-client.ts';
import type { QuickWix } from './wix-process.ts';

// What bench:flow compares: each side takes signed payments at a port, and tells them.

const ROOT = path.join(import.meta.dirname, '../..');
export const MERCHANTS = 8;

export interface Side {
  readonly name: string;
  readonly port: number;
  /** Its Node. */
  readonly pids: readonly number[];
  /** Its PostgreSQL, where that is no child of its Node. */
  readonly postgres: readonly number[];
  /** The broker, where it is one of the bench's own. */
  readonly kafka: readonly number[];
  readonly engine: readonly number[];
  readonly merchants: readonly Connected[];
}

export interface Range {
  readonly keys: Keys;
  readonly wix: QuickWix;
  readonly folder: string;
  readonly children: ChildProcess[];
  /** Run at the end, the last one first. */
  readonly closing: (() => unknown)[];
}

type Env = Record<string, string>;

export function signed(keys: Keys, call: string, body: ReturnType<typeof connectRequest>) {
  const bytes = Buffer.from(toJson(body));
  const request = post(`/wix/v1/${call}`, bytes, { digest: keys.digestFor(bytes) ?? '' });
  return { request, id: String(body.wixTransactionId) };
}

/** As the scripts of its checkout start it. */
function start({ children }: Range, program: string, env: Env, checkout = ROOT): number {
  const child = spawn('sh', [path.resolve(checkout, 'run.sh'), program], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  children.push(child);
  return child.pid ?? 0;
}

const wixEnv = ({ wix }: Range): Env => ({
  ...{ WIX_API_URL: wix.url, WIX_APP_ID: 'bench', WIX_APP_SECRET: 'a-secret-of-the-bench' },
  WIX_USER_AGENT: 'bench/1.0',
});

const productEnv = (range: Range, engine: EngineProcess): Env => ({
  ...wixEnv(range),
  ...{ WIX_PUBLIC_KEY: range.keys.publicKeyPem, PROCESSOR_URL: engine.url, PROCESSOR_TOKEN: ENGINE_TOKEN },
  ...{ CREDENTIALS_KEY: newKey(), EVENTS_KEY: newKey(), MODE_WHEN_ABSENT: 'sandbox', EVENT_DELAY_MS: '0' },
  ...{ GATEWAY_ADMIN_PORT: '0', CORE_HTTP_PORT: '0', RELAY_PORT: '0' },
});

/** The server of one file. */
export async function startBare(range: Range): Promise<Side> {
  const [port, keyFile] = [await freePort(), path.join(range.folder, 'wix.pem')];
  writeFileSync(keyFile, range.keys.publicKeyPem);
  const env = { ...wixEnv(range), GATEWAY_PORT: port, DATA_DIR: path.join(range.folder, 'bare') };
  const pid = start(range, path.join(import.meta.dirname, 'bare/server.mjs'), {
    ...env,
    WIX_PUBLIC_KEY_FILE: keyFile,
  });
  return ready(range, { name: 'bare', port: Number(port), pids: [pid], engine: [] });
}

/** A checkout's connector, with its PostgreSQL as a child. */
export async function startOne(range: Range, name: string, checkout: string, engine: EngineProcess): Promise<Side> {
  const port = await freePort();
  const env = { ...productEnv(range, engine), GATEWAY_PORT: port, DATA_DIR: path.join(range.folder, name) };
  const pid = start(range, path.resolve(checkout, 'connector.ts'), env, checkout);
  return ready(range, { name, port: Number(port), pids: [pid], engine: [engine.pid] });
}

/** Gateway, core and webhook-relay as a process each, with PostgreSQL and Kafka between them. Throws where there is no Kafka. */
export async function startApart(range: Range, engine: EngineProcess): Promise<Side> {
  const { folder, closing } = range;
  const { kafka, env: kafkaEnv } = await openKafka(range);
  const dataDir = path.join(folder, 'apart');
  const log = createLog('postgres', 'error');
  const postgres = await startEmbeddedPostgres({ dataDir, roles: ['core', 'relay'], log });
  closing.push(postgres.stop);
  const [port, corePort, token] = [await freePort(), await freePort(), randomBytes(32).toString('hex')];
  const env = { ...productEnv(range, engine), ...kafkaEnv };
  const database = (role: string) => ({ DATABASE_URL: postgres.urls[role] ?? '' });
  const startService = (name: string, own: Env) => start(range, path.join(ROOT, name, 'main.ts'), { ...env, ...own });
  const pids = [
    startService('webhook-relay', database('relay')),
    startService('core', { ...database('core'), CORE_TOKENS: `wix:gateway:${token}`, CORE_GRPC_PORT: corePort }),
    startService('gateway', { CORE_URL: `127.0.0.1:${corePort}`, CORE_TOKEN: token, GATEWAY_PORT: port }),
  ];
  const own = { engine: [engine.pid], postgres: [postmasterOf(dataDir) ?? 0], kafka };
  return ready(range, { name: 'apart', port: Number(port), pids, ...own });
}

/** The broker of KAFKA_BROKERS, with a topic of this run, or one of its own. */
async function openKafka({ closing }: Range): Promise<{ kafka: number[]; env: Env }> {
  hideTimerWarnings(process);
  const name = `bench.${randomUUID()}`;
  const env = { KAFKA_TOPIC: name, KAFKA_GROUP: name, KAFKA_REPLICATION: '1' };
  const given = process.env.KAFKA_BROKERS;
  if (given) {
    const kafka = new kafkajs.Kafka({ brokers: given.split(','), logLevel: kafkajs.logLevel.NOTHING });
    closing.push(async () => {
      const admin = kafka.admin();
      await admin.connect();
      await admin.deleteTopics({ topics: [name] });
      await admin.disconnect();
    });
    return { kafka: [], env: { ...env, KAFKA_BROKERS: given, ALLOW_PLAINTEXT: 'true' } };
  }
  const broker = await startKafkaBroker();
  process.once('exit', broker.stop);
  closing.push(broker.stop);
  await untilKafkaAnswers(broker.address);
  const pid = Number(readFileSync(path.join(broker.dir, 'pid'), 'utf8'));
  return { kafka: [pid], env: { ...env, KAFKA_BROKERS: broker.address } };
}

/** Resolves once it has connected the merchants. */
async function ready(
  { keys, children }: Range,
  side: Omit<Side, 'merchants' | 'postgres' | 'kafka'> & Partial<Side>,
): Promise<Side> {
  const merchants: Connected[] = [];
  const connection = createConnection(side.port);
  for (const until = Date.now() + 30_000; merchants.length < MERCHANTS; ) {
    const request = connectRequest({ credentials: { apiKey: 'bench', accountRef: `bench ${merchants.length}` } });
    const { status, text } = await connection.ask(signed(keys, 'connect-account', request).request);
    const ended = children.find(({ pid, exitCode }) => side.pids.includes(pid ?? 0) && exitCode !== null);
    if (status === 200) {
      const { credentials } = JSON.parse(text) as { credentials: Record<string, string> };
      merchants.push({ merchantId: String(request.wixMerchantId), credentials });
    } else if (Date.now() > until || ended) throw new Error(`${side.name} does not answer: ${status} ${text}`);
    else await sleep(100);
  }
  connection.close();
  return { postgres: [], kafka: [], ...side, merchants };
}
