import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code, ConnectError } from '@connectrpc/connect';
import { declined, failed } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { assertSays, useStage } from '../support/stage.ts';

describe('refunding a payment', () => {
  const stage = useStage();

  it('returns the whole, and tells so', async () => {
    const payment = await stage.pay();
    const wixRefundId = randomUUID();
    const { body } = await stage.wix.refund(payment, { wixRefundId, amount: 4590 });
    assert.deepEqual(Object.keys(body ?? {}), ['pluginRefundId']);
    const event = await stage.told(payment, 'refund');
    assert.deepEqual(event.body, {
      ...{ wixTransactionId: payment.wixTransactionId, ...body },
      ...{ amount: '4590', wixRefundId },
    });
    assert.equal(stage.charged(payment), 0n);
  });

  it('returns parts, each under its own id, until nothing is left: then 3023', async () => {
    const payment = await stage.pay();
    const answers = [];
    for (const amount of [1500, 1000, 2090]) answers.push(await stage.wix.refund(payment, { amount }));
    for (const answer of answers) assertSays(answer);
    assert.equal(new Set(answers.map(({ body }) => body?.pluginRefundId)).size, 3);
    assert.equal(stage.charged(payment), 0n);
    assertSays(await stage.wix.refund(payment, { amount: 1 }), 3023, 'NOTHING_LEFT');
    assert.equal((await stage.told(payment, 'refund', 3023)).body.amount, '1');
  });

  it('R22 returns what remains where no amount is said', async () => {
    const payment = await stage.pay();
    assertSays(await stage.wix.refund(payment, { amount: 1500 }));
    const wixRefundId = randomUUID();
    const rest = await stage.wix.refund(payment, { wixRefundId });
    const { body } = await stage.wix.eventFor(
      payment.wixTransactionId,
      (event) => event.body.wixRefundId === wixRefundId,
    );
    assert.equal(body.amount, '3090');
    assert.equal((await stage.wix.refund(payment, { wixRefundId })).text, rest.text);
    assert.equal(stage.charged(payment), 0n);
    assertSays(await stage.wix.refund(payment), 3023, 'NOTHING_LEFT');
  });

  it('R22 never returns more than was captured, however many are asked for at once', async () => {
    const payment = await stage.pay();
    const answers = await Promise.all(Array.from({ length: 10 }, () => stage.wix.refund(payment, { amount: 1000 })));
    const codes = answers.map(({ body }) => body?.reasonCode ?? 'success').sort();
    assert.deepEqual(codes, [...Array(6).fill(3025), ...Array(4).fill('success')]);
    assert.equal(stage.charged(payment), 590n);
  });

  it('R22 runs beside another one that still runs, whose amount is reserved', async () => {
    const payment = await stage.pay();
    const slow = stage.hold('refund');
    const first = stage.wix.refund(payment, { amount: 3000 });
    await slow.reached;
    assertSays(await stage.wix.refund(payment, { amount: 2000 }), 3025, 'AMOUNT');
    const second = stage.wix.refund(payment, { amount: 1590 });
    await eventually(() => assert.equal(slow.calls(), 2));
    // All is reserved, and none of it refunded yet.
    for (const amount of [{}, { amount: 1 }]) assertSays(await stage.wix.refund(payment, amount), 3025, 'AMOUNT');
    slow.release();
    assertSays(await first);
    assertSays(await second);
    assert.equal(stage.charged(payment), 0n);
  });

  it('R18 counts from what was captured, not from what was authorised', async () => {
    const payment = await stage.pay({ authorizeOnly: true });
    await stage.wix.capture(payment, 3000);
    assertSays(await stage.wix.refund(payment, { amount: 3001 }), 3025, 'AMOUNT');
    assertSays(await stage.wix.refund(payment, { amount: 3000 }));
    assert.equal(stage.charged(payment), 0n);
  });

  it('waits for a capture that is running', async () => {
    const payment = await stage.pay({ authorizeOnly: true });
    const running = stage.hold('capture');
    const captured = stage.wix.capture(payment);
    await running.reached;
    const refunded = stage.wix.refund(payment);
    running.release();
    assertSays(await captured);
    assertSays(await refunded);
    assert.deepEqual(await stage.happened(payment), ['transaction_approved', 'capture_succeeded', 'refund_succeeded']);
  });

  it('that the processor declines is told, and its amount is free again', async () => {
    const payment = await stage.pay();
    stage.once('refund', declined([3025, 'BALANCE', 'Merchant balance too low']));
    const { body } = await stage.wix.refund(payment, { amount: 4590 });
    const event = await stage.told(payment, 'refund', 3025);
    const { wixTransactionId, wixRefundId: _, amount, ...said } = event.body;
    assert.deepEqual(said, body);
    assert.deepEqual([wixTransactionId, amount], [payment.wixTransactionId, '4590']);
    assert.equal(stage.charged(payment), 4590n);
    assertSays(await stage.wix.refund(payment, { amount: 4590 }));
  });

  it('R18 that is declined with a reason of payments is told as 1013, with its number', async () => {
    const payment = await stage.pay();
    stage.once('refund', declined([3012, 'ACQ-51', 'Not sufficient funds']));
    assertSays(await stage.wix.refund(payment), 1013, '3012');
  });

  it('R8 R18 that certainly did not happen failed with 1013, is told, and frees its amount', async () => {
    const payment = await stage.pay();
    for (const [fault, errorCode] of [
      [failed('DOWN', 'Not processed'), 'DOWN'],
      [new ConnectError('no', Code.Unimplemented), 'PROCESSOR_REFUSED'],
    ] as const) {
      stage.once('refund', fault);
      assertSays(await stage.wix.refund(payment, { amount: 4590 }), 1013, errorCode);
    }
    assertSays(await stage.wix.refund(payment, { amount: 4590 }));
  });

  it('leaves the answer to a repeated create as it was', async () => {
    const payment = await stage.pay();
    await stage.wix.refund(payment);
    assert.equal((await stage.wix.again(payment)).answer.text, payment.answer.text);
  });

  describe('again, with the id of an earlier one', () => {
    it('R9 is answered as the first time, and returns nothing more', async () => {
      const payment = await stage.pay();
      const options = { wixRefundId: randomUUID(), amount: 1000 };
      const first = await stage.wix.refund(payment, options);
      const answers = await Promise.all([1, 2, 3].map(() => stage.wix.refund(payment, options)));
      for (const { text } of answers) assert.equal(text, first.text);
      assert.equal(stage.charged(payment), 3590n);
    });

    it('R9 is one refund, when both come at once', async () => {
      const payment = await stage.pay();
      const options = { wixRefundId: randomUUID(), amount: 1000 };
      const answers = await Promise.all(Array.from({ length: 10 }, () => stage.wix.refund(payment, options)));
      assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
      assert.equal(stage.charged(payment), 3590n);
      assert.deepEqual(await stage.happened(payment), ['transaction_approved', 'refund_succeeded']);
    });

    it('R9 is answered as the first time after a refusal, though it could succeed now', async () => {
      const payment = await stage.pay();
      const options = { wixRefundId: randomUUID(), amount: 1000 };
      stage.once('refund', declined([3025, 'BALANCE', 'Merchant balance too low']));
      const first = await stage.wix.refund(payment, options);
      assert.equal((await stage.wix.refund(payment, options)).text, first.text);
      assert.equal(stage.charged(payment), 4590n);
    });

    it('R13 is answered as the first time, whatever amount it names now', async () => {
      const payment = await stage.pay();
      const wixRefundId = randomUUID();
      const first = await stage.wix.refund(payment, { wixRefundId, amount: 1000 });
      const again = await stage.as('gateway', 'gateway').refundTransaction({
        externalId: payment.wixTransactionId,
        externalRefundId: wixRefundId,
        transactionId: payment.pluginTransactionId,
        merchantCredentials: { values: payment.credentials },
        amount: 4590n,
      });
      assert.equal(again.operation?.id, first.body?.pluginRefundId);
      assert.equal(again.operation?.amount, 1000n);
      assert.equal(stage.charged(payment), 3590n);
    });

    it('R9 belongs to one payment, when two come with it at once', async () => {
      const payments = [await stage.pay(), await stage.pay()];
      const options = { wixRefundId: randomUUID(), amount: 1000 };
      const answers = await Promise.all(payments.map((payment) => stage.wix.refund(payment, options)));
      assert.deepEqual(answers.map(({ body }) => body?.reasonCode ?? 'success').sort(), [1009, 'success']);
      assert.equal(
        payments.map(stage.charged).reduce((sum, each) => sum + each),
        8180n,
      );
    });

    it('R9 of another payment is refused with 1009, without an event', async () => {
      const [payment, other] = [await stage.pay(), await stage.pay()];
      const options = { wixRefundId: randomUUID(), amount: 1000 };
      await stage.wix.refund(payment, options);
      const { body } = await stage.wix.refund(other, options);
      assert.deepEqual([body?.reasonCode, body?.errorCode, body?.pluginRefundId], [1009, 'REFUND_ID', undefined]);
      assert.deepEqual(await stage.happened(other), ['transaction_approved']);
      assert.equal(stage.charged(other), 4590n);
    });
  });
});
