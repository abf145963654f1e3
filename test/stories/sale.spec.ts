import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { useStage } from '../support/stage.ts';

describe('a sale', () => {
  const stage = useStage();

  it('is approved at once, charged once and told', async () => {
    const payment = await stage.pay();
    assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId });
    const { body } = await stage.told(payment, 'transaction');
    assert.deepEqual(body, { wixTransactionId: payment.wixTransactionId, ...payment.answer.body });
    assert.equal(stage.charged(payment), 4590n);
    assert.equal(await stage.sends(payment, 'authorize'), 1);
  });

  for (const [number, reasonCode] of [
    ['4000000000000002', 3000],
    ['4000000000009995', 3012],
    ['4000000000009987', 5000],
    ['4000000000000069', 3013],
    ['4000000000000127', 3016],
    ['4100000000000019', 5001],
    ['4242424242424241', 3015],
  ] as const)
    it(`is declined with ${reasonCode} by the processor, charges nothing and is told in the same words`, async () => {
      const payment = await stage.pay({ number });
      assert.equal(payment.answer.body?.reasonCode, reasonCode);
      const { body } = await stage.told(payment, 'transaction', reasonCode);
      assert.deepEqual(body, { wixTransactionId: payment.wixTransactionId, ...payment.answer.body });
      assert.equal(stage.charged(payment), 0n);
    });

  it('R18 that the processor declines with a reason of refunds is told as 6000, with its number', async () => {
    stage.once('authorize', { kind: { case: 'declined', value: { reason: 3025, errorCode: 'X', message: 'No' } } });
    const { answer } = await stage.pay();
    const { pluginTransactionId: _, ...said } = answer.body ?? {};
    assert.deepEqual(said, { reasonCode: 6000, errorCode: '3025', errorMessage: 'No' });
  });

  it('R20 repeats the words of the processor without a card number, and no longer than Wix takes them', async () => {
    const message = `Card 4242 4242 4242 4242 refused ${'x'.repeat(400)}`;
    stage.once('authorize', {
      kind: { case: 'declined', value: { reason: 3000, errorCode: 'y'.repeat(80), message } },
    });
    const { answer } = await stage.pay();
    assert.match(String(answer.body?.errorMessage), /^Card \[card number\] refused x+$/);
    assert.equal(String(answer.body?.errorMessage).length, 300);
    assert.equal(answer.body?.errorCode, 'y'.repeat(50));
  });

  it('R18 of which the processor says that certainly nothing happened failed with 1003', async () => {
    stage.once('authorize', { kind: { case: 'failed', value: { errorCode: 'DOWN', message: 'Not processed' } } });
    const payment = await stage.pay();
    assert.equal(payment.answer.body?.reasonCode, 1003);
    await stage.told(payment, 'transaction', 1003);
  });

  describe('that is not the merchant’s to take', () => {
    const refused = async (payment: Awaited<ReturnType<typeof stage.pay>>, reasonCode: number, errorCode: string) => {
      assert.equal(payment.answer.body?.reasonCode, reasonCode);
      assert.equal(payment.answer.body?.errorCode, errorCode);
      assert.equal(payment.answer.body?.pluginTransactionId, undefined);
      const { body } = await stage.told(payment, 'transaction', reasonCode);
      assert.deepEqual(body, { wixTransactionId: payment.wixTransactionId, ...payment.answer.body });
      assert.deepEqual(await stage.happened(payment), ['transaction_declined']);
      const { transaction } = await stage.find(payment);
      assert.equal(stage.engine.books.operations(transaction?.id ?? '').length, 0);
    };

    it('R11 is refused with 3041 for credentials of nobody', async () =>
      refused(await stage.wix.pay({ ...stage.merchant, credentials: { api_key: 'other' } }), 3041, 'AUTH_FAILED'));

    it('R11 is refused with 3041 for credentials of another merchant', async () => {
      const { credentials } = await stage.connect();
      await refused(await stage.wix.pay({ ...stage.merchant, credentials }), 3041, 'AUTH_FAILED');
    });

    it('R12 is refused with 1010 in a mode in which the merchant is not connected', async () =>
      refused(await stage.pay({ mode: 'live' }), 1010, 'MODE'));
  });

  it('R11 is taken with credentials of any version, in any order of their names, for their account', async () => {
    const merchantId = randomUUID();
    const [first, second] = [
      await stage.connect({ merchantId, credentials: { api_key: 'one', account_ref: 'HP-11' } }),
      await stage.connect({ merchantId, credentials: { api_key: 'two', account_ref: 'HP-12' } }),
    ];
    const old = await stage.wix.pay({ ...first, credentials: { account_ref: 'HP-11', api_key: 'one' } });
    const young = await stage.wix.pay(second);
    const accounts = await Promise.all([old, young].map((payment) => stage.find(payment)));
    assert.deepEqual(
      accounts.map(({ transaction }) => transaction?.merchantAccountId),
      [first.accountId, second.accountId],
    );
    assert.deepEqual(
      [old, young].map(({ pluginTransactionId: id }) => stage.engine.books.operations(id)[0]?.accountReference),
      ['HP-11', 'HP-12'],
    );
  });

  it('R12 is taken in the mode of the account when Wix does not say one', async () => {
    const payments = [await stage.pay({ mode: 'undefined' }), await stage.pay({ change: (body) => delete body.mode })];
    for (const { answer } of payments) assert.equal(answer.body?.reasonCode, undefined);
  });

  it('R9 belongs to its merchant: another one hears 3041 and no event', async () => {
    const payment = await stage.pay();
    const other = await stage.connect();
    const stolen = await stage.wix.pay(other, { wixTransactionId: payment.wixTransactionId });
    const { reasonCode, errorCode, pluginTransactionId } = stolen.answer.body ?? {};
    assert.deepEqual([reasonCode, errorCode, pluginTransactionId], [3041, 'AUTH_FAILED', undefined]);
    assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
    assert.equal(stage.charged(payment), 4590n);
  });

  it('R13 with a known id and another body is answered as the first one was, and the difference is logged', async () => {
    const payment = await stage.pay();
    const other = await stage.pay({
      wixTransactionId: payment.wixTransactionId,
      amount: 99,
      currency: 'USD',
      number: '4000000000000002',
    });
    assert.equal(other.answer.text, payment.answer.text);
    assert.equal(stage.charged(payment), 4590n);
    assert.equal(await stage.sends(payment, 'authorize'), 1);
    const line = stage.log.lines.find(
      ({ event, transactionId }) =>
        [event, transactionId].join() === `transaction.repeated_differently,${payment.pluginTransactionId}`,
    );
    assert.deepEqual(line?.differs, ['currency', 'requestedAmount', 'requestedLastFour']);
  });

  it('is found by the PSP’s own services, with its operation', async () => {
    const payment = await stage.pay();
    const { transaction, operations } = await stage.find(payment);
    assert.equal(transaction?.id, payment.pluginTransactionId);
    assert.deepEqual(
      [transaction.requestedAmount, transaction.authorizedAmount, transaction.capturedAmount, transaction.currency],
      [4590n, 4590n, 4590n, 'EUR'],
    );
    assert.equal(operations.length, 1);
  });
});
