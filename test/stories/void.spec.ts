import assert from 'node:assert/strict';
import { declined, failed } from '../engine/outcomes.ts';
import { assertSays, SLOW, useStage } from '../support/stage.ts';

describe('voiding a payment', () => {
  const stage = useStage({ env: SLOW });
  const authorize = () => stage.pay({ authorizeOnly: true });

  it('releases the authorised amount', async () => {
    const payment = await authorize();
    const { body } = await stage.wix.void(payment);
    assert.deepEqual(body, {});
    const event = await stage.told(payment, 'void');
    assert.deepEqual(event.body, { wixTransactionId: payment.wixTransactionId, amount: '4590' });
    assert.equal(stage.engine.books.payment(stage.requestId(payment), payment.pluginTransactionId)?.held, 0n);
    assert.equal(stage.charged(payment), 0n);
  });

  it('R21 happens once when Wix asks ten times at once', async () => {
    const payment = await authorize();
    const answers = await Promise.all(Array.from({ length: 10 }, () => stage.wix.void(payment)));
    assert.deepEqual(answers.map(({ body }) => body?.errorCode ?? 'success').sort(), [
      ...Array(9).fill('ALREADY_VOIDED'),
      'success',
    ]);
    assert.equal(await stage.sends(payment, 'void'), 1);
  });

  it('of another amount is refused with 3001 and told, whatever the amount', async () => {
    const payment = await authorize();
    // R51: of nothing, Wix is answered and not told.
    assertSays(await stage.wix.void(payment, 0), 3001, 'AMOUNT');
    for (const amount of [4589, 4591]) {
      assertSays(await stage.wix.void(payment, amount), 3001, 'AMOUNT');
      await stage.wix.eventFor(
        payment.wixTransactionId,
        ({ kind, body }) => kind === 'void' && body.amount === `${amount}`,
      );
    }
    assert.equal(await stage.sends(payment, 'void'), 0);
    assertSays(await stage.wix.void(payment));
  });

  it('that is declined or failed leaves the payment authorized, is told, and may be tried again', async () => {
    const payment = await authorize();
    stage.once('void', declined([1005, 'ACQ-96', 'Acquirer could not release the hold']));
    assertSays(await stage.wix.void(payment), 1005, 'ACQ-96');
    stage.once('void', failed('DOWN', 'Not processed'));
    assertSays(await stage.wix.void(payment), 1003, 'DOWN');
    await stage.told(payment, 'void', 1005);
    await stage.told(payment, 'void', 1003);
    assertSays(await stage.wix.capture(payment));
  });

  it('whose answer is lost is 503, and told once it is known', async () => {
    const payment = await authorize();
    stage.once('void', 'drop answer');
    assert.equal((await stage.wix.void(payment)).status, 503);
    await stage.told(payment, 'void');
    assertSays(await stage.wix.void(payment), 3031, 'ALREADY_VOIDED');
    assert.equal(await stage.sends(payment, 'void'), 1);
  });

  describe('and capturing it', () => {
    it('exclude each other, when both are asked for at once', async () => {
      const payments = await Promise.all(Array.from({ length: 5 }, authorize));
      for (const payment of payments) {
        const [captured, voided] = await Promise.all([stage.wix.capture(payment), stage.wix.void(payment)]);
        const codes = [captured, voided].map(({ body }) => body?.errorCode ?? 'success');
        assert.ok(['success,ALREADY_CAPTURED', 'ALREADY_VOIDED,success'].includes(codes.join()), codes.join());
        assert.equal((await stage.sends(payment, 'capture')) + (await stage.sends(payment, 'void')), 1);
      }
    });

    it('wait for each other: a capture hears of the void that ran when it came', async () => {
      const payment = await authorize();
      const running = stage.hold('void');
      const voided = stage.wix.void(payment);
      await running.reached;
      const captured = stage.wix.capture(payment);
      running.release();
      assertSays(await voided);
      assertSays(await captured, 3031, 'ALREADY_VOIDED');
      assert.equal(await stage.sends(payment, 'capture'), 0);
    });

    it('wait for each other: a capture runs if the void that ran when it came is declined', async () => {
      const payment = await authorize();
      const running = stage.hold('void', declined([1003, 'ACQ-96', 'No']));
      const voided = stage.wix.void(payment);
      await running.reached;
      const captured = stage.wix.capture(payment);
      running.release();
      assertSays(await voided, 1003, 'ACQ-96');
      assertSays(await captured);
      assert.deepEqual(await stage.happened(payment), ['transaction_approved', 'void_failed', 'capture_succeeded']);
    });
  });
});
