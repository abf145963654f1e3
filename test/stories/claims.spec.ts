import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { declined } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { assertSays, useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';

// Reconciliation claims an operation without waiting for its payment's lock: what others decide meanwhile, and what it does itself
// afterwards, must still be true.

describe('R46 an operation that nobody could send in time', () => {
  const stage = useStage({ env: { ANSWER_BUDGET_MS: '1000', PROCESSOR_TIMEOUT_MS: '500', RECONCILE_GRACE_MS: '500' } });

  it('is never told failed, not sent, while it is sent again', async () => {
    const paid = await stage.pay();
    await stage.told(paid, 'transaction');
    const payment = await stage.wix.again(paid);
    const wixRefundId = randomUUID();
    const [row, table] = [new pg.Client(stage.url), new pg.Client(stage.url)];
    await Promise.all([row.connect(), table.connect()]);
    // tx 1 gets its row when the budget is over; what is then settled, as not sent, cannot be written until the table is free.
    await row.query('begin');
    await row.query('select from core.transactions where external_id = $1 for update', [payment.wixTransactionId]);
    await table.query('begin; lock table core.transactions in share mode');
    const begun = performance.now();
    const answer = stage.wix.refund(payment, { wixRefundId, amount: 400 });
    await eventually(() => assert.ok(performance.now() - begun > 1_100));
    await row.query('rollback');
    await eventually(async () => assert.equal(await stage.sends(payment, 'refund'), 1));
    await table.query('rollback');
    await Promise.all([row.end(), table.end()]);

    const event = await stage.told(payment, 'refund');
    assert.equal((await answer).body?.reasonCode, undefined);
    assertSays(await stage.wix.refund(payment, { wixRefundId, amount: 400 }));
    assert.equal(event.body.amount, '400');
    assert.equal(stage.charged(payment), 4190n);
    assert.deepEqual(stage.alerts(payment), []);
  });
});

describe('R46 an operation that reconciliation asks about', () => {
  const stage = useStage();

  /** The payment's only refund. */
  const refundOf = async ({ wixTransactionId }: Payment) => {
    const [row] = await stage.db.query<{ id: string; state: string; asks: number }>(
      `select o.id, o.state, o.asks from core.operations o join core.transactions t on t.id = o.transaction_id
       where t.external_id = $1 and o.kind = 'refund'`,
      [wixTransactionId],
    );
    return row;
  };

  it('is not sent again, if its end became known while the processor was asked', async () => {
    const payment = await stage.pay();
    stage.once('refund', 'unavailable');
    const asking = stage.hold('getOperation');
    const answer = stage.wix.refund(payment, { amount: 400 });
    await asking.reached;
    await stage.report(payment, 'refund', declined([3025, 'BALANCE', 'Merchant balance too low']));
    asking.release();
    await stage.told(payment, 'refund', 3025);
    await answer;
    const row = await refundOf(payment);
    await eventually(() =>
      assert.ok(
        stage.log.lines.some(({ event, operationId }) => event === 'reconcile.overtaken' && operationId === row?.id),
      ),
    );
    assert.equal(row?.state, 'declined');
    assert.equal(await stage.sends(payment, 'refund'), 1);
    assert.equal(stage.charged(payment), 4590n);
  });

  it('is sent again by one claim alone, if another was made meanwhile', async () => {
    const payment = await stage.pay();
    const wixRefundId = randomUUID();
    stage.once('refund', 'unavailable');
    const asking = stage.hold('getOperation');
    const first = stage.wix.refund(payment, { wixRefundId, amount: 400 });
    await asking.reached;
    const claims = (await refundOf(payment))?.asks ?? 0;
    // The same refund again is a claim of its own, as is one of reconciliation when the lease is over.
    const again = stage.wix.refund(payment, { wixRefundId, amount: 400 });
    await eventually(async () => assert.ok(((await refundOf(payment))?.asks ?? 0) > claims));
    asking.release();
    await stage.told(payment, 'refund');
    await Promise.all([first, again]);
    assert.equal(stage.charged(payment), 4190n);
    assert.equal(await stage.sends(payment, 'refund'), 2);
  });
});
