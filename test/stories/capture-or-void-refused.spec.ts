import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { OutcomeInit } from '../engine/fault.ts';
import { declined } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { assertSays, useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';

describe('a capture or a void that cannot be', () => {
  const stage = useStage();
  const authorize = () => stage.pay({ authorizeOnly: true });
  const both = ['capture', 'void'] as const;

  it('R21 is refused with 3031 once the payment is captured or voided, without an event', async () => {
    const [captured, voided] = [await authorize(), await authorize()];
    await stage.wix.capture(captured);
    await stage.wix.void(voided);
    for (const call of both) {
      assertSays(await stage.wix[call](captured), 3031, 'ALREADY_CAPTURED');
      assertSays(await stage.wix[call](voided), 3031, 'ALREADY_VOIDED');
    }
    assert.deepEqual(await stage.happened(captured), ['transaction_approved', 'capture_succeeded']);
    assert.deepEqual(await stage.happened(voided), ['transaction_approved', 'void_succeeded']);
  });

  it('R21 is refused with 3031 ALREADY_CAPTURED for a sale, without an event', async () => {
    const payment = await stage.pay();
    for (const call of both) assertSays(await stage.wix[call](payment), 3031, 'ALREADY_CAPTURED');
    assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
  });

  it('R21 is refused with 1006 for a payment that was declined, without an event', async () => {
    const payment = await stage.pay({ authorizeOnly: true, number: '4000000000000002' });
    for (const call of both) assertSays(await stage.wix[call](payment), 1006, 'NOT_AUTHORIZED');
    assert.deepEqual(await stage.happened(payment), ['transaction_declined']);
  });

  it('R11 is refused with 1006 NO_PAYMENT for wrong ids and wrong credentials, without a word to anybody', async () => {
    const payment = await authorize();
    const stranger = await stage.connect();
    const wrong: Payment[] = [
      { ...payment, pluginTransactionId: randomUUID() },
      { ...payment, wixTransactionId: randomUUID() },
      { ...payment, credentials: { api_key: 'other' } },
      { ...payment, credentials: stranger.credentials },
    ];
    for (const payment of wrong)
      for (const call of both) assertSays(await stage.wix[call](payment), 1006, 'NO_PAYMENT');
    assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
    assert.equal((await stage.sends(payment, 'capture')) + (await stage.sends(payment, 'void')), 0);
  });

  it('is refused with 3001 and told, for more than is authorised', async () => {
    const payment = await authorize();
    assertSays(await stage.wix.capture(payment, 4591), 3001, 'AMOUNT');
    assert.equal((await stage.told(payment, 'capture', 3001)).body.amount, '4591');
    assert.equal(await stage.sends(payment, 'capture'), 0);
    assertSays(await stage.wix.capture(payment, 4590));
  });

  it('R51 is refused with 3001 for nothing and kept, and not told; what comes after it is', async () => {
    const payment = await authorize();
    for (const call of both) assertSays(await stage.wix[call](payment, 0), 3001, 'AMOUNT');
    assertSays(await stage.wix.capture(payment, 4590));
    assertSays(await stage.wix.refund(payment, { amount: 0 }), 3022, 'AMOUNT');
    assertSays(await stage.wix.refund(payment, { amount: 90 }));
    await stage.told(payment, 'refund');
    assert.deepEqual(await stage.happened(payment), [
      ...['transaction_approved', 'capture_failed', 'void_failed', 'capture_succeeded'],
      ...['refund_failed', 'refund_succeeded'],
    ]);
    assert.deepEqual(
      stage.wix.events(payment.wixTransactionId).map(({ kind, body }) => [kind, body.amount, body.reasonCode]),
      [
        ['transaction', undefined, undefined],
        ['capture', '4590', undefined],
        ['refund', '90', undefined],
      ],
    );
  });

  it('is refused without an event, where it is malformed', async () => {
    const payment = await authorize();
    for (const [call, amount] of [
      ['capture', 'captureAmount'],
      ['void', 'voidAmount'],
    ] as const) {
      const { wixTransactionId, pluginTransactionId, credentials: merchantCredentials } = payment;
      const body = { wixTransactionId, pluginTransactionId, merchantCredentials };
      assertSays(await stage.wix.call(stage.gatewayUrl, call, body), 1004, 'MISSING_FIELD');
      assertSays(await stage.wix.call(stage.gatewayUrl, call, { ...body, [amount]: -1 }), 3001, 'AMOUNT');
    }
    assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
  });

  describe('because the authorization ran out', () => {
    /** The processor lets the hold go. */
    const lapse = (payment: Payment) => stage.processor.reverse({ subject: { requestId: stage.requestId(payment) } });
    /** And says so. */
    const expire = async (payment: Payment) => {
      await lapse(payment);
      await stage.report(payment, 'authorize', { kind: { case: 'expired', value: {} } });
    };

    it('R21 is refused with 3035 and told, if it is a capture', async () => {
      const payment = await authorize();
      await expire(payment);
      assertSays(await stage.wix.capture(payment), 3035, 'AUTH_EXPIRED');
      await stage.told(payment, 'capture', 3035);
      assertSays(await stage.wix.void(payment));
      assert.equal(await stage.sends(payment, 'capture'), 0);
    });

    it('R21 succeeds and is told, if it is a void, without asking the processor', async () => {
      const payment = await authorize();
      await expire(payment);
      assertSays(await stage.wix.void(payment, 4000), 3001, 'AMOUNT');
      assertSays(await stage.wix.void(payment));
      await stage.told(payment, 'void');
      assert.equal(await stage.sends(payment, 'void'), 0);
      assert.deepEqual(await stage.happened(payment), [
        ...['transaction_approved', 'transaction_expired', 'void_failed', 'void_succeeded'],
      ]);
    });

    describe('at the time that the processor had named', () => {
      const at = (ms: number) => timestampFromDate(new Date(Date.now() + ms));
      /** Approved, and let go by the processor a second later by its own word. */
      const lapsing = async (ends: OutcomeInit) => {
        const value = { amount: 4590n, currency: 'EUR', processorReference: 'hold', authorizationExpiresAt: at(1_000) };
        stage.once('authorize', { kind: { case: 'approved', value } });
        const payment = await authorize();
        stage.always('getOperation', ends);
        return payment;
      };
      afterEach(() => stage.heal());

      it('is asked for, and refused with 3035 once the processor says so', async () => {
        const payment = await lapsing({ kind: { case: 'expired', value: {} } });
        await eventually(async () => assert.ok((await stage.happened(payment)).includes('transaction_expired')));
        assertSays(await stage.wix.capture(payment), 3035, 'AUTH_EXPIRED');
        await stage.told(payment, 'capture', 3035);
      });

      it('is not taken for run out while the processor does not say so', async () => {
        const value = { amount: 4590n, currency: 'EUR', processorReference: 'hold' };
        const payment = await lapsing({ kind: { case: 'approved', value } });
        const due = `select count(*)::integer as count from core.operations where id = $1 and expires_at > now() + interval '1 hour'`;
        await eventually(async () =>
          assert.deepEqual(await stage.db.query(due, [stage.requestId(payment)]), [{ count: 1 }]),
        );
        assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
      });

      it('is asked for no more once the money was taken', async () => {
        const payment = await lapsing({ kind: { case: 'expired', value: {} } });
        assertSays(await stage.wix.capture(payment));
        const named = 'select expires_at from core.operations where id = $1 and expires_at is not null';
        await eventually(async () => assert.deepEqual(await stage.db.query(named, [stage.requestId(payment)]), []));
        assert.deepEqual(await stage.happened(payment), ['transaction_approved', 'capture_succeeded']);
      });
    });

    it('is refused with 3035 and told, if the processor finds out when it is asked', async () => {
      const payment = await authorize();
      await lapse(payment);
      stage.once('capture', { kind: { case: 'expired', value: {} } });
      assertSays(await stage.wix.capture(payment), 3035, 'EXPIRED');
      assertSays(await stage.wix.capture(payment), 3035, 'AUTH_EXPIRED');
      assertSays(await stage.wix.void(payment));
      assert.equal(await stage.sends(payment, 'capture'), 1);
    });

    it('is refused with 3035 after the capture that ran meanwhile was declined', async () => {
      const payment = await authorize();
      const running = stage.hold('capture', declined([1003, 'ACQ-96', 'No']));
      const first = stage.wix.capture(payment);
      await running.reached;
      await expire(payment);
      running.release();
      assertSays(await first, 1003, 'ACQ-96');
      assertSays(await stage.wix.capture(payment), 3035, 'AUTH_EXPIRED');
      assertSays(await stage.wix.void(payment));
    });

    it('R5 leaves the answer to a repeated create as it was', async () => {
      const payment = await authorize();
      await expire(payment);
      assert.equal((await stage.wix.again(payment)).answer.text, payment.answer.text);
      await stage.wix.void(payment);
      assert.equal((await stage.wix.again(payment)).answer.text, payment.answer.text);
    });
  });
});
