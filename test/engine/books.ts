import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { toBinary } from '@bufbuild/protobuf';
import { type Outcome, OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import type { Aftermath } from './cards.ts';
import { ADDED, COLUMNS, type Entry, entryOf, type Page, pageOf, type Row, SCHEMA, valuesOf } from './entry.ts';
import { isOpen } from './outcomes.ts';

// The books of the simulated engine: what it was asked, what it decided, and what money it really moved. One sqlite file of one
// engine; a row that is written survives a kill of the process.

/** An approved authorize with all that followed. Minor units. */
export interface Payment {
  readonly aftermath: Aftermath;
  readonly currency: string;
  readonly held: bigint;
  /** Captured and not returned. */
  readonly taken: bigint;
  readonly captured: bigint;
}

export interface Totals {
  readonly currency: string;
  readonly operations: number;
  readonly held: bigint;
  readonly taken: bigint;
}

const NOW = `cast(unixepoch('subsec') * 1000 as integer)`;

/** The methods that move money; the others of the port ask or undo. */
const ORDERS = ['authorize', 'capture', 'void', 'refund'];

export type Books = ReturnType<typeof openBooks>;

/** `data` is a folder, made if need be, or ':memory:'. Read-only books must exist. */
export function openBooks(data: string, { readOnly = false } = {}) {
  if (data !== ':memory:' && !readOnly) mkdirSync(data, { recursive: true, mode: 0o700 });
  const db = new DatabaseSync(data === ':memory:' ? data : join(data, 'books.sqlite'), { readOnly });
  if (!readOnly) {
    db.exec(SCHEMA);
    const columns = db.prepare('select name from pragma_table_info(?)').all('operations');
    for (const [name, type] of ADDED)
      if (!columns.some((column) => column.name === name)) db.exec(`alter table operations add column ${name} ${type}`);
  }

  function statement(sql: string) {
    const prepared = db.prepare(sql);
    prepared.setReadBigInts(true);
    return prepared;
  }
  function query(sql: string) {
    const select = statement(sql);
    return (...values: (string | number)[]): Entry[] => (select.all(...values) as Row[]).map(entryOf);
  }
  const byId = query(`select ${COLUMNS} from operations where request_id = ?`);
  const byToken = query(`select ${COLUMNS} from operations where token = ? and token <> ''`);
  const byTransaction = query(`select ${COLUMNS} from operations where transaction_id = ? order by number`);
  const all = query(`select ${COLUMNS} from operations order by number`);
  const due = query(`select ${COLUMNS} from operations where due_at <= ? order by due_at, number`);
  const unreported = query(`select ${COLUMNS} from operations where to_report = 1 order by number`);
  const insert = statement(
    `insert into operations (${COLUMNS}, changed_at) values (${COLUMNS.split(',')
      .map(() => '?')
      .join(', ')}, ${NOW})`,
  );
  const update = statement(`
    update operations set outcome = ?, ended = ?, held = ?, taken = ?, to_report = ?, later = ?, due_at = ?, changed_at = ${NOW}
    where request_id = ?`);
  const changed = statement(`
    select number, ${COLUMNS} from operations
    where changed_at >= ? and number > ? and instruction is not null order by number limit ?`);
  const identify = statement('update operations set aftermath = ?, last_four = ? where request_id = ?');
  const insertPage = statement(
    'insert into pages (token, request_id, kind, method, return_url, passes) values (?, ?, ?, ?, ?, ?)',
  );
  const challenge = statement("update pages set kind = 'challenge', passes = ? where token = ?");
  const page = statement('select token, request_id, kind, method, return_url, passes from pages where token = ?');
  const told = statement('update operations set to_report = 0 where request_id = ?');
  const balance = statement(`
    select sum(held) as held, sum(taken) as taken, sum(max(taken, 0)) as captured
    from operations where original_request_id = ?`);
  const count = statement(`
    insert into calls (request_id, method, count) values (?, ?, 1) on conflict do update set count = count + 1`);
  const counts = statement('select method, count from calls where request_id = ?');
  const sums = statement(`
    select currency, count(*) as operations, sum(held) as held, sum(taken) as taken
    from operations where kind <> 'tombstone' group by currency order by currency`);

  const find = (requestId: string) => byId(requestId)[0];

  function payment(requestId: string, transactionId: string): Payment | undefined {
    const authorize = find(requestId);
    if (authorize?.kind !== 'authorize' || authorize.outcome.kind.case !== 'approved') return undefined;
    if (authorize.transactionId !== transactionId) return undefined;
    const row = balance.get(requestId) as { held: bigint; taken: bigint; captured: bigint };
    const { aftermath, currency } = authorize;
    return { aftermath, currency, held: row.held, taken: row.taken, captured: row.captured };
  }

  /** What this outcome of the operation moves, given what its payment holds now. */
  function moves(entry: Moveless, outcome: Outcome): { held: bigint; taken: bigint } {
    if (outcome.kind.case !== 'approved') return { held: 0n, taken: 0n };
    const amount = outcome.kind.value.amount ?? entry.amount;
    const { held = 0n, taken = 0n } = payment(entry.originalRequestId, entry.transactionId) ?? {};
    switch (entry.kind) {
      case 'authorize':
        return entry.sale ? { held: 0n, taken: amount } : { held: amount, taken: 0n };
      case 'capture':
        return { held: -held, taken: amount };
      case 'void':
        return { held: -held, taken: 0n };
      case 'refund':
        return { held: 0n, taken: -amount };
      case 'reversal':
        return { held: -held, taken: -taken };
      case 'tombstone':
        throw new Error('a tombstone is never approved');
    }
  }

  /** All of it is in the books after a kill, or nothing. */
  function atOnce(run: () => void): void {
    db.exec('begin immediate');
    try {
      run();
      db.exec('commit');
    } catch (error) {
      db.exec('rollback');
      throw error;
    }
  }

  return {
    find,
    payment,
    record: (entry: Moveless, page?: Page): void =>
      atOnce(() => {
        insert.run(...valuesOf({ ...entry, ...moves(entry, entry.outcome) }));
        if (!page) return;
        const passes = toBinary(OutcomeSchema, page.passes);
        insertPage.run(page.token, page.requestId, page.kind, page.method, page.returnUrl, passes);
      }),

    /**
     * Gives an open operation its outcome, which may itself be pending and turn into another later on. Whoever asked has had an answer
     * already: it is to be reported, unless a Cancel ended it.
     */
    settle(
      requestId: string,
      outcome: Outcome,
      { ended = false, later, dueAt }: Later & { ended?: boolean } = {},
    ): void {
      const entry = find(requestId);
      if (!entry || !isOpen(entry.outcome)) throw new Error(`${requestId} is not an open operation`);
      const { held, taken } = moves(entry, outcome);
      const next = [later ? toBinary(OutcomeSchema, later) : null, later ? (dueAt ?? 0) : null] as const;
      update.run(toBinary(OutcomeSchema, outcome), Number(ended), held, taken, Number(!ended), ...next, requestId);
    },

    /** The page of a link, if it was ever given out. */
    page(token: string): Page | undefined {
      const row = page.get(token) as Row | undefined;
      return row && pageOf(row);
    },

    /** The card that a buyer typed on a page, of which the books keep no more than of any other. */
    identify: (requestId: string, { aftermath, lastFour }: Pick<Entry, 'aftermath' | 'lastFour'>): void =>
      void identify.run(aftermath, lastFour, requestId),

    /** A page goes on with the check of a card. */
    challenge: (token: string, passes: Outcome): void => void challenge.run(toBinary(OutcomeSchema, passes), token),

    /** Open operations that are due at this time (milliseconds since 1970). */
    due,
    unreported,
    reported: (requestId: string): void => void told.run(requestId),
    /** What to expect of the card behind a token; undefined if no approved payment gave it out. */
    aftermathOf: (token: string): Aftermath | undefined =>
      byToken(token).find((entry) => entry.outcome.kind.case === 'approved')?.aftermath,
    countCall: (requestId: string, method: string): void => void count.run(requestId, method),

    /** Orders that came first or were decided since (milliseconds since 1970), behind the number that ended the page before. */
    changedSince: (since: number, behind: number, limit: number): (Entry & { number: number })[] =>
      (changed.all(since, behind, limit) as Row[]).map((row) => ({ ...entryOf(row), number: Number(row.number) })),
    /** Every operation, oldest first. */
    list: all,
    /** The operations of one payment, oldest first. */
    operations: byTransaction,
    /** Minor units captured and not returned, whatever was said about them. */
    charged: (transactionId: string): bigint =>
      byTransaction(transactionId).reduce((sum, entry) => sum + entry.taken, 0n),
    /** How often a request id came with a method; without one, how often its order was sent. */
    calls: (requestId: string, method?: string): number =>
      counts
        .all(requestId)
        .filter((row) => (method ? row.method === method : ORDERS.includes(String(row.method))))
        .reduce((sum, row) => sum + Number(row.count), 0),
    /** By currency, in minor units. */
    totals: (): Totals[] =>
      sums.all().map((row) => ({ ...(row as unknown as Totals), operations: Number(row.operations) })),
    close: () => db.close(),
  };
}

/** What an open outcome turns into, and when (milliseconds since 1970). */
export interface Later {
  readonly later?: Outcome;
  readonly dueAt?: number;
}

type Moveless = Omit<Entry, 'held' | 'taken'>;
