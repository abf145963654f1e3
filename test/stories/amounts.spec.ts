import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { useStage } from '../support/stage.ts';
import type { Amount } from '../wix/requests.ts';

const INT64_MAX = 9_223_372_036_854_775_807n;

/** Wix's table: code -> decimal digits of the minor unit. */
const CURRENCIES: Record<string, number> = JSON.parse(
  readFileSync(join(import.meta.dirname, '../wix/currencies.json'), 'utf8'),
);

describe('amounts and currencies', () => {
  const stage = useStage();

  for (const amount of [1n, 2n ** 53n + 1n, INT64_MAX])
    it(`an amount of ${amount} is charged and returned to the last digit`, async () => {
      const payment = await stage.pay({ amount });
      assert.equal(payment.answer.body?.reasonCode, undefined);
      assert.equal(stage.charged(payment), amount);
      await stage.wix.refund(payment, { amount });
      const { body } = await stage.told(payment, 'refund');
      assert.equal(body.amount, String(amount));
      assert.equal(stage.charged(payment), 0n);
    });

  it('an amount above 2^53 is captured and told to the last digit', async () => {
    const amount = 2n ** 53n + 1n;
    const payment = await stage.pay({ amount, authorizeOnly: true });
    await stage.wix.capture(payment, amount);
    const { body } = await stage.told(payment, 'capture');
    assert.equal(body.amount, String(amount));
    assert.equal(stage.charged(payment), amount);
  });

  it('amounts may come as strings of digits', async () => {
    const digits = (amount: bigint) => String(amount) as unknown as Amount;
    const payment = await stage.pay({ amount: digits(INT64_MAX) });
    assert.equal(stage.charged(payment), INT64_MAX);
    await stage.wix.refund(payment, { amount: digits(INT64_MAX - 1n) });
    assert.equal(stage.charged(payment), 1n);
  });

  for (const [what, amount] of [
    ['of zero', 0],
    ['above int64', INT64_MAX + 1n],
    ['with a fraction', 45.9],
  ] as const)
    it(`R25 an amount ${what} is declined with 3001, and told`, async () => {
      const payment = await stage.pay({ amount });
      assert.equal(payment.answer.body?.reasonCode, 3001);
      const { body } = await stage.told(payment, 'transaction', 3001);
      assert.deepEqual(body, { wixTransactionId: payment.wixTransactionId, ...payment.answer.body });
    });

  it('every currency of Wix is taken, with its amount as it is', async () => {
    const codes = Object.keys(CURRENCIES);
    assert.equal(codes.length, 161);
    for (let i = 0; i < codes.length; i += 10) {
      const batch = codes.slice(i, i + 10).map((currency, j) => ({ currency, amount: BigInt(1_000 + i + j) }));
      const payments = await Promise.all(batch.map((options) => stage.pay(options)));
      assert.deepEqual(
        payments.map(({ pluginTransactionId: id }) => {
          const { currency, taken } = stage.engine.books.operations(id)[0] ?? {};
          return { currency, amount: taken };
        }),
        batch,
      );
    }
  });

  it('a currency that is not in Wix’s table is declined with 3003, and told', async () => {
    const codes = ['CLF', 'UYW', 'UYI', 'USN', 'SLE', 'VED', 'XCG', 'ZWG', 'ZWL', 'XTS', 'eur', '978', 'x'.repeat(200)];
    const payments = await Promise.all(codes.map((currency) => stage.pay({ currency })));
    for (const [i, payment] of payments.entries()) {
      assert.equal(payment.answer.body?.reasonCode, 3003, codes[i]);
      await stage.told(payment, 'transaction', 3003);
    }
    assert.ok(!stage.engine.books.list().some(({ currency }) => codes.includes(currency)));
  });

  it('R11 a currency that the account does not take is declined with 3003, and taken once it does', async () => {
    const { merchantId } = stage.merchant;
    const connect = (currencies: string) =>
      stage.connect({ merchantId, credentials: { api_key: 'test', account_ref: 'HP-20', currencies } });
    const merchant = await connect('EUR,USD');
    const pay = (currency: string) => stage.wix.pay(merchant, { currency });
    assert.equal((await pay('USD')).answer.body?.reasonCode, undefined);
    assert.equal((await pay('ISK')).answer.body?.reasonCode, 3003);
    await connect('EUR,ISK');
    assert.equal((await pay('ISK')).answer.body?.reasonCode, undefined);
    assert.equal((await pay('USD')).answer.body?.reasonCode, 3003);
  });
});
