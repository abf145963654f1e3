import { randomUUID } from 'node:crypto';
import { chmodSync, mkdtempSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Core } from '../../core/context.ts';
import { accountId, operationId, transactionId } from '../../core/ids.ts';
import { type Result, settleAll, type ToSettle } from '../../core/settle.ts';
import { type Beginning, type Begun, beginPayments } from '../../core/store/begin-payments.ts';
import { insertCredentials, matchingAccounts, upsertMerchantAccount } from '../../core/store/merchant-accounts.ts';
import { createDatabase, type Database } from '../../proto/runtime/database.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';
import { gather } from '../../proto/runtime/gather.ts';
import { createLog } from '../../proto/runtime/log.ts';
import { migrate } from '../../proto/runtime/migrate.ts';
import { createKeyRing } from '../../proto/runtime/seal.ts';
import { endAll, postmasterOf } from '../faults/program.ts';
import { newKey } from '../faults/surroundings.ts';
import { onSignal } from '../support/on-signal.ts';
import { cpuOf, figures, median, row, since } from './measure.ts';

// What the ledger writes for a payment, without anything around it: the row before the engine's call, and what follows from its answer.

const HELP = `npm run bench:store [-- --callers 1,8,64 --seconds 3 --rounds 3]

tx 1 and tx 2 of a card payment over the core's own functions, in one process with a PostgreSQL (fsync on) of its own: those that come at
the same time written together, as the core does, against each in a statement and a tx of its own, over as many connections. For each
number of callers, who each begin the next payment when the last one is settled, the ways take turns; of the rounds the median counts.

payments/s  settled, with their events in the outbox
Node us     user and system time of each payment, in microseconds
PG us       the same of PostgreSQL
rows        of a statement
`;

const FIGURES = ['payments/s', 'Node us', 'PG us', 'rows tx 1', 'rows tx 2'];
/** A core's by default, without that of health. */
const CONNECTIONS = 9;
const MERCHANTS = 8;
const ROOT = path.join(import.meta.dirname, '../..');

interface Merchant {
  readonly externalMerchantId: string;
  readonly accountId: string;
  readonly version: string;
}

async function addMerchant(db: Database): Promise<Merchant> {
  const externalMerchantId = randomUUID();
  const id = accountId(externalMerchantId, 'bench');
  const lookup = Buffer.from(randomUUID().replaceAll('-', ''));
  await upsertMerchantAccount(db, {
    id,
    externalMerchantId,
    accountReference: 'bench',
    name: 'bench',
    currencies: [],
    allowPartial: false,
  });
  const credentials = { accountId: id, externalMerchantId, mode: 'sandbox', sealed: Buffer.alloc(64) } as const;
  await insertCredentials(db, { ...credentials, lookup, keyId: 'bench' });
  const [account] = await matchingAccounts(db, externalMerchantId, [lookup]);
  return { externalMerchantId, accountId: id, version: account?.version ?? '' };
}

/** A sale of a card, as a create begins it. */
function newBeginning({ externalMerchantId, accountId: account, version }: Merchant): Beginning {
  const externalId = randomUUID();
  const id = transactionId(externalId);
  const nothing = { reason: null, errorCode: null, errorMessage: null };
  return {
    transaction: {
      ...{ id, externalId, externalMerchantId, accountId: account, mode: 'sandbox', currency: 'EUR' },
      ...{ requestedAmount: 4590n, paymentMethod: 'creditCard', authorizeOnly: false, buyerAbsent: false },
      ...{ requestedLastFour: '4242', state: 'authorizing', authorizedAmount: 0n, capturedAmount: 0n },
      ...{ refundedAmount: 0n, ...nothing, idWithheld: false, lapsed: false, awaitedBuyer: false, setUpAsked: false },
      ...{
        allowPartial: false,
        redirectUrl: null,
        cardScheme: null,
        cardBin: '424242',
        cardLastFour: '4242',
        credentialsOnFile: null,
      },
      ...{ credentialsKeyId: null, sequence: 0n },
    },
    link: undefined,
    operation: {
      ...{ id: operationId('authorize', externalId, 'wix', externalId, 1), transactionId: id, kind: 'authorize' },
      ...{ state: 'running', caller: 'wix', key: externalId, callId: null, attempt: 1, amount: 4590n },
      ...{ approvedAmount: null, ...nothing, why: '', dueInMs: 60_000 },
    },
    merchantVersion: version,
    beginMs: () => 8_000,
  };
}

interface Way {
  readonly name: string;
  /** Of gather; undefined: as the core has them. */
  readonly options: { readonly rowsMax?: number; readonly lanes?: number };
}

const WAYS: readonly Way[] = [
  { name: 'together', options: {} },
  { name: 'each alone', options: { rowsMax: 1, lanes: CONNECTIONS } },
];

interface Range {
  readonly core: Core;
  readonly merchants: readonly Merchant[];
  readonly postmaster: number;
}

async function round({ core, merchants, postmaster }: Range, way: Way, callers: number, seconds: number) {
  const counts = { begins: 0, settles: 0, payments: 0 };
  const beginnings = gather<Beginning, Begun>({
    what: 'beginnings',
    keyOf: ({ transaction }) => transaction.id,
    write: (rows) => {
      counts.begins += 1;
      return beginPayments(core.db, rows);
    },
    ...way.options,
  });
  const settlements = gather<ToSettle, Result>({
    what: 'settlements',
    keyOf: ({ about }) => about.transactionId,
    write: (rows) => {
      counts.settles += 1;
      return settleAll(core, rows);
    },
    ...way.options,
  });
  const pay = async (merchant: Merchant) => {
    const beginning = newBeginning(merchant);
    const begun = await beginnings.write(beginning);
    const outcome = { trigger: 'approved', amount: 4590n, processorReference: beginning.transaction.id } as const;
    const settled = await settlements.write({ about: beginning.operation, outcome, source: { caller: 'system' } });
    if (begun.is !== 'new' || typeof settled !== 'object' || settled.transaction.state !== 'captured')
      throw new Error(`a payment was not settled: ${begun.is}`);
    counts.payments += 1;
  };
  const pids = [process.pid, postmaster];
  const before = cpuOf(pids);
  const begun = performance.now();
  const end = begun + seconds * 1000;
  const call = async (_: unknown, i: number) => {
    while (performance.now() < end) await pay(merchants[i % MERCHANTS]!);
  };
  await Promise.all(Array.from({ length: callers }, call));
  const took = performance.now() - begun;
  const cpu = since(before, cpuOf(pids));
  const { payments, begins, settles } = counts;
  const us = (ms: number) => (ms * 1000) / payments;
  return [(payments * 1000) / took, us(cpu.node), us(cpu.postgres), payments / begins, payments / settles];
}

async function compare(range: Range, callers: readonly number[], seconds: number, rounds: number): Promise<void> {
  process.stdout.write(
    `${availableParallelism()} CPUs (${cpus()[0]?.model}), Node ${process.version}; ${rounds} rounds of ${seconds} s\n\n`,
  );
  for (const way of WAYS) await round(range, way, Math.max(...callers), 1);
  process.stdout.write(row('callers', FIGURES, 24));
  for (const count of callers) {
    const all = new Map<Way, number[][]>(WAYS.map((way) => [way, []]));
    for (let i = 0; i < rounds; i++)
      for (const way of WAYS) all.get(way)?.push(await round(range, way, count, seconds));
    const medians = WAYS.map((way) => FIGURES.map((_, f) => median(all.get(way)!.map((values) => values[f]!))));
    for (const [i, { name }] of WAYS.entries()) process.stdout.write(figures(`${count} ${name}`, medians[i]!, 24));
    const ratios = FIGURES.map((_, f) => medians[0]![f]! / medians[1]![f]!);
    process.stdout.write(`${figures(`${count} ratio`, ratios, 24)}\n`);
  }
}

const { values } = parseArgs({
  options: {
    callers: { type: 'string', default: '1,8,64' },
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '3' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) process.stdout.write(HELP);
else {
  const folder = mkdtempSync(path.join(tmpdir(), 'store-'));
  chmodSync(folder, 0o755);
  const dataDir = path.join(folder, 'data');
  const log = createLog('bench', 'error');
  let postgres: EmbeddedPostgres | undefined;
  let db: Database | undefined;
  const endOnce = async () => {
    await db?.close();
    await postgres?.stop();
    await endAll(folder);
  };
  let ended: Promise<void> | undefined;
  const end = () => (ended ??= endOnce());
  onSignal(end);
  try {
    postgres = await startEmbeddedPostgres({ dataDir, roles: ['core'], log });
    const url = postgres.urls.core ?? '';
    await migrate({ url, schema: 'core', dir: path.join(ROOT, 'core/migrations'), log });
    db = createDatabase({ url, schema: 'core', poolSize: CONNECTIONS, log });
    const config = { BUYER_TIMEOUT_MS: 3_600_000, RECONCILE_GRACE_MS: 30_000, EVENTS_KEY: createKeyRing(newKey()) };
    const merchants: Merchant[] = [];
    while (merchants.length < MERCHANTS) merchants.push(await addMerchant(db));
    // As much of a core as tx 2 takes.
    const core = { config, db, log } as Partial<Core> as Core;
    const callers = values.callers.split(',').map(Number);
    const range = { core, merchants, postmaster: postmasterOf(dataDir) ?? 0 };
    await compare(range, callers, Number(values.seconds), Number(values.rounds));
  } finally {
    await end();
  }
}
