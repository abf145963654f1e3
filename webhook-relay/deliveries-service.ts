import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import {
  AttemptSchema,
  Decision_Action,
  DecisionSchema,
  type DeliveriesService,
  Delivery_State,
  DeliverySchema,
  type ListDeliveriesRequest,
  type Selection as ProtoSelection,
} from '../proto/gen/relay/v1/deliveries_pb.js';
import { callerKey, type Role } from '../proto/runtime/callers.ts';
import type { Database, Queryable } from '../proto/runtime/database.ts';
import type { Log } from '../proto/runtime/log.ts';
import { bounded } from '../proto/runtime/redact.ts';
import {
  ensure,
  ensureLength,
  ensureUuid,
  readPageSize,
  readPageToken,
  readTime,
  toPageToken,
} from '../proto/runtime/requests.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import type { KeyRing } from '../proto/runtime/seal.ts';
import type { Breaker } from './breaker.ts';
import type { DeliveryState } from './delivery.ts';
import type { Receiver } from './receive.ts';
import { settle } from './settle.ts';
import { lockPayments, measure, readPayments } from './store.ts';
import * as store from './store-deliveries.ts';

/** Who may call what (R33): readers look, operators decide. */
export const ALLOWED: Readonly<Record<string, readonly Role[]>> = {
  ListDeliveries: ['reader', 'operator'],
  GetStatus: ['reader', 'operator'],
  GetDelivery: ['reader', 'operator'],
  RedriveDeliveries: ['operator'],
  ParkDelivery: ['operator'],
  UnparkDelivery: ['operator'],
  SkipDelivery: ['operator'],
  PauseDeliveries: ['operator'],
  ResumeDeliveries: ['operator'],
};

const ATTEMPTS_MAX = 100;
/** Of one call: it must be over long before its statement's time is. */
const REDRIVEN_MAX = 10_000;
/** Each of them is a tx. */
const READ_AGAIN_MAX = 1_000;

/** What operators see and decide (R29). `wake`: something may be due. */
export function deliveriesService(deps: {
  db: Database;
  keys: KeyRing;
  log: Log;
  receiver: Pick<Receiver, 'readAgain'>;
  wake: () => void;
  /** As it stands in this process. */
  breaker: () => Pick<Breaker, 'open' | 'slots'>;
}): ServiceImpl<typeof DeliveriesService> {
  const { db, keys, log, receiver, wake } = deps;

  async function list({ selection, pageSize, pageToken }: ListDeliveriesRequest) {
    const limit = readPageSize(pageSize);
    const before = readPageToken(pageToken);
    const found = await store.selectDeliveries(db, readSelection(selection), before, limit + 1);
    const page = found.slice(0, limit);
    const last = page.at(-1);
    const paused = await store.pauseInForce(db);
    return {
      deliveries: page.map(toDelivery),
      nextPageToken: found.length > limit && last ? toPageToken({ at: last.cursor, id: last.eventId }) : '',
      ...(paused && { paused: toDecision(paused) }),
    };
  }

  async function status() {
    const { open, paused: _, ...counted } = await measure(db);
    const paused = await store.pauseInForce(db);
    const { open: breakerOpen, slots: attemptsAtOnce } = deps.breaker();
    return {
      ...counted,
      ...{ open: BigInt(open), breakerOpen, attemptsAtOnce },
      ...(paused && { paused: toDecision(paused) }),
    };
  }

  async function find(from: Queryable, eventId: string): Promise<store.DeliveryWithBody> {
    ensureUuid(eventId, 'event_id');
    const found = await store.deliveryByEvent(from, eventId);
    if (!found) throw rpcError(Code.NotFound, 'DELIVERY_NOT_FOUND', 'there is no such delivery');
    return found;
  }

  async function get(eventId: string) {
    const found = await find(db, eventId);
    return {
      delivery: toDelivery(found),
      body: bodyOf(found),
      attempts: (await store.attemptsOf(db, eventId, ATTEMPTS_MAX)).map(toAttempt),
      decisions: (await store.decisionsOf(db, eventId)).map(toDecision),
    };
  }

  /** A sealed body is shown without what it is sealed for (R31). */
  function bodyOf({ eventId, body, sealedWith }: store.DeliveryWithBody): string {
    if (body === null) return '';
    if (sealedWith === null) return Buffer.from(body).toString();
    if (!keys.ids.includes(sealedWith)) return '';
    const open = Buffer.from(keys.unseal(body, eventId)).toString();
    return JSON.stringify(JSON.parse(open, (name, value) => (name === 'credentialsOnFile' ? undefined : value)));
  }

  /** Moves one delivery and brings its payment in line; while an attempt of the payment runs, the attempt's end does that. */
  async function move(
    action: 'park' | 'unpark' | 'skip',
    from: readonly DeliveryState[],
    to: DeliveryState,
    { eventId, reason }: { eventId: string; reason: string },
    context: HandlerContext,
  ) {
    const decision = { action, eventId, ...whoAndWhy(reason, context) };
    const delivery = await db.inTx(async (tx) => {
      const { transactionId, state } = await find(tx, eventId);
      const [payment] = await lockPayments(tx, [transactionId]);
      if (!(await store.moveDelivery(tx, eventId, from, to)))
        throw rpcError(Code.FailedPrecondition, 'WRONG_STATE', `the delivery is not ${from.join(' or ')}`, { state });
      await store.insertDecision(tx, decision);
      if (!payment?.claimed) await settle(tx, log, await readPayments(tx, [transactionId]));
      return find(tx, eventId);
    });
    announce({ ...decision, transactionId: delivery.transactionId });
    return { delivery: toDelivery(delivery) };
  }

  async function redrive(asked: ProtoSelection | undefined, reason: string, context: HandlerContext) {
    const selection = readSelection(asked);
    const isEmpty = Object.values(selection).every((value) => !value || (Array.isArray(value) && value.length === 0));
    ensure(!isEmpty, 'selection', 'must not be empty');
    const decision = { action: 'redrive', selection, ...whoAndWhy(reason, context) } as const;
    const payments = await db.inTx(async (tx) => {
      await store.insertDecision(tx, decision);
      return store.makeDue(tx, selection, REDRIVEN_MAX);
    });
    const held = await store.selectHeld(db, selection, READ_AGAIN_MAX);
    await receiver.readAgain(held);
    const stillHeld = await store.countHeld(
      db,
      held.map(({ eventId }) => eventId),
    );
    announce({ ...decision, payments, freed: held.length - stillHeld, stillHeld });
    return { payments, freed: held.length - stillHeld, stillHeld };
  }

  async function pauseOrResume(action: 'pause' | 'resume', reason: string, context: HandlerContext) {
    const decision = await store.insertDecision(db, { action, ...whoAndWhy(reason, context) });
    announce({ ...decision });
    return { decision: toDecision(decision) };
  }

  function announce(decision: Record<string, unknown>): void {
    log.info('operator.decided', decision);
    wake();
  }

  return {
    listDeliveries: (request) => list(request),
    getStatus: () => status(),
    getDelivery: ({ eventId }) => get(eventId),
    redriveDeliveries: ({ selection, reason }, context) => redrive(selection, reason, context),
    parkDelivery: (request, context) => move('park', ['waiting'], 'parked', request, context),
    unparkDelivery: (request, context) => move('unpark', ['parked'], 'waiting', request, context),
    skipDelivery: (request, context) => move('skip', ['parked', 'held'], 'skipped', request, context),
    pauseDeliveries: ({ reason }, context) => pauseOrResume('pause', reason, context),
    resumeDeliveries: ({ reason }, context) => pauseOrResume('resume', reason, context),
  };
}

function whoAndWhy(reason: string, context: HandlerContext) {
  ensure(reason.trim() !== '', 'reason', 'is missing');
  ensureLength(reason, 'reason', 1, 500);
  return { caller: context.values.get(callerKey).name, reason: bounded(reason, 500) };
}

function readSelection(selection: ProtoSelection | undefined): store.Selection {
  const { eventId = '', transactionId = '', states = [], stuck = false, type = '' } = selection ?? {};
  if (eventId !== '') ensureUuid(eventId, 'event_id');
  if (transactionId !== '') ensureUuid(transactionId, 'transaction_id');
  ensure(/^\w{0,100}$/.test(type), 'type', 'must be the name of a type');
  return {
    eventId: eventId || null,
    transactionId: transactionId || null,
    states: states.map(stateOf),
    stuck,
    type: type || null,
    receivedFrom: readTime(selection?.receivedFrom, 'received_from'),
    receivedBefore: readTime(selection?.receivedBefore, 'received_before'),
  };
}

function stateOf(state: Delivery_State): DeliveryState {
  const name = state > 0 ? Delivery_State[state] : undefined;
  ensure(name !== undefined, 'states', 'must be states that are known here');
  return name!.toLowerCase() as DeliveryState;
}

/** The name that a state or action has in its proto enum: one without such a name does not compile. */
const named = <Name extends string>(name: Name) => name.toUpperCase() as Uppercase<Name>;

const time = (date: Date | null) => (date ? timestampFromDate(date) : undefined);

function toDelivery(row: store.DeliveryRow) {
  return create(DeliverySchema, {
    ...row,
    state: Delivery_State[named(row.state)],
    receivedAt: timestampFromDate(row.receivedAt),
    firstAttemptAt: time(row.firstAttemptAt),
    finishedAt: time(row.finishedAt),
    nextAttemptAt: time(row.nextAttemptAt),
  });
}

function toAttempt(row: store.AttemptRow) {
  return create(AttemptSchema, {
    ...row,
    httpStatus: row.httpStatus ?? undefined,
    startedAt: timestampFromDate(row.startedAt),
    nextAttemptAt: time(row.nextAttemptAt),
  });
}

function toDecision(row: store.Decision) {
  const action = Decision_Action[named(row.action)];
  return create(DecisionSchema, { ...row, action, decidedAt: timestampFromDate(row.decidedAt) });
}
