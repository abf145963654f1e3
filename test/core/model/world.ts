import type { ShopPage } from '../../../core/transaction.ts';
import type { Engine } from './engine.ts';
import type { Ledger } from './ledger.ts';
import type { Rules } from './rules.ts';
import type { Wix } from './wix.ts';

// One payment and everybody who has a hand in it, as a value. A process of a core is a generator that gives way wherever the real
// one may sleep or crash: between two database transactions, between the reads and the writes of one, and around each call. Between two
// of its yields a step is atomic. A tx on the payment holds its row lock from its first read to its commit, and others wait for it; a
// claim of reconciliation does not (R46). Every decision of chance comes from one list of numbers, so that a run can be repeated.

/** Undefined: it may go on at once. A function: when it holds. */
export type Pause = (() => boolean) | undefined;
export type Flow<Result = void> = Generator<Pause, Result, void>;

interface Process {
  readonly name: string;
  readonly core: number;
  readonly flow: Flow;
  /** What it waits for. */
  until: Pause;
}

export interface World {
  readonly rules: Rules;
  readonly ledger: Ledger;
  readonly engine: Engine;
  readonly wix: Wix;
  /** Pages of the shop to which the buyer was sent. */
  readonly shown: ShopPage[];
  readonly authorizeOnly: boolean;
  readonly buyerAbsent: boolean;
  /** The merchant takes an approval of less than was asked. */
  readonly allowPartial: boolean;
  /** Milliseconds since 1970; the database's clock, and everybody's. */
  now: number;
  /** How much has happened so far: for those who sleep while others go on. */
  steps: number;
  /** Faults have ended: nobody crashes and every call is answered. */
  calm: boolean;
  processes: Process[];
  /** Requests to the engine that nobody waits for any more and that may still arrive. */
  late: { readonly name: string; readonly arrive: () => void }[];
  /** A number from 0 to n - 1; 0 once the run's numbers are used up. */
  choose(n: number): number;
  trace(line: string): void;
}

/** Minor units that every payment asks for. */
export const ASKED = 100n;
/** What the engine approves of it where it approves a part. */
export const PART = 70n;
export const ANSWER_BUDGET_MS = 8_000;
export const BUYER_TIMEOUT_MS = 3_600_000;
export const GRACE_MS = 30_000;
/** Due time of a running operation and length of a claim: processor time-out and grace (R15). */
export const RUNNING_MS = 90_000;

/** One of these, weighted; the first is what happens when all goes well. */
export function pick<T>(world: World, options: readonly (readonly [weight: number, option: T])[]): T {
  let number = world.choose(options.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, option] of options) {
    if (number < weight) return option;
    number -= weight;
  }
  throw new Error('a choice has at least one option');
}

/** Starts a process. Returns whether it is done: it never is if its core crashes. */
export function spawn(world: World, core: number, name: string, flow: Flow): { done: boolean } {
  const fate = { done: false };
  const watched = (function* (): Flow {
    yield* flow;
    fate.done = true;
  })();
  world.processes.push({ name, core, flow: watched, until: undefined });
  return fate;
}

/** A process on one of the two cores. */
export function begin(world: World, name: string, flow: (core: number) => Flow): void {
  const core = world.choose(2);
  spawn(world, core, name, flow(core));
}

export function runnable(world: World): Process[] {
  return world.processes.filter(({ until }) => until === undefined || until());
}

/** Runs a process up to its next pause. */
export function advance(world: World, process: Process): void {
  world.trace(`core ${process.core}: ${process.name}`);
  const step = process.flow.next();
  if (step.done) world.processes = world.processes.filter((other) => other !== process);
  else process.until = step.value;
}

/** Ends a core's processes where they stand; the database frees the lock that one of them holds. */
export function crash(world: World, core: number): void {
  const ended = world.processes.filter((process) => process.core === core);
  world.processes = world.processes.filter((process) => process.core !== core);
  for (const { flow } of ended) flow.return();
}

/**
 * A tx on the payment: waits for its row lock, reads under it, and may give way for long before it writes and commits in one step. If
 * `write` answers 'again', it has written nothing, and the tx begins anew.
 */
export function* inTx<Read, Result>(
  world: World,
  read: () => Read,
  write: (found: Read) => Result | 'again',
): Flow<Result> {
  const { ledger } = world;
  for (;;) {
    while (ledger.isLocked) yield () => !ledger.isLocked;
    ledger.isLocked = true;
    try {
      const found = read();
      const until = world.steps + (world.calm ? 0 : Math.max(0, world.choose(40) - 20));
      if (world.steps < until) yield () => world.calm || world.steps >= until;
      const result = write(found);
      if (result !== 'again') return result;
    } finally {
      ledger.isLocked = false;
    }
  }
}

/** The time in which a call of Wix is answered (R4). */
export function startBudget(world: World): () => boolean {
  const end = world.now + ANSWER_BUDGET_MS;
  return () => world.now >= end;
}

const FATES = [
  [12, 'answered'],
  [2, 'answer lost'],
  [1, 'request lost'],
  [2, 'late'],
  [1, 'refused'],
] as const;

/**
 * A call to the engine. `no answer`: it may have been heard, or may yet be; `refused`: at the engine's door, which says nothing of
 * earlier or later sends.
 */
export function* call<T>(world: World, name: string, hear: () => T): Flow<T | 'no answer' | 'refused'> {
  yield;
  const fate = world.calm ? 'answered' : pick(world, FATES);
  world.trace(`  ${name}: ${fate}`);
  if (fate === 'refused') return 'refused';
  if (fate === 'late') world.late.push({ name, arrive: () => void hear() });
  if (fate === 'answer lost') hear();
  if (fate !== 'answered') return 'no answer';
  const answer = hear();
  yield;
  return answer;
}
