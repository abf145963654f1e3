import { isRolledBack } from './database.ts';
import { sizes } from './metrics.ts';

// What concurrent callers write goes together: rows that come in one turn of the event loop, or while a statement is in flight, share the
// next one. There is no timer, so that a calm system answers as fast as with a statement for each; the busier it is, the cheaper each row.

export interface GatherOptions<Row, Result> {
  /** Of the rows, for their metric. */
  what: string;
  /** Rows with the same key change the same thing: they never share a statement, and go in the order in which they came. */
  keyOf(row: Row): string;
  /**
   * Writes all rows in one tx, and answers the result of each in the order of the rows, which is by key: two that write the same rows do
   * not wait for each other in a circle.
   */
  write(rows: readonly Row[]): Promise<readonly Result[]>;
  /** Rows of one statement at most. */
  rowsMax?: number;
  /** Statements at once, each on a connection of its own. */
  lanes?: number;
  /** Rows that wait for a statement; one more rejects with TooManyWaiting. */
  waitingMax?: number;
}

export class TooManyWaiting extends Error {
  override name = 'TooManyWaiting';
}

interface Waiting<Row, Result> {
  readonly row: Row;
  readonly key: string;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** Turns of the event loop that a statement waits for at most, as long as each brings more rows. In a calm system one passes, in microseconds. */
const TURNS_MAX = 8;
/** Longer turns are those of a flood: nothing waits for the end of one. */
const TURN_MS = 10;
/** A statement that takes longer keeps its callers waiting: the next ones have fewer rows. */
const LONG_MS = 500;
/** Rows of the first statements. */
const ROWS_AT_FIRST = 8;

export interface Gatherer<Row, Result> {
  /**
   * Resolves when the row is committed. If the server refuses a statement, its rows are written one by one: no row fails for the sake of
   * another. If the connection is lost, it is not known what was committed, and all its rows reject.
   */
  write(row: Row): Promise<Result>;
  /** How many rows can be written at once, as the database is now. */
  room(): number;
}

export function gather<Row, Result>(options: GatherOptions<Row, Result>): Gatherer<Row, Result> {
  const { what, keyOf, write, rowsMax = 64, lanes = 2, waitingMax = 2_000 } = options;
  const gathered = sizes('gathered_rows', 'Rows that were written with one statement.', ['what']);
  let rowsNow = Math.min(ROWS_AT_FIRST, rowsMax);
  let waiting: Waiting<Row, Result>[] = [];
  const keysInFlight = new Set<string>();
  let inFlight = 0;
  let collects = false;
  /** How long the event loop was busy with the last turn that was waited for. */
  let turnMs = 0;

  function takeBatch(): Waiting<Row, Result>[] {
    const batch: Waiting<Row, Result>[] = [];
    const left: Waiting<Row, Result>[] = [];
    for (const one of waiting) {
      if (batch.length === rowsNow || keysInFlight.has(one.key)) left.push(one);
      else {
        keysInFlight.add(one.key);
        batch.push(one);
      }
    }
    waiting = left;
    return batch.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Starts what waits once the turns of the event loop bring no more. */
  function start(): void {
    if (inFlight === lanes || waiting.length === 0) return;
    if (turnMs > TURN_MS) startNow();
    if (collects) return;
    collects = true;
    collect(1, waiting.length);
  }

  function collect(turn: number, found: number): void {
    const begun = performance.now();
    setImmediate(() => {
      turnMs = performance.now() - begun;
      if (waiting.length > found && waiting.length < rowsNow && turn < TURNS_MAX && turnMs < TURN_MS)
        collect(turn + 1, waiting.length);
      else {
        collects = false;
        startNow();
      }
    });
  }

  function startNow(): void {
    while (inFlight < lanes && waiting.length > 0) {
      const batch = takeBatch();
      // All that wait have a row of theirs in flight.
      if (batch.length === 0) return;
      inFlight += 1;
      void writeBatch(batch).finally(() => {
        inFlight -= 1;
        for (const { key } of batch) keysInFlight.delete(key);
        start();
      });
    }
  }

  function learn(rows: number, ms: number): void {
    if (ms > LONG_MS) rowsNow = Math.max(1, Math.floor(Math.min(rows, rowsNow) / 2));
    else if (rows === rowsNow && ms < LONG_MS / 2) rowsNow = Math.min(rowsMax, 2 * rowsNow);
  }

  async function writeBatch(batch: readonly Waiting<Row, Result>[]): Promise<void> {
    const startedAt = performance.now();
    gathered.observe({ what }, batch.length);
    try {
      const results = await write(batch.map(({ row }) => row));
      learn(batch.length, performance.now() - startedAt);
      for (const [i, { resolve }] of batch.entries()) resolve(results[i] as Result);
    } catch (error) {
      learn(batch.length, performance.now() - startedAt);
      if (batch.length > 1 && isRolledBack(error)) for (const one of batch) await writeBatch([one]);
      else for (const { reject } of batch) reject(error);
    }
  }

  return {
    write: (row) =>
      new Promise((resolve, reject) => {
        if (waiting.length >= waitingMax) {
          reject(new TooManyWaiting('too many rows wait to be written'));
          return;
        }
        waiting.push({ row, key: keyOf(row), resolve, reject });
        start();
      }),
    room: () => lanes * rowsNow,
  };
}
