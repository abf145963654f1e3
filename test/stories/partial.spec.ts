import assert from 'node:assert/strict';
import { Code } from '@connectrpc/connect';
import { approved } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { assertFails, assertSays, useStage } from '../support/stage.ts';
import type { PaymentOptions } from '../wix/requests.ts';
import type { Merchant } from '../wix/wix.ts';

/** The simulated engine approves half of what is asked, if it is told that this will do. */
const HALF = '4000000000030124';

describe('U3 a payment of which a part is approved', () => {
  const stage = useStage();
  let consenting: Merchant;
  before(async () => {
    const credentials = { api_key: 'test', account_ref: 'takes-parts', allowPartial: 'true' };
    consenting = await stage.connect({ credentials });
  });
  const pay = (options: PaymentOptions = {}) => stage.wix.pay(consenting, { number: HALF, ...options });

  it('is approved for a merchant that takes it, and told with the amount', async () => {
    const payment = await pay();
    const { pluginTransactionId, wixTransactionId } = payment;
    assert.deepEqual(payment.answer.body, { pluginTransactionId });
    const { body } = await stage.told(payment, 'transaction');
    assert.deepEqual(body, { wixTransactionId, pluginTransactionId, authorizedAmount: '2295' });
    assert.equal(stage.charged(payment), 2295n);
    assert.deepEqual(stage.alerts(payment), []);
    assert.deepEqual((await stage.wix.again(payment)).answer.body, { pluginTransactionId });
  });

  it('is declined 3012 by the engine for a merchant that does not', async () => {
    const payment = await stage.pay({ number: HALF });
    assertSays(payment.answer, 3012, 'ACQ-51');
    assert.equal(stage.charged(payment), 0n);
  });

  it('is refunded up to what was approved', async () => {
    const payment = await pay();
    assertSays(await stage.wix.refund(payment, { amount: 2296 }), 3025, 'AMOUNT');
    assertSays(await stage.wix.refund(payment, { amount: 295 }));
    assertSays(await stage.wix.refund(payment));
    assert.equal(stage.charged(payment), 0n);
  });

  it('is captured up to what was approved, and voided as that', async () => {
    const [captured, voided] = [await pay({ authorizeOnly: true }), await pay({ authorizeOnly: true })];
    assertSays(await stage.wix.capture(captured, 4590), 3001, 'AMOUNT');
    assertSays(await stage.wix.capture(captured, 2295));
    assertSays(await stage.wix.void(voided, 4590), 3001, 'AMOUNT');
    assertSays(await stage.wix.void(voided, 2295));
    assert.deepEqual([captured, voided].map(stage.charged), [2295n, 0n]);
  });

  it('is approved later by the consent that it was made with, whatever the merchant says meanwhile', async () => {
    const payment = await pay({ number: '4000000000009235' });
    const { merchantId, credentials } = consenting;
    await stage.connect({ merchantId, credentials: { ...credentials, allowPartial: 'false' } });
    assertSays((await pay()).answer, 3012, 'ACQ-51');
    stage.engine.settle(stage.requestId(payment), approved({ amount: 2000n }));
    assert.equal((await stage.told(payment, 'transaction')).body.authorizedAmount, '2000');
    await stage.report(payment, 'authorize', approved({ amount: 2000n }));
    await assertFails(
      stage.report(payment, 'authorize', approved({ amount: 2001n })),
      Code.FailedPrecondition,
      'CONTRADICTION',
    );
    await stage.connect({ merchantId, credentials });
  });

  it('of nothing is no part: declined and reversed', async () => {
    stage.once('authorize', approved({ amount: 0n }));
    const payment = await pay();
    assertSays(payment.answer, 3012, 'PARTIAL');
    await eventually(async () => assert.equal((await stage.happened(payment)).at(-1), 'transaction_reversed'));
  });

  it('is no part when all of it is approved: the event names no amount', async () => {
    const payment = await pay({ number: '4242424242424242' });
    assert.equal((await stage.told(payment, 'transaction')).body.authorizedAmount, undefined);
  });
});
