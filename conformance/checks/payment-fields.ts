import { randomUUID } from 'node:crypto';
import type { Check } from '../check.ts';
import { approved, demand, notDone, refused, same, succeeded } from '../expect.ts';
import { isObject, type JsonObject } from '../json.ts';
import { AMOUNT, type Amount, type PaymentOptions } from '../requests.ts';
import { CONNECTION, CURRENCIES_WIX_LACKS } from '../tables.ts';
import { descriptionOf, type Wix } from '../wix.ts';

// What a payment's body may hold, may lack, and must not hold (contract 5.2 to 5.4, 5.7, 13).

/**
 * What was charged, as the plugin itself says it: a refund of everything (the amount left out would be a matter of its own) succeeds
 * with exactly this amount, and a minor unit more is refused.
 */
async function charged(wix: Wix, amount: bigint, options: PaymentOptions = {}): Promise<void> {
  const payment = await wix.paid({ amount, ...options });
  const more = await wix.refund(payment, amount + 1n);
  demand(more.body?.reasonCode !== undefined, `${amount + 1n} can be refunded of ${amount}`);
  succeeded(await wix.refund(payment, amount));
  const { body } = await wix.event(payment, 'refund', ({ reasonCode }) => reasonCode === undefined);
  same('the amount of the refund event', body.amount, String(amount));
}

const changed = async (wix: Wix, change: (body: JsonObject) => void) => (await wix.pay({ change })).answer;

/** Bodies that Wix may send, and that are ordinary payments. */
const FINE: readonly [id: string, section: string, title: string, fix: string, change: (body: JsonObject) => void][] = [
  [
    'minimal',
    '5.2',
    'a payment with nothing but what is required is approved',
    'Rely on amount, currency, card and the ids alone; everything else may be missing.',
    (body) => {
      for (const name of ['mode', 'installments', 'fraudInformation']) delete body[name];
      const { totalAmount, currency } = descriptionOf(body);
      body.order = { description: { totalAmount, currency } };
    },
  ],
  [
    'id-is-no-guid',
    '5.2',
    'wixTransactionId need not be a GUID',
    'Keep it as text of up to 200 characters: Wix declares it a string, and its samples hold malformed GUIDs.',
    (body) => Object.assign(body, { wixTransactionId: `kit_${randomUUID()}-0` }),
  ],
  [
    'without-addresses',
    '5.3',
    'addresses and buyer may be missing',
    'Do not demand addresses, unless your app dashboard makes them obligatory.',
    (body) => {
      for (const name of ['billingAddress', 'shippingAddress', 'buyerInfo']) delete descriptionOf(body)[name];
    },
  ],
  [
    'null-address-fields',
    '2',
    'null in an address counts as absent (derived)',
    'Treat null like a missing field everywhere.',
    (body) =>
      Object.assign(descriptionOf(body), { shippingAddress: null, billingAddress: { firstName: null, zipCode: null } }),
  ],
  [
    'locale',
    '5.3',
    'buyerLanguage may be a locale: en-US',
    'Take "en" and "en-US".',
    (body) => Object.assign(descriptionOf(body), { buyerInfo: { buyerLanguage: 'en-US' } }),
  ],
  [
    'unknown-words',
    '2',
    'words that are not known yet do no harm (derived)',
    'Treat a value that you do not know as the neutral one.',
    (body) => {
      Object.assign(descriptionOf(body), {
        items: [{ category: 'kit-category', name: 'x' }, { category: 'undefined' }],
      });
    },
  ],
  [
    'method-case',
    '14',
    'the name of a payment method may come in another case (derived)',
    'Compare names of payment methods without regard to case.',
    (body) => Object.assign(body, { paymentMethod: 'CreditCard' }),
  ],
  [
    'many-items',
    '5.3',
    'an order may have 300 lines',
    'Take bodies of several hundred kilobytes.',
    (body) => {
      const item = { id: randomUUID(), name: 'Bowl', description: 'Hand made', quantity: 2, price: 100 };
      Object.assign(descriptionOf(body), { items: Array.from({ length: 300 }, () => item) });
    },
  ],
  [
    'any-script',
    '5.3',
    'names in any script are taken',
    'Keep texts as UTF-8, four bytes included: in MySQL that is utf8mb4.',
    (body) => Object.assign(descriptionOf(body), { billingAddress: { firstName: 'Łukasz 🍣', lastName: '山田' } }),
  ],
  [
    'without-cvv',
    '5.4',
    'a saved card may come without its cvv',
    'Let the acquirer decide, unless your app dashboard makes the CVV obligatory.',
    (body) => {
      const { card } = body.paymentMethodData as { card: JsonObject };
      delete card.cvv;
    },
  ],
  [
    'another-order-amount',
    '5.3',
    'order lines that do not add up to the total are no reason to refuse',
    'Charge totalAmount; never derive the charge from lines.',
    (body) =>
      Object.assign(descriptionOf(body), { items: [{ name: 'x', quantity: 3, price: 1 }], charges: { tax: 1 } }),
  ],
];

/** Bodies that cannot be charged, with the codes that say why. */
const MALFORMED: readonly [id: string, title: string, codes: readonly number[], change: (body: JsonObject) => void][] =
  [
    ['order', 'without its order', [1004], (body) => delete body.order],
    ['currency', 'without its currency', [1004, 3003], (body) => delete descriptionOf(body).currency],
    ['amount', 'without its amount', [1004, 3001], (body) => delete descriptionOf(body).totalAmount],
    ['card', 'without its card', [1004], (body) => delete body.paymentMethodData],
    [
      'card-number',
      'without its card number',
      [1004, 3015],
      (body) => delete (body.paymentMethodData as { card: JsonObject }).card.number,
    ],
    ['credentials', 'without merchantCredentials', [1004, 3041], (body) => delete body.merchantCredentials],
  ];

/** Amounts that are none. */
const NO_AMOUNTS: readonly [id: string, amount: unknown][] = [
  ['zero', 0],
  ['negative', -100],
  ['fraction', 45.9],
  ['exponent', '1e3'],
  ['blank', ' 4590'],
  ['signed', '+4590'],
  ['word', 'all'],
];

export const PAYMENT_FIELD_CHECKS: readonly Check[] = [
  ...FINE.map(
    ([id, section, title, fix, change]): Check => ({
      ...{ id: `payment.${id}`, section, title, fix },
      run: async (wix) => void approved(await changed(wix, change)),
    }),
  ),
  ...MALFORMED.map(
    ([id, title, codes, change]): Check => ({
      id: `payment.lacks-${id}`,
      section: '5.7',
      title: `a payment ${title} is declined with ${codes.join(' or ')}`,
      fix: `Answer 200 with reasonCode ${codes[0]}; a 500 makes Wix believe that the outcome is unknown.`,
      run: async (wix) => void refused(await changed(wix, change), ...codes),
    }),
  ),
  ...NO_AMOUNTS.map(
    ([id, totalAmount]): Check => ({
      id: `payment.amount-${id}`,
      section: '13.1',
      title: `an amount of ${JSON.stringify(totalAmount)} is not charged`,
      fix: 'Take a whole number of at least 1, or a string of digits; decline everything else with 3001. In PHP do not cast: (int)"1e3" is 1000.',
      run: async (wix) => notDone(await changed(wix, (body) => Object.assign(descriptionOf(body), { totalAmount }))),
    }),
  ),
  {
    id: 'payment.amount-code',
    section: '5.3',
    title: 'an amount of 0 is declined with 3001',
    fix: 'Answer reasonCode 3001.',
    run: async (wix) => void refused((await wix.pay({ amount: 0 })).answer, 3001),
  },
  {
    id: 'payment.amount-as-string',
    section: '13.1',
    title: 'an amount may come as a string of digits (derived)',
    fix: 'Read "4590" like 4590.',
    run: async (wix) => void approved((await wix.pay({ amount: String(AMOUNT) as Amount })).answer),
  },
  {
    id: 'payment.amount-exact',
    section: '13.1',
    title: 'the amount is charged to the minor unit',
    fix: 'Charge totalAmount as it is: no floating point, no division by 100.',
    run: (wix) => charged(wix, 1_999n),
  },
  {
    id: 'payment.amount-large',
    section: '13.1',
    title: 'an amount above 2^53 loses no digit',
    fix: 'Keep amounts in 64-bit integers, in JSON too (PHP: JSON_BIGINT_AS_STRING). Decline with 3001 what you cannot hold.',
    run: async (wix) => {
      const amount = 2n ** 53n + 1n;
      const { answer } = await wix.pay({ amount });
      if (answer.body?.reasonCode !== undefined) return void refused(answer, 3001, 3019);
      await charged(wix, amount);
    },
  },
  {
    id: 'payment.currencies',
    section: '13.2',
    title: 'amounts are minor units in every currency, those of none and of three decimals too',
    fix: 'Never divide by 100 whatever the currency: convert by the table of currencies, and only towards your acquirer.',
    needs: ['otherCurrencies'],
    run: async (wix) => {
      for (const currency of wix.config.merchant.otherCurrencies) await charged(wix, 1_234n, { currency });
    },
  },
  ...CURRENCIES_WIX_LACKS.map(
    (currency): Check => ({
      id: `payment.currency-${currency.toLowerCase()}`,
      section: '13.2',
      title: `${currency} is not in Wix's table: declined with 3003`,
      fix: "Check the currency against Wix's table of 161 codes.",
      run: async (wix) => void refused((await wix.pay({ currency })).answer, 3003),
    }),
  ),
  {
    id: 'payment.currency-of-account',
    section: '5.7',
    title: 'a currency that the account does not take is declined with 3003',
    fix: 'Check the currency on every payment: it may change without notice after connecting.',
    needs: ['refusedCurrency'],
    run: async (wix) => {
      const currency = wix.config.merchant.refusedCurrency ?? '';
      refused((await wix.pay({ currency })).answer, 3003);
    },
  },
  {
    id: 'payment.method-unknown',
    section: '5.7',
    title: 'a payment method that nobody knows is declined with 1012 or 3002',
    fix: 'Look the name up among those you declared, and answer reasonCode 1012.',
    run: async (wix) => void refused((await wix.pay({ method: 'kitMoney', data: {} })).answer, 1012, 3002),
  },
  {
    id: 'payment.wrong-credentials',
    section: '5.7',
    title: 'a payment with credentials that are not valid is declined, best with 3041',
    fix: 'Check merchantCredentials on every payment; answer 3041, not a code of connecting (2xxx).',
    needs: ['wrongCredentials'],
    run: async (wix) => {
      const { answer } = await wix.pay({
        change: (body) => Object.assign(body, { merchantCredentials: wix.config.merchant.wrongCredentials }),
      });
      const { reasonCode } = refused(answer);
      demand(!CONNECTION.has(reasonCode as number), `${reasonCode} is a code of connecting`);
    },
  },
  {
    id: 'payment.credentials-are-those-answered',
    section: '4.3',
    title: 'the credentials that connecting answered are taken by a payment',
    fix: 'Wix sends back the object that you answered, as merchantCredentials.',
    run: async (wix) => {
      const { answer, merchant } = await wix.connect();
      demand(isObject(succeeded(answer).credentials), 'connecting answered no credentials');
      approved((await wix.pay({}, merchant)).answer);
    },
  },
  {
    id: 'payment.answer-time',
    section: '2',
    title: 'a payment is answered within seconds',
    fix: 'If the outcome is not known in time, answer pending 5009 and send the event later.',
    run: async (wix) => {
      const { startedAt, endedAt } = (await wix.pay()).answer;
      const took = (endedAt - startedAt) / 1_000;
      demand(took < 10, `it took ${took.toFixed(1)} s`);
    },
  },
];
