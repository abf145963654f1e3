import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { sleep } from '../../proto/runtime/loop.ts';
import { endAll, endPostgres, freePort } from '../faults/program.ts';
import { startService, startServicesApart } from '../faults/services-apart.ts';
import { connectMerchant } from '../faults/surroundings.ts';
import { onSignal } from '../support/on-signal.ts';
import type { Merchant, Wix } from '../wix/wix.ts';

// How long after the gateway's answer Wix is told, over Kafka between processes and within one process.

const HELP = `npm run bench:latency [-- --rate 100 --seconds 20]

From the gateway's answer to a sale until its Submit Event arrives at the simulated Wix, with EVENT_DELAY_MS=0: once with two of each
service as processes and a real Kafka broker between core and relay, and once with the connector in one process. Both with the same
engine, each with a PostgreSQL of its own, one after the other. Needs java and mvn for the broker.
`;

/** At the same rate, before anything counts. */
const WARM_UP_SECONDS = 4;
const EVENT_MS = 60_000;

interface Figures {
  /** Answered payments per second, from the first call to the last answer. */
  readonly held: number;
  readonly failed: number;
  /** Milliseconds, ascending. */
  readonly answers: readonly number[];
  readonly events: readonly number[];
}

/** Payments begin at the rate, however long each takes. */
async function measure(wix: Wix, merchant: Merchant, rate: number, seconds: number): Promise<Figures> {
  const begun = performance.now();
  const answers: number[] = [];
  const events: number[] = [];
  let lastAnswer = begun;
  let failed = 0;
  const pay = async () => {
    const { answer, wixTransactionId } = await wix.pay(merchant);
    lastAnswer = performance.now();
    if (answer.status !== 200) throw new Error(`answered ${answer.status}`);
    answers.push(answer.durationMs);
    const answeredAt = performance.timeOrigin + lastAnswer;
    const { at } = await wix.eventFor(wixTransactionId, undefined, EVENT_MS);
    events.push(at - answeredAt);
  };
  const payments: Promise<unknown>[] = [];
  for (let i = 0; i < rate * seconds; i += 1) {
    const early = begun + (i * 1000) / rate - performance.now();
    if (early > 0) await sleep(early);
    payments.push(
      pay().catch(() => {
        failed += 1;
      }),
    );
  }
  await Promise.all(payments);
  const ascending = (values: number[]) => values.toSorted((a, b) => a - b);
  const held = (answers.length * 1000) / (lastAnswer - begun);
  return { held, failed, answers: ascending(answers), events: ascending(events) };
}

async function measureWarm(wix: Wix, merchant: Merchant, rate: number, seconds: number): Promise<Figures> {
  await measure(wix, merchant, rate, WARM_UP_SECONDS);
  return measure(wix, merchant, rate, seconds);
}

async function compare(folder: string, rate: number, seconds: number): Promise<void> {
  process.stdout.write(
    `${rate} payments/s for ${seconds} s, everything on ${availableParallelism()} CPUs; ms of the answer, and from it to the event\n\n`,
  );
  process.stdout.write(row('', ['held/s', 'failed', 'answer p50', 'p99', 'event p50', 'p99']));
  const apart = await startServicesApart(folder, { EVENT_DELAY_MS: '0' });
  const dataDir = path.join(folder, 'one-process');
  try {
    print('processes, through Kafka', await measureWarm(apart.wix, await apart.connect(), rate, seconds));
    const { KAFKA_BROKERS: _, ...env } = apart.env;
    const programs = Object.values(apart.services).flat();
    await Promise.all(programs.map(({ program }) => program.kill()));
    apart.broker.stop();

    const [port, adminPort] = [await freePort(), await freePort()];
    const own = { GATEWAY_PORT: port, GATEWAY_ADMIN_PORT: adminPort, DATA_DIR: dataDir };
    await startService('connector.ts', { ...env, ...own }, adminPort);
    const merchant = await connectMerchant(apart.wix, `http://127.0.0.1:${port}`);
    print('in one process', await measureWarm(apart.wix, merchant, rate, seconds));
  } finally {
    await apart.close();
    await endPostgres(dataDir);
  }
}

function print(name: string, { held, failed, answers, events }: Figures): void {
  const at = (values: readonly number[], share: number) =>
    (values[Math.floor(values.length * share)] ?? NaN).toFixed(1);
  const times = [answers, events].flatMap((values) => [at(values, 0.5), at(values, 0.99)]);
  process.stdout.write(row(name, [held.toFixed(1), String(failed), ...times]));
}

const row = (name: string, cells: readonly string[]) =>
  `${name.padEnd(26)}${cells.map((cell) => cell.padStart(12)).join('')}\n`;

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '20' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  const folder = mkdtempSync(path.join(tmpdir(), 'latency-'));
  chmodSync(folder, 0o755);
  onSignal(() => endAll(folder));
  try {
    await compare(folder, Number(values.rate), Number(values.seconds));
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
