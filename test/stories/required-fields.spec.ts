import assert from 'node:assert/strict';
import { z } from 'zod';
import { requiredFields } from '../../core/required-fields.ts';
import { parseConfig } from '../../proto/runtime/config.ts';
import { assertSays, type Stage, useStage } from '../support/stage.ts';
import type { JsonObject } from '../wix/json.ts';
import type { PaymentOptions } from '../wix/requests.ts';

const ADDRESS = [
  ...['zipCode', 'city', 'state', 'address', 'countryCode', 'email', 'phone', 'firstName', 'lastName', 'street'],
  ...['houseNumber', 'taxIdentifier.id'],
].map((name) => `billingAddress.${name}`);
const ALL = [...ADDRESS, 'billingAddress', 'shippingAddress', 'card.cvv'];
const WHOLE = {
  ...{ firstName: 'Ada', lastName: 'Bell', address: 'Pier 4', street: 'Pier', houseNumber: '4', city: 'Cork' },
  ...{ state: 'CO', zipCode: 'T12', countryCode: 'IE', phone: '+353 21 1', email: 'ada@harbor.example' },
  taxIdentifier: { id: 'IE1', type: 'VAT' },
};

/** A payment that carries everything but what `drop` takes away. */
const pay = (
  stage: Stage,
  drop: (parts: Record<'billing' | 'shipping' | 'card' | 'description', JsonObject>) => void,
  options: PaymentOptions = {},
) =>
  stage.pay({
    ...options,
    change: (body) => {
      const description = (body.order as JsonObject).description as JsonObject;
      Object.assign(description, { billingAddress: structuredClone(WHOLE), shippingAddress: { city: 'Cork' } });
      const { billingAddress: billing, shippingAddress: shipping } = description as Record<string, JsonObject>;
      const card = (body.paymentMethodData as { card?: JsonObject } | undefined)?.card ?? {};
      drop({ billing: billing!, shipping: shipping!, card, description });
    },
  });

describe('fields that the PSP has made obligatory', () => {
  const stage = useStage({ env: { REQUIRED_FIELDS: ALL.join(', ') } });

  const codes: Record<string, number> = {
    ...{ zipCode: 4003, phone: 4004, email: 1004, firstName: 1004, lastName: 1004, taxIdentifier: 1004 },
    ...{ address: 4001, street: 4001, houseNumber: 4001, city: 4001, state: 4001, countryCode: 4001 },
  };
  for (const [name, code] of Object.entries(codes))
    it(`a payment without billingAddress.${name} is declined ${code} and told, and nobody is charged`, async () => {
      const payment = await pay(stage, ({ billing }) => delete billing[name]);
      assertSays(payment.answer, code, 'MISSING_FIELD');
      assert.match(
        String(payment.answer.body?.errorMessage),
        new RegExp(`^billingAddress\\.${name}(\\.id)? is missing$`),
      );
      await stage.told(payment, 'transaction', code);
      assert.equal(payment.pluginTransactionId, '');
    });

  it('a payment with all of them is approved', async () => {
    const payment = await pay(stage, () => {});
    assertSays(payment.answer);
    assert.equal(stage.charged(payment), 4590n);
  });

  it('a blank counts as missing', async () => {
    const payment = await pay(stage, ({ billing }) => Object.assign(billing, { zipCode: ' ' }));
    assertSays(payment.answer, 4003, 'MISSING_FIELD');
  });

  it('a payment without a shipping address is declined 4002', async () => {
    assertSays(
      (await pay(stage, ({ description }) => delete description.shippingAddress)).answer,
      4002,
      'MISSING_FIELD',
    );
  });

  it('a card without its CVV is declined 1004 while the buyer is there, and not by telephone', async () => {
    const without = ({ card }: { card: JsonObject }) => delete card.cvv;
    assertSays((await pay(stage, without)).answer, 1004, 'MISSING_FIELD');
    assertSays((await pay(stage, without, { moto: true })).answer);
    assertSays((await pay(stage, () => {}, { wallet: 'googlePay' })).answer);
  });

  it('a later charge, for which no buyer was asked, is not held to them', async () => {
    const { answer } = await pay(
      stage,
      ({ description, card }) => {
        delete description.billingAddress;
        delete card.cvv;
        card.networkTransactionId = '016150703802094';
      },
      { offSession: true },
    );
    assertSays(answer);
  });
});

describe('without obligatory fields', () => {
  const stage = useStage();

  it('a payment needs neither address nor CVV', async () => {
    const payment = await pay(stage, ({ description, card }) => {
      delete description.billingAddress;
      delete description.shippingAddress;
      delete card.cvv;
    });
    assertSays(payment.answer);
  });
});

describe('REQUIRED_FIELDS', () => {
  const read = (REQUIRED_FIELDS: string) =>
    parseConfig(z.object({ REQUIRED_FIELDS: requiredFields() }), { REQUIRED_FIELDS });

  it('is a list of known names, and none by default', () => {
    assert.deepEqual(read(' billingAddress.zipCode, card.cvv,'), {
      REQUIRED_FIELDS: ['billingAddress.zipCode', 'card.cvv'],
    });
    assert.deepEqual(read(''), { REQUIRED_FIELDS: [] });
    for (const name of ['zipCode', 'billingAddress.zip', 'constructor'])
      assert.throws(() => read(name), /REQUIRED_FIELDS must be a list of billingAddress, /);
  });
});

describe('an obligatory billing address', () => {
  const stage = useStage({ env: { REQUIRED_FIELDS: 'billingAddress' } });

  it('may have any part, and is missed with 4001 when it has none', async () => {
    assertSays(
      (await pay(stage, ({ description }) => Object.assign(description, { billingAddress: { city: 'Cork' } }))).answer,
    );
    assertSays(
      (await pay(stage, ({ description }) => delete description.billingAddress)).answer,
      4001,
      'MISSING_FIELD',
    );
  });
});
