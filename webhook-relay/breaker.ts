// When Wix is down for all, probes go instead of everything (R29). A value and a function; the deliverer keeps it in memory.

export interface Breaker {
  readonly open: boolean;
  /** How many attempts may run at once: one while open. */
  readonly slots: number;
  /** Payments whose attempts failed since any attempt last succeeded. */
  readonly failing: ReadonlySet<string>;
}

/** So many payments failing with no success between them are Wix's trouble, not theirs. */
const FAILING_MAX = 10;

export function closedBreaker(slots: number): Breaker {
  return { open: false, slots, failing: new Set() };
}

/** After a success it closes with one slot. Every further success adds one, up to slotsMax: full rounds double them. */
export function afterAttempt(breaker: Breaker, transactionId: string, delivered: boolean, slotsMax: number): Breaker {
  if (delivered) return closedBreaker(breaker.open ? 1 : Math.min(breaker.slots + 1, slotsMax));
  if (breaker.open) return breaker;
  const failing = new Set(breaker.failing).add(transactionId);
  const open = failing.size >= FAILING_MAX;
  return { open, slots: open ? 1 : breaker.slots, failing };
}
