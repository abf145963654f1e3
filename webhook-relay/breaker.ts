// When Wix is down for all, probes go instead of everything (R29). A value and a function; the deliverer keeps it in memory.

export interface Breaker {
  readonly open: boolean;
  /** How many attempts may run at once: one while open. */
  readonly slots: number;
  /** Payments whose attempts failed since Wix last answered, each with whose trouble it was: its merchant's, or its own for a token. */
  readonly failing: ReadonlyMap<string, string>;
  /** The merchant whose event Wix last answered; undefined before the first. */
  readonly answered: string | undefined;
}

/** What an attempt says of Wix: refused is a complete answer about this event, no answer also one that says that Wix is not well. */
export type Outcome = 'delivered' | 'refused' | 'no_token' | 'no_answer';

export interface Ended {
  readonly transactionId: string;
  readonly merchant: string;
  readonly outcome: Outcome;
}

/** So many payments failing with no answer between them are Wix's trouble, not theirs. */
const FAILING_MAX = 10;

export function closedBreaker(slots: number): Breaker {
  return { open: false, slots, failing: new Map(), answered: undefined };
}

/**
 * After a success it closes with one slot. Every further success adds one, up to slotsMax: full rounds double them. What Wix refused is
 * about that event. Payments of one merchant alone do not open it if Wix has answered another since: that is about the merchant.
 */
export function afterAttempt(breaker: Breaker, { transactionId, merchant, outcome }: Ended, slotsMax: number): Breaker {
  if (outcome === 'delivered') {
    const slots = breaker.open ? 1 : Math.min(breaker.slots + 1, slotsMax);
    return { ...closedBreaker(slots), answered: merchant };
  }
  if (breaker.open) return breaker;
  if (outcome === 'refused') return { ...closedBreaker(breaker.slots), answered: merchant };
  const failing = new Map(breaker.failing).set(transactionId, outcome === 'no_token' ? transactionId : merchant);
  const troubled = new Set(failing.values());
  const isOfOne = troubled.size === 1 && breaker.answered !== undefined && !troubled.has(breaker.answered);
  const open = failing.size >= FAILING_MAX && !isOfOne;
  return { ...breaker, open, slots: open ? 1 : breaker.slots, failing };
}

/** How many of the slots one merchant may hold, also while its deliveries hang: a quarter. */
export function shareOf(slots: number): number {
  return Math.ceil(slots / 4);
}
