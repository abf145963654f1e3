import { create, equals } from '@bufbuild/protobuf';
import { Code, type HandlerContext } from '@connectrpc/connect';
import {
  type WatchTransactionRequest,
  type WatchTransactionResponse,
  WatchTransactionResponseSchema,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import {
  Operation_State as OperationState,
  Transaction_State as State,
} from '../proto/gen/payments/v1/transaction_pb.js';
import { callerKey } from '../proto/runtime/callers.ts';
import { sleep } from '../proto/runtime/loop.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import { hasShare } from './calls.ts';
import type { Core } from './context.ts';
import { findTransaction, getTransaction } from './find-transactions.ts';
import { revisionOf } from './store/operations.ts';

// Following one payment: its rows are looked at again and again, which sees what any core writes and needs no session of its own (R42).
// All who follow a payment in this process look together, and it is read only when a row of it has been written.

const WATCHERS_MAX = 100;
const LOOK_MS = 500;
/** A watcher that vanished without a word does not keep its place for ever. */
const WATCH_MS_MAX = 3_600_000;

/** A payment that is followed. */
export interface Followed {
  readonly id: string;
  readonly since: number;
  seen?: Seen;
}

/** The message is the same object until there is something to tell. */
interface Seen {
  readonly revision: string;
  readonly message: WatchTransactionResponse;
  readonly isAtRest: boolean;
}

export interface Watchers {
  /** Aborts when all that watch are to end. */
  readonly signal: AbortSignal;
  end(): void;
  /**
   * Takes a place, or throws RESOURCE_EXHAUSTED: a caller has at most a share of them. The signal tells when the watch is over; the
   * place is free then at the latest.
   */
  enter(caller: string, signal: AbortSignal): AbortSignal;
  /** What the one in this place follows, which is the same for all who follow the same. */
  follow(over: AbortSignal, id: string): Followed;
  leave(over: AbortSignal): void;
}

export function createWatchers(max = WATCHERS_MAX): Watchers {
  const ending = new AbortController();
  const places = new Map<AbortSignal, { readonly caller: string; readonly followed?: Followed }>();
  const leave = (over: AbortSignal) => void places.delete(over);
  return {
    signal: ending.signal,
    end: () => ending.abort(),
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

/** The payment as it stands, and again whenever it is not what was said last, until it rests or the caller goes. */
export async function* watchTransaction(
  core: Core,
  { key }: WatchTransactionRequest,
  context: HandlerContext,
): AsyncGenerator<WatchTransactionResponse> {
  const over = core.watchers.enter(context.values.get(callerKey).name, context.signal);
  try {
    const { id } = await findTransaction(core, key);
    const followed = core.watchers.follow(over, id);
    let last: WatchTransactionResponse | undefined;
    while (!over.aborted) {
      const { message, isAtRest } = await core.turns.read(`watch ${id}`, () => look(core, followed));
      if (message !== last) yield message;
      if (isAtRest) return;
      last = message;
      await sleep(LOOK_MS - ((performance.now() - followed.since) % LOOK_MS), over);
    }
    if (core.watchers.signal.aborted) throw rpcError(Code.Unavailable, 'STOPPING', 'the core is stopping: watch again');
  } finally {
    core.watchers.leave(over);
  }
}

async function look(core: Core, followed: Followed): Promise<Seen> {
  const { seen, id: value } = followed;
  // Before the rest is read: what is written in between makes another revision.
  const { revision, isOpen } = await revisionOf(core.db, value);
  if (seen?.revision === revision) return seen;
  const { $typeName: _, ...now } = await getTransaction(core, { key: { case: 'id', value }, operationsPageToken: '' });
  const message = create(WatchTransactionResponseSchema, now);
  const isSame = seen !== undefined && equals(WatchTransactionResponseSchema, seen.message, message);
  followed.seen = { revision, message: isSame ? seen.message : message, isAtRest: !isOpen && isAtRest(message) };
  return followed.seen;
}

const AT_REST = [State.CAPTURED, State.VOIDED, State.EXPIRED, State.DECLINED];
const OPEN = [OperationState.RUNNING, OperationState.WAITING, OperationState.UNKNOWN];

/** Nothing more comes by itself. */
function isAtRest({ transaction, operations }: WatchTransactionResponse): boolean {
  const isDecided = transaction !== undefined && AT_REST.includes(transaction.state);
  return isDecided && !operations.some(({ state }) => OPEN.includes(state));
}
