import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdtempSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { createClient, createRouterTransport } from '@connectrpc/connect';
import { coreConfig } from '../../core/config.ts';
import { createCore } from '../../core/service.ts';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Transaction_State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { actAs } from '../../proto/runtime/callers.ts';
import { parseConfig } from '../../proto/runtime/config.ts';
import { Client } from '../../proto/runtime/database.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';
import { createLog } from '../../proto/runtime/log.ts';
import { sleep } from '../../proto/runtime/loop.ts';
import { migrate } from '../../proto/runtime/migrate.ts';
import { createEngine } from '../engine/engine.ts';
import { endAll, postmasterOf } from '../faults/program.ts';
import { newKey } from '../faults/surroundings.ts';
import { cardPayment } from '../support/core.ts';
import { onSignal } from '../support/on-signal.ts';
import { fillBacklog, fillPayments } from './fill.ts';
import { cpuOf, figures, median, residentMiB, row, since } from './measure.ts';
import { printPlans } from './plans.ts';
import { endChildren, type QuickWix, startWix } from './wix-process.ts';

// Whether it goes as fast when there is much of it: payments in the ledger, and events that wait.

const HELP = `npm run bench:size [-- --payments 5000000 --backlog 1000000 --callers 64 --seconds 10 --rounds 3 --wix-ms 0 --plans]

Creates a second of a core, with the simulated engine in its process, on an empty ledger and on one of so many payments, which take turns;
then a relay that finds so many events waiting, until Wix has been told of all of them: the rate of each tenth, and its memory. 0 leaves a
part out. Five million payments take about 10 GB of the temporary folder (TMPDIR), and filling them some minutes.
start ms: until the core had started, and until the relay told the first event; WAL: what each create wrote.
--plans: at the end, for every statement of the stores, the indexes of its generic plan, what it reads as a whole, and indexes that nothing
has used. Operators' calls are not made here: what only they use counts as unused.
`;

const LOG = createLog('bench', 'error');
const MERCHANTS = 8;
const FIGURES = ['start ms', 'creates/s', 'Node ms', 'PG ms', 'CPU ms', 'WAL KiB'];
const ROOT = path.join(import.meta.dirname, '../..');

interface Options {
  readonly payments: number;
  readonly backlog: number;
  readonly callers: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly plans: boolean;
}

const ledgers: { stop(): Promise<void> }[] = [];
const stopLedgers = async () => {
  for (const { stop } of ledgers.splice(0)) await stop();
};

/** A core over a database, with merchants; between rounds it idles. */
async function openLedger(url: string, admin: Client, postmaster: number) {
  const engine = createEngine({ data: ':memory:', log: LOG });
  const env = { DATABASE_URL: url, CREDENTIALS_KEY: newKey(), EVENTS_KEY: newKey(), MODE_WHEN_ABSENT: 'sandbox' };
  const config = parseConfig(coreConfig, { ...env, CORE_HTTP_PORT: '0', CORE_GRPC_PORT: '0' });
  const processor = createRouterTransport((router) => engine.routes(router));
  const core = createCore(config, { log: LOG, processor, events: { publish: async () => undefined } });
  const starting = performance.now();
  await core.start();
  const startMs = performance.now() - starting;
  const interceptors = [...core.interceptors, actAs({ name: 'gateway', role: 'gateway' })];
  const payments = createClient(PaymentsService, createRouterTransport(core.routes, { router: { interceptors } }));
  const connect = async () => {
    const externalMerchantId = randomUUID();
    const credentials = { values: { api_key: 'bench', account_ref: randomUUID() } };
    const answer = await payments.connectMerchantAccount({ externalMerchantId, credentials, mode: Mode.SANDBOX });
    return { externalMerchantId, merchantCredentials: { values: answer.credentials?.values ?? {} } };
  };
  const merchants = await Promise.all(Array.from({ length: MERCHANTS }, connect));
  let calling: Promise<unknown> | undefined;
  let isEnding = false;
  const round = async ({ callers, seconds }: Options) => {
    let count = 0;
    const pids = [process.pid, postmaster];
    const [before, wal] = [cpuOf(pids), await walBytes(admin)];
    const begun = performance.now();
    const call = async (_: unknown, i: number) => {
      for (; performance.now() < begun + seconds * 1000 && !isEnding; count += 1) {
        const { transaction } = await payments.createTransaction(cardPayment(merchants[i % MERCHANTS]!));
        if (transaction?.state !== Transaction_State.CAPTURED) throw new Error('a payment was not approved');
      }
    };
    calling = Promise.all(Array.from({ length: callers }, call));
    await calling;
    const took = performance.now() - begun;
    const cpu = since(before, cpuOf(pids));
    const written = ((await walBytes(admin)) - wal) / 1024;
    const each = (of: number) => of / count;
    const costs = [cpu.node, cpu.postgres, cpu.node + cpu.postgres, written].map(each);
    return [startMs, (count * 1000) / took, ...costs];
  };
  const stop = async () => {
    isEnding = true;
    await calling?.catch(() => undefined);
    await core.stop();
    await engine.stop();
  };
  ledgers.push({ stop });
  return { round };
}

async function walBytes(admin: Client): Promise<number> {
  const { bytes } = (await admin.query(`select pg_current_wal_insert_lsn() - '0/0' as bytes`)).rows[0] as {
    bytes: string;
  };
  return Number(bytes);
}

async function compareLedgers(postgres: EmbeddedPostgres, admin: Client, postmaster: number, options: Options) {
  const { payments, rounds } = options;
  await admin.query('create database empty owner core');
  const url = postgres.urls.core ?? '';
  await fillPayments(admin, payments);
  const { size } = (await admin.query('select pg_size_pretty(pg_database_size(current_database())) as size')).rows[0];
  const filled = await openLedger(url, admin, postmaster);
  const empty = await openLedger(url.replace(/\/payments$/, '/empty'), admin, postmaster);
  process.stdout.write(`\n${row(`ledger, ${size}`, FIGURES, 24)}`);
  const names = ['empty', `${payments.toLocaleString('en')} payments`];
  const all = [[], []] as number[][][];
  for (const ledger of [empty, filled]) await ledger.round({ ...options, seconds: Math.min(3, options.seconds) });
  for (let i = 0; i < rounds; i++)
    for (const [l, ledger] of [empty, filled].entries()) {
      const values = await ledger.round(options);
      all[l]!.push(values);
      process.stderr.write(figures(`${names[l]} ${i + 1}`, values, 24));
    }
  const medians = all.map((each) => FIGURES.map((_, f) => median(each.map((values) => values[f]!))));
  for (const [i, name] of names.entries()) process.stdout.write(figures(name, medians[i]!, 24));
  const ratios = FIGURES.map((_, f) => medians[1]![f]! / medians[0]![f]!);
  process.stdout.write(figures('ratio to empty', ratios, 24));
  await stopLedgers();
}

async function drain(url: string, admin: Client, wix: QuickWix, children: ChildProcess[], backlog: number) {
  await fillBacklog(admin, backlog);
  const env = {
    ...{ PATH: process.env.PATH ?? '', DATABASE_URL: url, EVENTS_KEY: newKey(), RELAY_PORT: '0', LOG_LEVEL: 'warn' },
    ...{ WIX_API_URL: wix.url, WIX_APP_ID: 'bench', WIX_APP_SECRET: 'a-secret-of-the-bench' },
    WIX_USER_AGENT: 'bench/1.0',
  };
  const program = path.join(ROOT, 'test/webhook-relay/relay-process.ts');
  const spawned = performance.now();
  const relay = spawn(process.execPath, [program], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  children.push(relay);
  process.stdout.write(`\n${row('events told', ['events/s', 'MiB'], 24)}`);
  const rates: number[] = [];
  let most = 0;
  let at = performance.now();
  let now = 0;
  for (const begun = at; now === 0; at = performance.now(), await sleep(10)) {
    if (at - begun > 60_000) throw new Error('the relay told nothing for a minute');
    now = await wix.count();
  }
  process.stdout.write(figures('start ms', [at - spawned], 24));
  for (let tenth = 1, from = now, told = now; tenth <= 10; await sleep(100)) {
    now = await wix.count();
    if (now === told && performance.now() - at > 60_000) throw new Error('the relay told nothing for a minute');
    told = now;
    const memory = residentMiB([relay.pid ?? 0]);
    most = Math.max(most, memory);
    if (told < (backlog * tenth) / 10) continue;
    rates.push(((told - from) * 1000) / (performance.now() - at));
    process.stdout.write(figures(told.toLocaleString('en'), [rates.at(-1)!, memory], 24));
    tenth = Math.floor((10 * told) / backlog) + 1;
    from = told;
    at = performance.now();
  }
  const best = Math.max(...rates);
  process.stdout.write(figures('best tenth, most MiB', [best, most], 24));
  process.stdout.write(figures('last / best', [rates.at(-1)! / best], 24));
}

const { values } = parseArgs({
  options: {
    payments: { type: 'string', default: '5000000' },
    backlog: { type: 'string', default: '1000000' },
    callers: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
    'wix-ms': { type: 'string', default: '0' },
    plans: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  const folder = mkdtempSync(path.join(tmpdir(), 'size-'));
  chmodSync(folder, 0o755);
  const dataDir = path.join(folder, 'data');
  const children: ChildProcess[] = [];
  let postgres: EmbeddedPostgres | undefined;
  const endOnce = async () => {
    await endChildren(children);
    await stopLedgers();
    await postgres?.stop();
    await endAll(folder);
  };
  let ended: Promise<void> | undefined;
  const end = () => (ended ??= endOnce());
  onSignal(end);
  try {
    postgres = await startEmbeddedPostgres({ dataDir, roles: ['core', 'relay'], log: LOG });
    const admin = new Client({ connectionString: postgres.adminUrl });
    await admin.connect();
    const options: Options = {
      ...{ payments: Number(values.payments), backlog: Number(values.backlog), callers: Number(values.callers) },
      ...{ seconds: Number(values.seconds), rounds: Number(values.rounds), plans: values.plans },
    };
    process.stdout.write(`${availableParallelism()} CPUs (${cpus()[0]?.model}), Node ${process.version}\n`);
    for (const [schema, service] of Object.entries({ core: 'core', relay: 'webhook-relay' })) {
      const url = postgres.urls[schema] ?? '';
      await migrate({ url, schema, dir: path.join(ROOT, service, 'migrations'), log: LOG });
    }
    if (options.payments > 0) await compareLedgers(postgres, admin, postmasterOf(dataDir) ?? 0, options);
    if (options.backlog > 0) {
      const wix = await startWix(children, Number(values['wix-ms']));
      await drain(postgres.urls.relay ?? '', admin, wix, children, options.backlog);
      await endChildren(children);
    }
    if (options.plans) await printPlans(admin);
    await admin.end();
  } finally {
    await end();
  }
}
