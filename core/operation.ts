import type { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import type { Trigger } from './transaction.ts';

// What an operation is and what may happen to it: tables of docs/RULES.md sections C and D as data. Nothing here does I/O.

export type OperationKind = 'authorize' | 'capture' | 'void' | 'refund' | 'cancel' | 'reversal';
export type OperationState = 'running' | 'waiting' | 'unknown' | 'approved' | 'declined' | 'failed' | 'closed';

/** A row of `operations`. Its id is the request id by which the processor knows it. Amounts are minor units. */
export interface Operation {
  readonly id: string;
  readonly transactionId: string;
  readonly kind: OperationKind;
  readonly state: OperationState;
  readonly caller: string;
  readonly key: string;
  readonly callId: string | null;
  readonly attempt: number;
  readonly amount: bigint | null;
  readonly approvedAmount: bigint | null;
  readonly reason: Reason | null;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly why: string;
  readonly processorReference: string;
  readonly authorizationCode: string;
  readonly networkTransactionId: string;
  readonly acquirerReference: string;
  readonly approvalReceived: boolean;
  readonly held: boolean;
  readonly asked: boolean;
  readonly asks: number;
  readonly expiresAt: Date | null;
  readonly processedAt: Date | null;
  readonly createdAt: Date;
  readonly changedAt: Date;
  readonly finishedAt: Date | null;
}

/** Whether its outcome is still to come. */
export function isOpen(operation: Operation): boolean {
  return operation.state === 'running' || operation.state === 'waiting' || operation.state === 'unknown';
}

/** Of an operation of which the engine has said nothing yet. */
export const NOTHING_LEARNED = {
  processorReference: '',
  authorizationCode: '',
  networkTransactionId: '',
  acquirerReference: '',
  approvalReceived: false,
  held: false,
  asks: 0,
  expiresAt: null,
  processedAt: null,
  finishedAt: null,
} as const;

/** The number of the next operation of a kind: of those before it some may be missing, after a loss (core/recover.ts). */
export function nextAttempt(kind: OperationKind, operations: readonly Operation[]): number {
  return 1 + Math.max(0, ...operations.filter((other) => other.kind === kind).map(({ attempt }) => attempt));
}

/** Minor units of refunds that are running or unknown: they may have happened (R22). */
export function reserved(operations: readonly Operation[]): bigint {
  return operations
    .filter((operation) => operation.kind === 'refund' && isOpen(operation))
    .reduce((sum, operation) => sum + (operation.amount ?? 0n), 0n);
}

export type MoneyEffect =
  | 'nothing'
  | 'succeed'
  | 'agree' // nothing, unless the amount is another: then a contradiction
  | 'refuse' // with the processor's reason
  | 'refuse_failed' // technical error
  | 'refuse_expired' // and the authorization has lapsed
  | 'wait' // unknown: nothing is said about the money
  | 'hold' // unknown, and only an operator settles it
  | 'return' // a refund that came back after it had succeeded
  | 'contradict';

type Column = 'open' | 'approved' | 'refused';

// biome-ignore format: a table reads better in columns
const MONEY: Readonly<Record<Trigger, Readonly<Record<Column, MoneyEffect>>>> = {
  approved:         { open: 'succeed',        approved: 'agree',      refused: 'contradict' },
  partly:           { open: 'hold',           approved: 'contradict', refused: 'contradict' },
  misfit:           { open: 'hold',           approved: 'contradict', refused: 'contradict' },
  declined:         { open: 'refuse',         approved: 'return',     refused: 'nothing' },
  failed:           { open: 'refuse_failed',  approved: 'return',     refused: 'nothing' },
  expired:          { open: 'refuse_expired', approved: 'contradict', refused: 'nothing' },
  pending:          { open: 'wait',           approved: 'nothing',    refused: 'nothing' },
  unknown:          { open: 'wait',           approved: 'nothing',    refused: 'nothing' },
  buyer_action:     { open: 'wait',           approved: 'nothing',    refused: 'nothing' },
  cancel_confirmed: { open: 'refuse_failed',  approved: 'contradict', refused: 'nothing' },
  budget_over:      { open: 'nothing',        approved: 'nothing',    refused: 'nothing' },
  buyer_returned:   { open: 'nothing',        approved: 'nothing',    refused: 'nothing' },
  past_expiry:      { open: 'nothing',        approved: 'nothing',    refused: 'nothing' },
  unseen:           { open: 'wait',           approved: 'nothing',    refused: 'nothing' },
};

/** What a trigger does to a capture, void or refund. Only refunds come back; a capture or void that does is a contradiction. */
export function moneyEffect(trigger: Trigger, operation: Operation): MoneyEffect {
  const column = isOpen(operation) ? 'open' : operation.state === 'approved' ? 'approved' : 'refused';
  const effect = MONEY[trigger][column];
  return effect === 'return' && operation.kind !== 'refund' ? 'contradict' : effect;
}

/** How long after tx 1 a capture, void or refund that the processor does not know is sent again, in ms (R15). */
const RESEND_MS = 15 * 60_000;

/** How long the processor remembers an operation after its last change, in ms (R15, R18). */
const MEMORY_MS = 180 * 24 * 3_600_000;

/** Whether the processor may have forgotten it: then its word means nothing, and it is never cancelled (R15). */
export function isForgotten(operation: Operation, now: Date): boolean {
  return now.getTime() - operation.changedAt.getTime() > MEMORY_MS;
}

export type Chase = 'cancel' | 'resend' | 'end' | 'alert';

/**
 * What reconciliation does about an open operation that the processor does not know (R15). An authorize is never sent again: its
 * card is gone, so it is cancelled. What is older than the processor's memory is never ended by us.
 */
export function afterNotFound(operation: Operation, now: Date): Chase {
  if (isForgotten(operation, now)) return 'alert';
  if (operation.kind === 'authorize') return 'cancel';
  return now.getTime() - operation.createdAt.getTime() < RESEND_MS ? 'resend' : 'end';
}

const GAP_MAX_MS = 3_600_000;

/** Time until reconciliation asks again, in ms: doubling from `firstMs`, at most an hour. */
export function gapMs(asks: number, firstMs: number): number {
  return Math.min(GAP_MAX_MS, firstMs * 2 ** Math.min(asks, 20));
}
