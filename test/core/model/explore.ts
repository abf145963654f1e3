import { isOpen } from '../../../core/operation.ts';
import { possible } from './actions.ts';
import { decideLater, isUndecided, newEngine, truths } from './engine.ts';
import { emptyLedger } from './ledger.ts';
import { ensureAlways, ensureQuiet, mayStayOpen } from './promises.ts';
import { override, reconcile, report } from './reconcile.ts';
import type { Rules } from './rules.ts';
import { deliver, newWix, nextEvent } from './wix.ts';
import { create } from './wix-calls.ts';
import { advance, begin, pick, runnable, spawn, type World } from './world.ts';

/**
 * One life of a payment: chance picks what happens next until its numbers are nearly used up, then faults end and everybody finishes.
 * Throws if a promise is broken.
 */
export function explore(rules: Rules, numbers: readonly number[], trace: (line: string) => void = () => {}): World {
  let next = 0;
  const choose = (n: number) => (numbers[next++] ?? 0) % n;
  const world: World = {
    rules,
    ledger: emptyLedger(),
    engine: newEngine(),
    wix: newWix(),
    shown: [],
    authorizeOnly: choose(2) === 1,
    buyerAbsent: choose(5) === 4,
    allowPartial: choose(3) === 2,
    now: Date.UTC(2030, 0, 1),
    steps: 0,
    calm: false,
    processes: [],
    late: [],
    choose,
    trace,
  };
  // Half of the lives begin without a fault, so that much happens to approved payments.
  if (choose(2) === 1) {
    begin(world, 'create', (core) => create(world, core));
    world.calm = true;
    finish(world);
    world.calm = false;
  }
  const isDecided = choose(4) < 3;
  const isSettled = choose(2) === 0;
  while (next < numbers.length * 0.8) {
    const { name, happen } = pick(world, possible(world));
    trace(name);
    happen();
    world.steps += 1;
    ensureAlways(world);
  }
  calmDown(world, isDecided, isSettled);
  ensureAlways(world);
  ensureQuiet(world);
  return world;
}

/** After so many rounds only what may stay open is open, or it is for ever. */
const PATIENCE = 20;
const ROUNDS = 60;

/**
 * Everybody finishes: sleepers wake, late requests arrive, the engine tells what it knows, and reconciliation goes on as it is due.
 * `isDecided`: the engine decides what it left open; `isSettled`: an operator settles what is held.
 */
function calmDown(world: World, isDecided: boolean, isSettled: boolean): void {
  const { ledger, engine, late } = world;
  world.calm = true;
  world.trace('all is calm');
  for (let round = 0; round < ROUNDS; round++) {
    for (const message of late.splice(0)) message.arrive();
    finish(world);
    for (const entry of engine.entries.values()) {
      if (isDecided && isUndecided(entry)) decideLater(world, entry);
      spawn(world, 0, 'report', report(world, entry.requestId, entry.outcome));
    }
    for (const operation of isSettled ? ledger.operations.filter(({ held }) => held) : [])
      for (const outcome of truths(world, operation.id).slice(world.choose(2)))
        spawn(world, 0, 'override', override(world, operation, outcome));
    finish(world);
    if (ledger.operations.every((one) => !isOpen(one) || (round > PATIENCE && mayStayOpen(world, one)))) break;
    const due = Math.min(...ledger.dueAt.values());
    if (Number.isFinite(due)) world.now = Math.max(world.now, due);
    reconcile(world, 0);
    finish(world);
  }
  while (nextEvent(world)) deliver(world);
}

/** Runs everybody to their end. */
function finish(world: World): void {
  while (world.processes.length > 0) {
    const ready = runnable(world);
    // Whoever still waits does so for the end of the answer budget.
    if (ready.length === 0) world.now += 10_000;
    for (const process of ready) advance(world, process);
  }
}
