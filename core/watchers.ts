import { Code } from '@connectrpc/connect';
import type { WatchTransactionResponse } from '../proto/gen/payments/v1/payments_service_pb.js';
import { rpcError } from '../proto/runtime/rpc.ts';
import { hasShare } from './calls.ts';

// The places of those who follow payments.

const WATCHERS_MAX = 100;
/** A watcher that vanished without a word does not keep its place for ever. */
const WATCH_MS_MAX = 3_600_000;

/** A payment that is followed. */
export interface Followed {
  readonly id: string;
  readonly since: number;
  seen?: Seen;
}

/** The message is the same object until there is something to tell. */
export interface Seen {
  readonly revision: string;
  readonly message: WatchTransactionResponse;
  readonly isAtRest: boolean;
}

export interface Watchers {
  /** Ends all that watch; they may watch again. */
  endAll(): void;
  /** Whether this watch was ended by `endAll`. */
  wasEnded(over: AbortSignal): boolean;
  /**
   * Takes a place, or throws RESOURCE_EXHAUSTED: a caller has at most a share of them. The signal tells when the watch is over; the
   * place is free then at the latest.
   */
  enter(caller: string, signal: AbortSignal): AbortSignal;
  /** What the one in this place follows, which is the same for all who follow the same. */
  follow(over: AbortSignal, id: string): Followed;
  leave(over: AbortSignal): void;
}

const ENDED = 'ended by the core';

export function createWatchers(max = WATCHERS_MAX): Watchers {
  let ending = new AbortController();
  const places = new Map<AbortSignal, { readonly caller: string; readonly followed?: Followed }>();
  const leave = (over: AbortSignal) => void places.delete(over);
  return {
    endAll: () => {
      const old = ending;
      ending = new AbortController();
      old.abort(ENDED);
    },
    wasEnded: ({ reason }) => reason === ENDED,
    enter: (caller, signal) => {
      const own = [...places.values()].filter((place) => place.caller === caller).length;
      if (!hasShare(own, places.size, max))
        throw rpcError(Code.ResourceExhausted, 'TOO_MANY_WATCHERS', 'too many are watching');
      const over = AbortSignal.any([signal, ending.signal, AbortSignal.timeout(WATCH_MS_MAX)]);
      places.set(over, { caller });
      // Also of a caller that takes nothing more, and so holds up whoever answers it.
      over.addEventListener('abort', () => leave(over));
      return over;
    },
    follow: (over, id) => {
      const same = [...places.values()].find(({ followed }) => followed?.id === id)?.followed;
      const followed = same ?? { id, since: performance.now() };
      const place = places.get(over);
      if (place) places.set(over, { ...place, followed });
      return followed;
    },
    leave,
  };
}
