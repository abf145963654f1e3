import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import { isOpen, type MoneyEffect, moneyEffect, type Operation, type OperationKind } from './operation.ts';
import { type LearnedOutcome, UNKNOWN } from './outcome.ts';
import { type AuthorizeEffect, authorizeEffect, CAUSES, type Refusal, type Transaction } from './transaction.ts';

// What follows from what was learned: the effects of the tables, spelled out once. Pure: a payment, its operations, what was said of
// one of them and the database's time in; the change out. The core applies it in one tx, the model of the rules in memory.

export type EventType =
  | 'transaction_pending'
  | 'transaction_approved'
  | 'transaction_declined'
  | 'capture_succeeded'
  | 'capture_failed'
  | 'void_succeeded'
  | 'void_failed'
  | 'refund_succeeded'
  | 'refund_failed'
  | 'transaction_awaiting_buyer'
  | 'transaction_expired'
  | 'transaction_reversed'
  | 'contradiction_reported'
  | 'refund_returned';

type Patch<T> = { -readonly [Key in keyof T]?: T[Key] };

/** What one thing learned changes. At most one event follows from it. */
export interface Change {
  readonly transaction: Patch<Transaction>;
  readonly operation: Patch<Operation>;
  /** An operation that begins with this change. */
  readonly begin?: { readonly kind: 'cancel'; readonly cause: Refusal } | { readonly kind: 'reversal' };
  /** The open cancel of the payment is no longer needed. */
  readonly closeCancel?: boolean;
  readonly event?: EventType | undefined;
  /** What was said contradicts what is known: kept as a report, nothing else changes (R24). */
  readonly contradiction?: boolean;
  readonly alert?: string;
}

const NOTHING: Change = { transaction: {}, operation: {} };

interface Options {
  readonly buyerTimeoutMs: number;
  /** Wix is told pending 5009 while a buyer acts (U5). */
  readonly tellsBuyerWait?: boolean;
  /** An operator said it (R24). */
  readonly override?: boolean;
}

/** Decides what follows for `operation`, one of `operations` of this payment. */
export function decide(
  transaction: Transaction,
  operations: readonly Operation[],
  operation: Operation,
  outcome: LearnedOutcome,
  now: Date,
  options: Options,
): Change {
  if (outcome.unlessAsked && operation.asked) return decide(transaction, operations, operation, UNKNOWN, now, options);
  if (operation.held && !options.override) return isFinal(outcome) ? contradiction() : NOTHING;
  if (operation.kind === 'authorize') return authorize(transaction, operations, operation, outcome, now, options);
  if (operation.kind === 'reversal') return reversal(operation, outcome);
  if (operation.kind === 'cancel') throw new Error('an outcome belongs to the operation that a cancel ends');
  return money(transaction, operation, outcome);
}

function authorize(
  transaction: Transaction,
  operations: readonly Operation[],
  operation: Operation,
  outcome: LearnedOutcome,
  now: Date,
  options: Options,
): Change {
  const effect = authorizeEffect(outcome.trigger, transaction.state);
  const cancel = operations.find((other) => other.kind === 'cancel' && isOpen(other));
  const learned = references(outcome);
  switch (effect) {
    case 'nothing':
      return { transaction: {}, operation: learned };
    case 'agree':
      return outcome.amount === transaction.authorizedAmount
        ? { transaction: {}, operation: learned }
        : contradiction();
    case 'contradict':
      return contradiction();
    case 'approve':
      return approve(transaction, outcome, learned);
    case 'decline':
      return {
        ...decline(outcome.refusal ?? CAUSES.unseen, learned, 'declined'),
        ...undoApproval(operation, operations),
      };
    case 'decline_expired':
      return {
        ...decline(outcome.refusal ?? CAUSES.expired, learned, 'declined'),
        ...undoApproval(operation, operations),
      };
    case 'decline_failed': {
      const why = cancel ? causeOf(cancel) : (outcome.refusal ?? CAUSES.unseen);
      return { ...decline(why, learned, 'failed'), ...undoApproval(operation, operations) };
    }
    case 'decline_short': {
      const declined = decline(SHORT, { ...learned, approvalReceived: true }, 'declined');
      return { ...declined, ...beginReversal(operations), alert: 'partial_approval' };
    }
    case 'reverse':
      return {
        transaction: {},
        operation: { ...learned, approvalReceived: true },
        ...beginReversal(operations),
        ...(operation.approvalReceived ? {} : { alert: 'late_approval' }),
      };
    case 'hold':
      return {
        ...(transaction.state === 'pending' ? NOTHING : pend(Reason.PENDING_GENERAL)),
        operation: { ...learned, state: 'unknown', held: true, approvalReceived: true },
        closeCancel: true,
        alert: 'outcome_does_not_fit',
      };
    case 'lapse':
      return lapse(transaction, learned);
    case 'cancel_unseen':
      return beginCancel(cancel, CAUSES.unseen);
    case 'cancel_left':
    case 'cancel_expired': {
      // What was learned since the question was put may have moved its end: only that end is past which was asked about (R46).
      const end = operation.expiresAt?.getTime();
      if (end === undefined || end > now.getTime() || end !== outcome.expiresAt?.getTime()) return NOTHING;
      const isLeft = effect === 'cancel_left' || (transaction.awaitedBuyer && outcome.redirectUrl !== undefined);
      return beginCancel(cancel, isLeft ? CAUSES.left : CAUSES.expired);
    }
    default:
      return undecided(effect, transaction, operation, cancel, outcome, now, options);
  }
}

/** Effects after which the authorize is still open. */
function undecided(
  effect: Extract<AuthorizeEffect, 'pend' | 'stay' | 'await_buyer' | 'await_again'>,
  transaction: Transaction,
  operation: Operation,
  cancel: Operation | undefined,
  outcome: LearnedOutcome,
  now: Date,
  options: Options,
): Change {
  const awaits = outcome.trigger === 'buyer_action';
  if (
    (effect === 'await_buyer' && transaction.buyerAbsent) ||
    (effect === 'await_again' && !transaction.awaitedBuyer)
  ) {
    return { ...beginCancel(cancel, CAUSES.absent), operation: { ...references(outcome), state: 'unknown' } };
  }
  const waiting: Patch<Operation> = references(outcome);
  if (outcome.trigger === 'pending' || awaits || outcome.trigger === 'buyer_returned') waiting.state = 'waiting';
  if (outcome.trigger === 'unknown' && operation.state === 'running') waiting.state = 'unknown';
  // The buyer's time is not the processor's: what is pending ends only when the processor says (R16).
  if (outcome.trigger === 'pending') waiting.expiresAt = outcome.expiresAt ?? null;
  if (awaits)
    waiting.expiresAt = outcome.expiresAt ?? operation.expiresAt ?? new Date(now.getTime() + options.buyerTimeoutMs);
  if (effect === 'pend') {
    // Of one stage Wix hears one reason.
    const isTold = transaction.state === 'awaiting_buyer' && options.tellsBuyerWait;
    const reason = isTold ? undefined : outcome.refusal?.reason;
    return { ...pend(reason ?? Reason.PENDING_GENERAL), operation: waiting };
  }
  if (effect !== 'await_buyer') return { transaction: {}, operation: waiting };
  return {
    transaction: { state: 'awaiting_buyer', awaitedBuyer: true, redirectUrl: outcome.redirectUrl ?? null },
    operation: waiting,
    event: 'transaction_awaiting_buyer',
  };
}

function approve(transaction: Transaction, outcome: LearnedOutcome, learned: Patch<Operation>): Change {
  const amount = outcome.amount ?? 0n;
  return {
    transaction: {
      state: transaction.authorizeOnly ? 'authorized' : 'captured',
      authorizedAmount: amount,
      capturedAmount: transaction.authorizeOnly ? 0n : amount,
      ...noRefusal,
      ...(outcome.card && {
        cardScheme: outcome.card.scheme,
        cardBin: outcome.card.bin,
        cardLastFour: outcome.card.lastFour,
      }),
    },
    operation: {
      ...{ ...learned, state: 'approved', approvedAmount: amount, approvalReceived: true, held: false },
      // When money that is only held is let go.
      expiresAt: (transaction.authorizeOnly && outcome.expiresAt) || null,
    },
    closeCancel: true,
    event: 'transaction_approved',
  };
}

const SHORT: Refusal = { reason: Reason.INSUFFICIENT_FUNDS, errorCode: 'PARTIAL', message: 'Only a part was approved' };

function decline(refusal: Refusal, learned: Patch<Operation>, state: 'declined' | 'failed'): Change {
  const why = refused(refusal);
  return {
    transaction: { state: 'declined', ...why },
    operation: { ...learned, ...why, state, held: false },
    closeCancel: true,
    event: 'transaction_declined',
  };
}

function pend(reason: Reason): Change {
  return {
    transaction: { state: 'pending', reason, errorCode: null, errorMessage: null },
    operation: {},
    event: 'transaction_pending',
  };
}

function lapse(transaction: Transaction, learned: Patch<Operation>): Change {
  switch (transaction.state) {
    case 'authorized':
      return { transaction: { state: 'expired', lapsed: true }, operation: learned, event: 'transaction_expired' };
    case 'capturing':
    case 'voiding':
      return { transaction: { lapsed: true }, operation: learned };
    default:
      return NOTHING;
  }
}

function beginCancel(open: Operation | undefined, cause: Refusal): Change {
  return open ? NOTHING : { transaction: {}, operation: {}, begin: { kind: 'cancel', cause } };
}

function beginReversal(operations: readonly Operation[]): Pick<Change, 'begin'> {
  return operations.some((other) => other.kind === 'reversal') ? {} : { begin: { kind: 'reversal' } };
}

/** An authorize that was ever approved and ends declined (an operator's word) is reversed with it (R17, R24). */
function undoApproval(operation: Operation, operations: readonly Operation[]): Pick<Change, 'begin'> {
  return operation.approvalReceived ? beginReversal(operations) : {};
}

function causeOf(cancel: Operation): Refusal {
  return {
    reason: cancel.reason ?? CAUSES.unseen.reason,
    errorCode: cancel.errorCode ?? '',
    message: cancel.errorMessage ?? '',
  };
}

function money(transaction: Transaction, operation: Operation, outcome: LearnedOutcome): Change {
  const effect = moneyEffect(outcome.trigger, operation);
  const kind = operation.kind as Extract<OperationKind, 'capture' | 'void' | 'refund'>;
  switch (effect) {
    case 'nothing':
      return { transaction: {}, operation: references(outcome) };
    case 'agree':
      return outcome.amount === operation.approvedAmount
        ? { transaction: {}, operation: references(outcome) }
        : contradiction();
    case 'contradict':
      return contradiction();
    case 'succeed':
      return succeed(transaction, operation, kind, outcome);
    case 'wait':
      return {
        transaction: {},
        operation: { ...references(outcome), state: 'unknown' },
        ...(outcome.trigger === 'buyer_action' && { alert: 'buyer_action_out_of_place' }),
      };
    case 'hold':
      return {
        transaction: {},
        operation: { ...references(outcome), state: 'unknown', held: true, approvalReceived: true },
        alert: 'outcome_does_not_fit',
      };
    case 'return':
      return {
        transaction: { refundedAmount: transaction.refundedAmount - (operation.approvedAmount ?? 0n) },
        operation: { ...refused(outcome.refusal ?? CAUSES.unseen), state: 'failed' },
        event: 'refund_returned',
        alert: 'refund_returned',
      };
    default:
      return refuse(effect, transaction, kind, outcome);
  }
}

function succeed(
  transaction: Transaction,
  operation: Operation,
  kind: 'capture' | 'void' | 'refund',
  outcome: LearnedOutcome,
): Change {
  const amount = outcome.amount ?? operation.amount ?? 0n;
  const patches = {
    capture: { state: 'captured', capturedAmount: amount },
    void: { state: 'voided' },
    refund: { refundedAmount: transaction.refundedAmount + amount },
  } as const;
  return {
    transaction: patches[kind],
    operation: {
      ...references(outcome),
      state: 'approved',
      approvedAmount: amount,
      approvalReceived: true,
      held: false,
    },
    event: `${kind}_succeeded`,
  };
}

function refuse(
  effect: Extract<MoneyEffect, 'refuse' | 'refuse_failed' | 'refuse_expired'>,
  transaction: Transaction,
  kind: 'capture' | 'void' | 'refund',
  outcome: LearnedOutcome,
): Change {
  const lapsed = transaction.lapsed || (effect === 'refuse_expired' && kind !== 'refund');
  const unfinished = outcome.refusal ?? (kind === 'refund' ? REFUND_NOT_DONE : CAUSES.unseen);
  return {
    transaction: kind === 'refund' ? {} : { lapsed, state: lapsed ? 'expired' : 'authorized' },
    operation: {
      ...references(outcome),
      ...refused(unfinished),
      state: effect === 'refuse_failed' ? 'failed' : 'declined',
      held: false,
    },
    event: `${kind}_failed`,
  };
}

const REFUND_NOT_DONE: Refusal = {
  reason: Reason.REFUND_TECHNICAL_ERROR,
  errorCode: 'NOT_PROCESSED',
  message: 'The refund was not processed',
};

function reversal(operation: Operation, outcome: LearnedOutcome): Change {
  if (!isOpen(operation)) return NOTHING;
  if (outcome.trigger === 'approved' || outcome.trigger === 'partly' || outcome.trigger === 'misfit') {
    const reversed: Patch<Operation> = { ...references(outcome), state: 'approved' };
    if (outcome.amount !== undefined) reversed.approvedAmount = outcome.amount;
    return { transaction: {}, operation: reversed, event: 'transaction_reversed' };
  }
  return { transaction: {}, operation: { state: 'unknown' }, alert: 'reversal_not_confirmed' };
}

function contradiction(): Change {
  return { ...NOTHING, contradiction: true, event: 'contradiction_reported', alert: 'contradiction' };
}

function isFinal(outcome: LearnedOutcome): boolean {
  return !['pending', 'unknown', 'buyer_action', 'budget_over', 'buyer_returned', 'past_expiry', 'unseen'].includes(
    outcome.trigger,
  );
}

const noRefusal = { reason: null, errorCode: null, errorMessage: null } as const;

function refused(refusal: Refusal) {
  return { reason: refusal.reason, errorCode: refusal.errorCode || null, errorMessage: refusal.message || null };
}

/** References that came with the answer; what is already known is never blanked. */
function references(outcome: LearnedOutcome): Patch<Operation> {
  return {
    ...(outcome.processorReference && { processorReference: outcome.processorReference }),
    ...(outcome.authorizationCode && { authorizationCode: outcome.authorizationCode }),
    ...(outcome.networkTransactionId && { networkTransactionId: outcome.networkTransactionId }),
    ...(outcome.acquirerReference && { acquirerReference: outcome.acquirerReference }),
    ...(outcome.processedAt && { processedAt: outcome.processedAt }),
  };
}
