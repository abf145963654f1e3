import assert from 'node:assert/strict';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { approved, declined, pending } from '../engine/outcomes.ts';
import { useStage } from '../support/stage.ts';

describe('a payment that the processor decides later', () => {
  const stage = useStage();
  const reasonsTold = (wixTransactionId: string) =>
    stage.wix.events(wixTransactionId).map(({ body }) => body.reasonCode);

  it('is pending 5005 under review, then approved', async () => {
    const payment = await stage.pay({ number: '4000000000009235' });
    const { pluginTransactionId, wixTransactionId } = payment;
    assert.deepEqual(payment.answer.body, { pluginTransactionId, reasonCode: 5005 });
    await stage.told(payment, 'transaction');
    assert.deepEqual(reasonsTold(wixTransactionId), [5005, undefined]);
    assert.deepEqual((await stage.wix.again(payment)).answer.body, { pluginTransactionId });
    assert.equal(await stage.sends(payment, 'authorize'), 1);
  });

  it('is pending 5005 under review, then declined', async () => {
    const payment = await stage.pay({ number: '4000000000004954' });
    const { body } = await stage.told(payment, 'transaction', 5001);
    assert.deepEqual(reasonsTold(payment.wixTransactionId), [5005, 5001]);
    const again = await stage.wix.again(payment);
    assert.deepEqual({ wixTransactionId: payment.wixTransactionId, ...again.answer.body }, body);
  });

  it('is answered pending again while it is', async () => {
    stage.once('authorize', pending(Reason.PENDING_FRAUDULENT_TRANSACTION, ''));
    const payment = await stage.pay();
    assert.equal((await stage.wix.again(payment)).answer.text, payment.answer.text);
    await stage.report(payment, 'authorize', declined([Reason.RISK_MANAGEMENT_DECLINED, 'RISK', 'No']));
    assert.equal((await stage.wix.again(payment)).answer.body?.reasonCode, 5001);
  });

  it('is pending 5009 where the processor says no reason of Wix’s, and keeps its first code', async () => {
    stage.once('authorize', pending(Reason.GENERAL_BANK_DECLINE, ''));
    const payment = await stage.pay();
    assert.equal(payment.answer.body?.reasonCode, 5009);
    await stage.report(payment, 'authorize', pending(Reason.PENDING_FRAUDULENT_TRANSACTION, ''));
    assert.equal((await stage.wix.again(payment)).answer.body?.reasonCode, 5009);
    stage.engine.settle(stage.requestId(payment), approved({}));
    await stage.told(payment, 'transaction');
  });

  it('authorized only, is authorized when it is approved', async () => {
    const payment = await stage.pay({ number: '4000000000009235', authorizeOnly: true });
    await stage.told(payment, 'transaction');
    assert.equal(stage.charged(payment), 0n);
    assert.deepEqual((await stage.wix.capture(payment)).body, {});
    assert.equal(stage.charged(payment), 4590n);
  });

  it('R21 can be neither captured nor voided yet: 1006, and no event', async () => {
    const payment = await stage.pay({ number: '4000000000009235', authorizeOnly: true });
    assert.equal((await stage.wix.capture(payment)).body?.reasonCode, 1006);
    assert.equal((await stage.wix.void(payment)).body?.reasonCode, 1006);
    await stage.told(payment, 'transaction');
    assert.deepEqual(await stage.happened(payment), ['transaction_pending', 'transaction_approved']);
  });

  it('R15 is asked for by the core if the processor reports nothing', async () => {
    const { reportTo } = stage.engine;
    stage.engine.reportTo = undefined;
    const payment = await stage.pay({ number: '4000000000009235' });
    await stage.told(payment, 'transaction');
    stage.engine.reportTo = reportTo;
    assert.equal(stage.charged(payment), 4590n);
  });

  describe('until a time', () => {
    const soon = () => ({ case: 'pending' as const, value: { expiresAt: timestampFromMs(Date.now() + 300) } });

    it('R16 is cancelled after it, and declined 3035 only then', async () => {
      stage.once('authorize', { kind: soon() });
      const payment = await stage.pay();
      await stage.told(payment, 'transaction', 3035);
      assert.equal(stage.engine.books.find(stage.requestId(payment))?.ended, true);
      assert.equal(stage.engine.books.calls(stage.requestId(payment), 'cancel'), 1);
    });

    it('R16 is what the processor says when the cancel comes too late', async () => {
      const { reportTo } = stage.engine;
      stage.engine.reportTo = undefined;
      const cancel = stage.hold('cancel');
      stage.once('authorize', { kind: soon() });
      const payment = await stage.pay();
      await cancel.reached;
      stage.engine.settle(stage.requestId(payment), approved({ amount: 4590n }));
      cancel.release();
      await stage.told(payment, 'transaction');
      stage.engine.reportTo = reportTo;
      assert.deepEqual(await stage.happened(payment), ['transaction_pending', 'transaction_approved']);
    });

    it('R16 stays pending while nobody confirms its cancel', async () => {
      const cancel = stage.hold('cancel', 'unavailable');
      stage.once('authorize', { kind: soon() });
      const payment = await stage.pay();
      await cancel.reached;
      assert.equal((await stage.wix.again(payment)).answer.body?.reasonCode, 5009);
      cancel.release();
      await stage.told(payment, 'transaction', 3035);
      assert.ok(stage.engine.books.calls(stage.requestId(payment), 'cancel') >= 2);
    });
  });
});
