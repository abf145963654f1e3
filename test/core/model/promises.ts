import assert from 'node:assert/strict';
import { isOpen, type Operation } from '../../../core/operation.ts';
import { isApproved, type Transaction } from '../../../core/transaction.ts';
import { ensureTrueShop } from './buyer.ts';
import { authorizeOf, books, expiryOf, isPart, isUndecided } from './engine.ts';
import { isEnd, storyOf, type Wix } from './wix.ts';
import { ASKED, PART, type World } from './world.ts';

// What must hold of every life of a payment: at each moment, and once all is quiet.

/** Never broken, not even for a moment. */
export function ensureAlways(world: World): void {
  ensureRightOrders(world);
  const { ledger, wix } = world;
  const told = ledger.outbox.flatMap(({ event }) => (event.forWix ? (storyOf(event) ?? []) : []));
  assert.ok(
    told.slice(0, -1).every((said) => !isEnd(said)),
    `Wix is told more after the end: ${told}`,
  );
  ensureOneStory(wix);
}

/** The engine is obedient: what its books show, the core has ordered. */
function ensureRightOrders({ engine, ledger: { payment, operations }, authorizeOnly, allowPartial }: World): void {
  const { captures, voids, refunds, taken } = books(engine, authorizeOnly);
  const refunded = refunds.reduce((sum, { asked }) => sum + asked, 0n);
  assert.ok(engine.authorizeSends <= 1, 'an authorize was sent twice');
  assert.ok(captures.length <= 1, 'the buyer was charged twice');
  assert.ok(captures.length + voids.length <= 1, 'captured and voided');
  assert.ok(refunded <= taken, `${refunded} were refunded of ${taken}`);
  assert.ok(!engine.reversed || payment?.state === 'declined', 'reversed what Wix may believe approved');
  const fits = [undefined, 0n, ASKED, ...(allowPartial ? [PART] : [])];
  assert.ok(fits.includes(payment?.authorizedAmount), 'approved for another amount than asked');
  const isTimed = operations.some(({ kind, errorCode }) => kind === 'cancel' && errorCode === 'EXPIRED');
  assert.ok(!isTimed || engine.namedEnd, 'cancelled by a clock that the engine did not set');
}

/** Answers and events agree, and the story never goes back (Wix contract, 9.2, 9.3, 9.5). */
function ensureOneStory({ answers, events }: Wix): void {
  const answered = answers.filter(({ to }) => to === 'create');
  const told = events.map(storyOf);
  for (const stage of ['approved', 'declined', 'pending']) {
    const said = new Set([...answered.map((answer) => answer.said), ...told].filter((it) => it?.startsWith(stage)));
    assert.ok(said.size <= 1, `Wix is told ${[...said].join(' and ')}`);
  }
  const ends = new Set([...answered.map(({ said }) => said), ...told].filter((said) => said && isEnd(said)));
  assert.ok(ends.size <= 1, `Wix is told ${[...ends].join(' and ')}`);
  for (const { said, knew } of answered) assert.ok(!knew || said === knew, `${said} is answered after ${knew}`);
  const isFollowing = told.indexOf(undefined);
  assert.ok(isFollowing === -1 || told.slice(0, isFollowing).includes('approved'), 'an event before the approval');
}

/** What holds when faults have ended, everybody has finished and nothing is due any more. */
export function ensureQuiet(world: World): void {
  const { ledger, wix, engine } = world;
  const { payment, operations } = ledger;
  for (const operation of operations.filter(isOpen))
    assert.ok(mayStayOpen(world, operation), `${operation.kind} is open for ever`);
  if (!payment) {
    assert.equal(engine.entries.size, 0, 'the engine knows of a payment that was never recorded');
    return;
  }
  ensureBelief(world, payment);
  for (const operation of operations.filter((other) => !isOpen(other))) ensureFollowUp(world, operation);
  const refunded = operations.filter(({ kind, state }) => kind === 'refund' && state === 'approved');
  const sum = refunded.reduce((total, { approvedAmount }) => total + (approvedAmount ?? 0n), 0n);
  assert.equal(payment.refundedAmount, sum, 'the balance is not what its refunds say');
  const end = isApproved(payment.state) ? 'approved' : `${payment.state} ${payment.reason}`;
  const told = wix.events.flatMap((event) => storyOf(event) ?? []).at(-1);
  assert.equal(told, end, 'Wix was not told how it stands');
  ensureTrueShop(world.shown, end);
}

/**
 * Held ones wait for an operator, pending ones for an engine that says so and names no end; a reversal for an engine that told of an
 * approval it never made.
 */
export function mayStayOpen({ engine }: World, operation: Operation): boolean {
  if (operation.kind === 'reversal') return !authorizeOf(engine)?.wasApproved;
  const entry = engine.entries.get(operation.id);
  if (operation.held || !entry) return operation.held;
  const isPending = operation.kind === 'authorize' ? entry.outcome.kind.case === 'pending' : isUndecided(entry);
  return isPending && expiryOf(entry) === undefined;
}

/** What Wix believes of the payment is what the engine did. */
function ensureBelief({ ledger, engine, authorizeOnly }: World, payment: Transaction): void {
  const { held, taken } = books(engine, authorizeOnly);
  const approval = ledger.outbox.find(({ type }) => type === 'transaction_approved')?.event;
  const authorize = authorizeOf(engine);
  if (approval && authorize) {
    const { authorizedAmount, partiallyAuthorized } = approval;
    assert.equal(partiallyAuthorized, authorizedAmount < ASKED, 'Wix was not told how much was approved');
    if (isPart(authorize)) assert.equal(authorizedAmount, PART, 'more was approved than the engine did');
  }
  const isWaiting = ledger.operations.some(isOpen);
  switch (payment.state) {
    case 'declined':
    case 'voided':
      assert.equal(held + taken, 0n, `a ${payment.state} payment holds or took money`);
      return;
    case 'authorized':
      assert.ok(held > 0n, 'Wix believes authorized what is not');
      return;
    case 'captured':
      assert.ok(taken > 0n, 'Wix believes captured what was not');
      if (authorizeOnly) assert.equal(payment.capturedAmount, taken, 'another amount was captured');
      return;
    case 'expired':
      assert.ok(engine.lapsed, 'expired without an expiry');
      return;
    default:
      assert.ok(isWaiting, `${payment.state} for ever`);
  }
}

/** A finished capture, void or refund is what the engine did of it, and Wix was told so once and nothing else. */
function ensureFollowUp({ ledger, engine, wix }: World, operation: Operation): void {
  const { kind, state, id, key, callId, amount, approvedAmount } = operation;
  if (kind !== 'capture' && kind !== 'void' && kind !== 'refund') return;
  const entry = engine.entries.get(id);
  const isDone = entry?.outcome.kind.case === 'approved';
  // The void of an expired authorization needs no engine.
  const isOurs = kind === 'void' && state === 'approved' && !entry && engine.lapsed;
  assert.ok(
    (state === 'approved') === isDone || isOurs,
    `a ${kind} is ${state}, but the engine did ${isDone ? 'it' : 'nothing'}`,
  );
  // What came back after its success was told as a success, and nothing since (U4).
  const told = state === 'approved' || approvedAmount !== null ? 'succeeded' : 'failed';
  const events = ledger.outbox.filter(({ event }) => event.operationId === id && event.forWix);
  const isTold = amount !== null && ledger.payment?.state !== 'declined';
  if (isTold)
    assert.deepEqual(
      events.map(({ type }) => type),
      [`${kind}_${told}`],
      `a ${state} ${kind} was told otherwise`,
    );
  const answers = wix.answers.filter(({ to }) => to === (callId ?? key)).map(({ said }) => said);
  const fits = answers.every((said) => said === (told === 'succeeded' ? 'done' : 'refused') || approvedAmount !== null);
  assert.ok(fits, `a ${state} ${kind} was answered ${answers}`);
}
