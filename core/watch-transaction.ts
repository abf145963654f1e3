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
import type { Core } from './context.ts';
import { findTransaction, getTransaction } from './find-transactions.ts';
import { revisionOf } from './store/operations.ts';
import type { Followed, Seen } from './watchers.ts';

// Following one payment: its rows are looked at again and again, which sees what any core writes and needs no session of its own (R42).
// All who follow a payment in this process look together, and it is read only when a row of it has been written.

const LOOK_MS = 500;

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
    if (core.watchers.wasEnded(over))
      throw rpcError(Code.Unavailable, 'STOPPING', 'the core ends this watch: watch again');
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
