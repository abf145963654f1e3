import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code, createContextValues, type HandlerContext } from '@connectrpc/connect';
import { createTurns } from '../../core/calls.ts';
import type { Core } from '../../core/context.ts';
import { watchTransaction } from '../../core/watch-transaction.ts';
import { createWatchers } from '../../core/watchers.ts';
import type { WatchTransactionResponse } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Operation_State as State, type Transaction } from '../../proto/gen/payments/v1/transaction_pb.js';
import { callerKey } from '../../proto/runtime/callers.ts';
import type { Database } from '../../proto/runtime/database.ts';
import { cardPayment, createTestCore, type TestCore } from '../support/core.ts';
import { eventually } from '../support/eventually.ts';
import { assertFails } from '../support/stage.ts';

const REFUSED = 3_000;

describe('a payment with thousands of refused refunds', () => {
  let test: TestCore;
  let merchant: Awaited<ReturnType<TestCore['connect']>>;
  let transaction: Transaction;
  before(async () => {
    test = await createTestCore({ env: { ANSWER_BUDGET_MS: '8000' } });
    merchant = await test.connect();
    transaction = (await test.payments.createTransaction(cardPayment(merchant, undefined, { authorizeOnly: true })))
      .transaction!;
    await test.db.query(
      `insert into operations (id, transaction_id, kind, state, caller, key, attempt, amount, why, reason, error_code,
         error_message, finished_at, created_at, changed_at)
       select gen_random_uuid(), $1, 'refund', 'declined', 'wix', 'refused-' || i, 1, 1, '', 3030, 'NOT_CAPTURED',
         'Payment is not captured', now(), now() + i * interval '1 microsecond', now()
       from generate_series(1, $2::int) as i`,
      [transaction.id, REFUSED],
    );
  });
  after(() => test.stop());

  const key = () => ({ case: 'id' as const, value: transaction.id });

  /** Watches from within the core, over a database that counts what it is asked. */
  function watch(count: number, callers: number) {
    const asked = { looks: 0, pages: 0 };
    const query: Database['query'] = (sql, values) => {
      if (sql.includes('xmin')) asked.looks += 1;
      else if (sql.includes('from operations')) asked.pages += 1;
      return test.db.query(sql, values);
    };
    const core = { db: { ...test.db, query }, turns: createTurns(), watchers: createWatchers() } as unknown as Core;
    const follow = async (seen: WatchTransactionResponse[], i: number) => {
      const values = createContextValues().set(callerKey, { name: `desk-${i % callers}`, role: 'reader' });
      const context = { signal: new AbortController().signal, values } as HandlerContext;
      for await (const now of watchTransaction(core, { key: key() } as never, context)) seen.push(now);
    };
    const all = Array.from({ length: count }, () => [] as WatchTransactionResponse[]);
    const ended = Promise.allSettled(all.map(follow));
    return { all, asked, ended, end: core.watchers.endAll };
  }
  /** Until each has been told so often: one message for all of them. */
  const told = (all: readonly WatchTransactionResponse[][], times: number) =>
    eventually(() => {
      assert.ok(all.every((seen) => seen.length === times));
      const last = new Set(all.map((seen) => seen.at(-1)));
      assert.equal(last.size, 1);
      return [...last][0] as WatchTransactionResponse;
    });

  it('is looked at together by a hundred who follow it, and read only when it was written', async () => {
    const startedAt = performance.now();
    const { all, asked, ended, end } = watch(100, 100);
    const first = await told(all, 1);
    assert.equal(first.operations.length, 200);
    await eventually(() => assert.ok(asked.looks >= 8), { timeoutMs: 20_000 });
    const rounds = 1 + Math.ceil((performance.now() - startedAt) / 500);
    assert.ok(asked.looks < 10 * rounds, `${asked.looks} looks in ${rounds} rounds of a hundred`);
    assert.equal(asked.pages, 1);

    // None of this has an event.
    const id = randomUUID();
    const unsent = `insert into operations (id, transaction_id, kind, state, caller, key, attempt, amount, why, created_at, due_at)
      values ($1, $2, 'refund', 'running', 'desk', 'unsent', 1, 1, '', now() + interval '1 minute', now() + interval '1 hour')`;
    await test.db.query(unsent, [id, transaction.id]);
    assert.equal((await told(all, 2)).operations.at(-1)?.state, State.RUNNING);
    await test.db.query(`update operations set state = 'unknown', changed_at = now() where id = $1`, [id]);
    assert.equal((await told(all, 3)).operations.at(-1)?.state, State.UNKNOWN);
    // Written, but nothing that anybody is told.
    await test.db.query('update operations set asks = asks + 1 where id = $1', [id]);
    await eventually(() => assert.equal(asked.pages, 4));
    await test.db.query('delete from operations where id = $1', [id]);
    await told(all, 4);
    assert.equal(asked.pages, 5);
    end();
    await ended;
  });

  it('R20 is answered in pages, each operation once and in order', async () => {
    const reader = test.as({ name: 'desk', role: 'reader' });
    const keys: string[] = [];
    let operationsPageToken = '';
    do {
      const page = await reader.getTransaction({ key: key(), operationsPageToken });
      assert.ok(page.operations.length <= 200);
      keys.unshift(...page.operations.map((operation) => operation.id));
      operationsPageToken = page.olderOperationsPageToken;
    } while (operationsPageToken !== '');
    const rows = await test.db.query<{ id: string }>(
      'select id from operations where transaction_id = $1 order by created_at',
      [transaction.id],
    );
    assert.deepEqual(
      keys,
      rows.map(({ id }) => id),
    );
    const broken = reader.getTransaction({ key: key(), operationsPageToken: 'x' });
    await assertFails(broken, Code.InvalidArgument, 'INVALID_ARGUMENT');
  });

  it('is followed by one reader in a part of the places, and others are told and served', async () => {
    const caller = new AbortController();
    const follow = async (name: string, seen: unknown[]) => {
      const options = { signal: caller.signal };
      for await (const now of test.as({ name, role: 'reader' }).watchTransaction({ key: key() }, options))
        seen.push(now);
    };
    const greedy = Array.from({ length: 100 }, () => [] as unknown[]);
    const ends = greedy.map((seen) => follow('greedy', seen));
    let refused = 0;
    const over = ends.map((end) =>
      end.catch(({ code }) => {
        if (code === Code.ResourceExhausted) refused += 1;
      }),
    );
    await eventually(() => assert.equal(greedy.filter((seen) => seen.length === 1).length + refused, 100));
    assert.ok(refused > 0);
    const other: unknown[] = [];
    const end = follow('other', other).catch(() => undefined);
    await eventually(() => assert.equal(other.length, 1));
    const { transaction: paid } = await test.payments.createTransaction(cardPayment(merchant));
    assert.ok(paid);
    caller.abort();
    await Promise.all(over);
    await end;
  });
});

describe('the places of watchers', () => {
  const { signal } = new AbortController();

  it('are bounded, and each is left once', () => {
    const watchers = createWatchers(2);
    const first = watchers.enter('a', signal);
    watchers.enter('b', signal);
    assert.throws(() => watchers.enter('c', signal), { code: Code.ResourceExhausted });
    watchers.leave(first);
    watchers.leave(first);
    watchers.enter('c', signal);
    assert.throws(() => watchers.enter('d', signal), { code: Code.ResourceExhausted });
  });

  it('R20 are shared out: nobody has all of them', () => {
    const watchers = createWatchers(8);
    const fill = () => {
      for (let i = 0; i < 8; i += 1) watchers.enter('a', signal);
    };
    assert.throws(fill, { code: Code.ResourceExhausted });
    watchers.enter('b', signal);
  });
});
