import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { transactionId } from '../../core/ids.ts';
import { approved } from '../engine/outcomes.ts';
import { useStage } from '../support/stage.ts';
import type { PaymentOptions } from '../wix/requests.ts';

describe('a create that Wix repeats', () => {
  const stage = useStage({ env: { BUYER_TIMEOUT_MS: '60000' } });

  it('charges once when it comes fifty times at once, and hears the same each time', async () => {
    const options = { wixTransactionId: randomUUID() };
    const payments = await Promise.all(Array.from({ length: 50 }, () => stage.pay(options)));
    assert.equal(new Set(payments.map(({ answer }) => answer.text)).size, 1);
    const payment = payments[0]!;
    assert.equal(payment.answer.body?.reasonCode, undefined);
    assert.equal(await stage.sends(payment, 'authorize'), 1);
    assert.equal(stage.charged(payment), 4590n);
    assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
  });

  for (const [what, options] of [
    ['approved', {}],
    ['declined', { number: '4000000000000002' }],
    ['refused for its currency', { currency: 'XCG' }],
    ['authorized only', { authorizeOnly: true }],
    ['made with a wallet', { wallet: 'googlePay', number: '4111111111111111' }],
    ['setting up later charges', { setup: true }],
    ['a mail order', { moto: true }],
  ] as [string, PaymentOptions][])
    it(`R5 hears the same bytes of a payment ${what}`, async () => {
      const payment = await stage.pay(options);
      const events = (await stage.happened(payment)).length;
      for (let i = 0; i < 3; i += 1) assert.equal((await stage.wix.again(payment)).answer.text, payment.answer.text);
      assert.equal((await stage.happened(payment)).length, events);
      assert.equal(await stage.sends(payment, 'authorize'), what.startsWith('refused') ? 0 : 1);
    });

  it('R5 hears the same bytes after the payment was captured, voided and refunded', async () => {
    const [captured, voided, refunded] = await Promise.all([
      stage.pay({ authorizeOnly: true }),
      stage.pay({ authorizeOnly: true }),
      stage.pay({ setup: true }),
    ]);
    await stage.wix.capture(captured, 1000);
    await stage.wix.void(voided);
    await stage.wix.refund(refunded);
    for (const payment of [captured, voided, refunded])
      assert.equal((await stage.wix.again(payment)).answer.text, payment.answer.text);
  });

  it('R4 while it is running waits for the same answer', async () => {
    const running = stage.hold('authorize');
    const options = { wixTransactionId: randomUUID() };
    const first = stage.pay(options);
    await running.reached;
    const second = stage.pay(options);
    running.release();
    assert.equal((await first).answer.text, (await second).answer.text);
    assert.equal(await stage.sends(await first, 'authorize'), 1);
  });

  it('hears of the buyer’s page again while the buyer acts, and of the outcome after that', async () => {
    const url = 'https://pay.harbor.example/3ds/1';
    stage.once('authorize', { kind: { case: 'buyerAction', value: { url } } });
    const payment = await stage.pay();
    assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId, redirectUrl: url });
    assert.equal((await stage.wix.again(payment)).answer.text, payment.answer.text);
    stage.engine.settle(stage.requestId(payment), approved({}));
    await stage.told(payment, 'transaction');
    assert.deepEqual((await stage.wix.again(payment)).answer.body, {
      pluginTransactionId: payment.pluginTransactionId,
    });
    assert.deepEqual(await stage.happened(payment), ['transaction_awaiting_buyer', 'transaction_approved']);
  });

  it('R10 carries an id of ours that is derived from Wix’s', async () => {
    const payment = await stage.pay({ wixTransactionId: '11111111-2222-4333-8444-555555555555' });
    assert.equal(payment.pluginTransactionId, transactionId(payment.wixTransactionId));
    assert.equal(stage.engine.books.find(stage.requestId(payment))?.transactionId, payment.pluginTransactionId);
  });
});
