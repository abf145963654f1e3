import type { AskCore } from './core.ts';
import { readBy } from './refusal.ts';
import { renderOperation, renderRefusal, type WixAnswer } from './wix-answer.ts';
import type { JsonObject } from './wix-json.ts';
import { voidTransactionSchema } from './wix-schemas.ts';

/** Contract 7. A malformed request is refused here, without an event (R21). */
export async function voidTransaction(body: JsonObject, ask: AskCore): Promise<WixAnswer> {
  const { value, refusal } = readBy(voidTransactionSchema, body);
  if (refusal) return renderRefusal(refusal);
  const request = {
    externalId: value.wixTransactionId,
    transactionId: value.pluginTransactionId,
    amount: value.voidAmount,
    merchantCredentials: { values: value.merchantCredentials },
  };
  return renderOperation(
    await ask((payments, callId, options) => payments.voidTransaction({ ...request, callId }, options)),
  );
}
