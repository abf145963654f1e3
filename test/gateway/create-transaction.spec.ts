import assert from 'node:assert/strict';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import type { CreateTransactionRequest } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Transaction_State as State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { exampleJson, startGateway, stopGateways, type TestGateway } from './harness.ts';

// biome-ignore lint/suspicious/noExplicitAny: a body that a test bends out of shape
type Body = any;

const declined = { id: 'ours', state: State.DECLINED, idWithheld: true } as const;

describe('reading a create', () => {
  let gateway: TestGateway;
  before(async () => {
    gateway = await startGateway({
      script: {
        createTransaction: ({ refusal }) =>
          refusal
            ? {
                transaction: declined,
                refusal: { reason: refusal.reason, errorCode: refusal.errorCode, message: refusal.message },
              }
            : { transaction: { id: 'ours', state: State.CAPTURED } },
      },
    });
  });
  beforeEach(() => gateway.calls.splice(0));
  after(stopGateways);

  const full = (): Body => exampleJson('create-transaction.card-approve.request.json');
  const googlePay = (): Body => exampleJson('create-transaction.googlepay-cryptogram.request.json');

  /** What reaches the core when Wix sends this body: an object, or JSON text. */
  const askedOf = async (body: Body): Promise<CreateTransactionRequest> => {
    const answer = await gateway.post('create-transaction', body);
    assert.equal(answer.status, 200);
    assert.equal(gateway.calls.length, 1, answer.text);
    return gateway.calls.pop()!.request;
  };
  /** The same for the full example after a change. */
  const asked = (change: (body: Body) => void, body: Body = full()) => {
    change(body);
    return askedOf(body);
  };
  const refused = async (
    change: (body: Body) => void,
    code: number,
    errorCode: string,
    message?: string,
    body?: Body,
  ) => {
    const { refusal, details } = await asked(change, body);
    assert.deepEqual([refusal?.reason, refusal?.errorCode], [code, errorCode], refusal?.message);
    if (message) assert.equal(refusal?.message, message);
    assert.equal(details, undefined);
  };
  const accepted = async (change: (body: Body) => void, body?: Body) => {
    const request = await asked(change, body);
    assert.equal(request.refusal, undefined, request.refusal?.message);
    assert.ok(request.details);
    return { ...request, details: request.details };
  };

  describe('tolerates', () => {
    it('properties that it does not know, at every level', async () => {
      const withExtras = (value: Body): Body => {
        if (Array.isArray(value)) return value.map(withExtras);
        if (typeof value !== 'object' || value === null) return value;
        const copy = Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withExtras(member)]));
        return { ...copy, somethingNew: { deep: [1, 'two', null] } };
      };
      const { merchantCredentials } = full();
      const plain = await accepted(() => undefined);
      const extra = await accepted(() => undefined, { ...withExtras(full()), merchantCredentials });
      assert.deepEqual({ ...extra, callId: '' }, { ...plain, callId: '' });
    });

    it('null for whatever may be absent', async () => {
      const absent = await accepted((body) => {
        delete body.mode;
        delete body.installments;
        delete body.fraudInformation;
        delete body.order.id;
        delete body.order.returnUrls;
        delete body.order.description.items;
        delete body.order.description.charges;
        delete body.order.description.billingAddress;
        delete body.order.description.buyerInfo;
        delete body.paymentMethodData.card.cvv;
        delete body.paymentMethodData.card.holderName;
      });
      const none = await accepted((body) => {
        body.mode = body.installments = body.fraudInformation = body.moto = body.offSession = body.scaRequested = null;
        body.authorizeOnly = body.setupCredentialsOnFile = body.order.id = body.order.returnUrls = null;
        const { description } = body.order;
        description.items = description.charges = description.billingAddress = description.buyerInfo = null;
        description.shippingAddress = null;
        const { card } = body.paymentMethodData;
        card.cvv = card.holderName = card.networkTransactionId = card.dsTransactionId = null;
        body.paymentMethodData.reference = body.paymentMethodData.googlePay = null;
        body.merchantCredentials.forgotten = null;
      });
      assert.deepEqual({ ...none, callId: '' }, { ...absent, callId: '' });
    });

    it('null for a required field as one that is missing', () =>
      refused((body) => (body.order = null), 1004, 'MISSING_FIELD', 'order is missing'));

    it('amounts as digit strings, and above 2^53', async () => {
      assert.equal((await accepted((body) => (body.order.description.totalAmount = '4590'))).amount, 4590n);
      const text = JSON.stringify(full()).replace('"totalAmount":4590', '"totalAmount":9007199254740993');
      assert.equal((await askedOf(text)).amount, 9_007_199_254_740_993n);
      const largest = JSON.stringify(full()).replace('"totalAmount":4590', '"totalAmount":"9223372036854775807"');
      assert.equal((await askedOf(largest)).amount, 2n ** 63n - 1n);
      assert.equal((await accepted((body) => (body.order.description.totalAmount = 0))).amount, 0n);
    });

    it('words that Wix may add to its enums', async () => {
      for (const mode of ['undefined', 'SANDBOX', 'staging', '', 7, true, {}, '__proto__', 'constructor'])
        assert.equal((await accepted((body) => (body.mode = mode))).mode, Mode.UNSPECIFIED, String(mode));
      assert.equal((await accepted((body) => (body.mode = 'live'))).mode, Mode.LIVE);
      const wallet = await accepted(
        (body) => (body.paymentMethodData.googlePay.authenticationMethod = 'NEW'),
        googlePay(),
      );
      assert.partialDeepStrictEqual(wallet.details.method, { case: 'wallet', value: { authenticationMethod: 0 } });
      const ideal = { ...full(), paymentMethod: 'iDeal', paymentMethodData: { ideal: { issuerBank: 'NEW_BANK' } } };
      const { details } = await accepted(() => undefined, ideal);
      assert.partialDeepStrictEqual(details.method, { case: 'redirect', value: { issuerBank: '' } });
    });

    it('method names in any case, and passes them on in the spelling of Wix', async () => {
      for (const [sent, name] of [
        ['CREDITCARD', 'creditCard'],
        ['creditcard', 'creditCard'],
        ['creditCard', 'creditCard'],
      ])
        assert.equal((await accepted((body) => (body.paymentMethod = sent))).paymentMethod, name);
      const redirect = { ...full(), paymentMethodData: undefined };
      for (const [sent, name] of [
        ['paypal', 'payPal'],
        ['PAYTR', 'payTR'],
        ['ideal', 'iDeal'],
        ['boleto', 'boleto'],
      ])
        assert.equal((await accepted(() => undefined, { ...redirect, paymentMethod: sent })).paymentMethod, name);
    });

    it('a hosted page named by an app id, by nothing or not at all', async () => {
      for (const paymentMethod of ['B7D0C1A2-5e64-4f0e-9d3b-2c8f1e6a7d90', '', null, undefined]) {
        const request = await accepted(() => undefined, { ...full(), paymentMethodData: undefined, paymentMethod });
        assert.equal(request.paymentMethod, '');
        assert.equal(request.details.method.case, 'redirect');
      }
    });

    it('payment data that it does not know, for methods that need none', async () => {
      for (const paymentMethodData of [{}, { klarna: { token: 'x' } }]) {
        const { details } = await accepted(() => undefined, { ...full(), paymentMethod: 'klarna', paymentMethodData });
        assert.equal(details.method.case, 'redirect');
      }
    });

    it('harmless fields of the wrong type, as absent ones', async () => {
      const { details } = await accepted((body) => {
        body.order.id = 7;
        body.order.returnUrls = 'x';
        const { description } = body.order;
        description.items = [
          5,
          null,
          { name: 3, quantity: 'many', price: -1, weightInKg: {} },
          { name: 'kept', price: '12' },
        ];
        description.charges = { tax: 1.5, shipping: '5', discount: true };
        description.billingAddress = { firstName: 1, lastName: 'Kept', taxIdentifier: 'x' };
        description.shippingAddress = [];
        description.buyerInfo = 'x';
        body.fraudInformation = { remoteIp: 12 };
        body.paymentMethodData.card.holderName = false;
      });
      assert.equal(details.orderId, '');
      assert.partialDeepStrictEqual(details.items, [
        { name: '', price: 0n, weightInKg: '' },
        { name: 'kept', price: 12n },
      ]);
      assert.partialDeepStrictEqual(details.charges, { tax: 0n, shipping: 5n, discount: 0n });
      assert.partialDeepStrictEqual(details.billingAddress, { firstName: '', lastName: 'Kept', taxId: '' });
      assert.equal(details.shippingAddress, undefined);
      assert.equal(details.remoteIp, '');
    });

    it('harmless texts that are too long, cut without breaking a character', async () => {
      const { details } = await accepted((body) => {
        body.order.description.buyerInfo.buyerId = 'x'.repeat(5000);
        body.order.description.billingAddress.lastName = `${'x'.repeat(999)}😀`;
        body.order.description.items = Array.from({ length: 1200 }, () => ({ name: 'bowl' }));
      });
      assert.equal(details.buyerId.length, 1000);
      assert.equal(details.billingAddress?.lastName, 'x'.repeat(999));
      assert.equal(details.items.length, 1000);
    });

    it('texts that neither protobuf nor PostgreSQL can hold, where they are harmless', async () => {
      const { details } = await accepted((body) => {
        body.order.description.buyerInfo.buyerId = 'half a pair \ud800';
        body.order.description.billingAddress.lastName = 'nul \0';
      });
      assert.equal(details.buyerId, '');
      assert.equal(details.billingAddress?.lastName, '');
    });

    it('any key in the credentials', async () => {
      const text = JSON.stringify(full()).replace(
        '"api_key":',
        '"__proto__":"p","constructor":"c","":"e","7":"n","api_key":',
      );
      const { merchantCredentials, refusal } = await askedOf(text);
      assert.equal(refusal, undefined);
      const { api_key, account_ref, grant } = full().merchantCredentials;
      assert.deepEqual(
        new Map(Object.entries(merchantCredentials!.values)),
        new Map([
          ...[
            ['7', 'n'],
            ['__proto__', 'p'],
            ['constructor', 'c'],
            ['', 'e'],
            ['api_key', api_key],
          ],
          ...[
            ['account_ref', account_ref],
            ['grant', grant],
          ],
        ] as [string, string][]),
      );
    });

    it('expiry and instalments as digit strings', async () => {
      const { details } = await accepted((body) => {
        Object.assign(body.paymentMethodData.card, { month: '09', year: '2031' });
        body.installments = '6';
      });
      assert.partialDeepStrictEqual(details.method, { value: { expiryMonth: 9, expiryYear: 2031 } });
      assert.equal(details.installments, 6);
    });

    it('a googlePay payment off session as any other', async () => {
      const { details } = await accepted((body) => (body.offSession = true), googlePay());
      assert.equal(details.offSession, true);
      assert.equal(details.method.case, 'wallet');
    });
  });

  describe('refuses', () => {
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
    const put = (path: string, value: unknown) => (body: Body) => {
      const steps = path.split('.');
      const last = steps.pop()!;
      let place = body;
      for (const step of steps) place = place[step] ??= {};
      place[last] = value;
    };
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
          JSON.stringify(full()).replace('"totalAmount":4590', `"totalAmount":${written}`),
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
        put('paymentMethodData.googlePay.pan', full().wixTransactionId),
        3015,
        'CARD_NUMBER',
        undefined,
        googlePay(),
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
          googlePay(),
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
      const body = full();
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
        const answer = await gateway.post('create-transaction', { ...full(), wixTransactionId });
        assert.equal(answer.status, 200);
        const isMissing = wixTransactionId === undefined || wixTransactionId === null;
        assert.deepEqual(answer.json, {
          reasonCode: isMissing ? 1004 : 1007,
          errorCode: isMissing ? 'MISSING_FIELD' : 'INVALID_FORMAT',
          errorMessage: `wixTransactionId ${isMissing ? 'is missing' : 'has the wrong format'}`,
        });
      }
      assert.deepEqual(gateway.calls, []);
    });

    it('never quotes a value, in the answer or in the log', async () => {
      const body = full();
      body.paymentMethodData.card.number = '4111-1111-1111-1111';
      body.merchantCredentials = { apiKey: ['hush-hush'] };
      const { text } = await gateway.post('create-transaction', body);
      const printed = text + JSON.stringify(gateway.log.lines);
      for (const secret of ['4111-1111', 'hush-hush', 'apiKey', body.paymentMethodData.card.holderName])
        assert.ok(!printed.includes(secret), secret);
    });
  });
});
