import { Code } from '@connectrpc/connect';
import type { Log } from '../proto/runtime/log.ts';
import { sleep } from '../proto/runtime/loop.ts';
import { gauge } from '../proto/runtime/metrics.ts';
import { rpcError } from '../proto/runtime/rpc.ts';

// Work that goes on when its caller has gone (R3), bounded (R20), and the time in which a caller is answered (R4).

export interface Calls {
  /** Ends only when a drain has run out of time. */
  readonly signal: AbortSignal;
  /** How many more may run. */
  room(): number;
  /**
   * Whether there is room for this owner, of whom none may take everything: asked before tx 1, so that nothing is recorded (R20). A tenth is
   * kept from new payments, for what follows those that were made (R48).
   */
  hasRoom(owner: string, isNewPayment: boolean): boolean;
  /** Throws UNAVAILABLE if there is none. */
  ensureRoom(owner: string, isNewPayment: boolean): void;
  /** Takes a place for a new payment before its tx 1, so that those that begin together find the places of the others taken. Throws as ensureRoom. */
  reserve(owner: string): Place;
  /** Takes a place, whether there is room or not. */
  take(owner: string): Place;
  /** Runs detached from any caller, then gives up the place. Never rejects: an error is logged, the rows say what to ask. */
  run(work: () => Promise<void>, place?: Place): Promise<void>;
  /** Waits for what is in flight, then cuts it off: its rows stay as they are, and reconciliation settles them (R38). */
  drain(ms: number): Promise<void>;
}

export interface Place {
  /** May be called more than once. */
  giveUp(): void;
}

export function createCalls(name: string, max: number, log: Log): Calls {
  const running = new Set<Promise<void>>();
  const owned = new Map<string, number>();
  const end = new AbortController();
  const inFlight = gauge('calls_in_flight', 'Detached work that is running.', ['name']);
  let taken = 0;
  const count = (owner: string, more: 1 | -1) => {
    taken += more;
    const own = (owned.get(owner) ?? 0) + more;
    if (own > 0) owned.set(owner, own);
    else owned.delete(owner);
    inFlight.set({ name }, taken);
  };
  const take = (owner: string): Place => {
    let isTaken = true;
    count(owner, 1);
    return {
      giveUp: () => {
        if (isTaken) count(owner, -1);
        isTaken = false;
      },
    };
  };
  const mostFor = (isNewPayment: boolean) => (isNewPayment ? Math.ceil(max * 0.9) : max);
  const hasRoom = (owner: string, isNewPayment: boolean) =>
    hasShare(owned.get(owner) ?? 0, taken, mostFor(isNewPayment));
  const ensureRoom = (owner: string, isNewPayment: boolean) => {
    if (!hasRoom(owner, isNewPayment))
      throw overloaded('too many processor calls are in flight', taken >= mostFor(isNewPayment));
  };
  return {
    signal: end.signal,
    room: () => max - taken,
    hasRoom,
    ensureRoom,
    reserve: (owner) => {
      ensureRoom(owner, true);
      return take(owner);
    },
    take,
    run: (work, place = take('')) => {
      const task = work()
        .catch((err) => log.error('call.broken', { err }))
        .finally(() => {
          place.giveUp();
          running.delete(task);
        });
      running.add(task);
      return task;
    },
    drain: async (ms) => {
      await within(ms, Promise.all(running));
      end.abort();
      await Promise.all(running);
    },
  };
}

/** The time in which a call is answered. */
export interface Budget {
  isOver(): boolean;
  leftMs(): number;
  /** For how long something that has to be sent may still begin: a quarter is kept to send it. 0: it is too late. */
  beginMs(): number;
}

/** The earlier of the core's own budget and the caller's deadline less a second (R4). */
export function startBudget(ownMs: number, callerMs: number | undefined): Budget {
  const wholeMs = Math.min(ownMs, callerMs === undefined ? ownMs : callerMs - 1_000);
  const end = performance.now() + wholeMs;
  const leftMs = () => Math.max(0, Math.ceil(end - performance.now()));
  return { leftMs, isOver: () => leftMs() === 0, beginMs: () => Math.max(0, Math.ceil(leftMs() - wholeMs / 4)) };
}

/** R1, R48: no tx 1 of any kind at the end of the budget: a caller who gave up is not charged later, and what is recorded is sent. */
export function ensureTime(budget: Budget): void {
  if (budget.beginMs() === 0) throw budgetOver();
}

export function budgetOver() {
  return rpcError(Code.DeadlineExceeded, 'BUDGET_OVER', 'the time to answer is over');
}

/**
 * Reads until there is something to say or the budget is over (then undefined). Holds no connection between reads, and sees what
 * another core wrote (R4).
 */
export async function readWithin<T>(budget: Budget, read: () => Promise<T | undefined>): Promise<T | undefined> {
  for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 2, 200)) {
    const found = await read();
    if (found !== undefined || budget.isOver()) return found;
    await sleep(Math.min(pauseMs, budget.leftMs()));
  }
}

/** What many wait for at once in this process, by a key: nobody who waits holds a lock or a connection (R48). */
export interface Turns {
  /** Runs when all that came before with this key have ended. Undefined: the budget was over first. */
  take<T>(key: string, budget: Budget, run: () => Promise<T>): Promise<T | undefined>;
  /** Reads once for all who ask while another read with this key is running, when that one has ended: what they get is never older than their question. */
  read<T>(key: string, read: () => Promise<T>): Promise<T>;
}

export function createTurns(): Turns {
  const turns = new Map<string, Promise<unknown>>();
  const reads = new Map<string, Promise<unknown>>();
  const next = new Map<string, Promise<unknown>>();
  const keep = (of: Map<string, Promise<unknown>>, key: string, work: Promise<unknown>) => {
    const ended = work.then(
      () => undefined,
      () => undefined,
    );
    of.set(key, ended);
    void ended.then(() => of.get(key) === ended && of.delete(key));
  };

  return {
    async take(key, budget, run) {
      const before = turns.get(key);
      const mine = Promise.withResolvers<void>();
      keep(turns, key, Promise.all([before, mine.promise]));
      try {
        let isItsTurn = before === undefined;
        const turn = before?.then(() => {
          isItsTurn = true;
        });
        if (turn) await within(budget.leftMs(), turn);
        return isItsTurn ? await run() : undefined;
      } finally {
        mine.resolve();
      }
    },
    read<T>(key: string, read: () => Promise<T>) {
      const shared = next.get(key) as Promise<T> | undefined;
      if (shared) return shared;
      const begin = () => {
        next.delete(key);
        const mine = read();
        keep(reads, key, mine);
        return mine;
      };
      const before = reads.get(key);
      if (!before) return begin();
      const mine = before.then(begin);
      next.set(key, mine);
      return mine;
    },
  };
}

/** Waits for work, but no longer than `ms`. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const isOver = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, isOver]).finally(() => clearTimeout(timer));
}

/**
 * Whether somebody who has `own` of the `taken` places may have one more of `max`: nobody has more than three times what is left, so that
 * something always is. One alone has three quarters.
 */
export function hasShare(own: number, taken: number, max: number): boolean {
  return taken < max && own <= 3 * (max - taken);
}

/** `forAll`: anybody's call would have been refused, not this owner's alone. */
export function overloaded(message: string, forAll: boolean) {
  return rpcError(Code.Unavailable, 'OVERLOADED', message, { scope: forAll ? 'all' : 'owner' });
}
