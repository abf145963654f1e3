import type { AskCore } from './core.ts';
import { readBy } from './refusal.ts';
import { renderConnection, renderRefusal, type WixAnswer } from './wix-answer.ts';
import type { JsonObject } from './wix-json.ts';
import { connectAccountSchema } from './wix-schemas.ts';

/** Contract 4. A malformed request is refused here: no payment hangs on it. */
export async function connectAccount(body: JsonObject, ask: AskCore): Promise<WixAnswer> {
  const { value, refusal } = readBy(connectAccountSchema, body);
  if (refusal) return renderRefusal(refusal);
  const { credentials, wixMerchantId, country, currency, mode } = value;
  const request = { externalMerchantId: wixMerchantId, credentials: { values: credentials }, country, currency, mode };
  const response = await ask((payments, _callId, options) => payments.connectMerchantAccount(request, options));
  return renderConnection(response, credentials);
}
