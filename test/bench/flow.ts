import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { sleep } from '../../proto/runtime/loop.ts';
import { startEngine } from '../faults/engine-process.ts';
import { endAll, endPostgres, freePort } from '../faults/program.ts';
import { ENGINE_TOKEN, newKey } from '../faults/surroundings.ts';
import { onSignal } from '../support/on-signal.ts';
import { toJson } from '../wix/json.ts';
import { createKeys, type Keys } from '../wix/keys.ts';
import { type Connected, connectRequest, paymentRequest } from '../wix/requests.ts';
import { type Connection, createConnection, post } from './http-client.ts';

// Signed creates in, Submit Events out: how many a second, and what each costs.

const HELP = `npm run bench:flow [-- --connections 64 --seconds 10 --rounds 3 --rate N --only connector|bare --against FOLDER]

Signed payments go in and their events come out. The connector in one process with its PostgreSQL, beside an engine in a process of its
own; against a server of one file that promises nothing and has no engine (test/bench/bare), and, with --against, the connector of another
checkout. The sides take turns, so that what else the machine does falls on all of them; of the rounds the median counts.
--rate: so many payments are offered a second, whatever becomes of them; without it each connection pays again when it was answered.

answers/s   answered with an approval
payments/s  until the last of them was told
CPU ms      of a payment: user and system time of the side's Node and PostgreSQL; the engine's apart
event       from the answer to the event, ms
MiB         resident memory of Node after the round
`;

const ROOT = path.join(import.meta.dirname, '../..');
const MERCHANTS = 8;

interface Side {
  readonly name: string;
  readonly port: number;
  /** All of its processes, without the engine's. */
  readonly pid: number;
  readonly enginePid: number | undefined;
  readonly merchants: readonly Connected[];
}

interface Wix {
  readonly url: string;
  count(): Promise<number>;
  told(): Promise<ReadonlyMap<string, number>>;
}

interface Range {
  readonly keys: Keys;
  readonly wix: Wix;
  readonly folder: string;
  readonly children: ChildProcess[];
}

async function startWix(children: ChildProcess[]): Promise<Wix> {
  const child = fork(path.join(import.meta.dirname, 'quick-wix.ts'), { serialization: 'advanced' });
  children.push(child);
  const next = async <T>() => (await once(child, 'message'))[0] as T;
  const ask = <T>(question: 'count' | 'told') => {
    child.send(question);
    return next<T>();
  };
  const { port } = await next<{ port: number }>();
  return {
    url: `http://127.0.0.1:${port}`,
    count: async () => (await ask<{ count: number }>('count')).count,
    told: async () => new Map((await ask<{ told: [string, number][] }>('told')).told),
  };
}

async function startSide(
  range: Range,
  name: string,
  program: string,
  enginePid?: number,
  engineUrl?: string,
): Promise<Side> {
  const { keys, folder, children, wix } = range;
  const port = Number(await freePort());
  const keyFile = path.join(folder, 'wix.pem');
  writeFileSync(keyFile, keys.publicKeyPem);
  const env: Record<string, string> = {
    ...{ PATH: process.env.PATH ?? '', GATEWAY_PORT: String(port), DATA_DIR: path.join(folder, name) },
    ...{
      WIX_API_URL: wix.url,
      WIX_APP_ID: 'bench',
      WIX_APP_SECRET: 'a-secret-of-the-bench',
      WIX_USER_AGENT: 'bench/1.0',
    },
    ...(engineUrl === undefined
      ? { WIX_PUBLIC_KEY_FILE: keyFile }
      : {
          ...{ WIX_PUBLIC_KEY: keys.publicKeyPem, PROCESSOR_URL: engineUrl, PROCESSOR_TOKEN: ENGINE_TOKEN },
          ...{ CREDENTIALS_KEY: newKey(), EVENTS_KEY: newKey(), MODE_WHEN_ABSENT: 'sandbox', EVENT_DELAY_MS: '0' },
          ...{ GATEWAY_ADMIN_PORT: '0', CORE_HTTP_PORT: '0', RELAY_PORT: '0' },
        }),
  };
  const child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  children.push(child);
  const merchants: Connected[] = [];
  const connection = createConnection(port);
  for (const until = Date.now() + 30_000; merchants.length < MERCHANTS; ) {
    const request = connectRequest({ credentials: { apiKey: 'bench', accountRef: `bench ${merchants.length}` } });
    const { status, text } = await connection.ask(signed(keys, 'connect-account', request).request);
    if (status === 200) {
      const { credentials } = JSON.parse(text) as { credentials: Record<string, string> };
      merchants.push({ merchantId: String(request.wixMerchantId), credentials });
    } else if (Date.now() > until || child.exitCode !== null)
      throw new Error(`${name} does not answer: ${status} ${text}`);
    else await sleep(100);
  }
  connection.close();
  return { name, port, pid: child.pid ?? 0, enginePid, merchants };
}

function signed(keys: Keys, call: string, body: ReturnType<typeof connectRequest>) {
  const bytes = Buffer.from(toJson(body));
  const request = post(`/wix/v1/${call}`, bytes, { digest: keys.digestFor(bytes) ?? '' });
  return { request, id: String(body.wixTransactionId) };
}

/** Milliseconds of CPU that a process and all that it started have used. */
function cpuMs(pid: number): number {
  const parents = new Map<number, number>();
  const used = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const fields = readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]!.split(' ');
      parents.set(Number(name), Number(fields[1]));
      // Those that ended meanwhile are counted by whoever waited for them.
      used.set(Number(name), fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * 10);
    } catch {
      // It has ended.
    }
  }
  const isOf = (child: number): boolean => child === pid || (parents.has(child) && isOf(parents.get(child)!));
  return [...used].reduce((sum, [child, ms]) => sum + (isOf(child) ? ms : 0), 0);
}

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

const FIGURES = [
  'answers/s',
  'payments/s',
  'CPU ms',
  'engine',
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
  const [cpuBefore, engineBefore] = [cpuMs(side.pid), side.enginePid ? cpuMs(side.enginePid) : 0];
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
      const connection = free.pop() ?? createConnection(side.port);
      paying.push(pay(connection, shot).finally(() => free.push(connection)));
    }
    await Promise.all(paying);
  }
  const answered = (performance.now() - begun) / 1000;
  for (let last = performance.now(); (await wix.count()) < answers.length; await sleep(20))
    if (performance.now() - last > 60_000) throw new Error(`${side.name} did not tell all in a minute`);
  const all = (performance.now() - begun) / 1000;
  const cpu = cpuMs(side.pid) - cpuBefore;
  const engine = side.enginePid ? cpuMs(side.enginePid) - engineBefore : 0;
  for (const connection of connections) connection.close();
  const events = [...(await wix.told())].flatMap(([id, at]) => (answeredAt.has(id) ? [at - answeredAt.get(id)!] : []));
  return [
    ...[answers.length / answered, answers.length / all, cpu / answers.length, engine / answers.length],
    ...[quantile(answers, 0.5), quantile(answers, 0.99), quantile(events, 0.5), quantile(events, 0.99)],
    ...[residentMiB(side.pid), failed],
  ];
}

const quantile = (values: readonly number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;

interface Options {
  readonly connections: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly rate: number | undefined;
  /** Payments signed for each second of a round. */
  readonly presigned: number;
  readonly only: string | undefined;
  readonly against: string | undefined;
}

const row = (name: string, cells: readonly string[]) =>
  `${name.padEnd(18)}${cells.map((cell) => cell.padStart(11)).join('')}\n`;
const figures = (name: string, values: readonly number[]) =>
  row(
    name,
    values.map((value) => value.toFixed(value < 20 ? 2 : 0)),
  );

async function run(range: Range, options: Options): Promise<void> {
  const { only, against, rounds, seconds, connections, rate } = options;
  const engine = await startEngine(path.join(range.folder, 'engine'));
  const sides: Side[] = [];
  if (only !== 'bare')
    sides.push(await startSide(range, 'connector', path.join(ROOT, 'connector.ts'), engine.pid, engine.url));
  if (against)
    sides.push(await startSide(range, 'other', path.resolve(against, 'connector.ts'), engine.pid, engine.url));
  if (only !== 'connector')
    sides.push(await startSide(range, 'bare', path.join(import.meta.dirname, 'bare/server.mjs')));
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
  const medians = sides.map((side) =>
    FIGURES.map((_, f) =>
      quantile(
        all.get(side)!.map((values) => values[f]!),
        0.5,
      ),
    ),
  );
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
    against: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  const folder = mkdtempSync(path.join(tmpdir(), 'flow-'));
  chmodSync(folder, 0o755);
  const children: ChildProcess[] = [];
  const end = async () => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    await endAll(folder);
    for (const name of ['connector', 'other']) await endPostgres(path.join(folder, name));
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  onSignal(end);
  const { connections, seconds, rounds, rate, presigned, only, against } = values;
  try {
    const range = { keys: createKeys(), wix: await startWix(children), folder, children };
    await run(range, {
      ...{ connections: Number(connections), seconds: Number(seconds), rounds: Number(rounds), only, against },
      ...{ rate: rate === undefined ? undefined : Number(rate), presigned: Number(presigned) },
    });
  } finally {
    await end();
  }
}
