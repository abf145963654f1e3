import assert from 'node:assert/strict';
import { assertSays, useStage } from '../support/stage.ts';
import type { Operation } from '../wix/client.ts';
import type { JsonObject } from '../wix/json.ts';
import { captureRequest, paymentRequest, refundRequest } from '../wix/requests.ts';

describe('R3 a caller that hangs up in the middle', () => {
  const stage = useStage();

  /** Sends a call, hangs up while the processor works on it, and lets the processor go on. */
  const hangUp = async (operation: Operation, method: 'authorize' | 'capture' | 'refund', body: JsonObject) => {
    const working = stage.hold(method);
    const caller = new AbortController();
    const call = stage.wix.call(stage.gatewayUrl, operation, body, { signal: caller.signal });
    await working.reached;
    caller.abort();
    await assert.rejects(call, { name: 'AbortError' });
    working.release();
  };

  it('changes nothing of a sale: it is charged once and told, and a repeat hears of it', async () => {
    const request = paymentRequest(stage.merchant);
    await hangUp('create', 'authorize', request);
    await stage.wix.eventFor(String(request.wixTransactionId));
    const payment = await stage.wix.create(stage.merchant, request);
    assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId });
    assert.equal(await stage.sends(payment, 'authorize'), 1);
    assert.equal(stage.charged(payment), 4590n);
  });

  it('changes nothing of a capture', async () => {
    const payment = await stage.pay({ authorizeOnly: true });
    await hangUp('capture', 'capture', captureRequest(payment, 4590));
    await stage.told(payment, 'capture');
    assertSays(await stage.wix.capture(payment), 3031, 'ALREADY_CAPTURED');
    assert.equal(await stage.sends(payment, 'capture'), 1);
  });

  it('changes nothing of a refund', async () => {
    const payment = await stage.pay();
    const request = refundRequest(payment, { amount: 1000 });
    await hangUp('refund', 'refund', request);
    const { body } = await stage.told(payment, 'refund');
    const again = await stage.wix.call(stage.gatewayUrl, 'refund', request);
    assert.deepEqual(again.body, { pluginRefundId: body.pluginRefundId });
    assert.equal(stage.charged(payment), 3590n);
  });

  it('changes nothing when it was one of two that sent the same', async () => {
    const request = paymentRequest(stage.merchant);
    const patient = stage.wix.create(stage.merchant, request);
    await hangUp('create', 'authorize', request);
    const payment = await patient;
    assert.equal(payment.answer.body?.reasonCode, undefined);
    assert.equal(await stage.sends(payment, 'authorize'), 1);
  });
});
