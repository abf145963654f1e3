import type { MessageInitShape } from '@bufbuild/protobuf';
import type { z } from 'zod';
import { type PaymentDetailsSchema, Wallet_Type as WalletType } from '../proto/gen/payments/v1/payment_details_pb.js';
import type { AskCore } from './core.ts';
import { type Refusal, readBy } from './refusal.ts';
import { renderCreation, renderRefusal, type WixAnswer } from './wix-answer.ts';
import type { JsonObject } from './wix-json.ts';
import { createTransactionRemains, createTransactionSchema } from './wix-schemas.ts';

type Payment = z.infer<typeof createTransactionSchema>;
type Details = Exclude<MessageInitShape<typeof PaymentDetailsSchema>, { $typeName: string }>;

/** Contract 5. A malformed request whose id can be read goes to the core as a refusal: the core knows what Wix may hear (R2). */
export async function createTransaction(body: JsonObject, ask: AskCore): Promise<WixAnswer> {
  const { value, refusal } = readBy(createTransactionSchema, body);
  const request = value ? requestOf(value) : refusedRequestOf(body, refusal);
  if (refusal && !request.externalId) return renderRefusal(refusal);
  return renderCreation(
    await ask((payments, callId, options) => payments.createTransaction({ ...request, callId }, options)),
  );
}

function refusedRequestOf(body: JsonObject, refusal: Refusal) {
  const { wixTransactionId, wixMerchantId, merchantCredentials, order, mode } = createTransactionRemains.parse(body);
  const { totalAmount, currency = '' } = order?.description ?? {};
  return {
    externalId: wixTransactionId,
    externalMerchantId: wixMerchantId,
    ...(merchantCredentials && { merchantCredentials: { values: merchantCredentials } }),
    mode,
    ...(totalAmount !== undefined && { amount: totalAmount }),
    currency,
    refusal,
  };
}

function requestOf(payment: Payment) {
  const { totalAmount, currency } = payment.order.description;
  return {
    externalId: payment.wixTransactionId,
    externalMerchantId: payment.wixMerchantId,
    merchantCredentials: { values: payment.merchantCredentials },
    mode: payment.mode,
    amount: totalAmount,
    currency,
    paymentMethod: payment.paymentMethod,
    authorizeOnly: payment.authorizeOnly,
    details: detailsOf(payment),
  };
}

function detailsOf(payment: Payment): Details {
  const { id, description } = payment.order;
  const { billingAddress, shippingAddress, buyerInfo, charges, items } = description;
  return {
    method: methodOf(payment.paymentMethodData),
    orderId: id,
    buyerLanguage: buyerInfo?.buyerLanguage ?? '',
    buyerId: buyerInfo?.buyerId ?? '',
    remoteIp: payment.fraudInformation?.remoteIp ?? '',
    moto: payment.moto,
    offSession: payment.offSession,
    scaRequested: payment.scaRequested,
    setupCredentialsOnFile: payment.setupCredentialsOnFile.offSession,
    installments: payment.installments,
    ...(billingAddress && { billingAddress: addressOf(billingAddress) }),
    ...(shippingAddress && { shippingAddress: addressOf(shippingAddress) }),
    items,
    ...(charges && { charges }),
  };
}

/** Without payment data the buyer acts on a page: a redirect method, or a hosted page. */
function methodOf({ card, reference, googlePay, applePay, ideal }: Payment['paymentMethodData']) {
  if (card) {
    const { month, year, ...rest } = card;
    return { case: 'card', value: { ...rest, expiryMonth: month, expiryYear: year } } as const;
  }
  if (reference) return { case: 'reference', value: reference } as const;
  if (googlePay) {
    const { expirationMonth: expiryMonth, expirationYear: expiryYear, ...rest } = googlePay;
    return { case: 'wallet', value: { ...rest, type: WalletType.GOOGLE_PAY, expiryMonth, expiryYear } } as const;
  }
  if (applePay) {
    const { expirationMonth: expiryMonth, expirationYear: expiryYear, cardholderName: holderName, ...rest } = applePay;
    return {
      case: 'wallet',
      value: { ...rest, type: WalletType.APPLE_PAY, expiryMonth, expiryYear, holderName },
    } as const;
  }
  return { case: 'redirect', value: { issuerBank: ideal?.issuerBank ?? '' } } as const;
}

function addressOf({ taxIdentifier, ...address }: NonNullable<Payment['order']['description']['billingAddress']>) {
  return { ...address, taxId: taxIdentifier?.id ?? '', taxIdType: taxIdentifier?.type ?? '' };
}
