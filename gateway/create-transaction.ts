import { z } from 'zod';
import {
  Wallet_AuthenticationMethod as AuthenticationMethod,
  Wallet_Type as WalletType,
} from '../proto/gen/payments/v1/payment_details_pb.js';
import { pageUrl } from '../proto/runtime/requests.ts';
import type { CallCore } from './core.ts';
import { readPaymentMethod } from './payment-methods.ts';
import { type RefusalCode, readBy } from './refusal.ts';
import { renderCreation, renderRefusal, type WixAnswer } from './wix-answer.ts';
import type { JsonObject } from './wix-json.ts';
import { amount, credentials, id, integer, lenient, mode, oneOf, readable, text, texts, token } from './wix-schemas.ts';

/** Contract 5. A malformed request whose id can be read goes to the core as a refusal: the core knows what Wix may hear (R2). */
export async function createTransaction(body: JsonObject, callCore: CallCore): Promise<WixAnswer> {
  const { value, refusal } = readBy(creation, body);
  const fields = value ?? lenientCreation.parse(body);
  if (refusal && !fields.wixTransactionId) return renderRefusal(refusal);
  const response = await callCore('createTransaction', {
    externalId: fields.wixTransactionId,
    externalMerchantId: fields.wixMerchantId,
    merchantCredentials: fields.merchantCredentials,
    mode: fields.mode,
    amount: fields.order?.description?.totalAmount,
    currency: fields.order?.description?.currency,
    paymentMethod: value?.paymentMethod,
    authorizeOnly: value?.authorizeOnly,
    details: value && detailsOf(value),
    refusal,
    returnUrls: value?.order.returnUrls,
  });
  return renderCreation(response);
}

function detailsOf(payment: z.infer<typeof creation>) {
  const { id: orderId, description } = payment.order;
  const { buyerInfo, billingAddress, shippingAddress, items, charges } = description;
  return {
    method: Object.values(payment.paymentMethodData).find((data) => data !== undefined) ?? PAGE,
    orderId,
    ...buyerInfo,
    ...payment.fraudInformation,
    moto: payment.moto,
    offSession: payment.offSession,
    scaRequested: payment.scaRequested,
    setupCredentialsOnFile: payment.setupCredentialsOnFile.offSession,
    installments: payment.installments,
    billingAddress,
    shippingAddress,
    items,
    charges,
  };
}

/** Without payment data the buyer acts on a page: of a redirect method, or a hosted one. */
const PAGE = { case: 'redirect', value: {} } as const;

// What Wix sends, as sections 5.2 to 5.4 of its contract have it.

const ITEMS_MAX = 1000;
const INT32_MAX = 2n ** 31n - 1n;

/** A yes or no that decides about money. */
const decision = z.boolean().default(false);

const lenientNumber = amount.catch(0n);

const address = texts(
  ...(['firstName', 'lastName', 'company', 'address', 'street', 'houseNumber', 'city', 'state', 'zipCode'] as const),
  ...(['countryCode', 'phone', 'fax', 'email'] as const),
)
  .extend({ taxIdentifier: lenient(texts('id', 'type')) })
  .transform(({ taxIdentifier, ...rest }) => ({ ...rest, taxId: taxIdentifier?.id, taxIdType: taxIdentifier?.type }));

const item = texts('id', 'name', 'description', 'category').extend({
  quantity: lenientNumber,
  price: lenientNumber,
  weightInKg: z.union([z.number(), z.bigint(), token]).transform(String).catch(''),
});

const description = {
  totalAmount: amount,
  currency: id,
  items: z
    .array(z.unknown())
    .transform((items) => items.slice(0, ITEMS_MAX))
    .pipe(z.array(lenient(item)))
    .transform((items) => items.filter((line) => line !== undefined))
    .catch([]),
  charges: lenient(z.object({ tax: lenientNumber, shipping: lenientNumber, discount: lenientNumber })),
  billingAddress: lenient(address),
  shippingAddress: lenient(address),
  buyerInfo: lenient(texts('buyerId', 'buyerLanguage')),
};

const digits = (pattern: RegExp, code: RefusalCode) =>
  z.string({ error: ({ input }) => (input === undefined ? undefined : code) }).regex(pattern, code);

const cardNumber = digits(/^\d{12,19}$/, 'CARD_NUMBER');
const month = integer('EXPIRY', 1n, 12n).transform(Number);
const year = integer('EXPIRY', 1000n, 9999n).transform(Number);

const PAGE_URL_MAX = 4096;

/** Where a browser is sent to later; empty when absent, or when it is none that is safe. */
const page = z
  .string()
  .transform((value) => pageUrl(value, PAGE_URL_MAX) ?? '')
  .catch('');

const returnUrls = z.object({ successUrl: page, errorUrl: page, cancelUrl: page, pendingUrl: page });

const card = z
  .object({
    number: cardNumber,
    year,
    month,
    cvv: digits(/^(\d{3,4})?$/, 'CVV').default(''),
    holderName: text,
    networkTransactionId: token.default(''),
    dsTransactionId: token.default(''),
  })
  .transform(({ month: expiryMonth, year: expiryYear, ...rest }) => ({
    case: 'card' as const,
    value: { ...rest, expiryMonth, expiryYear },
  }));

const { PAN_ONLY, CRYPTOGRAM_3DS, UNSPECIFIED } = AuthenticationMethod;

/** Apple's is read like Google's (U8). */
const wallet = (type: WalletType) =>
  z
    .object({
      pan: cardNumber,
      expirationYear: year,
      expirationMonth: month,
      authenticationMethod: oneOf({ PAN_ONLY, CRYPTOGRAM_3DS }, UNSPECIFIED),
      cryptogram: token.default(''),
      eci: text,
      accountVerified: z.boolean().catch(false),
      cardholderAuthenticated: z.boolean().catch(false),
      cardholderName: text,
    })
    .transform(({ expirationMonth: expiryMonth, expirationYear: expiryYear, cardholderName: holderName, ...rest }) => ({
      case: 'wallet' as const,
      value: { ...rest, type, expiryMonth, expiryYear, holderName },
    }));

const reference = z.object({ token: token.min(1) }).transform((value) => ({ case: 'reference' as const, value }));

const BANKS = ['ING', 'RABOBANK', 'ABN_AMRO', 'SNS_BANK', 'BUNQ', 'ASN_BANK', 'REGIOBANK', 'TRIODOS_BANK', 'KNAB'];
const ideal = z
  .object({ issuerBank: z.enum([...BANKS, 'VAN_LANSCHOT', 'HANDELSBANKEN', 'REVOLUT']).catch('') })
  .transform((value) => ({ case: 'redirect' as const, value }));

/** At most one of the members known here: a member that Wix adds one day is ignored like any other property. */
const paymentMethodData = z
  .object({
    card: card.optional(),
    reference: reference.optional(),
    googlePay: wallet(WalletType.GOOGLE_PAY).optional(),
    applePay: wallet(WalletType.APPLE_PAY).optional(),
    ideal: lenient(ideal),
  })
  .refine((members) => Object.values(members).filter(Boolean).length <= 1);

/** Contract 5.2. */
export const creation = z
  .object({
    wixTransactionId: id,
    wixMerchantId: id,
    merchantCredentials: credentials,
    order: z.object({ id: text, description: z.object(description), returnUrls: lenient(returnUrls) }),
    paymentMethod: z.string().transform(readPaymentMethod).pipe(z.string('METHOD')).default(''),
    paymentMethodData: paymentMethodData.default({}),
    mode,
    installments: integer('INVALID_FORMAT', 0n, INT32_MAX).transform(Number).default(0),
    fraudInformation: lenient(texts('remoteIp')),
    setupCredentialsOnFile: z.object({ offSession: decision }).default({ offSession: false }),
    offSession: decision,
    moto: decision,
    scaRequested: decision,
    authorizeOnly: decision,
  })
  .superRefine(({ paymentMethod: method, paymentMethodData: data }, context) => {
    // A card or a wallet without its data, and without a stored credential, can be charged by nobody.
    const member =
      method === 'creditCard' ? 'card' : method === 'googlePay' || method === 'applePay' ? method : undefined;
    if (member && !data[member] && !data.reference)
      context.addIssue({ code: 'custom', path: ['paymentMethodData', member], message: 'MISSING_FIELD' });
    // Nobody is charged by a means that was not chosen: a method that redirects has no card.
    if (method && !member && (data.card || data.googlePay || data.applePay))
      context.addIssue({ code: 'custom', path: ['paymentMethodData'], message: 'METHOD_DATA' });
  });

/** What a create that is malformed elsewhere still says (R2). */
const lenientCreation = readable({
  wixTransactionId: id,
  wixMerchantId: id,
  merchantCredentials: credentials,
  mode,
  order: readable({ description: readable({ totalAmount: amount, currency: id }) }),
});
