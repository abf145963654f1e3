import assert from 'node:assert/strict';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import { type Body, type CreateReader, fullCreate, googlePayCreate, put, startCreateReader } from './creates.ts';
import { stopGateways } from './harness.ts';

describe('a malformed create', () => {
  let creates: CreateReader;
  before(async () => {
    creates = await startCreateReader();
  });
  after(stopGateways);

  const askedOf: CreateReader['askedOf'] = (body) => creates.askedOf(body);
  const asked: CreateReader['asked'] = (...args) => creates.asked(...args);
  const accepted: CreateReader['accepted'] = (...args) => creates.accepted(...args);
  const refused: CreateReader['refused'] = (...args) => creates.refused(...args);

  describe('is refused for', () => {
    const missing: [string, (body: Body) => void][] = [
      ['wixMerchantId', (body) => delete body.wixMerchantId],
      ['merchantCredentials', (body) => delete body.merchantCredentials],
      ['order', (body) => delete body.order],
      ['order.description', (body) => delete body.order.description],
      ['order.description.totalAmount', (body) => delete body.order.description.totalAmount],
      ['order.description.currency', (body) => delete body.order.description.currency],
      ['paymentMethodData.card', (body) => delete body.paymentMethodData],
      ['paymentMethodData.card', (body) => delete body.paymentMethodData.card],
      ['paymentMethodData.card.number', (body) => delete body.paymentMethodData.card.number],
      ['paymentMethodData.card.year', (body) => delete body.paymentMethodData.card.year],
      ['paymentMethodData.card.month', (body) => delete body.paymentMethodData.card.month],
      ['paymentMethodData.reference.token', (body) => (body.paymentMethodData = { reference: {} })],
    ];
    for (const [path, remove] of missing)
      it(`a body without ${path}`, () => refused(remove, 1004, 'MISSING_FIELD', `${path} is missing`));

    it('a wallet without its data', () =>
      refused(
        (body) => (body.paymentMethod = 'applePay'),
        1004,
        'MISSING_FIELD',
        'paymentMethodData.applePay is missing',
      ));

    const malformed: [string, unknown[]][] = [
      ['wixMerchantId', ['', 5, {}, 'x'.repeat(201), 'nul \0', 'half \ud800']],
      ['merchantCredentials', ['x', 5, [], { key: 1 }, { key: true }, { key: {} }, { key: '\ud800' }, { 'k\0': '' }]],
      ['order', ['x', 5, []]],
      ['order.description', ['x', 5, []]],
      ['order.description.currency', [978, '', {}, 'x'.repeat(201)]],
      ['paymentMethod', [5, {}, true]],
      ['paymentMethodData', ['x', 5, []]],
      ['paymentMethodData.card', ['x', 5, []]],
      ['paymentMethodData.card.networkTransactionId', [5, 'x'.repeat(1001)]],
      ['paymentMethodData.card.dsTransactionId', [5, 'x'.repeat(1001)]],
      ['installments', [1.5, -1, 'x', true, {}, 2_147_483_648]],
      ['setupCredentialsOnFile', ['x', true]],
      ['setupCredentialsOnFile.offSession', ['true', 1]],
      ['offSession', ['true', 1, {}]],
      ['moto', ['false', 0]],
      ['scaRequested', ['true', 1]],
      ['authorizeOnly', ['true', 'false', '', 1, 0, {}]],
    ];
    for (const [path, values] of malformed)
      it(`${path} in another shape, and quotes nothing`, async () => {
        for (const value of values)
          await refused(put(path, value), 1007, 'INVALID_FORMAT', `${path} has the wrong format`);
      });

    it('amounts with fractions, exponents, signs and blanks, booleans, and above int64', async () => {
      const path = 'order.description.totalAmount';
      const message = `${path} is not an amount in minor units`;
      for (const value of [
        1.5,
        -1,
        '1.5',
        '1e3',
        '-1',
        '+1',
        ' 1',
        '1 ',
        '',
        'x',
        true,
        {},
        [1],
        '9223372036854775808',
      ])
        await refused(put(path, value), 3001, 'AMOUNT', message);
      for (const written of ['45.0', '459e1', '-4590', '-0', '9223372036854775808', '99999999999999999999999']) {
        const { refusal } = await askedOf(
          JSON.stringify(fullCreate()).replace('"totalAmount":4590', `"totalAmount":${written}`),
        );
        assert.deepEqual([refusal?.reason, refusal?.errorCode], [3001, 'AMOUNT'], written);
      }
    });

    it('a card number that is not 12 to 19 digits', async () => {
      const message = 'paymentMethodData.card.number is not a card number';
      for (const value of [
        '',
        '41111111111',
        '41111111111111111111',
        '4111 1111 1111 1111',
        '4111-1111',
        'x',
        4111111111111111,
      ])
        await refused(put('paymentMethodData.card.number', value), 3015, 'CARD_NUMBER', message);
      for (const value of ['411111111111', '4111111111111111111', '4111111111111112'])
        await accepted(put('paymentMethodData.card.number', value));
    });

    it('a wallet number that is not 12 to 19 digits, as the GUID of a sample', () =>
      refused(
        put('paymentMethodData.googlePay.pan', fullCreate().wixTransactionId),
        3015,
        'CARD_NUMBER',
        undefined,
        googlePayCreate(),
      ));

    it('an expiry that is not a month and a year of four digits', async () => {
      for (const value of [0, 13, -1, 1.5, 'May', true])
        await refused(put('paymentMethodData.card.month', value), 3014, 'EXPIRY');
      for (const value of [31, 999, 10000, -2031, '31', {}])
        await refused(put('paymentMethodData.card.year', value), 3014, 'EXPIRY');
      for (const value of [0, 13])
        await refused(
          put('paymentMethodData.googlePay.expirationMonth', value),
          3014,
          'EXPIRY',
          undefined,
          googlePayCreate(),
        );
      await accepted(put('paymentMethodData.card.year', 2001));
    });

    it('a security code that is not three or four digits', async () => {
      for (const value of ['12', '12345', '12a', 123])
        await refused(put('paymentMethodData.card.cvv', value), 3016, 'CVV');
      for (const value of ['123', '1234', '']) await accepted(put('paymentMethodData.card.cvv', value));
    });

    it('a method that Wix does not have', async () => {
      for (const value of [
        'pix_like_unknown',
        'credit card',
        'constructor',
        '__proto__',
        'b7d0c1a2-5e64',
        'x'.repeat(5000),
      ])
        await refused(put('paymentMethod', value), 1012, 'METHOD', 'Payment method is not available');
    });

    it('a card, or a wallet, under the name of a method that redirects', async () => {
      const { paymentMethodData } = googlePayCreate();
      for (const paymentMethod of ['sofort', 'SOFORT', 'payPal', 'skrillCreditcard'])
        for (const data of [{}, { paymentMethodData }])
          await refused(
            (body) => Object.assign(body, { paymentMethod, ...data }),
            1009,
            'METHOD_DATA',
            'paymentMethodData is not of this payment method',
          );
      const reference = { paymentMethod: 'sepa', paymentMethodData: { reference: { token: 't' } } };
      assert.equal((await accepted((body) => Object.assign(body, reference))).details.method.case, 'reference');
    });

    it('two members of payment data at once', async () => {
      const two = put('paymentMethodData.reference', { token: 't' });
      await refused(two, 1007, 'INVALID_FORMAT', 'paymentMethodData has the wrong format');
    });

    it('credentials of more than 100 entries or 32 KiB', async () => {
      const many = (entries: number) =>
        Object.fromEntries(Array.from({ length: entries }, (_, i) => [`key-${i}`, 'v']));
      await accepted(put('merchantCredentials', many(100)));
      await refused(put('merchantCredentials', many(101)), 1007, 'INVALID_FORMAT');
      await accepted(put('merchantCredentials', { key: 'x'.repeat(32 * 1024 - 3) }));
      await refused(put('merchantCredentials', { key: 'x'.repeat(32 * 1024 - 2) }), 1007, 'INVALID_FORMAT');
    });
  });

  describe('R2 a refusal', () => {
    it('goes to the core with whatever could be read', async () => {
      const body = fullCreate();
      const request = await asked((changed) => (changed.paymentMethodData.card.number = 'x'), body);
      assert.equal(request.externalId, body.wixTransactionId);
      assert.equal(request.externalMerchantId, body.wixMerchantId);
      assert.equal(request.merchantCredentials?.values.api_key, body.merchantCredentials.api_key);
      assert.deepEqual([request.amount, request.currency, request.mode], [4590n, 'EUR', Mode.SANDBOX]);
    });

    it('goes to the core with an id and nothing else', async () => {
      const wixTransactionId = 'x'.repeat(200);
      for (const body of [
        { wixTransactionId },
        { wixTransactionId, wixMerchantId: 5, merchantCredentials: [], order: 'x', mode: {} },
        { wixTransactionId, wixMerchantId: '', order: { description: { totalAmount: -1, currency: 9 } } },
      ]) {
        const request = await askedOf(body);
        assert.equal(request.externalId, wixTransactionId);
        assert.ok(request.refusal);
        assert.equal(request.externalMerchantId, '');
        assert.equal(request.merchantCredentials, undefined);
        assert.deepEqual([request.amount, request.currency, request.mode], [undefined, '', Mode.UNSPECIFIED]);
      }
    });

    it('tells absent credentials from empty ones', async () => {
      const empty = await asked((body) => Object.assign(body, { merchantCredentials: {}, order: 5 }));
      assert.deepEqual(empty.merchantCredentials?.values, {});
      assert.equal(
        (await asked((body) => Object.assign(body, { merchantCredentials: 5 }))).merchantCredentials,
        undefined,
      );
    });

    it('is answered without the core when the id cannot be read', async () => {
      for (const wixTransactionId of [undefined, null, '', 5, {}, [], 'x'.repeat(201), 'nul \0', '\ud800']) {
        const answer = await creates.gateway.post('create-transaction', { ...fullCreate(), wixTransactionId });
        assert.equal(answer.status, 200);
        const isMissing = wixTransactionId === undefined || wixTransactionId === null;
        assert.deepEqual(answer.json, {
          reasonCode: isMissing ? 1004 : 1007,
          errorCode: isMissing ? 'MISSING_FIELD' : 'INVALID_FORMAT',
          errorMessage: `wixTransactionId ${isMissing ? 'is missing' : 'has the wrong format'}`,
        });
      }
      assert.deepEqual(creates.gateway.calls, []);
    });

    it('never quotes a value, in the answer or in the log', async () => {
      const body = fullCreate();
      body.paymentMethodData.card.number = '4111-1111-1111-1111';
      body.merchantCredentials = { apiKey: ['hush-hush'] };
      const { text } = await creates.gateway.post('create-transaction', body);
      const printed = text + JSON.stringify(creates.gateway.log.lines);
      for (const secret of ['4111-1111', 'hush-hush', 'apiKey', body.paymentMethodData.card.holderName])
        assert.ok(!printed.includes(secret), secret);
    });
  });
});
