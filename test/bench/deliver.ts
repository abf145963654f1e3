import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from '../../proto/runtime/database.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';
import { createLog } from '../../proto/runtime/log.ts';
import { sleep } from '../../proto/runtime/loop.ts';
import { endAll, postmasterOf } from '../faults/program.ts';
import { onSignal } from '../support/on-signal.ts';
import type { Order } from './deliver-process.ts';
import { DRAINED, PEERS, QUEUES, type QueueOptions } from './deliver-queues.ts';
import { cpuOf, figures, median, residentMiB, row, since } from './measure.ts';
import { endChildren, type QuickWix, startWix } from './wix-process.ts';

// Durable events, each told by a token and a Submit Event: how many a second, and what each costs.

const HELP = `npm run bench:deliver [-- --events 10000 --concurrency 128 --wix-ms 20 --merchants 64 --rounds 3 --stream --only NAME]

The webhook-relay against graphile-worker and pg-boss, each with the same two calls of Wix for each event over the relay's client, on the
same PostgreSQL (fsync on) with ten connections, in a process of its own. Of the events of a round all are there before the first is
told; with --stream they come meanwhile. The queues take turns; of the rounds the median counts. --wix-ms: how long each answer of Wix
takes. What the libraries do not do, the relay does in these figures: events of a payment in order, merchants in turn, a row for each
attempt. The first run fetches the libraries: npm ci in test/bench/peers.

fed/s     made durable; with --stream beside the deliveries
events/s  from the start of the queue until nothing is open in the database
Node ms   of an event, from when events/s counts: user and system time of the queue's Node, of PostgreSQL, and of both
MiB       resident memory of Node after the round
`;

const FIGURES = ['fed/s', 'events/s', 'Node ms', 'PG ms', 'CPU ms', 'MiB'];

interface Options {
  readonly events: number;
  readonly concurrency: number;
  readonly merchants: number;
  readonly rounds: number;
  readonly isStream: boolean;
  readonly names: readonly string[];
}

interface Range {
  readonly wix: QuickWix;
  readonly admin: Client;
  readonly postmaster: number;
  readonly urls: Readonly<Record<string, string>>;
  readonly children: ChildProcess[];
}

const roleOf = (name: string) => name.replace('-', '');

async function round(range: Range, name: string, options: Options, events = options.events): Promise<number[]> {
  const { wix, admin, postmaster, urls } = range;
  const { concurrency, merchants, isStream } = options;
  const queue: QueueOptions = { databaseUrl: urls[roleOf(name)] ?? '', wixUrl: wix.url, concurrency };
  const child = fork(path.join(import.meta.dirname, 'deliver-process.ts'), [name, JSON.stringify(queue)]);
  range.children.push(child);
  const done = async () => {
    const exit = once(child, 'exit').then(() => Promise.reject(new Error(`${name} ended`)));
    await Promise.race([once(child, 'message'), exit]);
    exit.catch(() => undefined);
  };
  const order = async (what: Order) => {
    child.send(what);
    await done();
  };
  const feed = async () => {
    const begun = performance.now();
    await order({ feed: events, merchants });
    return (events * 1000) / (performance.now() - begun);
  };
  await done();
  await wix.told();
  await admin.query('checkpoint');
  let fed = isStream ? 0 : await feed();
  const pids = [child.pid ?? 0, postmaster];
  const before = cpuOf(pids);
  const begun = performance.now();
  await order({ start: true });
  if (isStream) fed = await feed();
  const isDrained = async () => (await admin.query(`select ${DRAINED[name]} as is`)).rows[0].is as boolean;
  for (let last = begun, told = 0; told < events || !(await isDrained()); await sleep(20)) {
    const now = await wix.count();
    if (now > told) last = performance.now();
    told = now;
    if (performance.now() - last > 60_000) throw new Error(`${name} told nothing for a minute`);
  }
  const rate = (events * 1000) / (performance.now() - begun);
  const cpu = since(before, cpuOf(pids));
  const memory = residentMiB([child.pid ?? 0]);
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
  const each = (ms: number) => ms / events;
  return [fed, rate, each(cpu.node), each(cpu.postgres), each(cpu.node + cpu.postgres), memory];
}

async function compare(range: Range, options: Options, wixMs: number): Promise<void> {
  const { names, rounds, concurrency, events, isStream } = options;
  const { fsync, version } = (
    await range.admin.query(`select current_setting('fsync') as fsync, current_setting('server_version') as version`)
  ).rows[0] as Record<string, string>;
  process.stdout.write(
    `${availableParallelism()} CPUs (${cpus()[0]?.model}), Node ${process.version}, PostgreSQL ${version} (fsync ${fsync}); ` +
      `${events} events ${isStream ? 'as they come' : 'that wait'}, ${concurrency} at once, ${wixMs} ms for each answer\n\n`,
  );
  for (const name of names) await round(range, name, options, Math.ceil(events / 10));
  process.stdout.write(row('', FIGURES));
  const all = new Map<string, number[][]>(names.map((name) => [name, []]));
  for (let i = 1; i <= rounds; i++)
    for (const name of names) {
      const values = await round(range, name, options);
      all.get(name)?.push(values);
      process.stdout.write(figures(`${name} ${i}`, values));
    }
  process.stdout.write('\n');
  const medians = names.map((name) => FIGURES.map((_, f) => median(all.get(name)!.map((values) => values[f]!))));
  for (const [i, name] of names.entries()) process.stdout.write(figures(name, medians[i]!));
  for (const [i, name] of names.slice(1).entries())
    process.stdout.write(
      figures(
        `/ ${name}`,
        FIGURES.map((_, f) => medians[0]![f]! / medians[i + 1]![f]!),
      ),
    );
}

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '10000' },
    concurrency: { type: 'string', default: '128' },
    'wix-ms': { type: 'string', default: '20' },
    merchants: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '3' },
    stream: { type: 'boolean', default: false },
    only: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  if (!existsSync(path.join(PEERS, 'node_modules'))) {
    process.stdout.write('npm ci in test/bench/peers\n');
    const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: PEERS, stdio: 'inherit' });
    if (status !== 0) process.exit(1);
  }
  const folder = mkdtempSync(path.join(tmpdir(), 'deliver-'));
  chmodSync(folder, 0o755);
  const dataDir = path.join(folder, 'data');
  const children: ChildProcess[] = [];
  let postgres: EmbeddedPostgres | undefined;
  const endOnce = async () => {
    await endChildren(children);
    await postgres?.stop();
    await endAll(folder);
  };
  let ended: Promise<void> | undefined;
  const end = () => (ended ??= endOnce());
  onSignal(end);
  try {
    const names = Object.keys(QUEUES).filter((name) => values.only === undefined || name === values.only);
    const roles = names.map(roleOf);
    postgres = await startEmbeddedPostgres({ dataDir, roles, log: createLog('postgres', 'error') });
    const { urls, adminUrl } = postgres;
    const wixMs = Number(values['wix-ms']);
    const wix = await startWix(children, wixMs);
    const admin = new Client({ connectionString: adminUrl });
    await admin.connect();
    const options: Options = {
      ...{ events: Number(values.events), concurrency: Number(values.concurrency), rounds: Number(values.rounds) },
      ...{ merchants: Number(values.merchants), isStream: values.stream, names },
    };
    await compare({ wix, admin, postmaster: postmasterOf(dataDir) ?? 0, urls, children }, options, wixMs);
    await admin.end();
  } finally {
    await end();
  }
}
