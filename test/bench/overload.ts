import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { sleep } from '../../proto/runtime/loop.ts';
import { startEngine } from '../faults/engine-process.ts';
import { endAll, endPostgres, freePort, startProgram } from '../faults/program.ts';
import { adminUrlOf, ask, ENGINE_TOKEN, newKey } from '../faults/surroundings.ts';
import { onSignal } from '../support/on-signal.ts';
import { send } from '../wix/client.ts';
import { toJson } from '../wix/json.ts';
import { createKeys, type Keys } from '../wix/keys.ts';
import { type Connected, connectRequest, paymentRequest } from '../wix/requests.ts';
import { type Connection, createConnection, post } from './http-client.ts';

// What becomes of payments when more are offered than can be done.

const HELP = `npm run bench:overload [-- --seconds 6 --budget 2000 --merchants 8 --engine-ms N --capacity N]

The connector in one process and the engine in another. First its capacity, by 64 buyers (30 with a slow engine) who pay one after the other; then payments
are offered at multiples of it, whatever becomes of them, all signed beforehand. Of each stage: what was offered and what was
approved a second (goodput), its ratio to the best stage, milliseconds of the approved answers, how many were refused with 503 and
answered otherwise, how many were recorded and never sent, and how many seconds after the load's end a payment is answered as
quickly as before. With --engine-ms each answer of the engine takes so long, and it has 40 calls at most: then it is the engine that
limits what can be done, as in life, and not this machine, which also makes the calls.
`;

const STAGES = [0.5, 1, 2, 3, 10];
const BUYERS = 64;
/** Of a slow engine; fewer buyers than that are never refused. */
const [SLOW_ENGINE_CALLS, SLOW_ENGINE_BUYERS] = [40, 30];
/** Then nobody is refused for what was before. */
const PAUSE_MS = 3_000;

interface Answered {
  readonly status: number;
  readonly approved: boolean;
  readonly ms: number;
  readonly at: number;
}

interface Range {
  readonly port: number;
  readonly keys: Keys;
  readonly merchants: readonly Connected[];
  readonly databaseUrl: string;
  /** On which nothing is being asked. */
  readonly free: Connection[];
}

/** Whole calls, signed beforehand. */
function load({ keys, merchants }: Range, count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => {
    const body = Buffer.from(toJson(paymentRequest(merchants[i % merchants.length]!)));
    return post('/wix/v1/create-transaction', body, { digest: keys.digestFor(body) ?? '' });
  });
}

async function fire({ port, free }: Range, shot: Buffer): Promise<Answered> {
  const begun = performance.now();
  const connection = free.pop() ?? createConnection(port);
  const { status, text } = await connection.ask(shot);
  const at = performance.now();
  free.push(connection);
  const approved = status === 200 && text.includes('pluginTransactionId') && !text.includes('reasonCode');
  return { status, approved, ms: at - begun, at };
}

/** So many buyers, each of whom pays again when the last payment was answered. Approved payments a second. */
async function capacityOf(range: Range, seconds: number, buyers: number): Promise<number> {
  const shots = load(range, 1_000 * seconds);
  const begun = performance.now();
  const end = begun + seconds * 1000;
  let approved = 0;
  const buyer = async () => {
    for (let shot = shots.pop(); shot && performance.now() < end; shot = shots.pop())
      if ((await fire(range, shot)).approved) approved += 1;
  };
  await Promise.all(Array.from({ length: buyers }, buyer));
  return (approved * 1000) / (performance.now() - begun);
}

/** Offers payments at a rate, however long each takes. */
async function offer(range: Range, rate: number, seconds: number): Promise<{ answers: Answered[]; seconds: number }> {
  const shots = load(range, Math.ceil(rate * seconds));
  const begun = performance.now();
  const answers: Promise<Answered>[] = [];
  for (const [i, shot] of shots.entries()) {
    const early = begun + (i * 1000) / rate - performance.now();
    if (early > 1) await sleep(early);
    answers.push(fire(range, shot));
  }
  const all = await Promise.all(answers);
  const last = Math.max(...all.filter(({ approved }) => approved).map(({ at }) => at), begun + seconds * 1000);
  return { answers: all, seconds: (last - begun) / 1000 };
}

/** The median of payments made one after the other, in ms. */
async function calmMs(range: Range, count = 20): Promise<number> {
  const times: number[] = [];
  for (const shot of load(range, count)) times.push((await fire(range, shot)).ms);
  return quantile(times, 0.5);
}

/** Seconds until three payments in a row are approved about as quickly as in calm. */
async function backToNormal(range: Range, calm: number): Promise<number> {
  const begun = performance.now();
  for (let good = 0; good < 3; ) {
    const [shot] = load(range, 1);
    const { approved, ms } = await fire(range, shot as Buffer);
    good = approved && ms < 3 * calm + 20 ? good + 1 : 0;
    if (performance.now() - begun > 60_000) break;
  }
  return (performance.now() - begun) / 1000;
}

const quantile = (values: readonly number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;

interface Options {
  readonly seconds: number;
  readonly budgetMs: string;
  readonly known: number | undefined;
  readonly merchantCount: number;
  readonly engineMs: string;
}

const row = (cells: readonly string[]) => `${cells.map((cell) => cell.padStart(11)).join('')}\n`;

async function run(folder: string, options: Options): Promise<void> {
  const { seconds, budgetMs, known, merchantCount, engineMs } = options;
  const keys = createKeys();
  const dataDir = path.join(folder, 'data');
  const wix = fork(path.join(import.meta.dirname, 'quick-wix.ts'), { serialization: 'advanced' });
  const free: Connection[] = [];
  try {
    const [{ port: wixPort }] = (await once(wix, 'message')) as [{ port: number }];
    const engine = await startEngine(path.join(folder, 'engine'), '0', engineMs);
    const port = Number(await freePort());
    startProgram('connector.ts', {
      ...{
        DATA_DIR: dataDir,
        GATEWAY_PORT: String(port),
        GATEWAY_ADMIN_PORT: '0',
        CORE_HTTP_PORT: '0',
        RELAY_PORT: '0',
      },
      ...{ WIX_PUBLIC_KEY: keys.publicKeyPem, WIX_API_URL: `http://127.0.0.1:${wixPort}`, WIX_APP_ID: 'bench' },
      ...{ WIX_APP_SECRET: 'a-secret-of-the-bench', WIX_USER_AGENT: 'bench/1.0', MODE_WHEN_ABSENT: 'sandbox' },
      ...{ PROCESSOR_URL: engine.url, PROCESSOR_TOKEN: ENGINE_TOKEN, CREDENTIALS_KEY: newKey(), EVENTS_KEY: newKey() },
      ...(engineMs !== '0' && { PROCESSOR_CALLS_MAX: String(SLOW_ENGINE_CALLS) }),
      ...{ ANSWER_BUDGET_MS: budgetMs, PROCESSOR_TIMEOUT_MS: '10000', RECONCILE_GRACE_MS: '2000', LOG_LEVEL: 'error' },
    });
    const merchants: Connected[] = [];
    for (let i = 0; i < merchantCount; i++) {
      const connect = connectRequest({ credentials: { apiKey: 'bench', accountRef: `bench ${i}` } });
      const body = await untilAnswered(() => send(keys, `http://127.0.0.1:${port}`, 'connect', toJson(connect)));
      merchants.push({ merchantId: String(connect.wixMerchantId), credentials: body.credentials });
    }
    const range: Range = { port, keys, merchants, databaseUrl: adminUrlOf(dataDir), free };
    const buyers = engineMs === '0' ? BUYERS : SLOW_ENGINE_BUYERS;
    await capacityOf(range, 2, buyers);
    await sleep(PAUSE_MS);
    const calm = await calmMs(range);
    const capacity = known ?? (await capacityOf(range, seconds, buyers));
    process.stdout.write(
      `${availableParallelism()} CPUs; one at a time ${calm.toFixed(1)} ms; capacity ${capacity.toFixed(1)} payments/s; budget ${budgetMs} ms\n\n`,
    );
    const names = [
      'x capacity',
      'offered/s',
      'done/s',
      'ratio',
      'p50 ms',
      'p99 ms',
      '503',
      'other',
      'unsent',
      'calm s',
    ];
    process.stdout.write(row(names));
    let best = 0;
    for (const factor of STAGES) {
      const rate = factor * capacity;
      const before = await notSent(range);
      const { answers, seconds: took } = await offer(range, rate, seconds);
      const after = await backToNormal(range, calm);
      const approved = answers.filter((answer) => answer.approved);
      const refused = answers.filter(({ status }) => status === 503).length;
      const goodput = approved.length / took;
      best = Math.max(best, goodput);
      const times = approved.map(({ ms }) => ms);
      process.stdout.write(
        row([
          ...[`${factor}`, rate.toFixed(0), goodput.toFixed(1), (goodput / Math.min(best, rate)).toFixed(2)],
          ...[quantile(times, 0.5).toFixed(0), quantile(times, 0.99).toFixed(0), String(refused)],
          ...[String(answers.length - approved.length - refused), String((await notSent(range)) - before)],
          after.toFixed(1),
        ]),
      );
    }
  } finally {
    for (const connection of free) connection.close();
    await endAll(folder);
    await endPostgres(dataDir);
    wix.kill();
  }
}

async function untilAnswered(call: () => ReturnType<typeof send>): Promise<{ credentials: Record<string, string> }> {
  for (let tries = 0; ; tries++) {
    const answered = await call().catch(() => undefined);
    if (answered?.status === 200) return answered.body as { credentials: Record<string, string> };
    if (tries > 300) throw new Error('the connector does not answer');
    await sleep(100);
  }
}

async function notSent({ databaseUrl }: Range): Promise<number> {
  const sql = `select count(*)::integer as count from core.operations where error_code = 'NOT_SENT'`;
  return (await ask<{ count: number }>(databaseUrl, sql))[0]?.count ?? 0;
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '6' },
    budget: { type: 'string', default: '2000' },
    merchants: { type: 'string', default: '8' },
    'engine-ms': { type: 'string', default: '0' },
    capacity: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  const folder = mkdtempSync(path.join(tmpdir(), 'overload-'));
  chmodSync(folder, 0o755);
  onSignal(() => endAll(folder));
  try {
    const known = values.capacity === undefined ? undefined : Number(values.capacity);
    const [seconds, merchantCount] = [Number(values.seconds), Number(values.merchants)];
    await run(folder, { seconds, budgetMs: values.budget, known, merchantCount, engineMs: values['engine-ms'] });
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
