import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import type { EventType } from '../../../core/decide.ts';
import { buildEvent } from '../../../core/event.ts';
import { isOpen, NOTHING_LEARNED, type Operation } from '../../../core/operation.ts';
import type { NewOperation } from '../../../core/store/operations.ts';
import { isApproved, type Transaction } from '../../../core/transaction.ts';
import { type Event, EventSchema } from '../../../proto/gen/payments/v1/event_pb.js';

// The core's database as a value, with the guards of its schema: expected states, unique keys and checks. Rows are never changed but
// replaced, so that what a process has read stays what it read.

export interface Ledger {
  /** A tx holds the payment's row lock. */
  isLocked: boolean;
  payment: Transaction | undefined;
  operations: readonly Operation[];
  /** When reconciliation looks at an open operation next, by its id. */
  readonly dueAt: Map<string, number>;
  readonly outbox: { readonly type: EventType; readonly event: Event }[];
  readonly contradictions: Set<string>;
  /** When the engine was last asked because a buyer came back. */
  lookedAt: number;
}

export function emptyLedger(): Ledger {
  return {
    isLocked: false,
    payment: undefined,
    operations: [],
    dueAt: new Map(),
    outbox: [],
    contradictions: new Set(),
    lookedAt: Number.NEGATIVE_INFINITY,
  };
}

export function operationById(ledger: Ledger, id: string): Operation {
  const found = ledger.operations.find((operation) => operation.id === id);
  assert.ok(found, `there is no operation ${id}`);
  return found;
}

export function insertPayment(ledger: Ledger, now: number, row: Omit<Transaction, 'createdAt' | 'updatedAt'>): boolean {
  if (ledger.payment) return false;
  ledger.payment = { ...row, createdAt: new Date(now), updatedAt: new Date(now) };
  checkPayment(ledger.payment);
  return true;
}

export function updatePayment(ledger: Ledger, now: number, after: Transaction, expected: Transaction['state']) {
  assert.equal(ledger.payment?.state, expected, 'a payment changed under its own lock');
  checkPayment(after);
  ledger.payment = { ...after, updatedAt: new Date(now) };
  return ledger.payment;
}

export function insertOperation(ledger: Ledger, now: number, row: NewOperation): Operation {
  const { dueInMs, ...fields } = row;
  const operation: Operation = {
    ...fields,
    ...NOTHING_LEARNED,
    asked: false,
    createdAt: new Date(now),
    changedAt: new Date(now),
  };
  ledger.operations = [...ledger.operations, operation];
  if (operation.state === 'running') ledger.dueAt.set(operation.id, now + dueInMs);
  checkOperations(ledger.operations);
  return operation;
}

/** As the statement of the core: an open operation is due after `dueInMs`, or when its expiry comes; a held one never. */
export function updateOperation(
  ledger: Ledger,
  now: number,
  after: Operation,
  expected: Operation['state'],
  dueInMs: number,
): Operation {
  const before = operationById(ledger, after.id);
  assert.equal(before.state, expected, 'an operation changed under its payment’s lock');
  // What is written is what may change; a claim's marks are not among it.
  const { asked, asks, changedAt } = before;
  const written = { ...after, asked, asks, changedAt: after.state === before.state ? changedAt : new Date(now) };
  ledger.operations = ledger.operations.map((other) => (other.id === after.id ? written : other));
  const expiry = after.expiresAt?.getTime() ?? 0;
  if (!isOpen(after) || after.held) ledger.dueAt.delete(after.id);
  else ledger.dueAt.set(after.id, expiry > now ? Math.min(expiry, now + dueInMs) : now + dueInMs);
  checkOperations(ledger.operations);
  return written;
}

/** An operation as its claim found it, and the time of the claim. */
export type Claimed = Operation & { readonly now: Date };

/** Claims what is due, for as long as `leaseMs` (R15). It locks operations alone, so that the payment's lock does not keep it out. */
export function claimDue(ledger: Ledger, now: number, leaseMs: number): Claimed[] {
  return ledger.operations.filter(({ id }) => isDue(ledger, id, now)).map(({ id }) => claim(ledger, id, now, leaseMs));
}

export function claim(ledger: Ledger, id: string, now: number, leaseMs: number): Claimed {
  const operation = operationById(ledger, id);
  const claimed = { ...operation, asked: true, asks: operation.asks + 1 };
  ledger.operations = ledger.operations.map((other) => (other.id === id ? claimed : other));
  ledger.dueAt.set(id, now + leaseMs);
  return { ...claimed, now: new Date(now) };
}

/** A claimed operation as it is now, unless it is open no more or was claimed again (R46). */
export function stillClaimed(ledger: Ledger, now: number, { id, asks }: Claimed): Claimed | undefined {
  const found = operationById(ledger, id);
  return ledger.dueAt.has(id) && found.asks === asks ? { ...found, now: new Date(now) } : undefined;
}

export function isDue(ledger: Ledger, id: string, now: number): boolean {
  return (ledger.dueAt.get(id) ?? Number.POSITIVE_INFINITY) <= now;
}

export function postpone(ledger: Ledger, id: string, until: number): void {
  if (ledger.dueAt.has(id)) ledger.dueAt.set(id, until);
}

/** The working rules of the contract. */
const TELLING = { LATE_REFUND_FAILURE_EVENT: false, BUYER_WAIT_EVENT: false, EARLY_REFUND_REFUSAL_EVENT: true };

export function publish(ledger: Ledger, type: EventType, payment: Transaction, operation: Operation | undefined): void {
  const event = fromBinary(EventSchema, buildEvent(TELLING, type, payment, operation).value);
  assert.equal(event.sequence, BigInt(ledger.outbox.length + 1), 'the sequence of events has a gap');
  ledger.outbox.push({ type, event });
}

/** The checks of the table `transactions`. */
function checkPayment(t: Transaction): void {
  const hold = (holds: boolean, name: string) => assert.ok(holds, `${name}: a ${t.state} payment breaks it`);
  hold((t.state === 'pending' || t.state === 'declined') === (t.reason !== null), 'reason_of_state');
  hold(t.state !== 'pending' || t.reason === 5005 || t.reason === 5009, 'pending_reason');
  hold(t.state !== 'declined' || (t.reason !== 5005 && t.reason !== 5009), 'declined_reason');
  hold(t.state !== 'awaiting_buyer' || t.redirectUrl !== null, 'redirect_of_state');
  hold(t.capturedAmount <= t.authorizedAmount, 'approved_before_captured');
  hold(t.state === 'captured' || t.capturedAmount === 0n, 'captured_of_state');
  hold(t.authorizedAmount === 0n || isApproved(t.state), 'authorized_of_state');
  hold(t.refundedAmount >= 0n, 'refunded_amount');
}

/** The unique indexes and checks of the table `operations`. */
function checkOperations(operations: readonly Operation[]): void {
  const unique = (name: string, keys: readonly unknown[]) =>
    assert.equal(new Set(keys).size, keys.length, `${name}: two operations break it`);
  const kinds = (...wanted: Operation['kind'][]) => operations.filter(({ kind }) => wanted.includes(kind));
  const one = (name: string, found: readonly Operation[]) =>
    assert.ok(found.length <= 1, `${name}: there are ${found.length}`);
  unique(
    'id',
    operations.map(({ id }) => id),
  );
  unique(
    'call_id',
    operations.flatMap(({ callId }) => callId ?? []),
  );
  unique(
    'refund_keys',
    kinds('refund').map(({ key }) => key),
  );
  one('operations_of_payment', kinds('authorize'));
  one('one_reversal', kinds('reversal'));
  one('one_open_cancel', kinds('cancel').filter(isOpen));
  one('one_open_capture_or_void', kinds('capture', 'void').filter(isOpen));
  for (const { kind, state, held, reason, amount } of operations) {
    const hold = (holds: boolean, name: string) => assert.ok(holds, `${name}: a ${state} ${kind} breaks it`);
    hold(!held || state === 'unknown', 'held_is_unknown');
    hold(state !== 'waiting' || kind === 'authorize', 'waiting_is_authorize');
    hold(state !== 'closed' || kind === 'cancel', 'closed_is_cancel');
    hold((state !== 'declined' && state !== 'failed') || reason !== null, 'reason_if_refused');
    hold(
      amount !== null || kind === 'cancel' || kind === 'reversal' || (kind === 'refund' && state === 'declined'),
      'money_has_an_amount',
    );
  }
}
