import type { Log } from '../proto/runtime/log.ts';
import { counter, gauge } from '../proto/runtime/metrics.ts';
import { type Budget, hasShare, overloaded } from './calls.ts';

// In front of tx 1 stands a short queue (R48). What can be done in time is let in, and is then finished; what cannot is refused before
// anything of it is read or recorded. Half of the database's connections are left to finish what was let in.

/** A call that would record something. `owner`: whose call it is; none of them may take the whole queue. */
export interface Arrival {
  readonly kind: 'create' | 'follow_up';
  /** By which Wix, or a service of the PSP's, knows the payment. */
  readonly externalId: string;
  readonly owner: string;
}

/** Refunds, captures, voids and repeats of creates go before new payments. */
type Priority = 'first' | 'new';

/** How many ids of creates are remembered, to tell a repeat before the database is asked. */
const SEEN_MAX = 20_000;
/** Nobody waits for longer than this part of the answer budget. */
const WAIT_SHARE = 1 / 4;
/** More than so many would only cost memory. */
const WAITING_MAX = 500;
/** An alert says that there is too much to do only once it has lasted; and not again until there was a minute of calm. */
const LASTING_MS = 5_000;
const CALM_MS = 60_000;
/** Until there are measurements, what one tx 1 is taken to need. */
const FIRST_GUESS_MS = 20;

export interface Admission {
  /**
   * Runs tx 1 of a call when it is its turn; `isRepeat`: a create with this id came before. Throws UNAVAILABLE (reason OVERLOADED) if its
   * turn would not come in time.
   */
  admit<T>(arrival: Arrival, budget: Budget, run: (isRepeat: boolean) => Promise<T>): Promise<T>;
  /** Calls have been refused in the last seconds. */
  isShedding(): boolean;
}

/** Each kind of call has places of its own. */
export function byKind(admissions: Readonly<Record<Arrival['kind'], Admission>>): Admission {
  return {
    admit: (arrival, budget, run) => admissions[arrival.kind].admit(arrival, budget, run),
    isShedding: () => Object.values(admissions).some((admission) => admission.isShedding()),
  };
}

interface Waiting {
  readonly owner: string;
  readonly start: () => void;
}

/** Lets as many calls at once into tx 1 as there are `places` at that time. `budgetMs`: the time in which a call is answered. `clock`: milliseconds. */
export function createAdmission(
  places: () => number,
  budgetMs: number,
  log: Log,
  clock = () => performance.now(),
): Admission {
  const queues: Readonly<Record<Priority, Waiting[]>> = { first: [], new: [] };
  const waitMs = budgetMs * WAIT_SHARE;
  const shed = counter('calls_shed_total', 'Calls refused because there is too much to do.', ['priority']);
  const waiting = gauge('calls_waiting', 'Calls that wait for their first tx.', ['priority']);
  const seen = new Set<string>();
  let busy = 0;
  let workMs = FIRST_GUESS_MS;
  let lastShedAt = Number.NEGATIVE_INFINITY;
  let sheddingSince = 0;
  let isAlerted = false;

  function refuse(priority: Priority, forAll: boolean) {
    const now = clock();
    if (now - lastShedAt > LASTING_MS) sheddingSince = now;
    if (now - lastShedAt > CALM_MS) isAlerted = false;
    lastShedAt = now;
    shed.inc({ priority });
    if (!isAlerted && now - sheddingSince > LASTING_MS) {
      isAlerted = true;
      log.alert('overloaded', { waiting: queues.first.length + queues.new.length, workMs: Math.round(workMs) });
    }
    return overloaded('there is too much to do', forAll);
  }

  function ensureRoom(priority: Priority, owner: string): void {
    // What is done in the time that one may wait.
    const max = Math.min(WAITING_MAX, Math.floor((waitMs * places()) / workMs));
    const ahead = priority === 'first' ? queues.first : [...queues.first, ...queues.new];
    const own = ahead.filter((other) => other.owner === owner).length;
    if (!hasShare(own, ahead.length, max)) throw refuse(priority, ahead.length >= max);
  }

  async function enter(priority: Priority, owner: string, budget: Budget): Promise<void> {
    if (busy < places()) {
      busy += 1;
      return;
    }
    const queue = queues[priority];
    ensureRoom(priority, owner);
    await new Promise<void>((resolve, reject) => {
      const giveUp = () => {
        queue.splice(queue.indexOf(entry), 1);
        waiting.set({ priority }, queue.length);
        reject(refuse(priority, true));
      };
      const timer = setTimeout(giveUp, Math.min(2 * waitMs, budget.leftMs()));
      const start = () => {
        clearTimeout(timer);
        resolve();
      };
      const entry = { owner, start };
      queue.push(entry);
      waiting.set({ priority }, queue.length);
    });
  }

  function leave(startedAt: number): void {
    workMs += (clock() - startedAt - workMs) / 10;
    busy -= 1;
    while (busy < places()) {
      const priority = queues.first.length > 0 ? 'first' : 'new';
      const next = queues[priority].shift();
      if (!next) return;
      waiting.set({ priority }, queues[priority].length);
      busy += 1;
      next.start();
    }
  }

  function priorityOf({ kind, externalId }: Arrival): Priority {
    return kind === 'follow_up' || seen.has(externalId) ? 'first' : 'new';
  }

  /** The oldest one is forgotten when there are too many. */
  function remember(externalId: string): void {
    seen.add(externalId);
    for (const oldest of seen) {
      if (seen.size <= SEEN_MAX) return;
      seen.delete(oldest);
    }
  }

  return {
    async admit(arrival, budget, run) {
      await enter(priorityOf(arrival), arrival.owner, budget);
      const isRepeat = seen.has(arrival.externalId);
      if (arrival.kind === 'create') remember(arrival.externalId);
      const startedAt = clock();
      try {
        return await run(isRepeat);
      } finally {
        leave(startedAt);
      }
    },
    isShedding: () => clock() - lastShedAt < LASTING_MS,
  };
}
