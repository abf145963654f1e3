import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { useStage } from '../support/stage.ts';
import type { JsonObject } from '../wix/json.ts';
import type { Payment } from '../wix/wix.ts';

describe('a malformed create', () => {
  const stage = useStage();
  const withoutCurrency = (body: JsonObject) => void delete descriptionOf(body).currency;
  const descriptionOf = (body: JsonObject) => (body.order as { description: JsonObject }).description;
  /** The same payment, told badly. */
  const badly = (payment: Payment, change: (body: JsonObject) => void) => {
    const body = structuredClone(payment.request);
    withoutCurrency(body);
    change(body);
    return stage.wix.call(stage.gatewayUrl, 'create', body);
  };

  describe('with an id that is new', () => {
    for (const [what, change, reasonCode] of [
      ['lacks its currency', withoutCurrency, 1004],
      ['lacks its amount', (body) => delete descriptionOf(body).totalAmount, 1004],
      ['lacks its order', (body) => delete body.order, 1004],
      ['lacks its merchant', (body) => delete body.wixMerchantId, 1004],
      ['lacks its credentials', (body) => delete body.merchantCredentials, 1004],
      ['lacks its card', (body) => delete body.paymentMethodData, 1004],
      ['names a method that Wix does not have', (body) => Object.assign(body, { paymentMethod: 'gold' }), 1012],
      [
        'names a method that redirects, and has a card',
        (body) => Object.assign(body, { paymentMethod: 'sofort' }),
        1009,
      ],
      ['names a flag that is none', (body) => Object.assign(body, { authorizeOnly: 'yes' }), 1007],
    ] as [string, (body: JsonObject) => void, number][])
      it(`R2 that ${what} is declined with ${reasonCode}, kept, and told without a plugin id`, async () => {
        const payment = await stage.pay({ change });
        assert.equal(payment.answer.body?.reasonCode, reasonCode);
        assert.equal(payment.answer.body?.pluginTransactionId, undefined);
        const { body } = await stage.told(payment, 'transaction', reasonCode);
        assert.deepEqual(body, { wixTransactionId: payment.wixTransactionId, ...payment.answer.body });
        assert.deepEqual(await stage.happened(payment), ['transaction_declined']);
      });

    it('R2 spends its id: the same payment in good form is declined as before, and not charged', async () => {
      const payment = await stage.pay({ change: withoutCurrency });
      const again = await stage.pay({ wixTransactionId: payment.wixTransactionId });
      assert.equal(again.answer.text, payment.answer.text);
      assert.equal(await stage.sends(again, 'authorize'), 0);
    });

    it('R2 is one declined payment when it comes ten times at once', async () => {
      const wixTransactionId = randomUUID();
      const payments = await Promise.all(
        Array.from({ length: 10 }, () => stage.pay({ wixTransactionId, change: withoutCurrency })),
      );
      assert.equal(new Set(payments.map(({ answer }) => answer.text)).size, 1);
      assert.deepEqual(await stage.happened({ wixTransactionId }), ['transaction_declined']);
    });
  });

  describe('with an id that is known', () => {
    it('R2 is answered with the payment as it is, and declines nothing', async () => {
      const payment = await stage.pay();
      const answer = await badly(payment, () => undefined);
      assert.equal(answer.text, payment.answer.text);
      const declined = await stage.pay({ number: '4000000000009995' });
      assert.equal((await badly(declined, () => undefined)).text, declined.answer.text);
      const pending = await stage.pay({ number: '4000000000009235' });
      assert.equal((await badly(pending, () => undefined)).body?.reasonCode, 5005);
      assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
      assert.equal(stage.charged(payment), 4590n);
    });

    it('R2 is not answered with the credentials on file', async () => {
      const payment = await stage.pay({ setup: true });
      assert.ok(payment.answer.body?.credentialsOnFile);
      const { body } = await badly(payment, () => undefined);
      assert.deepEqual(body, { pluginTransactionId: payment.pluginTransactionId });
    });

    for (const [what, change] of [
      ['without its merchant', (body) => delete body.wixMerchantId],
      ['with another merchant', (body) => Object.assign(body, { wixMerchantId: randomUUID() })],
      ['without its credentials', (body) => delete body.merchantCredentials],
      ['with credentials that cannot be read', (body) => Object.assign(body, { merchantCredentials: [] })],
      ['with credentials of nobody', (body) => Object.assign(body, { merchantCredentials: { api_key: 'other' } })],
    ] as [string, (body: JsonObject) => void][])
      it(`R2 ${what} is 400, which says nothing of the money`, async () => {
        const payment = await stage.pay();
        const answer = await badly(payment, change);
        assert.deepEqual([answer.status, answer.text], [400, '{}']);
        assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
      });
  });
});
