import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampNow } from '@bufbuild/protobuf/wkt';
import { type Approved, ApprovedSchema, type Outcome, OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import type { Reason } from '../../proto/gen/payments/v1/reason_pb.js';

// The words of processor.v1 for what became of an operation.

/** Why an engine says no: Wix's reason, the engine's own code (at most 50 characters) and its text (at most 300). */
export type Decline = readonly [reason: Reason, errorCode: string, message: string];

export function approved(value: Omit<Partial<Approved>, '$typeName'>): Outcome {
  const approval = create(ApprovedSchema, { processedAt: timestampNow(), ...value });
  return create(OutcomeSchema, { kind: { case: 'approved', value: approval } });
}

export function declined([reason, errorCode, message]: Decline, processorReference = ''): Outcome {
  const value = { reason, errorCode, message, processorReference, processedAt: timestampNow() };
  return create(OutcomeSchema, { kind: { case: 'declined', value } });
}

export function pending(reason: Reason, processorReference: string, expiresAt?: Timestamp): Outcome {
  const value = { reason, processorReference, ...(expiresAt && { expiresAt }) };
  return create(OutcomeSchema, { kind: { case: 'pending', value } });
}

export function buyerAction(url: string, processorReference: string): Outcome {
  return create(OutcomeSchema, { kind: { case: 'buyerAction', value: { url, processorReference } } });
}

/** The hold, or the time to act, has run out. */
export function expired(errorCode: string, message: string): Outcome {
  return create(OutcomeSchema, { kind: { case: 'expired', value: { errorCode, message } } });
}

/** Certainly nothing happened, and nothing will. */
export function failed(errorCode: string, message: string): Outcome {
  return create(OutcomeSchema, { kind: { case: 'failed', value: { errorCode, message } } });
}

/** Whether more is to come: the engine has not decided yet, or the buyer has not. */
export function isOpen(outcome: Outcome): boolean {
  return ['pending', 'buyerAction', 'unknown'].includes(outcome.kind.case ?? '');
}

/** The reason of an outcome that has one, else its kind. */
export function reasonOf({ kind }: Outcome): Reason | string | undefined {
  return kind.case === 'declined' || kind.case === 'pending' ? kind.value.reason : kind.case;
}

export function inDays(days: number): Timestamp {
  const now = timestampNow();
  return { ...now, seconds: now.seconds + BigInt(days) * 86_400n };
}
