import { decide } from '../../../core/decide.ts';
import { afterNotFound, type Operation, reserved } from '../../../core/operation.ts';
import { notDone, readOutcome } from '../../../core/outcome.ts';
import { reception, remaining, shopPage, wrongAmount } from '../../../core/transaction.ts';
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
  shopPage,
  wrongAmount,
  /** Whether an operation may be written on what was read of it: its claims are in the statement's condition (R46). */
  isAsRead: (read: Operation, found: Operation) => read.asks === found.asks,
  /** What is claimed is looked at again before anything is sent for it (R46). */
  looksAgain: true,
  /** Which answer to a Cancel confirms it (R16). */
  isEnded: (answer: Outcome | 'ended'): answer is 'ended' => answer === 'ended',
  /** Of the engine: a Cancel of what it never saw is remembered. */
  tombstones: true,
};

export type Rules = typeof RULES;
