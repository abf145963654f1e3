import assert from 'node:assert/strict';
import fc from 'fast-check';
import pg from 'pg';
import { gather, TooManyWaiting } from '../../proto/runtime/gather.ts';

interface Row {
  readonly key: string;
  readonly value: number;
}

/** More turns of the event loop than a statement waits for. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
}

/** Statements that end when they are told to, as they were sent. */
function statements(options: { rowsMax?: number; lanes?: number; waitingMax?: number } = {}) {
  const sent: { rows: readonly Row[]; end: (error?: Error) => Promise<void> }[] = [];
  const gatherer = gather<Row, number>({
    ...options,
    what: 'rows',
    keyOf: ({ key }) => key,
    write: (rows) =>
      new Promise((resolve, reject) => {
        const end = async (error?: Error) => {
          if (error) reject(error);
          else resolve(rows.map(({ value }) => value * 10));
          await turns();
        };
        sent.push({ rows, end });
      }),
  });
  const keys = () => sent.map(({ rows }) => rows.map(({ key, value }) => `${key}${value}`).join(' '));
  return { ...gatherer, sent, keys };
}

const refused = () => Object.assign(new pg.DatabaseError('not this', 0, 'error'), { code: '23514' });
const row = (key: string, value = 1): Row => ({ key, value });

describe('rows that are written together', () => {
  it('leave at the end of the turn while nothing is in flight; those that come meanwhile share the next statement, in the order of their keys', async () => {
    const { write, sent, keys } = statements({ lanes: 1 });
    const written = [write(row('m'))];
    await new Promise(setImmediate);
    assert.deepEqual(keys(), ['m1']);
    written.push(...['c', 'a', 'b'].map((key) => write(row(key))));
    await turns();
    assert.deepEqual(keys(), ['m1']);
    await sent[0]!.end();
    assert.deepEqual(keys(), ['m1', 'a1 b1 c1']);
    await sent[1]!.end();
    assert.deepEqual(await Promise.all(written), [10, 10, 10, 10]);
  });

  it('wait for further turns as long as each brings more, and then no longer', async () => {
    const { write, sent, keys } = statements();
    const written: Promise<number>[] = [];
    setImmediate(() => {
      setImmediate(() => written.push(write(row('c'))));
      written.push(write(row('b')));
    });
    written.push(write(row('a')));
    await turns();
    assert.deepEqual(keys(), ['a1 b1 c1']);
    let comes = 0;
    const another = () => {
      comes += 1;
      if (sent.length < 2) setImmediate(another);
      written.push(write(row(`another ${comes}`)));
    };
    another();
    await turns();
    assert.equal(sent.length, 2);
    while (sent.length > 0) await sent.shift()!.end();
    assert.equal((await Promise.all(written)).length, written.length);
  });

  it('each get their own result, and none shares a statement with another of its key', async () => {
    const { write, sent, keys } = statements({ lanes: 2 });
    const written = [write(row('a', 1)), write(row('a', 2)), write(row('b', 3)), write(row('a', 4))];
    await turns();
    assert.deepEqual(keys(), ['a1 b3']);
    await sent[0]!.end();
    assert.deepEqual(keys(), ['a1 b3', 'a2']);
    await sent[1]!.end();
    assert.deepEqual(keys(), ['a1 b3', 'a2', 'a4']);
    await sent[2]!.end();
    assert.deepEqual(await Promise.all(written), [10, 20, 30, 40]);
  });

  it('are written one by one when the server refuses their statement: only the one that it does not take fails', async () => {
    const written: string[] = [];
    const { write } = gather<Row, string>({
      what: 'rows',
      keyOf: ({ key }) => key,
      lanes: 1,
      write: async (rows) => {
        await new Promise(setImmediate);
        if (rows.some(({ value }) => value === 0)) throw refused();
        written.push(...rows.map(({ key }) => key));
        return rows.map(({ key }) => key);
      },
    });
    const results = await Promise.allSettled([write(row('a')), write(row('b', 0)), write(row('c'))]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    assert.deepEqual(written, ['a', 'c']);
  });

  it('are not written a second time when the connection was lost: what became of them is not known', async () => {
    const { write, sent, keys } = statements({ lanes: 1 });
    const written = ['a', 'b'].map((key) => write(row(key)));
    await turns();
    const lost = new Error('Connection terminated unexpectedly');
    const failed = Promise.all(written.map((one) => assert.rejects(one, lost)));
    await sent[0]!.end(lost);
    await failed;
    assert.deepEqual(keys(), ['a1 b1']);
  });

  it('wait in a bounded queue, beyond which the next one is refused', async () => {
    const { write, sent } = statements({ lanes: 1, waitingMax: 2 });
    const written = [write(row('a'))];
    await turns();
    written.push(write(row('b')), write(row('c')));
    await assert.rejects(write(row('d')), TooManyWaiting);
    await sent[0]!.end();
    await sent[1]!.end();
    assert.deepEqual(await Promise.all(written), [10, 10, 10]);
  });

  it('become more in a statement as long as they are written quickly, up to a limit', async () => {
    const { write, sent, room } = statements({ lanes: 1, rowsMax: 20 });
    const rooms = [room()];
    const written: Promise<number>[] = [];
    for (let i = 0; i < 4; i++) {
      for (let k = 0; k < 40; k++) written.push(write(row(`${i} ${k}`)));
      await turns();
      while (sent.length > 0) await sent.shift()!.end();
      rooms.push(room());
    }
    assert.deepEqual([rooms[0], rooms.at(-1)], [8, 20]);
    await Promise.all(written);
  });

  it('are written as they would be alone, whatever comes together and whatever is refused', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), value: fc.nat(9) }), { maxLength: 60 }),
        fc.array(fc.nat(3)),
        fc.integer({ min: 1, max: 3 }),
        async (rows, pauses, lanes) => {
          const totals = new Map<string, number>();
          const plain = new Map<string, number>();
          const add = (to: Map<string, number>, { key, value }: Row) =>
            to.set(key, (to.get(key) ?? 0) * 3 + value).get(key);
          const isRefused = ({ value }: Row) => value === 7;
          const { write } = gather<Row, number | undefined>({
            what: 'rows',
            keyOf: ({ key }) => key,
            lanes,
            write: async (batch) => {
              for (let i = pauses.pop() ?? 0; i > 0; i--) await new Promise(setImmediate);
              assert.equal(new Set(batch.map(({ key }) => key)).size, batch.length);
              if (batch.some(isRefused)) throw refused();
              return batch.map((one) => add(totals, one));
            },
          });
          const results = await Promise.allSettled(rows.map((one) => write(one)));
          for (const [i, one] of rows.entries()) {
            const result = results[i]!;
            if (isRefused(one)) assert.equal(result.status, 'rejected');
            else assert.equal(result.status === 'fulfilled' && result.value, add(plain, one));
          }
          assert.deepEqual(totals, plain);
        },
      ),
    ));
});
