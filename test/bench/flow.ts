import type { ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { sleep } from '../../proto/runtime/loop.ts';
import { startEngine } from '../faults/engine-process.ts';
import { endAll, endPostgres } from '../faults/program.ts';
import { KAFKA_NEEDS } from '../support/kafka-broker.ts';
import { onSignal } from '../support/on-signal.ts';
import { createKeys } from '../wix/keys.ts';
import { paymentRequest } from '../wix/requests.ts';
import { MERCHANTS, type Range, type Side, signed, startApart, startBare, startOne } from './flow-sides.ts';
import { type Connection, createConnection } from './http-client.ts';
import { type Cpu, cpuOf, figures, median, quantile, residentMiB, row, since } from './measure.ts';
import { endChildren, startWix } from './wix-process.ts';

// Signed creates in, Submit Events out: how many a second, and what each costs.

const HELP = `npm run bench:flow [-- --connections 64 --seconds 10 --rounds 3 --rate N --only SIDE --apart --against FOLDER]

Signed payments go in and their events come out. The connector in one process with its PostgreSQL, beside an engine in a process of its
own; against a server of one file that promises nothing and has no engine (test/bench/bare); with --apart, gateway, core and webhook-relay
as a process each, with a PostgreSQL and Kafka between them; and, with --against, the connector of another checkout. The sides take turns,
so that what else the machine does falls on all of them; of the rounds the median counts.
--rate: so many payments are offered a second, whatever becomes of them; without it each connection pays again when it was answered.
--only: connector, apart or bare, beside the one of --against.
--apart takes a broker of yours from KAFKA_BROKERS, or starts one with java and mvn.

answers/s   answered with an approval
payments/s  until the last of them was told
Node ms     of a payment: user and system time of the side's Node, of its PostgreSQL, and of both; Kafka's and the engine's apart
event       from the answer to the event, ms
MiB         resident memory of Node after the round
`;

const ROOT = path.join(import.meta.dirname, '../..');

const FIGURES = [
  'answers/s',
  'payments/s',
  'Node ms',
  'PG ms',
  'CPU ms',
  'Kafka ms',
  'engine ms',
  'answer p50',
  'p99',
  'event p50',
  'p99 ',
  'MiB',
  'failed',
];

async function round(range: Range, side: Side, options: Options): Promise<number[]> {
  const { keys, wix } = range;
  const { connections: count, seconds, rate } = options;
  const shots: ReturnType<typeof signed>[] = [];
  const load = () => signed(keys, 'create-transaction', paymentRequest(side.merchants[shots.length % MERCHANTS]!));
  for (let i = 0; i < (rate ?? options.presigned) * seconds; i++) shots.push(load());
  await wix.told();
  const answers: number[] = [];
  const answeredAt = new Map<string, number>();
  let failed = 0;
  const pay = async (connection: Connection, { request, id }: (typeof shots)[number]) => {
    const sent = performance.now();
    const { status, text } = await connection.ask(request);
    if (status !== 200 || text.includes('reasonCode')) failed += 1;
    else {
      answers.push(performance.now() - sent);
      answeredAt.set(id, performance.timeOrigin + performance.now());
    }
  };
  const connections = Array.from({ length: count }, () => createConnection(side.port));
  const measureCpu = () => [cpuOf([...side.pids, ...side.postgres]), cpuOf(side.kafka), cpuOf(side.engine)] as const;
  const before = measureCpu();
  const begun = performance.now();
  const end = begun + seconds * 1000;
  if (rate === undefined)
    await Promise.all(
      connections.map(async (connection) => {
        while (performance.now() < end && shots.length > 0) await pay(connection, shots.pop()!);
      }),
    );
  else {
    const free = [...connections];
    const paying: Promise<unknown>[] = [];
    for (const [i, shot] of shots.entries()) {
      const early = begun + (i * 1000) / rate - performance.now();
      if (early > 1) await sleep(early);
      if (free.length === 0) free.push(connections[connections.push(createConnection(side.port)) - 1]!);
      const connection = free.pop()!;
      paying.push(pay(connection, shot).finally(() => free.push(connection)));
    }
    await Promise.all(paying);
  }
  const answered = (performance.now() - begun) / 1000;
  for (let last = performance.now(); (await wix.count()) < answers.length; await sleep(20))
    if (performance.now() - last > 60_000) throw new Error(`${side.name} did not tell all in a minute`);
  const all = (performance.now() - begun) / 1000;
  const [own, kafka, engine] = measureCpu().map((now, i) => since(before[i]!, now)) as [Cpu, Cpu, Cpu];
  const each = (ms: number) => ms / answers.length;
  // Nothing is known of a broker elsewhere, and the server of one file has no engine.
  const aside = (pids: readonly number[], { node }: Cpu) => (pids.length > 0 ? each(node) : Number.NaN);
  for (const connection of connections) connection.close();
  const events = [...(await wix.told())].flatMap(([id, at]) => (answeredAt.has(id) ? [at - answeredAt.get(id)!] : []));
  return [
    ...[answers.length / answered, answers.length / all],
    ...[each(own.node), each(own.postgres), each(own.node + own.postgres)],
    ...[aside(side.kafka, kafka), aside(side.engine, engine)],
    ...[quantile(answers, 0.5), quantile(answers, 0.99), quantile(events, 0.5), quantile(events, 0.99)],
    ...[residentMiB(side.pids), failed],
  ];
}

interface Options {
  readonly connections: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly rate: number | undefined;
  /** Payments signed for each second of a round. */
  readonly presigned: number;
  readonly only: string | undefined;
  readonly apart: boolean;
  readonly against: string | undefined;
}

async function run(range: Range, options: Options): Promise<void> {
  const { only, against, rounds, seconds, connections, rate } = options;
  const engine = await startEngine(path.join(range.folder, 'engine'));
  const sides: Side[] = [];
  const isWanted = (name: string) => only === undefined || only === name;
  if (isWanted('connector')) sides.push(await startOne(range, 'connector', ROOT, engine));
  if (options.apart || only === 'apart') sides.push(await startApart(range, engine));
  if (against) sides.push(await startOne(range, 'other', against, engine));
  if (isWanted('bare')) sides.push(await startBare(range));
  const how = rate === undefined ? `${connections} connections` : `${rate} payments/s offered`;
  process.stdout.write(
    `${availableParallelism()} CPUs (${cpus()[0]?.model}), Node ${process.version}; ${how}, ${rounds} rounds of ${seconds} s\n\n`,
  );
  for (const side of sides) await round(range, side, { ...options, seconds: Math.min(3, seconds) });
  process.stdout.write(row('', FIGURES));
  const all = new Map<Side, number[][]>(sides.map((side) => [side, []]));
  for (let i = 1; i <= rounds; i++)
    for (const side of sides) {
      const values = await round(range, side, options);
      all.get(side)?.push(values);
      process.stdout.write(figures(`${side.name} ${i}`, values));
    }
  process.stdout.write('\n');
  const medians = sides.map((side) => FIGURES.map((_, f) => median(all.get(side)!.map((values) => values[f]!))));
  for (const [i, side] of sides.entries()) process.stdout.write(figures(side.name, medians[i]!));
  for (const [i, side] of sides.slice(1).entries())
    process.stdout.write(
      figures(
        `/ ${side.name}`,
        FIGURES.map((_, f) => medians[0]![f]! / medians[i + 1]![f]!),
      ),
    );
}

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
    rate: { type: 'string' },
    presigned: { type: 'string', default: '1000' },
    only: { type: 'string' },
    apart: { type: 'boolean', default: false },
    against: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  const folder = mkdtempSync(path.join(tmpdir(), 'flow-'));
  chmodSync(folder, 0o755);
  const children: ChildProcess[] = [];
  const closing: Range['closing'] = [];
  const end = async () => {
    await endChildren(children);
    for (const close of closing.splice(0).toReversed()) await close();
    await endAll(folder);
    for (const name of ['connector', 'other', 'apart']) await endPostgres(path.join(folder, name));
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  onSignal(end);
  const { connections, seconds, rounds, rate, presigned, only, apart, against } = values;
  try {
    const range = { keys: createKeys(), wix: await startWix(children), folder, children, closing };
    await run(range, {
      ...{ connections: Number(connections), seconds: Number(seconds), rounds: Number(rounds), only, apart, against },
      ...{ rate: rate === undefined ? undefined : Number(rate), presigned: Number(presigned) },
    });
  } catch (error) {
    if (!(error instanceof Error) || error.message !== KAFKA_NEEDS) throw error;
    process.stderr.write(`${KAFKA_NEEDS}\n`);
    process.exitCode = 1;
  } finally {
    await end();
  }
}
