import assert from 'node:assert/strict';
import { Code } from '@connectrpc/connect';
import { approved, failed } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { assertSays, useStage } from '../support/stage.ts';
import type { PaymentOptions } from '../wix/requests.ts';
import type { Payment } from '../wix/wix.ts';

describe('R17 an approval that Wix must not have', () => {
  const stage = useStage();

  /** A payment that the processor charged, and of which it said that nothing happened. */
  const payUnseen = async (options?: PaymentOptions) => {
    stage.always('authorize', 'drop answer');
    stage.always('getOperation', failed('LOST', 'No such order'));
    const payment = await stage.pay(options);
    await stage.told(payment, 'transaction', 1003);
    stage.heal();
    return payment;
  };
  const reversed = (payment: Payment) =>
    eventually(async () => assert.equal((await stage.happened(payment)).at(-1), 'transaction_reversed'));

  it('of a declined payment is reversed when it is reported, with nothing to Wix', async () => {
    const payment = await payUnseen();
    await stage.report(payment, 'authorize', approved({}));
    await reversed(payment);
    assert.deepEqual(await stage.happened(payment), [
      ...['transaction_pending', 'transaction_declined', 'transaction_reversed'],
    ]);
    assert.equal(stage.charged(payment), 0n);
    assert.deepEqual(stage.alerts(payment), ['late_approval']);
    assertSays((await stage.wix.again(payment)).answer, 1003, 'LOST');
  });

  it('is released if it was authorized only', async () => {
    const payment = await payUnseen({ authorizeOnly: true });
    await stage.report(payment, 'authorize', approved({}));
    await reversed(payment);
  });

  it('is reversed once, however often it is reported', async () => {
    const payment = await payUnseen();
    await Promise.all([1, 2, 3].map(() => stage.report(payment, 'authorize', approved({}))));
    await reversed(payment);
    await stage.report(payment, 'authorize', approved({}));
    const reversals = stage.engine.books
      .operations(payment.pluginTransactionId)
      .filter(({ kind }) => kind === 'reversal');
    assert.equal(reversals.length, 1);
    assert.deepEqual(stage.alerts(payment), ['late_approval']);
  });

  it('is reversed until the processor confirms it, with an alert at the first failure', async () => {
    const payment = await payUnseen();
    const broken = stage.hold('reverse', 'unavailable');
    await stage.report(payment, 'authorize', approved({}));
    await broken.reached;
    broken.release();
    await reversed(payment);
    assert.deepEqual(stage.alerts(payment), ['late_approval', 'reversal_not_confirmed']);
    assert.ok(stage.engine.books.calls(stage.requestId(payment), 'reverse') >= 2);
  });

  it('R18 of a part only is declined with 3012 and reversed at once', async () => {
    stage.once('authorize', approved({ amount: 2000n }));
    const payment = await stage.pay();
    assertSays(payment.answer, 3012, 'PARTIAL');
    await stage.told(payment, 'transaction', 3012);
    await reversed(payment);
    assert.deepEqual(stage.alerts(payment), ['partial_approval']);
    assert.equal(stage.charged(payment), 0n);
  });

  it('R18 of a part only is declined and reversed when it comes late, too', async () => {
    const payment = await stage.pay({ number: '4000000000009235' });
    stage.engine.settle(stage.requestId(payment), approved({ amount: 2000n }));
    await stage.told(payment, 'transaction', 3012);
    await reversed(payment);
  });

  it('is not sent for a payment that Wix believes approved', async () => {
    const payment = await stage.pay();
    await assert.rejects(stage.report(payment, 'authorize', failed('LOST', 'No such order')), {
      code: Code.FailedPrecondition,
    });
    const { operations } = await stage.find(payment);
    assert.equal(operations.length, 1);
    assert.equal(stage.charged(payment), 4590n);
  });
});
