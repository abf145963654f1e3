import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type Client, Code } from '@connectrpc/connect';
import { listTransactions, planForValues } from '../../core/store/transactions.ts';
import type { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Transaction_State as State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { cardPayment, createTestCore, type TestCore } from '../support/core.ts';
import { assertFails } from '../support/stage.ts';

type Filter = Parameters<typeof listTransactions>[1];

describe('ListTransactions', () => {
  let test: TestCore;
  let desk: Client<typeof PaymentsService>;
  before(async () => {
    test = await createTestCore();
    desk = test.as({ name: 'desk', role: 'reader' });
  });
  after(() => test.stop());

  type Merchant = Awaited<ReturnType<TestCore['connect']>>;
  const pay = async (merchant: Merchant, number?: string) =>
    (await test.payments.createTransaction(cardPayment(merchant, number))).transaction!;
  const ids = async (request: Parameters<typeof desk.listTransactions>[0]) => {
    const { transactions } = await desk.listTransactions(request);
    return transactions.map(({ id }) => id);
  };

  it('lists the payments of a merchant or an account, newest first', async () => {
    const [merchant, other] = [await test.connect(), await test.connect()];
    const { externalMerchantId } = merchant;
    const first = await pay(merchant);
    await pay(other);
    const second = await pay(merchant);
    assert.deepEqual(await ids({ externalMerchantId }), [second.id, first.id]);
    assert.deepEqual(await ids({ merchantAccountId: first.merchantAccountId }), [second.id, first.id]);
    assert.deepEqual(
      await ids({ externalMerchantId: other.externalMerchantId, merchantAccountId: first.merchantAccountId }),
      [],
    );
    assert.deepEqual(await ids({ externalMerchantId: randomUUID() }), []);
  });

  it('lists the payments in any of some states', async () => {
    const merchant = await test.connect();
    const { externalMerchantId } = merchant;
    const captured = await pay(merchant);
    const declined = await pay(merchant, '4000000000000002');
    assert.deepEqual(await ids({ externalMerchantId, states: [State.CAPTURED] }), [captured.id]);
    assert.deepEqual(await ids({ externalMerchantId, states: [State.DECLINED, State.PENDING] }), [declined.id]);
    assert.deepEqual(await ids({ externalMerchantId, states: [State.DECLINED, State.CAPTURED] }), [
      declined.id,
      captured.id,
    ]);
    assert.deepEqual(await ids({ externalMerchantId, states: [State.VOIDED] }), []);
  });

  it('lists the payments of a time, or of an amount in its currency', async () => {
    const merchant = await test.connect();
    const { externalMerchantId } = merchant;
    const { transaction } = await test.payments.createTransaction(cardPayment(merchant, undefined, { amount: 777n }));
    const other = await pay(merchant);
    const [{ id, createdAt }, amount] = [transaction!, 777n];
    assert.deepEqual(await ids({ externalMerchantId, amount, currency: 'EUR' }), [id]);
    assert.deepEqual(await ids({ externalMerchantId, amount, currency: 'JPY' }), []);
    // Rows are finer than the milliseconds that a caller can say.
    const after = timestampFromDate(new Date(timestampDate(createdAt!).getTime() + 1));
    assert.deepEqual(await ids({ externalMerchantId, createdBefore: after }), [id]);
    assert.deepEqual(await ids({ externalMerchantId, createdFrom: after }), [other.id]);
  });

  it('goes on from page to page, each payment once, whatever is added meanwhile', async () => {
    const merchant = await test.connect();
    const { externalMerchantId } = merchant;
    const made: string[] = [];
    for (let i = 0; i < 7; i += 1) made.unshift((await pay(merchant)).id);
    // All of one instant: their ids alone tell them apart.
    await test.db.query(
      `update transactions set created_at = date_trunc('second', created_at) where external_merchant_id = $1`,
      [externalMerchantId],
    );
    const listed: string[] = [];
    const sizes: number[] = [];
    let pageToken = '';
    do {
      const page = await desk.listTransactions({ externalMerchantId, pageSize: 3, pageToken });
      listed.push(...page.transactions.map(({ id }) => id));
      sizes.push(page.transactions.length);
      pageToken = page.nextPageToken;
      await pay(merchant);
    } while (pageToken !== '');
    assert.deepEqual(sizes, [3, 3, 1]);
    assert.deepEqual(listed.toSorted(), made.toSorted());
  });

  it('gives at most 50 in a page, or as many as were asked for up to 200', async () => {
    const merchant = await test.connect();
    const { id, externalMerchantId } = await pay(merchant);
    await test.db.query(
      `insert into transactions (id, external_id, external_merchant_id, account_id, mode, currency, requested_amount,
         payment_method, authorize_only, buyer_absent, state)
       select gen_random_uuid(), gen_random_uuid(), external_merchant_id, account_id, mode, currency, 1, '', false, false, 'captured'
       from transactions, generate_series(1, 250) where id = $1`,
      [id],
    );
    assert.equal((await ids({ externalMerchantId })).length, 50);
    assert.equal((await ids({ externalMerchantId, pageSize: 200 })).length, 200);
    assert.equal((await ids({ externalMerchantId, pageSize: 1 })).length, 1);
  });

  it('refuses what it cannot answer instead of answering something else', async () => {
    const token = (text: string) => ({ pageToken: Buffer.from(text).toString('base64url') });
    for (const request of [
      { pageSize: -1 },
      { pageSize: 201 },
      { merchantAccountId: 'not a uuid' },
      { states: [State.UNSPECIFIED] },
      { states: [99 as State] },
      { amount: 1n },
      { currency: 'EUR' },
      { amount: -1n, currency: 'EUR' },
      { amount: 1n, currency: 'euro' },
      { createdFrom: { seconds: -1n, nanos: 0 } },
      { pageToken: 'nonsense' },
      token('2026-11-24 11:00:00+00'),
      token(`yesterday|${randomUUID()}`),
      token(`2026-13-45 11:00:00+00|${randomUUID()}`),
      token(`2026-02-31 11:00:00+00|${randomUUID()}`),
      token(`2026-11-24 25:00:00+00|${randomUUID()}`),
      token(`2026-11-24 11:00:00+99|${randomUUID()}`),
      token(`0000-11-24 11:00:00+00|${randomUUID()}`),
      token("2026-11-24 11:00:00+00|' or true"),
    ])
      await assertFails(desk.listTransactions(request), Code.InvalidArgument, 'INVALID_ARGUMENT');
    for (const value of ['', 'nul \0', 'x'.repeat(201)])
      await assertFails(
        desk.getTransaction({ key: { case: 'externalId', value } }),
        Code.InvalidArgument,
        'INVALID_ARGUMENT',
      );
    assert.ok(test.log.lines.every(({ level }) => level !== 'error'));
  });

  it('reads an index for every filter, not all payments', async () => {
    const accountId = (await pay(await test.connect())).merchantAccountId;
    await test.db.query(
      `insert into transactions (id, external_id, external_merchant_id, account_id, mode, currency, requested_amount,
         payment_method, authorize_only, buyer_absent, state, created_at)
       select gen_random_uuid(), gen_random_uuid(), 'merchant ' || i % 500, $1, 'sandbox', 'EUR', 1, '', false, false,
         'captured', now() - i * interval '1 minute'
       from generate_series(1, 20000) as i`,
      [accountId],
    );
    await test.db.query('analyze transactions');
    const everything: Filter = {
      ...{ before: null, accountId: null, externalMerchantId: null, states: [], limit: 51 },
      ...{ createdFrom: null, createdBefore: null, requested: null },
    };
    const [middle] = await test.db.query<{ at: string }>(`select (now() - interval '5 days')::text as at`);
    const before = { at: middle?.at ?? '', id: randomUUID() };
    for (const [filter, index] of [
      [{}, 'transactions_newest'],
      [{ before }, 'transactions_newest'],
      [{ externalMerchantId: 'merchant 7', before }, 'transactions_of_merchant'],
      [{ accountId: randomUUID(), before }, 'transactions_of_account'],
      [{ states: ['pending', 'authorizing'], before }, 'transactions_of_state'],
      [{ states: ['voided'] }, 'transactions_of_state'],
      [{ states: ['captured'], before }, 'transactions_newest'],
      [{ createdFrom: new Date(0), createdBefore: new Date() }, 'transactions_newest'],
      [{ requested: { amount: 2n, currency: 'EUR' }, before }, 'transactions_of_amount'],
    ] as [Partial<Filter>, string][]) {
      let plan = '';
      const explain = {
        query: async <Row extends object>(sql: string, values?: readonly unknown[]) => {
          plan = JSON.stringify(await test.db.query(`explain ${sql}`, values));
          return [] as Row[];
        },
      };
      await listTransactions(explain, { ...everything, ...filter });
      assert.match(plan, new RegExp(`Index Scan (using|on) ${index} `), plan);
      assert.doesNotMatch(plan, /Seq Scan/, plan);
    }
    // Where all have one amount, that is no reason to look for another one through all of them.
    for (const column of ['requested_amount', 'currency'])
      await test.db.query(`alter table transactions alter column ${column} set (n_distinct = 1)`);
    await test.db.query('analyze transactions');
    await test.db.inTx(async (tx) => {
      await planForValues(tx);
      const requested = { amount: 2n, currency: 'EUR' };
      assert.deepEqual(await listTransactions(tx, { ...everything, requested }), []);
      const [read] = await tx.query<{ rows: bigint }>(
        `select seq_tup_read + idx_tup_fetch as rows from pg_stat_xact_user_tables where schemaname = 'core' and relname = 'transactions'`,
      );
      assert.ok(Number(read?.rows) < 100, `${read?.rows} rows were read`);
    });
  });
});
