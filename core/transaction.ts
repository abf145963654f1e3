import { Reason } from '../proto/gen/payments/v1/reason_pb.js';

// What a payment is and what may happen to it: the tables of docs/RULES.md section D as data. Nothing here does I/O.

export type Mode = 'live' | 'sandbox';

export type TransactionState =
  | 'authorizing'
  | 'awaiting_buyer'
  | 'pending'
  | 'authorized'
  | 'capturing'
  | 'voiding'
  | 'captured'
  | 'voided'
  | 'expired'
  | 'declined';

/** A row of `transactions`. Amounts are minor units of `currency`; what a refused request did not say is null. */
export interface Transaction {
  readonly id: string;
  readonly externalId: string;
  readonly externalMerchantId: string | null;
  readonly accountId: string | null;
  readonly mode: Mode | null;
  readonly currency: string | null;
  readonly requestedAmount: bigint | null;
  readonly paymentMethod: string;
  readonly authorizeOnly: boolean;
  readonly buyerAbsent: boolean;
  readonly requestedLastFour: string | null;
  readonly state: TransactionState;
  readonly authorizedAmount: bigint;
  readonly capturedAmount: bigint;
  readonly refundedAmount: bigint;
  readonly reason: Reason | null;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly idWithheld: boolean;
  readonly lapsed: boolean;
  readonly awaitedBuyer: boolean;
  /** Whether credentials on file were asked for; null where that was not kept. */
  readonly setUpAsked: boolean | null;
  /** Whether the engine was told that it may approve less than is asked. */
  readonly allowPartial: boolean;
  readonly redirectUrl: string | null;
  readonly cardScheme: string | null;
  readonly cardBin: string | null;
  readonly cardLastFour: string | null;
  readonly credentialsOnFile: Uint8Array | null;
  readonly credentialsKeyId: string | null;
  /** Number of the payment's newest event; 0 before the first. */
  readonly sequence: bigint;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** States as the authorize table sees them: once approved, all are one. */
type Column = 'authorizing' | 'awaiting_buyer' | 'pending' | 'final' | 'declined';

const COLUMNS: Readonly<Record<TransactionState, Column>> = {
  authorizing: 'authorizing',
  awaiting_buyer: 'awaiting_buyer',
  pending: 'pending',
  authorized: 'final',
  capturing: 'final',
  voiding: 'final',
  captured: 'final',
  voided: 'final',
  expired: 'final',
  declined: 'declined',
};

/**
 * What can be learned of an operation. The first seven are outcomes of the processor (`partly`: approved below what was asked,
 * `misfit`: approved above it or in another currency); the others are the core's own.
 */
export type Trigger =
  | 'approved'
  | 'partly'
  | 'misfit'
  | 'declined'
  | 'failed'
  | 'expired'
  | 'pending'
  | 'unknown'
  | 'buyer_action'
  | 'cancel_confirmed'
  | 'budget_over'
  | 'buyer_returned'
  | 'past_expiry'
  | 'unseen'; // the processor does not know it

export type AuthorizeEffect =
  | 'nothing'
  | 'approve'
  | 'agree' // nothing, unless the amount is another: then a contradiction
  | 'decline' // with the processor's reason
  | 'decline_short' // insufficient funds, and reverse what was approved
  | 'decline_failed' // technical error, or the open cancel's cause
  | 'decline_expired'
  | 'pend'
  | 'stay' // the payment as it is; its operation goes on waiting
  | 'await_buyer' // or cancel if no buyer can come
  | 'await_again' // stay if it awaited its buyer before, else cancel
  | 'cancel_left'
  | 'cancel_expired'
  | 'cancel_unseen'
  | 'reverse'
  | 'hold' // pending, and only an operator settles it
  | 'lapse'
  | 'contradict';

// biome-ignore format: a table reads better in columns
const AUTHORIZE: Readonly<Record<Trigger, Readonly<Record<Column, AuthorizeEffect>>>> = {
  approved:         { authorizing: 'approve',         awaiting_buyer: 'approve',         pending: 'approve',         final: 'agree',      declined: 'reverse' },
  partly:           { authorizing: 'decline_short',   awaiting_buyer: 'decline_short',   pending: 'decline_short',   final: 'contradict', declined: 'reverse' },
  misfit:           { authorizing: 'hold',            awaiting_buyer: 'hold',            pending: 'hold',            final: 'contradict', declined: 'reverse' },
  declined:         { authorizing: 'decline',         awaiting_buyer: 'decline',         pending: 'decline',         final: 'contradict', declined: 'nothing' },
  failed:           { authorizing: 'decline_failed',  awaiting_buyer: 'decline_failed',  pending: 'decline_failed',  final: 'contradict', declined: 'nothing' },
  expired:          { authorizing: 'decline_expired', awaiting_buyer: 'decline_expired', pending: 'decline_expired', final: 'lapse',      declined: 'nothing' },
  pending:          { authorizing: 'pend',            awaiting_buyer: 'pend',            pending: 'stay',            final: 'nothing',    declined: 'nothing' },
  unknown:          { authorizing: 'pend',            awaiting_buyer: 'stay',            pending: 'stay',            final: 'nothing',    declined: 'nothing' },
  buyer_action:     { authorizing: 'await_buyer',     awaiting_buyer: 'stay',            pending: 'await_again',     final: 'nothing',    declined: 'nothing' },
  cancel_confirmed: { authorizing: 'decline_failed',  awaiting_buyer: 'decline_failed',  pending: 'decline_failed',  final: 'contradict', declined: 'nothing' },
  budget_over:      { authorizing: 'pend',            awaiting_buyer: 'nothing',         pending: 'nothing',         final: 'nothing',    declined: 'nothing' },
  buyer_returned:   { authorizing: 'nothing',         awaiting_buyer: 'pend',            pending: 'stay',            final: 'nothing',    declined: 'nothing' },
  past_expiry:      { authorizing: 'nothing',         awaiting_buyer: 'cancel_left',     pending: 'cancel_expired',  final: 'nothing',    declined: 'nothing' },
  unseen:           { authorizing: 'cancel_unseen',   awaiting_buyer: 'cancel_unseen',   pending: 'cancel_unseen',   final: 'nothing',    declined: 'nothing' },
};

/** What a trigger of the authorize operation does to a payment in this state. */
export function authorizeEffect(trigger: Trigger, state: TransactionState): AuthorizeEffect {
  return AUTHORIZE[trigger][COLUMNS[state]];
}

/** Whether Wix may believe this payment approved. */
export function isApproved(state: TransactionState): boolean {
  return COLUMNS[state] === 'final';
}

/** Pages of the shop for a buyer who comes back (Wix contract, 12.5). */
export type ShopPage = 'success' | 'error' | 'cancel' | 'pending';

/** Where the buyer of a payment in this state belongs. */
export function shopPage({ state, reason }: Pick<Transaction, 'state' | 'reason'>): ShopPage {
  if (isApproved(state)) return 'success';
  if (state !== 'declined') return 'pending';
  return reason === Reason.BUYER_CANCELED ? 'cancel' : 'error';
}

/** What a capture, void or refund that Wix asks for meets. `wait`: for the running operation, then look again. */
export type Reception =
  | 'run'
  | 'wait'
  | 'too_early' // not approved, or declined: no event
  | 'already_captured'
  | 'already_voided'
  | 'expired' // a refusal with its event
  | 'void_expired' // voided without a processor call
  | 'balance' // as far as the balance allows
  | 'not_captured' // a refusal with its event; the event waits for the payment's approval if need be
  | 'never_captured'; // a refusal that Wix is not told again

// biome-ignore format: a table reads better in columns
const RECEPTION: Readonly<Record<'capture' | 'void' | 'refund', Readonly<Record<TransactionState, Reception>>>> = {
  capture: { authorizing: 'too_early', awaiting_buyer: 'too_early', pending: 'too_early', authorized: 'run', capturing: 'wait', voiding: 'wait',
             captured: 'already_captured', voided: 'already_voided', expired: 'expired', declined: 'too_early' },
  void:    { authorizing: 'too_early', awaiting_buyer: 'too_early', pending: 'too_early', authorized: 'run', capturing: 'wait', voiding: 'wait',
             captured: 'already_captured', voided: 'already_voided', expired: 'void_expired', declined: 'too_early' },
  refund:  { authorizing: 'not_captured', awaiting_buyer: 'not_captured', pending: 'not_captured', authorized: 'not_captured', capturing: 'wait',
             voiding: 'not_captured', captured: 'balance', voided: 'not_captured', expired: 'not_captured', declined: 'never_captured' },
};

/** How a capture, void or refund is received by a payment in this state. */
export function reception(call: 'capture' | 'void' | 'refund', state: TransactionState): Reception {
  return RECEPTION[call][state];
}

/** Wix's error shape (contract section 10): a reason, the PSP's code (<= 50 characters) and text (<= 300). */
export interface Refusal {
  readonly reason: Reason;
  readonly errorCode: string;
  readonly message: string;
}

/** Why a cancel was begun; the payment is declined with it when the processor confirms (R16). */
export const CAUSES = {
  left: { reason: Reason.BUYER_CANCELED, errorCode: 'BUYER_LEFT', message: 'The buyer did not finish the payment' },
  expired: {
    reason: Reason.TRANSACTION_EXPIRED,
    errorCode: 'EXPIRED',
    message: 'The payment was not finished in time',
  },
  absent: { reason: Reason.THREE_D_SECURE_FAILED, errorCode: 'BUYER_ABSENT', message: 'Authentication needs a buyer' },
  unseen: {
    reason: Reason.PROVIDER_TECHNICAL_ERROR,
    errorCode: 'NOT_PROCESSED',
    message: 'The payment was not processed',
  },
} as const satisfies Record<string, Refusal>;

/** What may still be refunded: captured, less refunds that are approved and those that may yet be (R22). */
export function remaining(transaction: Transaction, reservedAmount: bigint): bigint {
  return transaction.capturedAmount - transaction.refundedAmount - reservedAmount;
}

/** A capture takes 1..authorised once (U2: or all of it); a void releases the whole (Wix contract, 7.2 and 7.4). Minor units. */
export function wrongAmount(
  kind: 'capture' | 'void',
  amount: bigint,
  authorized: bigint,
  allowsPart: boolean,
): Refusal | undefined {
  const refuse = (message: string) => ({ reason: Reason.INVALID_AMOUNT, errorCode: 'AMOUNT', message });
  if (kind === 'void')
    return amount === authorized ? undefined : refuse(`Amount differs from the authorised ${authorized}`);
  if (amount > authorized) return refuse(`More than the authorised ${authorized}`);
  if (amount === 0n) return refuse('The amount must not be zero');
  return amount === authorized || allowsPart ? undefined : refuse('A part cannot be captured');
}
