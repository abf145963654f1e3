import { z } from 'zod';
import type { Operation } from './operation.ts';
import type { Transaction } from './transaction.ts';

// What the engine keeps for us with every order: enough to write the rows of tx 1 again, should they be lost. No card data beyond bin and
// last four, and nothing of the buyer.

const amount = z
  .string()
  .regex(/^\d{1,18}$/)
  .transform(BigInt);
const text = z.string().max(200);

const recordSchema = z.object({
  operation: z.object({
    caller: text.min(1).max(100),
    key: text.min(1),
    callId: z.guid().nullable(),
    why: text.max(50),
    amount,
  }),
  payment: z
    .object({
      externalId: text.min(1),
      externalMerchantId: text.min(1),
      accountId: z.guid(),
      mode: z.enum(['live', 'sandbox']),
      currency: text.max(10),
      requestedAmount: amount,
      paymentMethod: text,
      authorizeOnly: z.boolean(),
      buyerAbsent: z.boolean(),
      requestedLastFour: text.nullable(),
      setUpAsked: z.boolean().nullable(),
      allowPartial: z.boolean(),
      cardBin: text.nullable(),
      cardLastFour: text.nullable(),
    })
    .optional(),
});
export type LedgerRecord = z.infer<typeof recordSchema>;

const PAYMENT_FIELDS = [
  ...([
    'externalId',
    'externalMerchantId',
    'accountId',
    'mode',
    'currency',
    'requestedAmount',
    'paymentMethod',
  ] as const),
  ...(['authorizeOnly', 'buyerAbsent', 'requestedLastFour', 'setUpAsked', 'allowPartial', 'cardBin'] as const),
  ...(['cardLastFour'] as const),
] as const;

/** An authorize has its payment with it; the others belong to one that was recorded before. */
export function toLedgerRecord(transaction: Transaction, operation: Operation): Uint8Array {
  const { caller, key, callId, why, amount } = operation;
  const payment = Object.fromEntries(PAYMENT_FIELDS.map((field) => [field, transaction[field]]));
  const record = {
    operation: { caller, key, callId, why, amount },
    ...(operation.kind === 'authorize' && { payment }),
  };
  return new TextEncoder().encode(
    JSON.stringify(record, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
  );
}

/** Undefined: the engine did not keep it, or not as it was. */
export function readLedgerRecord(bytes: Uint8Array): LedgerRecord | undefined {
  try {
    return recordSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return undefined;
  }
}
