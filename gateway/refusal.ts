import type { z } from 'zod';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';

// Why the gateway itself says no: a body that does not fit the schema of the endpoint it came to.

/** A payments.v1.Refusal: reason, the PSP's own code, and a text that may reach merchants and therefore quotes no value. */
export interface Refusal {
  readonly reason: Reason;
  readonly errorCode: string;
  readonly message: string;
}

const REFUSALS = {
  MISSING_FIELD: { reason: Reason.REQUIRED_FIELDS_ARE_MISSING, because: 'is missing' },
  INVALID_FORMAT: { reason: Reason.INVALID_FORMAT_PARAMETER, because: 'has the wrong format' },
  AMOUNT: { reason: Reason.INVALID_AMOUNT, because: 'is not an amount in minor units' },
  CARD_NUMBER: { reason: Reason.INVALID_CARD_NUMBER, because: 'is not a card number' },
  EXPIRY: { reason: Reason.INVALID_EXPIRATION_DATE, because: 'is not part of an expiration date' },
  CVV: { reason: Reason.INVALID_CVV_CVC, because: 'is not a security code' },
  METHOD: { reason: Reason.PAYMENT_METHOD_NOT_AVAILABLE, because: 'is not available' },
  METHOD_DATA: { reason: Reason.INVALID_VALUE, because: 'is not of this payment method' },
};

export type RefusalCode = keyof typeof REFUSALS;

/**
 * Reads a body by the schema of its endpoint. A schema says with a RefusalCode as its message what its failure means; without one,
 * an absent field is MISSING_FIELD and any other failure INVALID_FORMAT. The first failure, in the schema's order, is the refusal.
 */
export function readBy<S extends z.ZodType>(
  schema: S,
  body: unknown,
): { value: z.infer<S>; refusal?: never } | { value?: never; refusal: Refusal } {
  const parsed = schema.safeParse(body, {
    error: (issue): RefusalCode => (issue.input === undefined ? 'MISSING_FIELD' : 'INVALID_FORMAT'),
  });
  if (parsed.success) return { value: parsed.data };
  const { path, message } = parsed.error.issues[0]!;
  const { reason, because } = REFUSALS[message as RefusalCode];
  const subject = message === 'METHOD' ? 'Payment method' : path.join('.');
  return { refusal: { reason, errorCode: message, message: `${subject} ${because}` } };
}
