import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject } from './json.ts';

// The bodies that Wix sends, from the sample messages, each with ids of its own.

export type Amount = bigint | number;

export interface ConnectOptions {
  readonly merchantId?: string;
  readonly credentials?: Record<string, string>;
  readonly country?: string;
  readonly currency?: string;
  readonly mode?: 'live' | 'sandbox' | 'undefined';
}

export interface PaymentOptions {
  readonly wixTransactionId?: string;
  readonly number?: string;
  readonly amount?: Amount;
  readonly currency?: string;
  readonly authorizeOnly?: boolean;
  readonly moto?: boolean;
  readonly offSession?: boolean;
  readonly scaRequested?: boolean;
  /** The payment also sets up later charges. */
  readonly setup?: boolean;
  /** Instead of a card: a wallet that holds the number, or a token given out before. */
  readonly wallet?: 'googlePay' | 'applePay';
  readonly authenticationMethod?: 'PAN_ONLY' | 'CRYPTOGRAM_3DS';
  readonly token?: string;
  /** Instead of a card: a method whose buyer is redirected; empty for a hosted page. */
  readonly redirectMethod?: string;
  readonly mode?: 'live' | 'sandbox' | 'undefined';
  /** The last word on the body. */
  readonly change?: (body: JsonObject) => void;
}

export interface RefundOptions {
  readonly wixRefundId?: string;
  /** Absent: what remains. */
  readonly amount?: Amount;
  readonly reason?: string;
  readonly mode?: 'live' | 'sandbox' | 'undefined';
}

/** What Wix knows of a merchant once it is connected. */
export interface Connected {
  readonly merchantId: string;
  readonly credentials: Record<string, string>;
}

/** A payment as Wix names it to the PSP. */
export interface Named {
  readonly wixTransactionId: string;
  readonly pluginTransactionId: string;
  readonly credentials: Record<string, string>;
}

export function connectRequest(options: ConnectOptions = {}): JsonObject {
  return {
    ...sample('connect-account.basic.request.json'),
    wixMerchantId: options.merchantId ?? randomUUID(),
    ...(options.credentials && { credentials: options.credentials }),
    ...(options.country && { country: options.country }),
    ...(options.currency && { currency: options.currency }),
    ...(options.mode && { mode: options.mode }),
  };
}

export function paymentRequest({ merchantId, credentials }: Connected, options: PaymentOptions = {}): JsonObject {
  const body = sample('create-transaction.card-approve.request.json');
  const { amount, currency, wallet, token, redirectMethod } = options;
  const order = body.order as JsonObject;
  Object.assign(order, { id: randomUUID() });
  // The lines of the sample add up to the sample's total only, and nobody may derive the charge from them.
  Object.assign(order.description as JsonObject, {
    ...(amount !== undefined && { totalAmount: amount }),
    ...(currency && { currency }),
  });
  const { card } = body.paymentMethodData as { card: JsonObject };
  if (options.number) card.number = options.number;
  Object.assign(body, {
    wixMerchantId: merchantId,
    wixTransactionId: options.wixTransactionId ?? randomUUID(),
    merchantCredentials: credentials,
    ...flags(options),
    ...(token && { paymentMethodData: { reference: { token } } }),
    ...(wallet && { paymentMethod: wallet, paymentMethodData: { [wallet]: walletData(options) } }),
  });
  if (redirectMethod !== undefined) {
    delete body.paymentMethodData;
    delete body.paymentMethod;
    if (redirectMethod) body.paymentMethod = redirectMethod;
  }
  options.change?.(body);
  return body;
}

function flags({ setup, mode, authorizeOnly, moto, offSession, scaRequested }: PaymentOptions): JsonObject {
  return {
    ...(mode && { mode }),
    ...(authorizeOnly && { authorizeOnly }),
    ...(moto && { moto }),
    ...(offSession && { offSession }),
    ...(scaRequested && { scaRequested }),
    ...(setup && { setupCredentialsOnFile: { offSession: true } }),
  };
}

function walletData({ number, authenticationMethod = 'CRYPTOGRAM_3DS' }: PaymentOptions): JsonObject {
  const { googlePay } = sample('create-transaction.googlepay-cryptogram.request.json').paymentMethodData as {
    googlePay: JsonObject;
  };
  if (authenticationMethod === 'PAN_ONLY') delete googlePay.cryptogram;
  return { ...googlePay, authenticationMethod, ...(number && { pan: number }) };
}

export function refundRequest(payment: Named, options: RefundOptions = {}): JsonObject {
  return {
    ...names(payment),
    wixRefundId: options.wixRefundId ?? randomUUID(),
    ...(options.amount !== undefined && { refundAmount: options.amount }),
    mode: options.mode ?? 'sandbox',
    reason: options.reason ?? 'REQUESTED_BY_CUSTOMER',
  };
}

export function captureRequest(payment: Named, amount: Amount): JsonObject {
  return { ...names(payment), captureAmount: amount };
}

export function voidRequest(payment: Named, amount: Amount): JsonObject {
  return { ...names(payment), voidAmount: amount };
}

function names({ wixTransactionId, pluginTransactionId, credentials }: Named): JsonObject {
  return { wixTransactionId, pluginTransactionId, merchantCredentials: credentials };
}

/** A sample message, read afresh so that it may be changed. */
export function sample(name: string): JsonObject {
  return JSON.parse(readFileSync(join(import.meta.dirname, '../examples', name), 'utf8'));
}
