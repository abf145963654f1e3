import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { listTransactions, planForValues, type TransactionFilter } from '../../core/store/transactions.ts';
import { Client, createDatabase, type Queryable } from '../../proto/runtime/database.ts';
import { startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';
import { createLog } from '../../proto/runtime/log.ts';
import { migrate } from '../../proto/runtime/migrate.ts';
import { endAll } from '../faults/program.ts';
import { onSignal } from '../support/on-signal.ts';
import { fillPayments } from './fill.ts';
import { median } from './measure.ts';

// What each way of looking for payments takes in a large ledger, and by which index.

const HELP = `npm run bench:search [-- --payments 1000000]

Fills a ledger, and reads a page of 51 by each filter of ListTransactions, from the middle of the ledger on where it has so many; then 100,000
payments page by page. ms: the first time, and the median of seven. A million payments take about 2 GB of the temporary folder (TMPDIR).
`;

const LOG = createLog('bench', 'error');
const PAGE = 51;
const WALK_PAGE = 200;
const ROOT = path.join(import.meta.dirname, '../..');

const { values } = parseArgs({
  options: { payments: { type: 'string', default: '1000000' }, help: { type: 'boolean', short: 'h' } },
});

/** What a page asks where nothing is said. */
const NEWEST: TransactionFilter = {
  ...{ before: null, accountId: null, externalMerchantId: null, states: [], createdFrom: null, createdBefore: null },
  ...{ requested: null, limit: PAGE },
};

async function main(): Promise<void> {
  const payments = Number(values.payments);
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-search-'));
  chmodSync(folder, 0o755);
  onSignal(() => endAll(folder));
  try {
    const postgres = await startEmbeddedPostgres({ dataDir: path.join(folder, 'data'), roles: ['core'], log: LOG });
    const url = postgres.adminUrl;
    await migrate({ url, schema: 'core', dir: path.join(ROOT, 'core/migrations'), log: LOG });
    const admin = new Client({ connectionString: url });
    await admin.connect();
    await admin.query('set search_path = core');
    await fillPayments(admin, payments);
    // One in fifty has come to another end, or to none yet.
    await admin.query(
      `update transactions set captured_amount = 0, authorized_amount = 0, reason = case when right(id::text, 1) = '0' then 3000 else 5009 end,
         state = case when right(id::text, 1) = '0' then 'declined' else 'pending' end
       where right(id::text, 2) in ('00', '10', '20', 'a1', 'b1')`,
    );
    await admin.query('vacuum analyze');
    await search(url, admin, payments);
    await admin.end();
    await postgres.stop();
  } finally {
    await endAll(folder);
  }
}

async function search(url: string, admin: Client, payments: number): Promise<void> {
  const db = createDatabase({ url, schema: 'core', poolSize: 2, log: LOG });
  const sent: { sql: string; values: readonly unknown[] }[] = [];
  const list = (filter: TransactionFilter) =>
    db.inTx(async (tx) => {
      await planForValues(tx);
      const watched: Queryable = {
        query: (sql, given = []) => {
          sent.push({ sql, values: given });
          return tx.query(sql, given);
        },
      };
      return listTransactions(watched, filter);
    });
  const middle = (
    await db.query<{ at: string; id: string; merchant: string; account: string; day: Date }>(
      `select created_at::text as at, id, external_merchant_id as merchant, account_id as account, date_trunc('day', created_at) as day
     from transactions order by created_at desc offset $1 limit 1`,
      [Math.floor(payments / 2)],
    )
  )[0]!;
  const { at, id, merchant: externalMerchantId, account: accountId, day } = middle;
  const before = { at, id };
  const requested = { amount: 4590n, currency: 'EUR' };
  const filters: Record<string, Partial<TransactionFilter>> = {
    newest: {},
    'from the middle on': { before },
    'of a merchant': { externalMerchantId, before },
    'of an account': { accountId, before },
    captured: { states: ['captured'], before },
    declined: { states: ['declined'], before },
    'expired, none': { states: ['expired'] },
    'in five open states': { states: ['authorizing', 'awaiting_buyer', 'pending', 'capturing', 'voiding'], before },
    'of a day': { createdFrom: day, createdBefore: new Date(day.getTime() + 86_400_000) },
    'a frequent amount': { requested, before },
    'an amount, none': { requested: { amount: 1n, currency: 'EUR' } },
    'declined of a merchant': { externalMerchantId, states: ['declined'] },
    'amount of a merchant': { externalMerchantId, requested },
  };
  process.stdout.write(
    `${'payments'.padEnd(26)}${'rows'.padStart(6)}${'first'.padStart(9)}${'median'.padStart(9)}  by\n`,
  );
  for (const [name, filter] of Object.entries(filters)) {
    const times: number[] = [];
    let rows = 0;
    for (let i = 0; i < 7; i++) {
      const begun = performance.now();
      rows = (await list({ ...NEWEST, ...filter })).length;
      times.push(performance.now() - begun);
    }
    const { sql, values } = sent.at(-1)!;
    const { rows: plan } = await admin.query(`explain (format json) ${sql}`, [...values]);
    const indexes = new Set(Array.from(JSON.stringify(plan).matchAll(/"Index Name":"(\w+)"/g), ([, index]) => index));
    const whole = /"Seq Scan"/.test(JSON.stringify(plan)) ? ' AND ALL OF THEM' : '';
    const figures = [String(rows).padStart(6), ...[times[0]!, median(times)].map((ms) => ms.toFixed(1).padStart(9))];
    process.stdout.write(`${name.padEnd(26)}${figures.join('')}  ${[...indexes].join(', ')}${whole}\n`);
  }
  let [page, worst, count] = [before, 0, 0];
  while (count < Math.min(100_000, payments / 2)) {
    const begun = performance.now();
    const rows = await list({ ...NEWEST, before: page, limit: WALK_PAGE });
    worst = Math.max(worst, performance.now() - begun);
    count += rows.length;
    const last = rows.at(-1);
    if (!last) break;
    page = { at: last.cursor, id: last.id };
  }
  process.stdout.write(
    `${count.toLocaleString('en')} payments, ${WALK_PAGE} at a time: the slowest page took ${worst.toFixed(1)} ms\n`,
  );
  await db.close();
}

if (values.help) process.stdout.write(HELP);
else await main();
