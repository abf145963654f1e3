import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { create, toBinary } from '@bufbuild/protobuf';
import { WatchTransactionRequestSchema } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { sleep } from '../../proto/runtime/loop.ts';
import { endAll, numberIn, type Program, startProgram } from '../faults/program.ts';
import { adminUrlOf, ask, openSurroundings, type Surroundings } from '../faults/surroundings.ts';
import { onSignal } from '../support/on-signal.ts';
import { send } from '../wix/client.ts';
import { type JsonObject, toJson } from '../wix/json.ts';
import { createKeys, type Keys } from '../wix/keys.ts';
import { type Connected, captureRequest, connectRequest, type Named, paymentRequest } from '../wix/requests.ts';
import type { Flood } from './flooders.ts';

// What others get while somebody floods the connector.

const HELP = `npm run floods [-- --against FOLDER] [--only 3,4,8]

Starts the connector anew for each flood, in a process of its own, and lets another merchant pay ten times a second over new
connections. Of each flood: how many of these payments were approved within 15 s, milliseconds of those (median and 99th percentile),
and the most memory that the connector took. --against runs the same against the connector of another checkout first, whose
dependencies are installed, and shows both.
`;

const HERE = path.join(import.meta.dirname, '../..');
const PAYMENTS = 40;
const EVERY_MS = 100;
const PATIENCE_MS = 15_000;
const BEGIN_MS = 20_000;
const HELD_BYTES = 3_900_000;
const READERS = Array.from({ length: 10 }, (_, i) => ({ name: `reader-${i}`, token: randomBytes(32).toString('hex') }));

interface Range extends Surroundings {
  readonly connector: Program;
  readonly url: string;
  readonly ports: { readonly gateway: number; readonly http: number; readonly grpc: number };
  readonly databaseUrl: string;
  readonly keys: Keys;
  readonly merchant: Connected;
}

interface Result {
  readonly approved: number;
  readonly p50: number;
  readonly p99: number;
  readonly mb: number;
}

/** By its number in the list of what an attack found. */
interface Trial {
  readonly number: string;
  readonly what: string;
  begin(range: Range): Promise<Flood | undefined>;
}

const head = (method: string, target: string, more = '') =>
  Buffer.from(`${method} ${target} HTTP/1.1\r\nHost: a\r\n${more}\r\n`);
const times = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));
const SERVICE = '/payments.v1.PaymentsService';

/** A gRPC message with its prefix, which may promise more bytes. */
function framed(message: Uint8Array, promised = message.length): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(promised, 1);
  return Buffer.concat([prefix, message]);
}

function signed({ keys }: Range, operation: string, body: JsonObject): Buffer {
  const bytes = Buffer.from(toJson(body));
  const digest = `Digest: ${keys.digestFor(bytes)}\r\nContent-Type: application/json\r\nContent-Length: ${bytes.length}\r\n`;
  return Buffer.concat([head('POST', `/wix/v1/${operation}`, digest), bytes]);
}

const TRIALS: readonly Trial[] = [
  { number: '-', what: 'nobody', begin: async () => undefined },
  {
    number: '3',
    what: '400 connections that ask /health/ready without a pause',
    begin: async ({ ports }) => ({
      ...{ kind: 'sockets', port: ports.http, again: true },
      messages: times(400, () => head('GET', '/health/ready')),
    }),
  },
  {
    number: '4',
    what: '300 without a token who hold bodies of 3.9 MB over HTTP',
    begin: async ({ ports }) => {
      const more = `Content-Type: application/json\r\nContent-Length: ${HELD_BYTES + 1}\r\n`;
      const message = Buffer.concat([head('POST', `${SERVICE}/GetTransaction`, more), Buffer.alloc(HELD_BYTES, ' ')]);
      return { kind: 'sockets', port: ports.http, messages: times(300, () => message) };
    },
  },
  {
    number: '4',
    what: '300 without a token who hold messages of 3.9 MB over gRPC',
    begin: async ({ ports }) => ({
      ...{ kind: 'calls', port: ports.grpc, connections: 30, isWhole: false },
      headers: times(300, () => ({ ':path': `${SERVICE}/CreateTransaction` })),
      message: framed(Buffer.alloc(HELD_BYTES), HELD_BYTES + 1),
    }),
  },
  {
    number: '5',
    what: '2,000 connections that stay after an unsigned 404 or 405',
    begin: async ({ ports }) => ({
      ...{ kind: 'sockets', port: ports.gateway },
      messages: times(2_000, (i) => head('GET', i % 2 ? '/' : '/wix/v1/create-transaction')),
    }),
  },
  {
    number: '6',
    what: '210 payments of one merchant at which the engine is slow',
    begin: async (range) => {
      const busy = await connect(range, 'busy');
      const never = new Promise<undefined>(() => undefined);
      range.engine.fault = (_, asked) =>
        'instruction' in asked && asked.instruction?.accountReference === 'busy' ? never : undefined;
      const messages = times(210, () => signed(range, 'create-transaction', paymentRequest(busy)));
      return { kind: 'sockets', port: range.ports.gateway, messages };
    },
  },
  {
    number: '7',
    what: '400 captures of one payment, at which the engine is slow',
    begin: async (range) => {
      const payment = await authorize(range);
      const never = new Promise<undefined>(() => undefined);
      range.engine.fault = (method) => (method === 'capture' ? never : undefined);
      const messages = times(400, () => signed(range, 'capture-transaction', captureRequest(payment, 4590n)));
      return { kind: 'sockets', port: range.ports.gateway, messages };
    },
  },
  {
    number: '8',
    what: '100 who watch a payment with 3,000 refused refunds',
    begin: async (range) => {
      const { pluginTransactionId: id } = await authorize(range);
      await ask(
        range.databaseUrl,
        `insert into core.operations (id, transaction_id, kind, state, caller, key, attempt, amount, reason, finished_at)
         select gen_random_uuid(), '${id}', 'refund', 'declined', 'wix', 'refused-' || i, 1, 1, 3030, now()
         from generate_series(1, 3000) as i`,
      );
      const asked = create(WatchTransactionRequestSchema, { key: { case: 'id', value: id } });
      return {
        ...{ kind: 'calls', port: range.ports.grpc, connections: READERS.length, isWhole: true },
        headers: times(100, (i) => ({
          ':path': `${SERVICE}/WatchTransaction`,
          authorization: `Bearer ${READERS[i % READERS.length]?.token}`,
        })),
        message: framed(toBinary(WatchTransactionRequestSchema, asked)),
      };
    },
  },
];

async function connect(range: Pick<Range, 'keys' | 'url'>, accountRef: string): Promise<Connected> {
  const body = connectRequest({ credentials: { api_key: 'test', account_ref: accountRef } });
  const answer = await send(range.keys, range.url, 'connect', toJson(body));
  assert.equal(answer.status, 200);
  return {
    merchantId: String(body.wixMerchantId),
    credentials: answer.body?.credentials as Record<string, string>,
  };
}

async function authorize({ keys, url, merchant }: Range): Promise<Named> {
  const body = paymentRequest(merchant, { authorizeOnly: true });
  const answer = await send(keys, url, 'create', toJson(body));
  assert.ok(answer.body?.pluginTransactionId, answer.text);
  return {
    wixTransactionId: String(body.wixTransactionId),
    pluginTransactionId: String(answer.body.pluginTransactionId),
    credentials: merchant.credentials,
  };
}

/** A new payment over a connection of its own; milliseconds, if it is approved in time. */
function pay(range: Range): Promise<number | undefined> {
  const body = Buffer.from(toJson(paymentRequest(range.merchant)));
  const begun = performance.now();
  return new Promise((resolve) => {
    const headers = {
      ...{ 'content-type': 'application/json', 'content-length': body.length, digest: range.keys.digestFor(body) },
      connection: 'close',
    };
    const options = { method: 'POST', agent: false, headers, signal: AbortSignal.timeout(PATIENCE_MS) } as const;
    const call = request(`${range.url}/wix/v1/create-transaction`, options, async (response) => {
      const chunks = await response
        .setEncoding('utf8')
        .toArray()
        .catch(() => []);
      const isApproved = response.statusCode === 200 && !chunks.join('').includes('reasonCode') && chunks.length > 0;
      resolve(isApproved ? performance.now() - begun : undefined);
    });
    call.on('error', () => resolve(undefined)).end(body);
  });
}

/** In MB, while the work is done. */
async function mostMemory<T>({ pid }: Program, work: () => Promise<T>): Promise<{ mb: number; done: T }> {
  let mb = 0;
  const look = () => {
    const status = existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, 'utf8') : '';
    mb = Math.max(mb, Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1_000);
  };
  const looking = setInterval(look, 50);
  const done = await work().finally(() => clearInterval(looking));
  return { mb, done };
}

async function open(checkout: string, dataDir: string): Promise<Range> {
  const surroundings = await openSurroundings();
  const keys = createKeys();
  const env = {
    ...{ ...surroundings.env, DATA_DIR: dataDir, CORE_GRPC_PORT: '0', WIX_PUBLIC_KEY: keys.publicKeyPem },
    ...{ ANSWER_BUDGET_MS: '8000', PROCESSOR_TIMEOUT_MS: '60000', RECONCILE_GRACE_MS: '30000' },
    CORE_TOKENS: READERS.map(({ name, token }) => `${name}:reader:${token}`).join(),
  };
  const connector = startProgram(path.relative(HERE, path.join(checkout, 'connector.ts')), env);
  const port = (event: string, field: string) => connector.until(() => numberIn(connector, event, field));
  const ports = {
    gateway: await port('gateway.listening', 'port'),
    http: await port('core.started', 'httpPort'),
    grpc: await port('core.started', 'grpcPort'),
  };
  const url = `http://127.0.0.1:${ports.gateway}`;
  const merchant = await connect({ keys, url }, 'other');
  return { ...surroundings, connector, url, ports, databaseUrl: adminUrlOf(dataDir), keys, merchant };
}

async function run(checkout: string, trial: Trial, folder: string): Promise<Result> {
  const range = await open(checkout, path.join(folder, 'data'));
  try {
    for (let i = 0; i < 20; i++) await pay(range);
    const { mb, done } = await mostMemory(range.connector, async () => {
      const workerData = await trial.begin(range);
      const flood = workerData && new Worker(new URL('./flooders.ts', import.meta.url), { workerData });
      if (flood) await Promise.race([once(flood, 'message'), sleep(BEGIN_MS)]);
      const payments = [];
      for (let i = 0; i < PAYMENTS; i++) {
        payments.push(pay(range));
        await sleep(EVERY_MS);
      }
      const all = await Promise.all(payments);
      await flood?.terminate();
      return all;
    });
    const ms = done.filter((each) => each !== undefined).sort((a, b) => a - b);
    const quantile = (share: number) => ms[Math.floor(ms.length * share)] ?? Number.NaN;
    return { approved: ms.length, p50: quantile(0.5), p99: quantile(0.99), mb };
  } finally {
    await endAll(folder);
    await range.close();
  }
}

const { values } = parseArgs({
  options: { against: { type: 'string' }, only: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
});

async function main(): Promise<void> {
  const checkouts = [...(values.against ? [path.resolve(values.against)] : []), HERE];
  const only = values.only?.split(',');
  const folder = mkdtempSync(path.join(tmpdir(), 'floods-'));
  onSignal(() => endAll(folder));
  const say = (...cells: string[]) => process.stdout.write(`| ${cells.join(' | ')} |\n`);
  say('', 'who floods', `approved of ${PAYMENTS}`, 'p50 ms', 'p99 ms', 'memory MB');
  say('---', '---', '---', '---', '---', '---');
  try {
    for (const trial of TRIALS.filter(({ number }) => !only || only.includes(number))) {
      const results: Result[] = [];
      for (const checkout of checkouts) {
        // endAll removes it; PostgreSQL may run as another user.
        mkdirSync(folder, { recursive: true });
        chmodSync(folder, 0o755);
        results.push(await run(checkout, trial, folder));
      }
      const cell = (of: (result: Result) => number) =>
        results.map((result) => (Number.isNaN(of(result)) ? '-' : of(result).toFixed(0))).join(' → ');
      say(
        ...[trial.number, trial.what, cell(({ approved }) => approved)],
        ...[cell(({ p50 }) => p50), cell(({ p99 }) => p99), cell(({ mb }) => mb)],
      );
    }
  } finally {
    await endAll(folder);
  }
}

if (values.help) process.stdout.write(HELP);
else await main();
