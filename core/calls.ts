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
  /** Throws UNAVAILABLE when there is no room: asked before tx 1, so that nothing is recorded (R20). */
  demandRoom(): void;
  /** Runs detached from any caller. Never rejects: an error is logged, the rows say what to ask. */
  run(work: () => Promise<void>): Promise<void>;
  /** Waits for what is in flight, then cuts it off: its rows stay as they are, and reconciliation settles them (R38). */
  drain(ms: number): Promise<void>;
}

export function createCalls(name: string, max: number, log: Log): Calls {
  const running = new Set<Promise<void>>();
  const end = new AbortController();
  const inFlight = gauge('calls_in_flight', 'Detached work that is running.', ['name']);
  const room = () => max - running.size;
  return {
    signal: end.signal,
    room,
    demandRoom: () => {
      if (room() <= 0) throw rpcError(Code.Unavailable, 'OVERLOADED', 'too many processor calls are in flight');
    },
    run: (work) => {
      const task = work()
        .catch((err) => log.error('call.broken', { err }))
        .finally(() => {
          running.delete(task);
          inFlight.set({ name }, running.size);
        });
      running.add(task);
      inFlight.set({ name }, running.size);
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
}

/** The earlier of the core's own budget and the caller's deadline less a second (R4). */
export function startBudget(ownMs: number, callerMs: number | undefined): Budget {
  const end = performance.now() + Math.min(ownMs, callerMs === undefined ? ownMs : callerMs - 1_000);
  const leftMs = () => Math.max(0, Math.ceil(end - performance.now()));
  return { leftMs, isOver: () => leftMs() === 0 };
}

/** R1: no tx 1 of any kind once the budget is over, so that a caller who gave up is not charged later. */
export function demandTime(budget: Budget): void {
  if (budget.isOver()) throw rpcError(Code.DeadlineExceeded, 'BUDGET_OVER', 'the time to answer is over');
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

/** Waits for work, but no longer than `ms`. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const done = new AbortController();
  await Promise.race([work, sleep(ms, done.signal)]);
  done.abort();
}
