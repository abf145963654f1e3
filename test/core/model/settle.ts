import assert from 'node:assert/strict';
import type { Change } from '../../../core/decide.ts';
import { operationId } from '../../../core/ids.ts';
import { gapMs, isOpen, type Operation } from '../../../core/operation.ts';
import { type LearnedOutcome, UNKNOWN } from '../../../core/outcome.ts';
import type { Transaction } from '../../../core/transaction.ts';
import type { Outcome } from '../../../proto/gen/payments/v1/outcome_pb.js';
import * as engine from './engine.ts';
import { insertOperation, operationById, publish, updateOperation, updatePayment } from './ledger.ts';
import { BUYER_TIMEOUT_MS, call, type Flow, GRACE_MS, inTx, spawn, type World } from './world.ts';

// tx 2 and what leads to it, as core/settle.ts and core/perform.ts have it: the change is the core's own, here it is applied in memory.

export const EXTERNAL_ID = 'payment';
export const AUTHORIZE_ID = operationId('authorize', EXTERNAL_ID, 'wix', EXTERNAL_ID, 1);

export function settle(world: World, id: string, said: LearnedOutcome, override = false): Flow<Change> {
  const { ledger } = world;
  const read = () => {
    if (!ledger.payment) throw new Error('there is no payment');
    const target = operationById(ledger, id);
    return { payment: ledger.payment, operations: ledger.operations, target, at: new Date(world.now) };
  };
  return inTx(world, read, (found) => apply(world, found, said, override));
}

interface Found {
  readonly payment: Transaction;
  readonly operations: readonly Operation[];
  readonly target: Operation;
  readonly at: Date;
}

function apply(world: World, { payment, operations, target, at }: Found, said: LearnedOutcome, override: boolean) {
  const { ledger, now, rules } = world;
  const options = { buyerTimeoutMs: BUYER_TIMEOUT_MS, override };
  const change = rules.decide(payment, operations, target, said, at, options);
  const after: Operation = { ...target, ...change.operation };
  const isStillRunning = target.state === 'running' && after.state === 'running';
  const cancel = change.closeCancel && operations.find((other) => other.kind === 'cancel' && isOpen(other));
  const written = [...(isStillRunning ? [] : [target]), ...(cancel ? [cancel] : [])];
  if (!written.every((read) => rules.isAsRead(read, operationById(ledger, read.id)))) return 'again';
  world.trace(`  ${payment.state}: ${target.kind} ${target.state} hears ${said.trigger} -> ${inWords(change)}`);
  if (change.contradiction) {
    const report = `${target.id} ${said.trigger} ${said.amount}`;
    if (ledger.contradictions.has(report)) return change;
    ledger.contradictions.add(report);
  }
  const sequence = change.event ? payment.sequence + 1n : payment.sequence;
  const isChanged = change.event !== undefined || Object.keys(change.transaction).length > 0;
  const paid = isChanged
    ? updatePayment(ledger, now, { ...payment, ...change.transaction, sequence }, payment.state)
    : payment;
  const operation = isStillRunning
    ? target
    : updateOperation(ledger, now, after, target.state, gapMs(after.asks, GRACE_MS));
  if (cancel) updateOperation(ledger, now, { ...cancel, state: 'closed' }, cancel.state, 0);
  const isTimed = change.begin?.kind === 'cancel' && /LEFT|EXPIRED/.test(change.begin.cause.errorCode);
  assert.ok(!isTimed || (target.expiresAt && target.expiresAt <= at), 'cancelled before the time was over');
  const entry = engine.authorizeOf(world.engine);
  const isEnded = paid.state !== 'declined' || payment.state === 'declined' || !entry || !engine.isUndecided(entry);
  assert.ok(isEnded || override, 'declined before the engine has ended it');
  if (change.begin) begin(world, target, change.begin);
  if (change.event) publish(ledger, change.event, paid, operation);
  return change;
}

function begin({ ledger, now }: World, target: Operation, what: NonNullable<Change['begin']>): void {
  const attempt = ledger.operations.filter(({ kind }) => kind === what.kind).length + 1;
  const cause = what.kind === 'cancel' ? what.cause : undefined;
  insertOperation(ledger, now, {
    id: operationId(what.kind, EXTERNAL_ID, 'system', target.id, attempt),
    transactionId: target.transactionId,
    kind: what.kind,
    state: 'running',
    caller: 'system',
    key: target.id,
    callId: null,
    attempt,
    amount: null,
    approvedAmount: null,
    reason: cause?.reason ?? null,
    errorCode: cause?.errorCode ?? null,
    errorMessage: cause?.message ?? null,
    why: '',
    dueInMs: 0,
  });
}

function inWords({ transaction, operation, begin: begun, closeCancel, event, contradiction }: Change): string {
  const words = [transaction.state, operation.state, operation.held && 'held', begun?.kind, closeCancel && 'closes'];
  return [...words, event, contradiction && 'contradiction'].filter(Boolean).join(' ') || 'nothing';
}

/** Call and outcome after tx 1, detached from the caller, who waits until the work is done or the budget is over (R14, R3). */
export function* perform(world: World, core: number, isOver: () => boolean, operation: Operation): Flow {
  yield;
  const isLate = isOver();
  const work = spawn(world, core, `${operation.kind} ${operation.attempt}`, outcome(world, operation, isLate));
  yield isLate ? () => work.done : () => work.done || isOver();
}

function* outcome(world: World, operation: Operation, isLate: boolean): Flow {
  const said = isLate ? world.rules.notDone(operation, 'NOT_SENT', '') : yield* sendFirst(world, operation);
  yield;
  yield* settle(world, operation.id, said);
}

function* sendFirst(world: World, operation: Operation): Flow<LearnedOutcome> {
  const answer = yield* order(world, operation);
  if (answer === 'no answer') return UNKNOWN;
  if (answer === 'refused') return world.rules.notDone(operation, 'REFUSED', '');
  return read(world, operation, answer);
}

/** An order to move money on its way, the first time or again. */
export function order(world: World, operation: Operation): Flow<Outcome | 'no answer' | 'refused'> {
  if (operation.kind === 'authorize') world.engine.authorizeSends += 1;
  return call(world, operation.kind, () => engine.send(world, operation));
}

export function read(world: World, operation: Operation, answer: Outcome | undefined): LearnedOutcome {
  return world.rules.readOutcome(world.ledger.payment!, operation, answer);
}
