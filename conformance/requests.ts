import { randomUUID } from 'node:crypto';
import type { Config } from './config.ts';
import type { JsonObject } from './json.ts';

// The bodies that Wix sends, each with ids of its own (contract 4.2, 5.2 to 5.4, 6.1, 7.1, 7.2).

export type Amount = bigint | number | string;

export interface Merchant {
  readonly wixMerchantId: string;
  /** Those that the plugin gave back. */
  readonly credentials: JsonObject;
}

export interface PaymentOptions {
  readonly card?: string;
  readonly amount?: Amount;
  readonly currency?: string;
  readonly authorizeOnly?: boolean;
  readonly moto?: boolean;
  readonly offSession?: boolean;
  readonly scaRequested?: boolean;
  /** The payment also sets up later charges. */
  readonly setup?: boolean;
  /** Instead of a card. */
  readonly data?: JsonObject;
  /** null: absent, as for a hosted page. */
  readonly method?: string | null;
  /** The last word on the body. */
  readonly change?: (body: JsonObject) => void;
}

/** What the sums of most checks are about. */
export const AMOUNT = 4_590;

const EXPIRY_YEAR = new Date().getFullYear() + 3;

export function connectBody({ merchant }: Config, change: JsonObject = {}): JsonObject {
  return {
    credentials: merchant.credentials,
    country: merchant.country,
    currency: merchant.currency,
    mode: merchant.mode,
    wixMerchantId: randomUUID(),
    ...change,
  };
}

export function paymentBody(config: Config, merchant: Merchant, options: PaymentOptions = {}): JsonObject {
  const {
    amount = AMOUNT,
    currency = config.merchant.currency,
    authorizeOnly,
    moto,
    offSession,
    scaRequested,
  } = options;
  const data = options.data ?? { card: cardOf(config, options.card ?? config.cards.approved) };
  const body: JsonObject = {
    wixTransactionId: randomUUID(),
    wixMerchantId: merchant.wixMerchantId,
    merchantCredentials: merchant.credentials,
    order: orderOf(config, amount, currency),
    paymentMethod: options.method ?? 'creditCard',
    paymentMethodData: data,
    mode: config.merchant.mode,
    installments: 1,
    fraudInformation: { remoteIp: '203.0.113.7' },
    ...(authorizeOnly && { authorizeOnly }),
    ...(moto && { moto }),
    ...(offSession && { offSession }),
    ...(scaRequested && { scaRequested }),
    ...(options.setup && { setupCredentialsOnFile: { offSession: true } }),
  };
  if (options.method === null) delete body.paymentMethod;
  if (Object.keys(data).length === 0) delete body.paymentMethodData;
  options.change?.(body);
  return body;
}

function orderOf({ merchant }: Config, totalAmount: Amount, currency: string): JsonObject {
  const address = {
    ...{ firstName: 'Ana', lastName: 'Conceição', address: 'Rua do Ouro 12', street: 'Rua do Ouro', houseNumber: '12' },
    ...{ city: 'Lisboa', state: '', zipCode: '1100-060', countryCode: merchant.country, phone: '+351210000000' },
    email: 'ana@example.com',
  };
  return {
    id: randomUUID(),
    description: {
      ...{ totalAmount, currency },
      items: [{ id: '1', name: 'Bowl', quantity: 1, price: 3_590, category: 'physical', weightInKg: 0.75 }],
      charges: { tax: 300, shipping: 700, discount: 0 },
      billingAddress: address,
      shippingAddress: address,
      buyerInfo: { buyerId: randomUUID(), buyerLanguage: 'en' },
    },
    returnUrls: {
      successUrl: 'https://cashier.example.com/success',
      errorUrl: 'https://cashier.example.com/error',
      cancelUrl: 'https://cashier.example.com/cancel',
      pendingUrl: 'https://cashier.example.com/pending',
    },
  };
}

export function cardOf({ cards }: Config, number: string): JsonObject {
  return { number, year: EXPIRY_YEAR, month: 12, cvv: cards.cvv, holderName: 'ANA CONCEICAO' };
}

export function walletOf({ cards }: Config, authenticationMethod: 'PAN_ONLY' | 'CRYPTOGRAM_3DS'): JsonObject {
  return {
    pan: cards.approved,
    expirationYear: EXPIRY_YEAR,
    expirationMonth: 12,
    authenticationMethod,
    ...(authenticationMethod === 'CRYPTOGRAM_3DS' && { cryptogram: 'AAAAAAAAAAAAAAAAAAAAAAAAAAA=', eci: '05' }),
    accountVerified: true,
    cardholderAuthenticated: false,
  };
}

/** What names a payment in every later call. */
export interface Named {
  readonly wixTransactionId: string;
  readonly pluginTransactionId: string;
  readonly merchant: Merchant;
}

const names = ({ wixTransactionId, pluginTransactionId, merchant }: Named) => ({
  wixTransactionId,
  pluginTransactionId,
  merchantCredentials: merchant.credentials,
});

export function refundBody(
  config: Config,
  payment: Named,
  amount: Amount | undefined,
  change: JsonObject = {},
): JsonObject {
  return {
    ...names(payment),
    wixRefundId: randomUUID(),
    ...(amount !== undefined && { refundAmount: amount }),
    mode: config.merchant.mode,
    reason: 'REQUESTED_BY_CUSTOMER',
    ...change,
  };
}

export const captureBody = (payment: Named, amount: Amount): JsonObject => ({
  ...names(payment),
  captureAmount: amount,
});
export const voidBody = (payment: Named, amount: Amount): JsonObject => ({ ...names(payment), voidAmount: amount });
