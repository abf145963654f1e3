import { z } from 'zod';
import { Mode } from '../proto/gen/payments/v1/merchant_account_pb.js';
import { Wallet_AuthenticationMethod as AuthenticationMethod } from '../proto/gen/payments/v1/payment_details_pb.js';
import { RefundTransactionRequest_Why as Why } from '../proto/gen/payments/v1/payments_service_pb.js';
import { cut } from '../proto/runtime/redact.ts';
import { readPaymentMethod } from './payment-methods.ts';
import type { RefusalCode } from './refusal.ts';
import { INT64_MAX, readInteger } from './wix-json.ts';

// What Wix sends, as sections 4.2, 5.2 to 5.4, 6.1, 7.1 and 7.2 of its contract have it. Properties that are not named here are
// ignored. What decides about money is refused when it is malformed; anything else that is malformed counts as absent.

const TEXT_MAX = 1000;
const ITEMS_MAX = 1000;
const INT32_MAX = 2n ** 31n - 1n;
const CREDENTIALS_ENTRIES_MAX = 100;
const CREDENTIALS_BYTES_MAX = 32 * 1024;

/** Text that PostgreSQL and protobuf can hold. */
const plain = z.string().refine((value) => value.isWellFormed() && !value.includes('\0'));

/** Too long is refused, for tokens as well: a cut one would be somebody else's. */
const id = plain.min(1).max(200);
const token = plain.max(TEXT_MAX);

/** Harmless text; empty when absent, cut when too long. */
const text = plain.transform((value) => cut(value, TEXT_MAX)).catch('');

/** Absent when it is malformed. */
const harmless = <S extends z.ZodType>(schema: S) => schema.optional().catch(undefined);

/** An object of harmless texts. */
const texts = <Name extends string>(...names: Name[]) =>
  z.object(Object.fromEntries(names.map((name) => [name, text])) as Record<Name, typeof text>);

/** A yes or no that decides about money. */
const decision = z.boolean().default(false);

/** A whole number, written as a number or as a string of digits; `code` is what any other value means. */
const integer = (min: bigint, max: bigint, code: RefusalCode) =>
  z.transform((value: unknown, context): bigint => {
    const read = readInteger(value);
    if (read !== undefined && read >= min && read <= max) return read;
    context.issues.push({ code: 'custom', input: value, message: value === undefined ? 'MISSING_FIELD' : code });
    return z.NEVER;
  });

const int32 = (min: bigint, max: bigint, code: RefusalCode) => integer(min, max, code).transform(Number);

/** Minor units. */
const amount = integer(0n, INT64_MAX, 'AMOUNT');
const refundAmount = integer(0n, INT64_MAX, 'INVALID_FORMAT');
const harmlessNumber = amount.catch(0n);

/** One of these words; what Wix may add one day is the neutral value (contract 2). */
const oneOf = <T>(words: Record<string, T>, neutral: T) =>
  z
    .unknown()
    .optional()
    .transform((word): T => new Map(Object.entries(words)).get(word as string) ?? neutral);

const mode = oneOf({ live: Mode.LIVE, sandbox: Mode.SANDBOX }, Mode.UNSPECIFIED);

/** String to string, the object itself as it came: a copy by zod would lose a property called __proto__. */
const credentials = z.custom<Record<string, string>>((value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const parts: unknown[] = Object.entries(value).flat();
  return (
    parts.length <= 2 * CREDENTIALS_ENTRIES_MAX &&
    parts.every((part) => plain.safeParse(part).success) &&
    Buffer.byteLength(parts.join('')) <= CREDENTIALS_BYTES_MAX
  );
});

export const connectAccountSchema = z.object({
  credentials,
  wixMerchantId: id,
  country: text,
  currency: text,
  mode,
});

const address = texts(
  ...(['firstName', 'lastName', 'company', 'address', 'street', 'houseNumber', 'city', 'state', 'zipCode'] as const),
  ...(['countryCode', 'phone', 'fax', 'email'] as const),
).extend({ taxIdentifier: harmless(texts('id', 'type')) });

const item = texts('id', 'name', 'description', 'category').extend({
  quantity: harmlessNumber,
  price: harmlessNumber,
  weightInKg: z
    .union([z.number(), z.bigint(), plain.max(TEXT_MAX)])
    .transform(String)
    .catch(''),
});

const order = z.object({
  id: text,
  description: z.object({
    totalAmount: amount,
    currency: id,
    items: z
      .array(harmless(item))
      .transform((items) => items.filter((line) => line !== undefined).slice(0, ITEMS_MAX))
      .catch([]),
    charges: harmless(z.object({ tax: harmlessNumber, shipping: harmlessNumber, discount: harmlessNumber })),
    billingAddress: harmless(address),
    shippingAddress: harmless(address),
    buyerInfo: harmless(texts('buyerId', 'buyerLanguage')),
  }),
});

const digits = (pattern: RegExp, code: RefusalCode) =>
  z.string({ error: ({ input }) => (input === undefined ? undefined : code) }).regex(pattern, code);

const cardNumber = digits(/^\d{12,19}$/, 'CARD_NUMBER');
const month = int32(1n, 12n, 'EXPIRY');
const year = int32(1000n, 9999n, 'EXPIRY');

const card = z.object({
  number: cardNumber,
  year,
  month,
  cvv: digits(/^(\d{3,4})?$/, 'CVV').default(''),
  holderName: text,
  networkTransactionId: token.default(''),
  dsTransactionId: token.default(''),
});

const wallet = z.object({
  pan: cardNumber,
  expirationYear: year,
  expirationMonth: month,
  cryptogram: token.default(''),
  eci: text,
});

const googlePay = wallet.extend({
  authenticationMethod: oneOf(
    { PAN_ONLY: AuthenticationMethod.PAN_ONLY, CRYPTOGRAM_3DS: AuthenticationMethod.CRYPTOGRAM_3DS },
    AuthenticationMethod.UNSPECIFIED,
  ),
  accountVerified: z.boolean().catch(false),
  cardholderAuthenticated: z.boolean().catch(false),
});

const applePay = wallet.extend({ cardholderName: text });

const BANKS = ['ING', 'RABOBANK', 'ABN_AMRO', 'SNS_BANK', 'BUNQ', 'ASN_BANK', 'REGIOBANK', 'TRIODOS_BANK', 'KNAB'];
const ideal = z.object({ issuerBank: z.enum([...BANKS, 'VAN_LANSCHOT', 'HANDELSBANKEN', 'REVOLUT']).catch('') });

/** At most one of the members known here: a member that Wix adds one day is ignored like any other property. */
const paymentMethodData = z
  .object({
    card: card.optional(),
    reference: z.object({ token: token.min(1) }).optional(),
    googlePay: googlePay.optional(),
    applePay: applePay.optional(),
    ideal: harmless(ideal),
  })
  .refine((members) => Object.values(members).filter(Boolean).length <= 1);

const paymentMethod = z
  .string()
  .transform((name, context) => {
    const method = readPaymentMethod(name);
    if (method !== undefined) return method;
    context.issues.push({ code: 'custom', input: name, message: 'METHOD' });
    return z.NEVER;
  })
  .default('');

export const createTransactionSchema = z
  .object({
    wixTransactionId: id,
    wixMerchantId: id,
    merchantCredentials: credentials,
    order,
    paymentMethod,
    paymentMethodData: paymentMethodData.default({}),
    mode,
    installments: int32(0n, INT32_MAX, 'INVALID_FORMAT').default(0),
    fraudInformation: harmless(texts('remoteIp')),
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
  });

/** What a create that is malformed elsewhere still says (R2); an id that cannot be read is empty. */
export const createTransactionRemains = z.object({
  wixTransactionId: id.catch(''),
  wixMerchantId: id.catch(''),
  merchantCredentials: harmless(credentials),
  order: harmless(
    z.object({ description: harmless(z.object({ totalAmount: harmless(amount), currency: id.catch('') })) }),
  ),
  mode,
});

export const refundTransactionSchema = z.object({
  wixTransactionId: id,
  wixRefundId: id,
  pluginTransactionId: id,
  merchantCredentials: credentials,
  refundAmount: refundAmount.optional(),
  mode,
  reason: oneOf(
    {
      DUPLICATE: Why.DUPLICATE,
      FRAUDULENT: Why.FRAUDULENT,
      REQUESTED_BY_CUSTOMER: Why.REQUESTED_BY_CUSTOMER,
    },
    Why.UNSPECIFIED,
  ),
});

/** What a refund that is malformed elsewhere still says (R22); an id that cannot be read is empty. */
export const refundTransactionRemains = refundTransactionSchema.extend({
  wixTransactionId: id.catch(''),
  wixRefundId: id.catch(''),
  pluginTransactionId: id.catch(''),
  merchantCredentials: harmless(credentials),
  refundAmount: harmless(refundAmount),
});

export const captureTransactionSchema = z.object({
  wixTransactionId: id,
  pluginTransactionId: id,
  captureAmount: amount,
  merchantCredentials: credentials,
});

export const voidTransactionSchema = z.object({
  wixTransactionId: id,
  pluginTransactionId: id,
  voidAmount: amount,
  merchantCredentials: credentials,
});
