import assert from 'node:assert/strict';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import { type Body, type CreateReader, fullCreate, googlePayCreate, startCreateReader } from './creates.ts';
import { stopGateways } from './harness.ts';

describe('a create, read with tolerance for', () => {
  let creates: CreateReader;
  before(async () => {
    creates = await startCreateReader();
  });
  after(stopGateways);

  const askedOf: CreateReader['askedOf'] = (body) => creates.askedOf(body);
  const accepted: CreateReader['accepted'] = (...args) => creates.accepted(...args);
  const refused: CreateReader['refused'] = (...args) => creates.refused(...args);

  it('properties that it does not know, at every level', async () => {
    const withExtras = (value: Body): Body => {
      if (Array.isArray(value)) return value.map(withExtras);
      if (typeof value !== 'object' || value === null) return value;
      const copy = Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withExtras(member)]));
      return { ...copy, somethingNew: { deep: [1, 'two', null] } };
    };
    const { merchantCredentials } = fullCreate();
    const plain = await accepted(() => undefined);
    const extra = await accepted(() => undefined, { ...withExtras(fullCreate()), merchantCredentials });
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
    const text = JSON.stringify(fullCreate()).replace('"totalAmount":4590', '"totalAmount":9007199254740993');
    assert.equal((await askedOf(text)).amount, 9_007_199_254_740_993n);
    const largest = JSON.stringify(fullCreate()).replace('"totalAmount":4590', '"totalAmount":"9223372036854775807"');
    assert.equal((await askedOf(largest)).amount, 2n ** 63n - 1n);
    assert.equal((await accepted((body) => (body.order.description.totalAmount = 0))).amount, 0n);
  });

  it('words that Wix may add to its enums', async () => {
    for (const mode of ['undefined', 'SANDBOX', 'staging', '', 7, true, {}, '__proto__', 'constructor'])
      assert.equal((await accepted((body) => (body.mode = mode))).mode, Mode.UNSPECIFIED, String(mode));
    assert.equal((await accepted((body) => (body.mode = 'live'))).mode, Mode.LIVE);
    const wallet = await accepted(
      (body) => (body.paymentMethodData.googlePay.authenticationMethod = 'NEW'),
      googlePayCreate(),
    );
    assert.partialDeepStrictEqual(wallet.details.method, { case: 'wallet', value: { authenticationMethod: 0 } });
    const ideal = { ...fullCreate(), paymentMethod: 'iDeal', paymentMethodData: { ideal: { issuerBank: 'NEW_BANK' } } };
    const { details } = await accepted(() => undefined, ideal);
    assert.partialDeepStrictEqual(details.method, { case: 'redirect', value: { issuerBank: '' } });
  });

  it('the first thousand lines of an order, whatever they are, and none after them', async () => {
    const { details } = await accepted((body) => {
      body.order.description.items = [...Array(400).fill('no line'), ...Array(5_000).fill({ name: 'bowl' })];
    });
    assert.equal(details.items.length, 600);
  });

  it('method names in any case, and passes them on in the spelling of Wix', async () => {
    for (const [sent, name] of [
      ['CREDITCARD', 'creditCard'],
      ['creditcard', 'creditCard'],
      ['creditCard', 'creditCard'],
    ])
      assert.equal((await accepted((body) => (body.paymentMethod = sent))).paymentMethod, name);
    const redirect = { ...fullCreate(), paymentMethodData: undefined };
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
      const request = await accepted(() => undefined, { ...fullCreate(), paymentMethodData: undefined, paymentMethod });
      assert.equal(request.paymentMethod, '');
      assert.equal(request.details.method.case, 'redirect');
    }
  });

  it('payment data that it does not know, for methods that need none', async () => {
    for (const paymentMethodData of [{}, { klarna: { token: 'x' } }]) {
      const { details } = await accepted(() => undefined, {
        ...fullCreate(),
        paymentMethod: 'klarna',
        paymentMethodData,
      });
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
    const text = JSON.stringify(fullCreate()).replace(
      '"api_key":',
      '"__proto__":"p","constructor":"c","":"e","7":"n","api_key":',
    );
    const { merchantCredentials, refusal } = await askedOf(text);
    assert.equal(refusal, undefined);
    const { api_key, account_ref, grant } = fullCreate().merchantCredentials;
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
    const { details } = await accepted((body) => (body.offSession = true), googlePayCreate());
    assert.equal(details.offSession, true);
    assert.equal(details.method.case, 'wallet');
  });
});
