import { decide } from '../../../core/decide.ts';
import { afterNotFound, reserved } from '../../../core/operation.ts';
import { notDone, readOutcome } from '../../../core/outcome.ts';
import { reception, remaining } from '../../../core/transaction.ts';
import type { Outcome } from '../../../proto/gen/payments/v1/outcome_pb.js';

/** What the model takes from the core: its tables and pure functions. A mutation is one of them replaced. */
export const RULES = {
  decide,
  reception,
  afterNotFound,
  reserved,
  remaining,
  readOutcome,
  notDone,
  /** Which answer to a Cancel confirms it (R16). */
  isEnded: (answer: Outcome | 'ended'): answer is 'ended' => answer === 'ended',
  /** Of the engine: a Cancel of what it never saw is remembered. */
  tombstones: true,
};

export type Rules = typeof RULES;
