import { isRolledBack } from './database.ts';

// What concurrent callers write goes together: the first row leaves at once, those that come while a statement is in flight share the next
// one. There is no timer, so that a calm system answers as fast as with a statement for each; the busier it is, the cheaper each row.

export interface GatherOptions<Row, Result> {
  /** Rows with the same key change the same thing: they never share a statement, and go in the order in which they came. */
  keyOf(row: Row): string;
  /**
   * Writes all rows in one tx, and answers the result of each in the order of the rows, which is by key: two that write the same rows do
   * not wait for each other in a circle.
   */
  write(rows: readonly Row[]): Promise<readonly Result[]>;
  /** Rows of one statement. */
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

/**
 * Answers a function that writes a row, and resolves when it is committed. If the server refuses a statement, its rows are written one by
 * one: no row fails for the sake of another. If the connection is lost, it is not known what was committed, and all its rows reject.
 */
export function gather<Row, Result>(options: GatherOptions<Row, Result>): (row: Row) => Promise<Result> {
  const { keyOf, write, rowsMax = 64, lanes = 2, waitingMax = 2_000 } = options;
  let waiting: Waiting<Row, Result>[] = [];
  const keysInFlight = new Set<string>();
  let inFlight = 0;

  function takeBatch(): Waiting<Row, Result>[] {
    const batch: Waiting<Row, Result>[] = [];
    const left: Waiting<Row, Result>[] = [];
    for (const one of waiting) {
      if (batch.length === rowsMax || keysInFlight.has(one.key)) left.push(one);
      else {
        keysInFlight.add(one.key);
        batch.push(one);
      }
    }
    waiting = left;
    return batch.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  function start(): void {
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

  async function writeBatch(batch: readonly Waiting<Row, Result>[]): Promise<void> {
    try {
      const results = await write(batch.map(({ row }) => row));
      for (const [i, { resolve }] of batch.entries()) resolve(results[i] as Result);
    } catch (error) {
      if (batch.length > 1 && isRolledBack(error)) for (const one of batch) await writeBatch([one]);
      else for (const { reject } of batch) reject(error);
    }
  }

  return (row) =>
    new Promise((resolve, reject) => {
      if (waiting.length >= waitingMax) {
        reject(new TooManyWaiting('too many rows wait to be written'));
        return;
      }
      waiting.push({ row, key: keyOf(row), resolve, reject });
      start();
    });
}
