import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { parseArgs, styleText } from 'node:util';
import { hideTimerWarnings } from '../proto/runtime/kafka.ts';
import { CONTROL_PORT, type Line, runDemo, type Summary } from './control.ts';
import { endAll } from './faults/program.ts';
import { startServicesApart } from './faults/services-apart.ts';
import type { Verdict } from './flows.ts';
import { startPlayground } from './playground.ts';
import { startKafkaBroker, untilKafkaAnswers } from './support/kafka-broker.ts';
import { onSignal } from './support/on-signal.ts';

const HELP = `Drives every flow of payments, and of buyers who are sent to a page, as Wix would, and holds each against the contract.

  npm run demo [-- [--data DIR] [--kafka] | -- --apart]

Uses the connector of \`npm start\` if it runs, else starts one of its own on the same data.

  --data DIR   where everything is kept (./.data; with --kafka ./.data/kafka)
  --kafka      events go over Kafka: the brokers of KAFKA_BROKERS, else one started for this (needs java and mvn)
  --apart      two of each service as processes, a Kafka broker between them, one PostgreSQL and the engine, all
               started for this and deleted after it (needs java and mvn)
  --help

Exits with 1 if a flow breaks a rule.
`;

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    kafka: { type: 'boolean' },
    apart: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});

/** The flows of a running `npm start`, or undefined if there is none. */
async function fromRunning(): Promise<AsyncIterable<Line> | undefined> {
  const response = await fetch(`http://127.0.0.1:${CONTROL_PORT}/demo`, { method: 'POST' }).catch(() => undefined);
  if (!response?.body) return undefined;
  const lines = createInterface({ input: Readable.fromWeb(response.body as import('node:stream/web').ReadableStream) });
  return (async function* () {
    for await (const line of lines) yield JSON.parse(line) as Line;
  })();
}

/** The environment of KAFKA_BROKERS, or that of a broker of one's own. */
async function startKafka(): Promise<{ env: Record<string, string>; stop(): void }> {
  hideTimerWarnings(process);
  const given = Object.entries(process.env).filter(([name]) => name.startsWith('KAFKA_')) as [string, string][];
  if (process.env.KAFKA_BROKERS) return { env: Object.fromEntries(given), stop: () => undefined };
  const broker = await startKafkaBroker();
  process.once('exit', broker.stop);
  await untilKafkaAnswers(broker.address);
  return { env: { KAFKA_BROKERS: broker.address, KAFKA_REPLICATION: '1' }, stop: broker.stop };
}

async function demo(data: string, overKafka: boolean): Promise<number> {
  const running = overKafka ? undefined : await fromRunning();
  if (running) return print(running);
  const kafka = overKafka ? await startKafka() : undefined;
  const free = {
    GATEWAY_PORT: '0',
    GATEWAY_ADMIN_PORT: '0',
    CORE_GRPC_PORT: '0',
    CORE_HTTP_PORT: '0',
    RELAY_PORT: '0',
  };
  const starting = startPlayground({ data, env: { ...free, ...kafka?.env } });
  const stop = async () => {
    await (await starting).stop();
    kafka?.stop();
  };
  onSignal(stop);
  return await print(runDemo(await starting)).finally(stop);
}

async function demoApart(): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), 'demo-'));
  chmodSync(folder, 0o755);
  try {
    onSignal(() => endAll(folder));
    const apart = await startServicesApart(folder);
    const { wix, books } = apart;
    const stage = {
      ...{ wix, engine: { books } },
      get gatewayUrl() {
        return apart.gatewayUrl;
      },
    };
    return await print(runDemo(stage)).finally(apart.close);
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function print(lines: AsyncIterable<Line>): Promise<number> {
  let code = 1;
  for await (const line of lines) {
    if ('flow' in line) printVerdict(line);
    else code = printSummary(line);
  }
  if (code !== 0) console.log(styleText('red', 'The demo did not come to a good end.'));
  return code;
}

function printVerdict({ flow, answer, event, problems }: Verdict): void {
  const mark = problems.length === 0 ? styleText('green', 'ok  ') : styleText('red', 'FAIL');
  console.log(`${mark} ${flow.padEnd(34)} ${short(answer, 70).padEnd(70)} ${short(event, 90)}`);
  for (const problem of problems) console.log(styleText('red', `       ${problem}`));
}

function short(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}

function printSummary({ flows, failed, violations, untold, chargedTwice, nodeMb, postgresMb }: Summary): number {
  console.log(`
${flows} flows, ${failed} failed; over all that ever happened here: ${violations.length} violations of the contract, ${untold.length} outcomes untold, ${chargedTwice.length} payments charged twice
${values.apart ? '' : `Node ${nodeMb} MB resident, PostgreSQL ${postgresMb} MB\n`}`);
  for (const problem of [...violations, ...untold, ...chargedTwice]) console.log(styleText('red', `  ${problem}`));
  return failed + violations.length + untold.length + chargedTwice.length === 0 ? 0 : 1;
}

if (values.help) process.stdout.write(HELP);
else {
  const data = values.data ?? (values.kafka ? './.data/kafka' : './.data');
  (values.apart ? demoApart() : demo(data, values.kafka === true)).then(
    (code) => {
      process.exitCode = code;
    },
    (error: Error) => {
      console.error(`npm run demo: ${error.message}`);
      process.exitCode = 1;
    },
  );
}
