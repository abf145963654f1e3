import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { declined } from '../engine/outcomes.ts';
import { assertSays, useStage } from '../support/stage.ts';
import type { RefundOptions } from '../wix/requests.ts';
import type { Payment } from '../wix/wix.ts';

describe('a refund that cannot be', () => {
  const stage = useStage();

  /** Asserts the refusal, and that its event says the same. */
  const refused = async (payment: Payment, reasonCode: number, errorCode: string, options: RefundOptions = {}) => {
    const wixRefundId = randomUUID();
    const answer = await stage.wix.refund(payment, { amount: 1000, ...options, wixRefundId });
    assertSays(answer, reasonCode, errorCode);
    const { body } = await stage.wix.eventFor(
      payment.wixTransactionId,
      (event) => event.body.wixRefundId === wixRefundId,
    );
    const { wixTransactionId, amount, wixRefundId: _, ...said } = body;
    assert.deepEqual(said, answer.body);
    assert.deepEqual([wixTransactionId, amount], [payment.wixTransactionId, String(options.amount ?? 1000)]);
  };

  /** No refund is kept of the payment, and nobody hears of one. */
  const assertUntouched = async (payment: Payment) => {
    const kept = await stage.db.query(
      `select operations.id from operations join transactions on transactions.id = transaction_id
       where external_id = $1 and kind = 'refund'`,
      [payment.wixTransactionId],
    );
    assert.deepEqual(kept, []);
    assert.equal((await stage.happened(payment)).length, 1);
  };

  it('is refused with 3022 and told, of a payment that is not captured', async () => {
    const [authorized, voided] = [await stage.pay({ authorizeOnly: true }), await stage.pay({ authorizeOnly: true })];
    await stage.wix.void(voided);
    await refused(voided, 3022, 'NOT_CAPTURED');
    await refused(authorized, 3022, 'NOT_CAPTURED');
    assert.equal((await stage.sends(authorized, 'refund')) + (await stage.sends(voided, 'refund')), 0);
  });

  it('is refused with 3022 while the payment is pending, and told after its approval', async () => {
    const payment = await stage.pay({ number: '4000000000009235' });
    await refused(payment, 3022, 'NOT_CAPTURED');
    const told = stage.wix.events(payment.wixTransactionId).map(({ kind, body }) => [kind, body.reasonCode]);
    assert.deepEqual(told, [
      ['transaction', 5005],
      ['transaction', undefined],
      ['refund', 3022],
    ]);
    assertSays(await stage.wix.refund(payment, { amount: 1000 }));
  });

  it('U17 is not told, if the payment ends declined', async () => {
    const payment = await stage.pay({ number: '4000000000004954' });
    assertSays(await stage.wix.refund(payment, { amount: 1000 }), 3022, 'NOT_CAPTURED');
    await stage.told(payment, 'transaction', 5001);
    assertSays(await stage.wix.refund(payment, { amount: 1000 }), 3022, 'NOT_CAPTURED');
    // It is settled once nothing waits for its turn any more.
    await stage.settled(payment);
    assert.deepEqual(
      stage.wix.events(payment.wixTransactionId).map(({ kind, body }) => [kind, body.reasonCode]),
      [
        ['transaction', 5005],
        ['transaction', 5001],
      ],
    );
  });

  it('R11 is refused with 3022 NO_PAYMENT and told, with a wrong plugin id', async () => {
    const payment = await stage.pay();
    await refused({ ...payment, pluginTransactionId: randomUUID() }, 3022, 'NO_PAYMENT');
    assert.equal(await stage.sends(payment, 'refund'), 0);
  });

  it('R22 with credentials that are not of the payment’s merchant is answered as of an unknown payment, each time, and keeps nothing', async () => {
    const [captured, authorized, declined] = [
      await stage.pay(),
      await stage.pay({ authorizeOnly: true }),
      await stage.pay({ number: '4000000000000002' }),
    ];
    const strangers = [{ api_key: 'other' }, (await stage.connect()).credentials];
    for (const payment of [captured, authorized, declined])
      for (const credentials of strangers)
        for (const options of [{ amount: 1000 }, {}, { amount: 0 }, { amount: 9999, mode: 'live' as const }]) {
          const refund = { ...options, wixRefundId: randomUUID() };
          const stranger = { ...payment, credentials };
          const unknown = await stage.wix.refund({ ...stranger, wixTransactionId: randomUUID() }, refund);
          const { text, status, headers } = await stage.wix.refund(stranger, refund);
          assert.deepEqual([status, text], [unknown.status, unknown.text]);
          assert.deepEqual([...headers.keys()], [...unknown.headers.keys()]);
          assert.equal((await stage.wix.refund(stranger, refund)).text, unknown.text);
        }
    for (const payment of [captured, authorized, declined]) await assertUntouched(payment);
  });

  it('R22 is refused with 3022 NO_PAYMENT of a payment that nobody knows, and keeps nothing', async () => {
    const payment = await stage.pay();
    const wixRefundId = randomUUID();
    const { body } = await stage.wix.refund({ ...payment, wixTransactionId: randomUUID() }, { wixRefundId });
    assert.deepEqual([body?.reasonCode, body?.errorCode, body?.pluginRefundId], [3022, 'NO_PAYMENT', undefined]);
    assert.deepEqual(await stage.db.query('select id from operations where key = $1', [wixRefundId]), []);
  });

  it('R12 is refused with 1010 and told, in another mode than the payment’s', async () => {
    await refused(await stage.pay(), 1010, 'MODE', { mode: 'live' });
  });

  it('R51 is refused with 3022 for nothing and kept, and not told; a later one is', async () => {
    const payment = await stage.pay();
    const answer = await stage.wix.refund(payment, { amount: 0 });
    assertSays(answer, 3022, 'AMOUNT');
    assert.ok(answer.body?.pluginRefundId);
    assertSays(
      await stage.wix.refund({ ...payment, pluginTransactionId: randomUUID() }, { amount: 0 }),
      3022,
      'NO_PAYMENT',
    );
    assertSays(await stage.wix.refund(payment, { amount: 1000 }));
    await stage.told(payment, 'refund');
    assert.deepEqual(await stage.happened(payment), [
      'transaction_approved',
      'refund_failed',
      'refund_failed',
      'refund_succeeded',
    ]);
    assert.equal(stage.wix.events(payment.wixTransactionId).filter(({ kind }) => kind === 'refund').length, 1);
  });

  it('is refused with 3025 and told for more than remains', async () => {
    const payment = await stage.pay();
    await refused(payment, 3025, 'AMOUNT', { amount: 4591 });
    await refused(payment, 3025, 'AMOUNT', { amount: 9_223_372_036_854_775_807n });
  });

  it('is refused and told with what the processor says of partial refunds and of time', async () => {
    const payment = await stage.pay();
    stage.once('refund', declined([3024, 'FULL_ONLY', 'This method allows full refunds only']));
    await refused(payment, 3024, 'FULL_ONLY');
    stage.once('refund', declined([3033, 'WINDOW', 'Refund window of 180 days is over']));
    await refused(payment, 3033, 'WINDOW');
  });

  describe('because it is malformed', () => {
    const send = (payment: Payment, change: Record<string, unknown>) => {
      const { wixTransactionId, pluginTransactionId, credentials: merchantCredentials } = payment;
      const body = { wixTransactionId, pluginTransactionId, merchantCredentials, wixRefundId: randomUUID() };
      return stage.wix.call(stage.gatewayUrl, 'refund', { ...body, ...change });
    };

    it('R22 is kept, and told if its amount can be read', async () => {
      const payment = await stage.pay();
      const wixRefundId = randomUUID();
      const answer = await send(payment, { wixRefundId, refundAmount: 1000, pluginTransactionId: 7 });
      assertSays(answer, 1007, 'INVALID_FORMAT');
      assert.ok(answer.body?.pluginRefundId);
      const { body } = await stage.told(payment, 'refund', 1007);
      assert.deepEqual([body.amount, body.wixRefundId], ['1000', wixRefundId]);
      // The id is spent: the same one in good form is the same refund.
      assert.equal((await stage.wix.refund(payment, { wixRefundId, amount: 1000 })).text, answer.text);
      assert.equal(stage.charged(payment), 4590n);
    });

    it('R22 is kept and not told if its amount cannot', async () => {
      const payment = await stage.pay();
      const wixRefundId = randomUUID();
      assertSays(await send(payment, { wixRefundId, refundAmount: 10.5 }), 1007, 'INVALID_FORMAT');
      assertSays(await send(payment, { wixRefundId, refundAmount: 10.5 }), 1007, 'INVALID_FORMAT');
      assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
    });

    it('R22 leaves nothing behind if the payment is not known, or not to those credentials, and says the same of both', async () => {
      const payment = await stage.pay();
      const { credentials } = await stage.connect();
      for (const [change, reasonCode] of [
        [{ refundAmount: -1, merchantCredentials: credentials }, 1007],
        [{ refundAmount: 1000, merchantCredentials: 'none' }, 1007],
        [{ refundAmount: 1000, merchantCredentials: undefined }, 1004],
      ] as [Record<string, unknown>, number][]) {
        const { body, text } = await send({ ...payment, wixTransactionId: randomUUID() }, change);
        assert.deepEqual([body?.reasonCode, body?.pluginRefundId], [reasonCode, undefined]);
        assert.equal((await send(payment, change)).text, text);
      }
      await assertUntouched(payment);
    });
  });
});
