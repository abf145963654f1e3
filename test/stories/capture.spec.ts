import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code, ConnectError } from '@connectrpc/connect';
import { approved, declined, failed } from '../engine/outcomes.ts';
import { assertFails, assertSays, SLOW, useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';

describe('capturing a payment', () => {
  const stage = useStage({ env: SLOW });
  const authorize = () => stage.pay({ authorizeOnly: true });

  it('takes the whole authorised amount, and nothing before', async () => {
    const payment = await authorize();
    assert.equal(stage.charged(payment), 0n);
    const { body } = await stage.wix.capture(payment);
    assert.deepEqual(body, {});
    assert.equal(stage.charged(payment), 4590n);
    const event = await stage.told(payment, 'capture');
    assert.deepEqual(event.body, { wixTransactionId: payment.wixTransactionId, amount: '4590' });
  });

  it('takes a part, once, and releases the rest', async () => {
    const payment = await authorize();
    assertSays(await stage.wix.capture(payment, 3000));
    assertSays(await stage.wix.capture(payment, 1590), 3031, 'ALREADY_CAPTURED');
    assert.equal((await stage.told(payment, 'capture')).body.amount, '3000');
    assert.equal(stage.charged(payment), 3000n);
  });

  it('R18 books what was captured, if the processor takes less than it was asked for', async () => {
    const payment = await authorize();
    stage.once('capture', approved({ amount: 4000n }));
    assertSays(await stage.wix.capture(payment));
    assert.equal((await stage.told(payment, 'capture')).body.amount, '4000');
    assertSays(await stage.wix.refund(payment, { amount: 4001 }), 3025, 'AMOUNT');
    assertSays(await stage.wix.refund(payment, { amount: 4000 }));
  });

  it('R11 may come with the credentials of a later connect, and is for the account of the payment', async () => {
    const payment = await authorize();
    const { merchantId } = stage.merchant;
    const { credentials } = await stage.connect({ merchantId, credentials: { api_key: 'new', account_ref: 'HP-30' } });
    assertSays(await stage.wix.capture({ ...payment, credentials }));
    const [authorization, capture] = stage.engine.books.operations(payment.pluginTransactionId);
    assert.equal(capture?.accountReference, authorization?.accountReference);
  });

  it('R21 happens once when Wix asks ten times at once', async () => {
    const payment = await authorize();
    const answers = await Promise.all(Array.from({ length: 10 }, () => stage.wix.capture(payment)));
    assert.deepEqual(answers.map(({ body }) => body?.errorCode ?? 'success').sort(), [
      ...Array(9).fill('ALREADY_CAPTURED'),
      'success',
    ]);
    assert.equal(await stage.sends(payment, 'capture'), 1);
    assert.deepEqual(await stage.happened(payment), ['transaction_approved', 'capture_succeeded']);
  });

  it('R21 is answered from its operation when the gateway repeats its call, and as a new call otherwise', async () => {
    const payment = await authorize();
    const gateway = stage.as('gateway', 'gateway');
    const call = (callId: string) =>
      gateway.captureTransaction({
        externalId: payment.wixTransactionId,
        transactionId: payment.pluginTransactionId,
        merchantCredentials: { values: payment.credentials },
        amount: 4590n,
        callId,
      });
    const callId = randomUUID();
    const [first, repeat] = await Promise.all([call(callId), call(callId)]);
    assert.deepEqual([first.refusal, repeat.refusal], [undefined, undefined]);
    assert.equal(first.operation?.id, repeat.operation?.id);
    assert.equal((await call(randomUUID())).refusal?.errorCode, 'ALREADY_CAPTURED');
    assert.equal(await stage.sends(payment, 'capture'), 1);
  });

  it('R21 is not answered from the operation of another payment or kind that has its call_id', async () => {
    const [first, second, third] = [await authorize(), await authorize(), await authorize()];
    const gateway = stage.as('gateway', 'gateway');
    const call = ({
      wixTransactionId: externalId,
      pluginTransactionId: transactionId,
      credentials: values,
    }: Payment) => ({
      ...{ externalId, transactionId, merchantCredentials: { values }, amount: 4590n },
    });
    const callId = randomUUID();
    await gateway.captureTransaction({ ...call(first), callId });
    const voided = randomUUID();
    await gateway.voidTransaction({ ...call(third), callId: voided });
    for (const repeat of [
      gateway.captureTransaction({ ...call(second), callId }),
      gateway.voidTransaction({ ...call(first), callId }),
      gateway.captureTransaction({ ...call(third), callId: voided }),
    ])
      await assertFails(repeat, Code.AlreadyExists, 'CALL_ID_USED');
    assert.deepEqual(await stage.happened(second), ['transaction_approved']);
    assertSays(await stage.wix.capture(second));
  });

  it('that is declined leaves the payment authorized, is told, and may be tried again', async () => {
    const payment = await authorize();
    stage.once('capture', declined([1009, 'ACQ-13', 'Not now']));
    assertSays(await stage.wix.capture(payment), 1009, 'ACQ-13');
    const { body } = await stage.told(payment, 'capture', 1009);
    assert.deepEqual(body, {
      ...{ wixTransactionId: payment.wixTransactionId, amount: '4590' },
      ...{ reasonCode: 1009, errorCode: 'ACQ-13', errorMessage: 'Not now' },
    });
    assertSays(await stage.wix.capture(payment, 4000));
    assert.equal((await stage.told(payment, 'capture')).body.amount, '4000');
    assert.equal(await stage.sends(payment, 'capture'), 2);
  });

  it('R18 that is declined with a reason of payments is told as 6000, with its number', async () => {
    const payment = await authorize();
    stage.once('capture', declined([3012, 'ACQ-51', 'Not sufficient funds']));
    assertSays(await stage.wix.capture(payment), 6000, '3012');
    assertSays(await stage.wix.void(payment));
  });

  it('R8 R18 that certainly did not happen failed with 1003, is told, and may be tried again', async () => {
    const payment = await authorize();
    stage.once('capture', failed('DOWN', 'Not processed'));
    assertSays(await stage.wix.capture(payment), 1003, 'DOWN');
    stage.once('capture', new ConnectError('no', Code.Unauthenticated));
    assertSays(await stage.wix.capture(payment), 1003, 'PROCESSOR_REFUSED');
    assertSays(await stage.wix.capture(payment));
    assert.deepEqual(await stage.happened(payment), [
      'transaction_approved',
      ...['capture_failed', 'capture_failed', 'capture_succeeded'],
    ]);
  });

  describe('whose outcome is not known', () => {
    it('is 503, which says nothing of the money, and is told once it is known', async () => {
      const payment = await authorize();
      stage.once('capture', 'drop answer');
      assert.equal((await stage.wix.capture(payment)).status, 503);
      assert.equal((await stage.told(payment, 'capture')).body.amount, '4590');
      assert.equal(await stage.sends(payment, 'capture'), 1);
      assertSays(await stage.wix.capture(payment), 3031, 'ALREADY_CAPTURED');
    });

    it('R15 is sent again under the same request id if the processor has not seen it', async () => {
      const payment = await authorize();
      stage.once('capture', 'unavailable');
      assert.equal((await stage.wix.capture(payment)).status, 503);
      await stage.told(payment, 'capture');
      assert.equal(await stage.sends(payment, 'capture'), 2);
      const { operations } = await stage.find(payment);
      assert.equal(operations.length, 2);
    });

    it('R19 is not known while the processor says pending, and is what it reports', async () => {
      const payment = await authorize();
      stage.once('capture', { kind: { case: 'pending', value: {} } });
      assert.equal((await stage.wix.capture(payment)).status, 503);
      const { operations } = await stage.find(payment);
      stage.engine.settle(operations.at(-1)?.id ?? '', declined([1009, 'ACQ-13', 'Not now']));
      await stage.told(payment, 'capture', 1009);
      assertSays(await stage.wix.capture(payment));
    });

    it('R4 is 503 when the budget is over, and is told when the processor has answered', async () => {
      const payment = await authorize();
      const slow = stage.hold('capture');
      assert.equal((await stage.wix.capture(payment)).status, 503);
      slow.release();
      await stage.told(payment, 'capture');
      assert.equal(stage.charged(payment), 4590n);
    });

    it('R21 lets another call wait, and answers it 503 if it waits in vain', async () => {
      const payment = await authorize();
      stage.once('capture', { kind: { case: 'pending', value: {} } });
      assert.equal((await stage.wix.capture(payment)).status, 503);
      const answers = await Promise.all([stage.wix.capture(payment), stage.wix.void(payment)]);
      assert.deepEqual(
        answers.map(({ status }) => status),
        [503, 503],
      );
      const { operations } = await stage.find(payment);
      stage.engine.settle(operations.at(-1)?.id ?? '', approved({}));
      await stage.told(payment, 'capture');
      assert.deepEqual(await stage.happened(payment), ['transaction_approved', 'capture_succeeded']);
    });
  });
});
