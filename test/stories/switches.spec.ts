import assert from 'node:assert/strict';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { approved, buyerAction, declined, pending } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { assertSays, type Stage, useStage } from '../support/stage.ts';

// docs/CONTRACT-SWITCHES.md: what is open in Wix's contract, as the working rules have it and the other way.

const OTHERWISE = {
  ANSWER_BUDGET_MS: '1500',
  MODE_WHEN_ABSENT: 'live',
  CAPTURE_OF_CAPTURED_REASON: '3101',
  CAPTURE_OF_VOIDED_REASON: '3102',
  VOID_OF_CAPTURED_REASON: '3103',
  ALREADY_COMMITTED_REASON: '3104',
  PARTIAL_CAPTURE: 'false',
  LATE_REFUND_FAILURE_EVENT: 'true',
  BUYER_WAIT_EVENT: 'true',
  APPLE_PAY: 'false',
  WALLETS_ON_FILE: 'false',
  REFUND_AMOUNT_WHEN_ABSENT: 'refuse',
  ZERO_AMOUNT_SET_UP: 'true',
  EARLY_REFUND_REFUSAL_EVENT: 'false',
};

const bodies = (stage: Stage, { wixTransactionId }: { wixTransactionId: string }) =>
  stage.wix.events(wixTransactionId).map(({ kind, body }) => [kind, body.reasonCode]);

for (const isOtherwise of [false, true])
  describe(isOtherwise ? 'every switch, the other way' : 'every switch, as it comes', () => {
    // The simulated Wix knows the working rules alone.
    const stage = useStage(isOtherwise ? { env: OTHERWISE, judge: async () => {} } : {});
    const expect = <T>(asItComes: T, otherwise: T) => (isOtherwise ? otherwise : asItComes);

    it('U1 a repeated capture or void has a code for each of the four cases', async () => {
      const [captured, voided] = [await stage.pay({ authorizeOnly: true }), await stage.pay({ authorizeOnly: true })];
      await stage.wix.capture(captured);
      await stage.wix.void(voided);
      assertSays(await stage.wix.capture(captured), expect(3031, 3101), 'ALREADY_CAPTURED');
      assertSays(await stage.wix.capture(voided), expect(3031, 3102), 'ALREADY_VOIDED');
      assertSays(await stage.wix.void(captured), expect(3031, 3103), 'ALREADY_CAPTURED');
      assertSays(await stage.wix.void(voided), expect(3031, 3104), 'ALREADY_VOIDED');
    });

    it('U2 a part of what was authorised is captured, or refused with 3001 and told', async () => {
      const payment = await stage.pay({ authorizeOnly: true });
      const code = expect(undefined, 3001);
      assertSays(await stage.wix.capture(payment, 4589), code, expect(undefined, 'AMOUNT'));
      assert.equal((await stage.told(payment, 'capture', code)).body.amount, '4589');
      assert.equal(stage.charged(payment), expect(4589n, 0n));
      if (isOtherwise) assertSays(await stage.wix.capture(payment, 4590));
    });

    it('U4 a refund that fails after its success is told when that is switched on, and frees its amount anyway', async () => {
      const payment = await stage.pay();
      const { body: answer } = await stage.wix.refund(payment, { amount: 1000 });
      await stage.report(payment, 'refund', declined([3025, 'BANK_RETURN', 'Returned by the bank']));
      await stage.settled(payment);
      assert.equal((await stage.find(payment)).transaction?.refundedAmount, 0n);
      assert.deepEqual(stage.alerts(payment), ['refund_returned']);
      const events = stage.wix.events(payment.wixTransactionId);
      assert.deepEqual(
        events.map(({ kind, body }) => [kind, body.amount, body.reasonCode, body.pluginRefundId]),
        [
          ['transaction', undefined, undefined, undefined],
          ['refund', '1000', undefined, answer?.pluginRefundId],
          ...expect([], [['refund', '1000', 3025, answer?.pluginRefundId]]),
        ],
      );
    });

    it('U5 a buyer on a page is told as pending 5009 when that is switched on, before the outcome', async () => {
      stage.once('authorize', buyerAction('https://pay.harbor.example/3ds/1', ''));
      const payment = await stage.pay();
      if (isOtherwise) await stage.told(payment, 'transaction', 5009);
      stage.engine.settle(stage.requestId(payment), approved({}));
      await stage.told(payment, 'transaction');
      assert.deepEqual(bodies(stage, payment), [...expect([], [['transaction', 5009]]), ['transaction', undefined]]);
      const [first] = stage.wix.events(payment.wixTransactionId);
      assert.equal(first?.body.pluginTransactionId, payment.pluginTransactionId);
    });

    it('U5 a payment that is under review after the page is pending with the code that Wix was told', async () => {
      stage.once('authorize', buyerAction('https://pay.harbor.example/3ds/1', ''));
      const payment = await stage.pay();
      if (isOtherwise) await stage.told(payment, 'transaction', 5009);
      await stage.report(payment, 'authorize', pending(Reason.PENDING_FRAUDULENT_TRANSACTION, ''));
      assertSays((await stage.wix.again(payment)).answer, expect(5005, 5009));
      await stage.settled(payment);
      stage.engine.settle(stage.requestId(payment), approved({}));
      await stage.told(payment, 'transaction');
      assert.deepEqual(bodies(stage, payment), [
        ...expect(
          [['transaction', 5005]],
          [
            ['transaction', 5009],
            ['transaction', 5009],
          ],
        ),
        ['transaction', undefined],
      ]);
    });

    it('U6 a payment is answered pending 5009 when the budget is over', async () => {
      const held = stage.hold('authorize');
      const paying = stage.pay();
      await held.reached;
      if (!isOtherwise) held.release();
      const payment = await paying;
      held.release();
      assertSays(payment.answer, expect(undefined, 5009));
      await stage.told(payment, 'transaction');
    });

    it('U9 a merchant who connects without a mode has the one that is set; the simulated engine takes no live one', async () => {
      const { answer } = await stage.wix.connect(stage.gatewayUrl, { mode: 'undefined' });
      assertSays(answer, expect(undefined, 2008), expect(undefined, 'SIMULATED'));
    });

    it('U8 Apple Pay is taken, or declined with 1012; Google Pay always is', async () => {
      const apple = await stage.pay({ wallet: 'applePay' });
      assertSays(apple.answer, expect(undefined, 1012), expect(undefined, 'METHOD'));
      assertSays((await stage.pay({ wallet: 'googlePay' })).answer);
    });

    it('U8 a wallet sets up later charges, or is declined with 3002', async () => {
      const { answer } = await stage.pay({ wallet: 'googlePay', setup: true });
      assertSays(answer, expect(undefined, 3002), expect(undefined, 'WALLET_ON_FILE'));
      assertSays((await stage.pay({ setup: true })).answer);
    });

    it('U10 a refund without an amount is of what remains, or refused with 1004', async () => {
      const payment = await stage.pay();
      await stage.wix.refund(payment, { amount: 1000 });
      assertSays(await stage.wix.refund(payment), expect(undefined, 1004), expect(undefined, 'MISSING_FIELD'));
      assert.equal(stage.charged(payment), expect(0n, 3590n));
      await stage.settled(payment);
    });

    it('U13 R25 a set-up payment of 0 is declined with 3001, or verifies the card and is never refunded', async () => {
      const payment = await stage.pay({ amount: 0, setup: true });
      assertSays(payment.answer, expect(3001, undefined), expect('AMOUNT', undefined));
      await stage.told(payment, 'transaction', expect(3001, undefined));
      assertSays((await stage.pay({ amount: 0 })).answer, 3001, 'AMOUNT');
      if (!isOtherwise) return;
      assert.ok(payment.answer.body?.credentialsOnFile);
      assert.equal(stage.charged(payment), 0n);
      assertSays(await stage.wix.refund(payment), 1004, 'MISSING_FIELD');
      assertSays(await stage.wix.refund(payment, { amount: 1 }), 3022, 'NOTHING_CAPTURED');
    });

    it('U17 a refund refused before the approval is told after it, or not at all', async () => {
      const payment = await stage.pay({ number: '4000000000009235' });
      assertSays(await stage.wix.refund(payment, { amount: 1000 }), 3022, 'NOT_CAPTURED');
      await stage.told(payment, 'transaction');
      await eventually(async () => assert.equal((await stage.find(payment)).operations.length, 2));
      await stage.settled(payment);
      assert.deepEqual(bodies(stage, payment), [
        ['transaction', 5005],
        ['transaction', undefined],
        ...expect([['refund', 3022]], []),
      ]);
    });
  });
