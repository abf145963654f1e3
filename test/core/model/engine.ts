import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Operation, OperationKind } from '../../../core/operation.ts';
import { type Outcome, OutcomeSchema } from '../../../proto/gen/payments/v1/outcome_pb.js';
import { Reason } from '../../../proto/gen/payments/v1/reason_pb.js';
import { PART, pick, type World } from './world.ts';

// The processor of the model: it keeps its word about request ids, cancels and reversals, and for the rest does what it is told
// without a look at balances, so that an order that should not have been given is seen in its books.

export type Kind = Extract<OperationKind, 'authorize' | 'capture' | 'void' | 'refund'>;

export interface Entry {
  readonly requestId: string;
  readonly kind: Kind;
  readonly asked: bigint;
  outcome: Outcome;
  /** It approved at some time. */
  wasApproved: boolean;
}

export interface Engine {
  readonly entries: Map<string, Entry>;
  /** How often an authorize was sent, over all request ids. */
  authorizeSends: number;
  /** It said when it would give up a pending payment or a buyer. */
  namedEnd: boolean;
  /** The authorization ran out. */
  lapsed: boolean;
  reversed: boolean;
}

export function newEngine(): Engine {
  return { entries: new Map(), authorizeSends: 0, namedEnd: false, lapsed: false, reversed: false };
}

const outcomes = new Map<string, Outcome>();
/** Outcomes are never changed, so one of each kind serves all. */
function outcome(kind: NonNullable<Outcome['kind']['case']>, amount?: bigint, expiresAt?: number): Outcome {
  const key = `${kind} ${amount} ${expiresAt}`;
  const known = outcomes.get(key);
  if (known && expiresAt === undefined) return known;
  const expires = expiresAt === undefined ? {} : { expiresAt: timestampFromMs(expiresAt) };
  const value = {
    approved: { ...(amount !== undefined && { amount }), processorReference: 'ref' },
    declined: { reason: Reason.INSUFFICIENT_FUNDS, errorCode: '51', message: 'no' },
    pending: expires,
    buyerAction: { url: 'https://engine.example/page', ...expires },
    failed: { errorCode: 'F', message: 'nothing happened' },
    unknown: {},
    expired: { errorCode: 'E', message: 'ran out' },
  }[kind];
  const made = create(OutcomeSchema, { kind: { case: kind, value } as Outcome['kind'] });
  outcomes.set(key, made);
  return made;
}
export const APPROVED = outcome('approved');
export const DECLINED = outcome('declined');
export const PENDING = outcome('pending');
const FAILED = outcome('failed');
const EXPIRED = outcome('expired');

export const isUndecided = ({ outcome: { kind } }: Entry) => kind.case === 'pending' || kind.case === 'buyerAction';
const isYes = ({ outcome: { kind } }: Entry) => kind.case === 'approved';
export const expiryOf = ({ outcome: { kind } }: Entry) =>
  kind.case === 'pending' || kind.case === 'buyerAction' ? kind.value.expiresAt : undefined;

function decideOn(world: World, entry: Entry, decided: Outcome): void {
  entry.outcome = decided;
  entry.wasApproved ||= decided.kind.case === 'approved';
  world.engine.namedEnd ||= expiryOf(entry) !== undefined;
  world.trace(`  engine: ${entry.kind} ${decided.kind.case}`);
}

/** An order to move money: done once for its request id, answered the same for ever. */
export function send(world: World, operation: Operation): Outcome {
  const { engine } = world;
  const known = engine.entries.get(operation.id);
  if (known) return known.outcome;
  const kind = operation.kind as Kind;
  const asked = operation.amount ?? 0n;
  const entry = { requestId: operation.id, kind, asked, outcome: PENDING, wasApproved: false };
  engine.entries.set(operation.id, entry);
  const yes = (amount: bigint) => outcome('approved', amount);
  const soon = world.now + 7_200_000;
  const answers: Record<Kind, readonly (readonly [number, Outcome])[]> = {
    authorize: [
      [6, APPROVED],
      [1, DECLINED],
      [1, FAILED],
      [1, EXPIRED],
      [2, PENDING],
      [1, outcome('pending', undefined, soon)],
      [2, outcome('buyerAction')],
      [1, outcome('buyerAction', undefined, soon)],
      [1, yes(PART)],
      [1, yes(asked + 50n)],
    ],
    capture: [
      [5, APPROVED],
      [1, yes(asked - 10n)],
      [1, DECLINED],
      [1, FAILED],
      [1, PENDING],
      [1, EXPIRED],
    ],
    void: [
      [5, APPROVED],
      [1, DECLINED],
      [1, FAILED],
      [1, PENDING],
    ],
    refund: [
      [6, APPROVED],
      [1, DECLINED],
      [1, FAILED],
      [2, PENDING],
      [1, yes(asked - 10n)],
      [1, outcome('buyerAction')],
    ],
  };
  const isTooLate = engine.lapsed && kind === 'capture';
  decideOn(world, entry, isTooLate ? EXPIRED : pick(world, answers[kind]));
  if (kind === 'capture' && entry.outcome === EXPIRED && !engine.lapsed) lapse(world);
  return entry.outcome;
}

/** Undefined: not found, which is no promise that nothing happened (R15): one of its machines may not have heard yet. */
export function getOperation(world: World, id: string): Outcome | undefined {
  const isBehind = !world.calm && world.choose(8) === 7;
  return isBehind ? undefined : world.engine.entries.get(id)?.outcome;
}

/** Ends what is not approved; what was never seen becomes a tombstone; what is finished is not undone. */
export function cancel(world: World, { id, kind }: Operation): Outcome | 'ended' {
  const { engine } = world;
  const known = engine.entries.get(id);
  const ended = { requestId: id, kind: kind as Kind, asked: 0n, outcome: FAILED, wasApproved: false };
  if (!known) {
    if (world.rules.tombstones) engine.entries.set(id, ended);
    return 'ended';
  }
  if (!isUndecided(known)) return known.outcome.kind.case === 'failed' ? 'ended' : known.outcome;
  // It may be unable to promise the end yet.
  if (!world.calm && world.choose(2) === 1) return PENDING;
  known.outcome = FAILED;
  return 'ended';
}

/** Gives back whatever an approved authorize holds or took. */
export function reverse(world: World, { id }: Operation): Outcome {
  if (!world.engine.entries.get(id)?.wasApproved) return FAILED;
  if (!world.calm && world.choose(3) === 2) return PENDING;
  world.engine.reversed = true;
  return APPROVED;
}

/** The end of what it left open: a bank, a buyer or a fraud team has spoken. */
export function decideLater(world: World, entry: Entry): void {
  const { kind, asked } = entry;
  const isPayment = kind === 'authorize';
  const goesOn = isPayment && !world.calm;
  const isWithBuyer = entry.outcome.kind.case === 'buyerAction';
  const decided = pick(world, [
    [world.engine.lapsed && kind === 'capture' ? 0 : 4, APPROVED],
    [2, DECLINED],
    [1, FAILED],
    [isPayment ? 1 : 0, EXPIRED],
    [isPayment ? 1 : 0, outcome('approved', PART)],
    [isPayment ? 1 : 0, outcome('approved', asked + 50n)],
    [goesOn && isWithBuyer ? 3 : 0, PENDING],
    [goesOn && isWithBuyer ? 3 : 0, outcome('pending', undefined, world.now + 7_200_000)],
    [goesOn && !isWithBuyer ? 1 : 0, outcome('buyerAction')],
  ]);
  decideOn(world, entry, decided);
}

export function authorizeOf({ entries }: Engine): Entry | undefined {
  return entriesOf(entries, 'authorize')[0];
}

function entriesOf(entries: Engine['entries'], kind: Kind): Entry[] {
  return [...entries.values()].filter((entry) => entry.kind === kind);
}

/** An authorization that nobody captured or voided runs out. */
export function mayLapse({ engine, authorizeOnly }: World): boolean {
  return authorizeOnly && !engine.lapsed && books(engine, authorizeOnly).held > 0n;
}

export function lapse(world: World): void {
  const entry = authorizeOf(world.engine);
  if (!entry) return;
  world.engine.lapsed = true;
  decideOn(world, entry, EXPIRED);
}

/** A refund that was accepted comes back from the bank. */
export function refundReturns(world: World, entry: Entry): void {
  decideOn(world, entry, DECLINED);
}

/** What an operator who looked at the books may say of an operation: that it did not happen always, for that is made true. */
export function truths({ engine }: World, id: string): Outcome[] {
  const entry = engine.entries.get(id);
  if (entry?.outcome.kind.case !== 'approved') return [DECLINED];
  return [entry.kind === 'capture' || isPart(entry) ? entry.outcome : APPROVED, DECLINED];
}

/** Whether it approved a part of the payment. */
export const isPart = (entry: Entry) => entry.kind === 'authorize' && amountOf(entry) === PART;

/** The opposite of what it did and said. Not of a refund that happened: that one may come back. */
export function contraryOf({ kind, outcome: said }: Entry): Outcome | undefined {
  if (said.kind.case !== 'approved') return APPROVED;
  return kind === 'refund' ? undefined : DECLINED;
}

const amountOf = ({ outcome: { kind }, asked }: Entry) =>
  kind.case === 'approved' ? (kind.value.amount ?? asked) : 0n;
const sum = (entries: readonly Entry[]) => entries.reduce((total, entry) => total + amountOf(entry), 0n);

/** What it did, whatever it said: minor units held, taken and given back. */
export function books(engine: Engine, authorizeOnly: boolean) {
  const authorize = authorizeOf(engine);
  const captures = entriesOf(engine.entries, 'capture').filter(isYes);
  const voids = entriesOf(engine.entries, 'void').filter(isYes);
  const refunds = entriesOf(engine.entries, 'refund').filter(isYes);
  const approved = authorize && !engine.reversed ? amountOf(authorize) : 0n;
  const isHeld = authorizeOnly && captures.length === 0 && voids.length === 0;
  return {
    captures,
    voids,
    refunds,
    held: isHeld ? approved : 0n,
    taken: authorizeOnly ? sum(captures) : approved,
    refunded: sum(refunds),
  };
}
