import * as beginPayments from '../../core/store/begin-payments.ts';
import * as merchantAccounts from '../../core/store/merchant-accounts.ts';
import * as operations from '../../core/store/operations.ts';
import * as outbox from '../../core/store/outbox.ts';
import * as settlements from '../../core/store/settlements.ts';
import * as transactions from '../../core/store/transactions.ts';
import type { Client, Queryable } from '../../proto/runtime/database.ts';
import * as relay from '../../webhook-relay/store.ts';
import * as attempts from '../../webhook-relay/store-attempts.ts';
import * as deliveries from '../../webhook-relay/store-deliveries.ts';

// How the database would find the rows of every statement of the stores, and which indexes nothing uses.

const STORES = {
  core: [beginPayments, merchantAccounts, operations, outbox, settlements, transactions],
  relay: [attempts, deliveries, relay],
};

/** A table with fewer rows may be read as a whole. */
const BIG = 1_000;
/** As createDatabase says it with each tx. */
const BY_INDEX = 'set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off';

/** Whatever is asked of it, it is that too. */
const anything: unknown = new Proxy(() => undefined, {
  get: (_, name) => {
    if (name === Symbol.iterator) return () => [][Symbol.iterator]();
    if (name === Symbol.toPrimitive) return () => 'anything';
    return name === 'then' ? undefined : anything;
  },
  apply: () => anything,
  has: () => true,
});

/** In place of what a function is given: the second lacks whatever is asked for, where that makes another statement. */
const GIVEN = [anything, {}, { key: '', headers: {}, value: Buffer.alloc(0) }];

/** The texts that a store's functions send, each with the name of its function. No answer ever comes. */
function statementsOf(store: object): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, exported] of Object.entries(store)) {
    if (typeof exported !== 'function') continue;
    let isUnderstood = false;
    const query: Queryable['query'] = (sql) => {
      isUnderstood = true;
      if (!found.has(sql)) found.set(sql, name);
      return new Promise(() => undefined);
    };
    for (const given of GIVEN) {
      try {
        const called = (exported as (...given: unknown[]) => unknown)({ query }, given, given, given);
        if (called instanceof Promise) called.catch(() => undefined);
      } catch {
        // It is a class, or wants something else.
      }
    }
    if (!isUnderstood && String(exported).includes('.query')) found.set(name, name);
  }
  return found;
}

interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly Plans?: readonly Plan[];
}

interface Ways {
  readonly indexes: Set<string>;
  readonly flags: Set<string>;
  /** Indexes of which every entry is read. */
  readonly whole: Set<string>;
}

function read(plan: Plan, big: ReadonlySet<string>, ways: Ways, isLimited = false): Ways {
  const { 'Node Type': node, 'Relation Name': table = '', 'Index Name': index, 'Index Cond': condition } = plan;
  if (node === 'Seq Scan' && big.has(table)) ways.flags.add(`SEQ SCAN of ${table}`);
  if (index && node.includes('Scan')) ways.indexes.add(index);
  // All entries of a partial index are often not null.
  const isWhole = condition === undefined || /^\(\w+ IS NOT NULL\)$/.test(condition);
  if (index && node.includes('Scan') && isWhole && !isLimited) ways.whole.add(index);
  for (const child of plan.Plans ?? []) read(child, big, ways, isLimited || node === 'Limit');
  return ways;
}

const words = (sql: string) => sql.replaceAll(/\s+/g, ' ').trim().slice(0, 60);

/** As a superuser of a database that holds as much as matters, and has been used. */
export async function printPlans(admin: Client): Promise<void> {
  const ask = async <Row>(sql: string, given?: unknown[]) => (await admin.query(sql, given)).rows as Row[];
  for (const [schema, stores] of Object.entries(STORES)) {
    const tables = await ask<{ name: string }>(
      `select relname as name from pg_class where relnamespace = $1::regnamespace and relkind = 'r' and reltuples >= ${BIG}`,
      [schema],
    );
    const big = new Set(tables.map(({ name }) => name));
    // Of small tables any plan will do.
    if (big.size === 0) continue;
    const indexes = await ask<{ name: string; table: string; partial: boolean }>(
      `select i.relname as name, t.relname as table, indpred is not null as partial
       from pg_index join pg_class i on i.oid = indexrelid join pg_class t on t.oid = indrelid
       where i.relnamespace = $1::regnamespace`,
      [schema],
    );
    const indexOf = (index: string) => indexes.find(({ name }) => name === index);
    await admin.query(`set search_path = ${schema}; ${BY_INDEX}`);
    const statements = stores.flatMap((store) => [...statementsOf(store)]);
    process.stdout.write(`\n${schema}: ${statements.length} statements; big: ${[...big].join(', ')}\n`);
    for (const [sql, name] of statements) {
      if (sql === name) {
        process.stdout.write(`${name.padEnd(23)} was not understood\n`);
        continue;
      }
      const [explained] = await ask<{ 'QUERY PLAN': [{ Plan: Plan }] }>(`explain (generic_plan, format json) ${sql}`);
      const ways = { indexes: new Set<string>(), flags: new Set<string>(), whole: new Set<string>() };
      const { flags, whole } = read(explained!['QUERY PLAN'][0].Plan, big, ways);
      for (const index of whole)
        if (big.has(indexOf(index)?.table ?? ''))
          flags.add(indexOf(index)?.partial ? `all of ${index} (partial)` : `ALL OF ${index}`);
      const found = [...ways.indexes].join(', ') || '-';
      const doubts = [...flags].map((flag) => `  ! ${flag}`).join('');
      process.stdout.write(`${name.padEnd(23)} ${words(sql).padEnd(60)}  ${found}${doubts}\n`);
    }
  }
  await admin.query('reset all');
  const unused = await ask<{ name: string; size: string; unique: boolean }>(
    `select s.schemaname || '.' || s.indexrelname as name, pg_size_pretty(pg_relation_size(s.indexrelid)) as size, indisunique as unique
     from pg_stat_user_indexes s join pg_index i using (indexrelid)
     where idx_scan = 0 and pg_relation_size(s.indexrelid) > 8192 order by pg_relation_size(s.indexrelid) desc`,
  );
  process.stdout.write('\nindexes that nothing has used here (idx_scan = 0)\n');
  for (const { name, size, unique } of unused)
    process.stdout.write(`${name.padEnd(45)} ${size.padStart(10)}${unique ? '  unique' : ''}\n`);
}
