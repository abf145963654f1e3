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
import { sleep } from '../proto/runtime/loop.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import type { Core } from './context.ts';
import { getTransaction } from './find-transactions.ts';

// Following one payment: its rows are read again and again, which sees what any core writes and needs no session of its own (R42).

const WATCHERS_MAX = 100;
const LOOK_MS = 500;
/** A watcher that vanished without a word does not keep its place for ever. */
const WATCH_MS_MAX = 3_600_000;

export interface Watchers {
  /** Aborts when all that watch are to end. */
  readonly signal: AbortSignal;
  end(): void;
  /** Takes a place, or throws RESOURCE_EXHAUSTED. The signal tells when the watch is over; the place is free then at the latest. */
  enter(caller: AbortSignal): AbortSignal;
  leave(over: AbortSignal): void;
}

export function createWatchers(max = WATCHERS_MAX): Watchers {
  const ending = new AbortController();
  const places = new Set<AbortSignal>();
  const leave = (over: AbortSignal) => void places.delete(over);
  return {
    signal: ending.signal,
    end: () => ending.abort(),
    enter: (caller) => {
      if (places.size >= max) throw rpcError(Code.ResourceExhausted, 'TOO_MANY_WATCHERS', 'too many are watching');
      const over = AbortSignal.any([caller, ending.signal, AbortSignal.timeout(WATCH_MS_MAX)]);
      places.add(over);
      // Also of a caller that takes nothing more, and so holds up whoever answers it.
      over.addEventListener('abort', () => leave(over));
      return over;
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
  const over = core.watchers.enter(context.signal);
  try {
    let last: WatchTransactionResponse | undefined;
    while (!over.aborted) {
      const { transaction, operations } = await getTransaction(core, { key });
      const now = create(WatchTransactionResponseSchema, { transaction, operations });
      if (!last || !equals(WatchTransactionResponseSchema, last, now)) yield now;
      if (isAtRest(now)) return;
      last = now;
      await sleep(LOOK_MS, over);
    }
    if (core.watchers.signal.aborted) throw rpcError(Code.Unavailable, 'STOPPING', 'the core is stopping: watch again');
  } finally {
    core.watchers.leave(over);
  }
}

const AT_REST = [State.CAPTURED, State.VOIDED, State.EXPIRED, State.DECLINED];
const OPEN = [OperationState.RUNNING, OperationState.WAITING, OperationState.UNKNOWN];

/** Nothing more comes by itself. */
function isAtRest({ transaction, operations }: WatchTransactionResponse): boolean {
  const isDecided = transaction !== undefined && AT_REST.includes(transaction.state);
  return isDecided && !operations.some(({ state }) => OPEN.includes(state));
}
