import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { sleep } from '../../proto/runtime/loop.ts';
import { startEngine } from '../faults/engine-process.ts';
import { endAll, endPostgres } from '../faults/program.ts';
import { adminUrlOf, ask, openSurroundings, startConnector } from '../faults/surroundings.ts';
import { onSignal } from '../support/on-signal.ts';
import { send } from '../wix/client.ts';
import { toJson } from '../wix/json.ts';
import { createKeys, type Keys } from '../wix/keys.ts';
import { type Connected, connectRequest, paymentRequest } from '../wix/requests.ts';

// What becomes of payments when more are offered than can be done.

const HELP = `npm run bench:overload [-- --seconds 6 --budget 2000 --capacity N]

The connector in one process and the engine in another. First its capacity, by 32 buyers who pay one after the other; then payments
are offered at multiples of it, whatever becomes of them, all signed beforehand. Of each stage: what was offered and what was
approved a second (goodput), its ratio to the best stage, milliseconds of the approved answers, how many were refused with 503 and
answered otherwise, how many were recorded and never sent, and how many seconds after the load's end a payment is answered as
quickly as before.
`;

const STAGES = [0.5, 1, 2, 3, 10];
const BUYERS = 32;

interface Shot {
  readonly body: Buffer;
  readonly digest: string;
}

interface Answered {
  readonly status: number;
  readonly approved: boolean;
  readonly ms: number;
  readonly at: number;
}

interface Range {
  readonly url: string;
  readonly keys: Keys;
  readonly merchant: Connected;
  readonly databaseUrl: string;
}

const agent = new Agent({ keepAlive: true, maxSockets: 1_500 });

function load({ keys, merchant }: Range, count: number): Shot[] {
  return Array.from({ length: count }, () => {
    const body = Buffer.from(toJson(paymentRequest(merchant)));
    return { body, digest: keys.digestFor(body) ?? '' };
  });
}

function fire({ url }: Range, { body, digest }: Shot): Promise<Answered> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const end = (status: number, text: string) => {
      const at = performance.now();
      const approved = status === 200 && text.includes('pluginTransactionId') && !text.includes('reasonCode');
      resolve({ status, approved, ms: at - begun, at });
    };
    const headers = { 'content-type': 'application/json', 'content-length': body.length, digest };
    const call = request(`${url}/wix/v1/create-transaction`, { method: 'POST', agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => end(response.statusCode ?? 0, text));
    });
    call.on('error', () => end(0, ''));
    call.end(body);
  });
}

/** So many buyers, each of whom pays again when the last payment was answered. Approved payments a second. */
async function capacityOf(range: Range, seconds: number): Promise<number> {
  const shots = load(range, 400 * seconds);
  const begun = performance.now();
  const end = begun + seconds * 1000;
  let approved = 0;
  const buyer = async () => {
    for (let shot = shots.pop(); shot && performance.now() < end; shot = shots.pop())
      if ((await fire(range, shot)).approved) approved += 1;
  };
  await Promise.all(Array.from({ length: BUYERS }, buyer));
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
    const { approved, ms } = await fire(range, shot as Shot);
    good = approved && ms < 3 * calm + 20 ? good + 1 : 0;
    if (performance.now() - begun > 60_000) break;
  }
  return (performance.now() - begun) / 1000;
}

const quantile = (values: readonly number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;

const row = (cells: readonly string[]) => `${cells.map((cell) => cell.padStart(11)).join('')}\n`;

async function run(folder: string, seconds: number, budgetMs: string, known: number | undefined): Promise<void> {
  const stage = await openSurroundings();
  const keys = createKeys();
  const dataDir = path.join(folder, 'data');
  try {
    const engine = await startEngine(path.join(folder, 'engine'));
    const env = {
      ...{ ...stage.env, DATA_DIR: dataDir, PROCESSOR_URL: engine.url, WIX_PUBLIC_KEY: keys.publicKeyPem },
      ...{ ANSWER_BUDGET_MS: budgetMs, PROCESSOR_TIMEOUT_MS: '10000', RECONCILE_GRACE_MS: '2000', LOG_LEVEL: 'error' },
    };
    // It is not said at the level error where it listens.
    const { url } = await startConnector({ ...env, LOG_LEVEL: 'info' });
    const connect = connectRequest({ credentials: { apiKey: 'bench', accountRef: 'bench' } });
    const { body } = await send(keys, url, 'connect', toJson(connect));
    const merchant = {
      merchantId: String(connect.wixMerchantId),
      credentials: body?.credentials as Record<string, string>,
    };
    const range: Range = { url, keys, merchant, databaseUrl: adminUrlOf(dataDir) };
    await capacityOf(range, 2);
    const calm = await calmMs(range);
    const capacity = known ?? (await capacityOf(range, seconds));
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
    agent.destroy();
    await endAll(folder);
    await endPostgres(dataDir);
    await stage.close();
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
    await run(folder, Number(values.seconds), values.budget, known);
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
