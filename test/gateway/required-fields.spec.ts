import assert from 'node:assert/strict';
import { readRequiredFields } from '../../gateway/required-fields.ts';
import { type Body, type CreateReader, fullCreate, put, startCreateReader } from './creates.ts';
import { configOf, exampleJson, stopGateways } from './harness.ts';

const NAMES = 'firstName,lastName,email,phone,address,street,houseNumber,zipCode,city,state,countryCode,taxId,cvv';
const ADDRESS = 'order.description.billingAddress';

describe('what the dashboard of the app makes obligatory (contract 16)', () => {
  let creates: CreateReader;
  before(async () => {
    creates = await startCreateReader({ REQUIRED_FIELDS: NAMES });
  });
  after(stopGateways);

  /** A payment with all of it. */
  const whole = (): Body => {
    const body = fullCreate();
    const texts = Object.fromEntries(NAMES.split(',').map((name) => [name, 'given']));
    put(ADDRESS, { ...texts, taxIdentifier: { id: 'given' } })(body);
    put('paymentMethodData.card.cvv', '123')(body);
    return body;
  };

  it('is asked of nobody who gives it', () => creates.accepted(() => undefined, whole()));

  for (const [path, code] of [
    ...['firstName', 'lastName', 'email', 'address', 'street', 'houseNumber', 'city', 'state', 'countryCode'].map(
      (name) => [`billingAddress.${name}`, 1004] as const,
    ),
    ['billingAddress.taxIdentifier.id', 1004],
    ['billingAddress.zipCode', 4003],
    ['billingAddress.phone', 4004],
    ['billingAddress', 4001],
  ] as const)
    it(`is declined with ${code} without ${path}`, async () => {
      for (const value of [undefined, null, ''])
        await creates.refused(
          put(`order.description.${path}`, value),
          code,
          'MISSING_FIELD',
          `${path} is missing`,
          whole(),
        );
    });

  it('is declined with 1004 without the security code of a card, a saved one too', () =>
    creates.refused(
      (body) => delete body.paymentMethodData.card.cvv,
      1004,
      'MISSING_FIELD',
      'paymentMethodData.card.cvv is missing',
      whole(),
    ));

  it('is not asked of a buyer who is not there', async () => {
    for (const absent of ['moto', 'offSession'])
      await creates.accepted((body) => {
        delete body.order.description.billingAddress;
        delete body.paymentMethodData.card.cvv;
        body[absent] = true;
      }, whole());
  });

  it('has no security code where there is no card', () =>
    creates.accepted(put(ADDRESS, whole().order.description.billingAddress), applePay()));

  const applePay = (): Body => exampleJson('create-transaction.applepay.request.json');

  it('is nothing unless it is set', async () => {
    const free = await startCreateReader();
    await free.accepted((body) => delete body.order.description.billingAddress);
  });

  it('is set by names that are known, or not at all', () => {
    assert.deepEqual(readRequiredFields(' zipCode, phone '), ['zipCode', 'phone']);
    for (const text of ['zip', 'zipCode,', 'zipCode,constructor', 'zipCode phone'])
      assert.throws(() => configOf({ REQUIRED_FIELDS: text }), /REQUIRED_FIELDS must be some of firstName, /);
  });
});
