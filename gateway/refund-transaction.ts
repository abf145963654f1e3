import { z } from 'zod';
import { RefundTransactionRequest_Why as Why } from '../proto/gen/payments/v1/payments_service_pb.js';
import type { CallCore } from './core.ts';
import { readBy } from './refusal.ts';
import { renderRefund, renderRefusal, type WixAnswer } from './wix-answer.ts';
import type { JsonObject } from './wix-json.ts';
import { credentials, id, integer, mode, oneOf, readable } from './wix-schemas.ts';

const { DUPLICATE, FRAUDULENT, REQUESTED_BY_CUSTOMER, UNSPECIFIED } = Why;

/** Contract 6.1. */
export const refund = z.object({
  wixTransactionId: id,
  wixRefundId: id,
  pluginTransactionId: id,
  merchantCredentials: credentials,
  refundAmount: integer('INVALID_FORMAT').optional(),
  mode,
  reason: oneOf({ DUPLICATE, FRAUDULENT, REQUESTED_BY_CUSTOMER }, UNSPECIFIED),
});

/** What a refund that is malformed elsewhere still says (R22). */
const remains = readable(refund.shape);

/** Contract 6. A malformed request whose two ids can be read goes to the core as a refusal, to be kept and told (R22). */
export async function refundTransaction(body: JsonObject, callCore: CallCore): Promise<WixAnswer> {
  const { value, refusal } = readBy(refund, body);
  const said = value ?? remains.parse(body);
  if (refusal && !(said.wixTransactionId && said.wixRefundId)) return renderRefusal(refusal);
  const response = await callCore('refundTransaction', {
    externalId: said.wixTransactionId,
    externalRefundId: said.wixRefundId,
    transactionId: said.pluginTransactionId,
    amount: said.refundAmount,
    merchantCredentials: said.merchantCredentials,
    mode: said.mode,
    why: said.reason,
    refusal,
  });
  return renderRefund(response);
}
