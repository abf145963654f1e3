import assert from 'node:assert/strict';
import { gapMs, isOpen, type Operation } from '../../../core/operation.ts';
import { type LearnedOutcome, UNKNOWN } from '../../../core/outcome.ts';
import type { Outcome } from '../../../proto/gen/payments/v1/outcome_pb.js';
import * as engine from './engine.ts';
import { type Claimed, claimDue, operationById, postpone, stillClaimed } from './ledger.ts';
import { AUTHORIZE_ID, order, read, settle } from './settle.ts';
import { call, type Flow, GRACE_MS, RUNNING_MS, spawn, type World } from './world.ts';

// What core/reconcile.ts and core/report-outcome.ts do. Errors at the engine's door are no answer here (R18).

/** Claims what is due and looks at each. */
export function reconcile(world: World, core: number): void {
  for (const operation of claimDue(world.ledger, world.now, RUNNING_MS))
    spawn(world, core, `reconcile ${operation.kind}`, reconcileOperation(world, operation));
}

export function* reconcileOperation(world: World, operation: Claimed): Flow {
  const { operations } = world.ledger;
  if (!lookAgain(world, operation)) return;
  const authorize = operations.find(({ id }) => id === AUTHORIZE_ID);
  if (!authorize) throw new Error('a payment has an authorize operation');
  if (operation.kind === 'cancel') return yield* reconcileCancel(world, authorize, operation);
  if (operation.kind === 'reversal') return yield* reconcileReversal(world, authorize, operation);
  if (
    operation.kind === 'authorize' &&
    operations.some(({ kind, ...other }) => kind === 'cancel' && isOpen({ kind, ...other }))
  )
    return;
  const answer = yield* call(world, `ask about ${operation.kind}`, () => engine.getOperation(world, operation.id));
  if (answer === undefined) return yield* reconcileUnseen(world, operation);
  const said = isNone(answer) ? UNKNOWN : read(world, operation, answer);
  yield;
  yield* settle(world, operation.id, said);
  if (!isPast(operation) || (said.trigger !== 'pending' && said.trigger !== 'buyer_action')) return;
  yield;
  const { redirectUrl } = said;
  const expiresAt = said.expiresAt ?? operation.expiresAt ?? undefined;
  yield* settle(world, operation.id, {
    ...{ trigger: 'past_expiry', expiresAt },
    ...(redirectUrl !== undefined && { redirectUrl }),
  });
}

const isPast = ({ expiresAt, now }: Claimed) => expiresAt !== null && expiresAt <= now;
const isNone = (answer: unknown): answer is 'no answer' | 'refused' => answer === 'no answer' || answer === 'refused';

/** Nothing is sent again, ended or reversed after the end of what it was claimed for (R46). */
function ensureOpen({ ledger }: World, { id, kind }: Claimed): void {
  assert.ok(isOpen(operationById(ledger, id)), `a ${kind} is sent after its end`);
}

/** The claimed operation as it is now; undefined if it is not for this process any more. */
function lookAgain(world: World, claimed: Claimed): Claimed | undefined {
  return world.rules.looksAgain ? stillClaimed(world.ledger, world.now, claimed) : claimed;
}

function* reconcileUnseen(world: World, claimed: Claimed): Flow {
  yield;
  const operation = lookAgain(world, claimed);
  if (!operation) return;
  switch (world.rules.afterNotFound(operation, operation.now)) {
    case 'cancel':
      yield* settle(world, operation.id, { trigger: 'unseen' });
      return;
    case 'resend': {
      ensureOpen(world, operation);
      const answer = yield* order(world, operation);
      yield;
      yield* settle(world, operation.id, isNone(answer) ? UNKNOWN : read(world, operation, answer));
      return;
    }
    case 'end': {
      ensureOpen(world, operation);
      const said = yield* end(world, operation);
      yield;
      yield* settle(world, operation.id, said ?? UNKNOWN);
      return;
    }
    case 'alert':
      yield* settle(world, operation.id, UNKNOWN);
  }
}

/** Asks for the end of an operation. Undefined: no answer. */
function* end(world: World, operation: Operation): Flow<LearnedOutcome | undefined> {
  const answer = yield* call(world, `cancel ${operation.kind}`, () => engine.cancel(world, operation));
  if (isNone(answer)) return undefined;
  return world.rules.isEnded(answer) ? { trigger: 'cancel_confirmed' } : read(world, operation, answer);
}

function* reconcileCancel(world: World, authorize: Operation, cancel: Claimed): Flow {
  ensureOpen(world, cancel);
  const said = yield* end(world, authorize);
  yield;
  if (said && !['pending', 'unknown', 'buyer_action'].includes(said.trigger)) yield* settle(world, authorize.id, said);
  else postpone(world.ledger, cancel.id, world.now + gapMs(cancel.asks, GRACE_MS));
}

function* reconcileReversal(world: World, authorize: Operation, reversal: Claimed): Flow {
  ensureOpen(world, reversal);
  const answer = yield* call(world, 'reverse', () => engine.reverse(world, authorize));
  yield;
  yield* settle(world, reversal.id, isNone(answer) ? UNKNOWN : read(world, reversal, answer));
}

/** The engine reports what it knows; the report may be long on its way. */
export function* report(world: World, id: string, outcome: Outcome): Flow {
  yield;
  const operation = world.ledger.operations.find((other) => other.id === id);
  if (operation) yield* settle(world, id, read(world, operation, outcome));
}

/** An operator settles what the engine cannot; that money did not move only once a Cancel is confirmed (R24). */
export function* override(world: World, operation: Operation, outcome: Outcome): Flow {
  const said = read(world, operation, outcome);
  if (said.trigger !== 'approved' && operation.kind !== 'authorize') {
    const ended = yield* end(world, operation);
    if (ended?.trigger !== 'cancel_confirmed') return;
  }
  yield;
  yield* settle(world, operation.id, said, true);
}
