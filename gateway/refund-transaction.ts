import type { AskCore } from './core.ts';
import { readBy } from './refusal.ts';
import { renderRefund, renderRefusal, type WixAnswer } from './wix-answer.ts';
import type { JsonObject } from './wix-json.ts';
import { refundTransactionRemains, refundTransactionSchema } from './wix-schemas.ts';

/** Contract 6. A malformed request whose two ids can be read goes to the core as a refusal, to be kept and told (R22). */
export async function refundTransaction(body: JsonObject, ask: AskCore): Promise<WixAnswer> {
  const { value, refusal } = readBy(refundTransactionSchema, body);
  const refund = value ?? refundTransactionRemains.parse(body);
  if (refusal && !(refund.wixTransactionId && refund.wixRefundId)) return renderRefusal(refusal);
  const request = {
    externalId: refund.wixTransactionId,
    externalRefundId: refund.wixRefundId,
    transactionId: refund.pluginTransactionId,
    ...(refund.refundAmount !== undefined && { amount: refund.refundAmount }),
    ...(refund.merchantCredentials && { merchantCredentials: { values: refund.merchantCredentials } }),
    mode: refund.mode,
    why: refund.reason,
    ...(refusal && { refusal }),
  };
  return renderRefund(
    await ask((payments, callId, options) => payments.refundTransaction({ ...request, callId }, options)),
  );
}
