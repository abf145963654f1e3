import { z } from 'zod';
import type { CallCore } from './core.ts';
import { readBy } from './refusal.ts';
import { renderConnection, renderRefusal, type WixAnswer } from './wix-answer.ts';
import type { JsonObject } from './wix-json.ts';
import { credentials, id, mode, text } from './wix-schemas.ts';

/** Contract 4.2. */
export const connection = z.object({ credentials, wixMerchantId: id, country: text, currency: text, mode });

/** Contract 4. A malformed request is refused here: no payment hangs on it. */
export async function connectAccount(body: JsonObject, callCore: CallCore): Promise<WixAnswer> {
  const { value, refusal } = readBy(connection, body);
  if (refusal) return renderRefusal(refusal);
  const { wixMerchantId: externalMerchantId, ...rest } = value;
  const response = await callCore('connectMerchantAccount', { externalMerchantId, ...rest });
  return renderConnection(response, value.credentials.values);
}
