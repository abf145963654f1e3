import { z } from 'zod';
import type { CallCore } from './core.ts';
import { readBy } from './refusal.ts';
import { renderOperation, renderRefusal, type WixAnswer } from './wix-answer.ts';
import type { JsonObject } from './wix-json.ts';
import { amount, credentials, id } from './wix-schemas.ts';

// Contract 7. A malformed request is refused here, without an event (R21).

const ids = { wixTransactionId: id, pluginTransactionId: id };
/** Contract 7.2. */
export const capture = z.object({ ...ids, captureAmount: amount, merchantCredentials: credentials });
/** Contract 7.4. */
export const voiding = z.object({ ...ids, voidAmount: amount, merchantCredentials: credentials });

export async function captureTransaction(body: JsonObject, callCore: CallCore): Promise<WixAnswer> {
  const { value, refusal } = readBy(capture, body);
  if (refusal) return renderRefusal(refusal);
  return renderOperation(await callCore('captureTransaction', requestOf(value, value.captureAmount)));
}

export async function voidTransaction(body: JsonObject, callCore: CallCore): Promise<WixAnswer> {
  const { value, refusal } = readBy(voiding, body);
  if (refusal) return renderRefusal(refusal);
  return renderOperation(await callCore('voidTransaction', requestOf(value, value.voidAmount)));
}

type Named = Omit<z.infer<typeof capture>, 'captureAmount'>;

const requestOf = ({ wixTransactionId, pluginTransactionId, merchantCredentials }: Named, minorUnits: bigint) => ({
  externalId: wixTransactionId,
  transactionId: pluginTransactionId,
  amount: minorUnits,
  merchantCredentials,
});
