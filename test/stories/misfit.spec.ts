import assert from 'node:assert/strict';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { approved, declined, pending } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { assertContract } from '../support/judge.ts';
import { assertFails, assertSays, type Kind, useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';

describe('R18 an approval that does not fit what was asked', () => {
  // An operator settles it in words; what the processor really took is between the two of them.
  const stage = useStage({ judge: assertContract });

  /** Nobody but an operator may touch it: it is due never again, and a report changes nothing. */
  const assertHeld = async (payment: Payment, kind: Kind) => {
    const rows = await stage.db.query(`select held, due_at from operations where transaction_id = $1 and kind = $2`, [
      payment.pluginTransactionId,
      kind,
    ]);
    assert.deepEqual(rows, [{ held: true, due_at: null }]);
    assert.ok(stage.alerts(payment).includes('outcome_does_not_fit'));
    await assertFails(stage.report(payment, kind, approved({})), Code.FailedPrecondition, 'CONTRADICTION');
  };

  for (const [what, outcome] of [
    ['above what was asked', approved({ amount: 9000n })],
    ['in another currency', approved({ currency: 'USD' })],
  ] as const)
    it(`leaves a payment approved ${what} pending 5009, until an operator approves it`, async () => {
      stage.once('authorize', outcome);
      const payment = await stage.pay();
      assert.equal(payment.answer.body?.reasonCode, 5009);
      await assertHeld(payment, 'authorize');
      await stage.report(payment, 'authorize', approved({}), 'the processor corrected it');
      await stage.told(payment, 'transaction');
      assert.deepEqual((await stage.wix.again(payment)).answer.body, {
        pluginTransactionId: payment.pluginTransactionId,
      });
    });

  it('R24 is reversed when an operator declines the payment', async () => {
    stage.once('authorize', approved({ amount: 9000n }));
    const payment = await stage.pay();
    assert.equal(stage.charged(payment), 9000n);
    await stage.report(payment, 'authorize', declined([3000, 'OPS', 'Declined by hand']), 'wrong amount');
    await stage.told(payment, 'transaction', 3000);
    await eventually(async () => assert.equal((await stage.happened(payment)).at(-1), 'transaction_reversed'));
    assert.equal(stage.charged(payment), 0n);
  });

  it('ends the waiting for a buyer, and no expiry cancels it', async () => {
    const url = 'https://pay.harbor.example/3ds/1';
    const expiresAt = timestampFromMs(Date.now() + 400);
    stage.once('authorize', { kind: { case: 'buyerAction', value: { url, expiresAt } } });
    const cancel = stage.hold('cancel', pending(5009, ''));
    const payment = await stage.pay();
    await cancel.reached;
    stage.engine.settle(stage.requestId(payment), approved({ amount: 9000n }));
    await stage.told(payment, 'transaction', 5009);
    cancel.release();
    await assertHeld(payment, 'authorize');
    const cancels = await stage.db.query(`select state from operations where transaction_id = $1 and kind = 'cancel'`, [
      payment.pluginTransactionId,
    ]);
    assert.deepEqual(cancels, [{ state: 'closed' }]);
    await stage.report(payment, 'authorize', approved({}), 'the processor corrected it');
    await stage.told(payment, 'transaction');
  });

  it('leaves a capture above what was asked unknown, until an operator settles it', async () => {
    const payment = await stage.pay({ authorizeOnly: true });
    stage.once('capture', approved({ amount: 9000n }));
    assert.equal((await stage.wix.capture(payment)).status, 503);
    await assertHeld(payment, 'capture');
    await stage.report(payment, 'capture', approved({}), 'the processor corrected it');
    assert.equal((await stage.told(payment, 'capture')).body.amount, '4590');
  });

  it('leaves a void of another amount unknown, until an operator settles it', async () => {
    const payment = await stage.pay({ authorizeOnly: true });
    stage.once('void', approved({ amount: 1000n }));
    assert.equal((await stage.wix.void(payment)).status, 503);
    await assertHeld(payment, 'void');
    await stage.report(payment, 'void', approved({}), 'the processor corrected it');
    await stage.told(payment, 'void');
  });

  for (const amount of [1000n, 3000n])
    it(`leaves a refund of 2000 approved with ${amount} unknown and its amount reserved, until an operator settles it`, async () => {
      const payment = await stage.pay();
      stage.once('refund', approved({ amount }));
      assert.equal((await stage.wix.refund(payment, { amount: 2000 })).status, 503);
      await assertHeld(payment, 'refund');
      assertSays(await stage.wix.refund(payment, { amount: 500 }), 1013, 'REFUND_IN_PROGRESS');
      await stage.report(payment, 'refund', approved({}), 'the processor corrected it');
      assert.equal((await stage.told(payment, 'refund')).body.amount, '2000');
    });
});
