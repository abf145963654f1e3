import { create, fromBinary } from '@bufbuild/protobuf';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type CallOptions, type Client, Code, ConnectError } from '@connectrpc/connect';
import { EventSchema } from '../proto/gen/payments/v1/event_pb.js';
import {
  type ExplainedEvent,
  ExplainedEventSchema,
  ExplainedOperationSchema,
  type ExplainTransactionRequest,
  type ExplainTransactionResponse,
  ExplainTransactionResponseSchema,
  Report_Kind,
  ReportSchema,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import {
  type DeliveriesService,
  type Delivery,
  GetDeliveryResponseSchema,
  Delivery_State as State,
} from '../proto/gen/relay/v1/deliveries_pb.js';
import type { Queryable } from '../proto/runtime/database.ts';
import { ensureLength } from '../proto/runtime/requests.ts';
import * as convert from './convert.ts';
import { noTransaction } from './find-transactions.ts';
import { isOpen, type Operation } from './operation.ts';
import { dueTimes, type EventRow, eventsOf, reportsOf, transactionIdBy } from './store/explain.ts';
import { newestOperationsOf } from './store/operations.ts';
import { transactionById } from './store/transactions.ts';
import { type Facts, type Progress, type Standing, summarize } from './summary.ts';
import type { Transaction } from './transaction.ts';

const ROWS_MAX = 200;
/** Each is a call of the relay. */
const DELIVERIES_MAX = 50;
const DELIVERIES_AT_ONCE = 5;

/** Where the rows are; the relay is asked with `call`, which carries the caller's own token: the relay decides what it may see. */
export interface Sources {
  readonly db: Queryable;
  /** Undefined, or why it cannot be asked. */
  readonly relay?: Client<typeof DeliveriesService> | string | undefined;
  readonly call?: CallOptions;
}

/** Everything that is recorded of a payment, and why it stands where it stands. Errors: INVALID_ARGUMENT, NOT_FOUND. */
export async function explainTransaction(
  { db, relay, call }: Sources,
  { id }: Pick<ExplainTransactionRequest, 'id'>,
): Promise<ExplainTransactionResponse> {
  ensureLength(id, 'id', 1, 200);
  const known = await transactionIdBy(db, id);
  const transaction = known === undefined ? undefined : await transactionById(db, known);
  if (!transaction) throw noTransaction();
  const operations = (await newestOperationsOf(db, transaction.id, { before: null, limit: ROWS_MAX })).reverse();
  const { due, now } = await dueTimes(db, transaction.id);
  const rows = await eventsOf(db, transaction.id, ROWS_MAX);
  const events = rows.map(toEvent);
  const asked = await askRelay(relay, transaction.id, events, call);
  const paused = asked.paused && `by ${asked.paused.caller}: ${asked.paused.reason}`;
  return create(ExplainTransactionResponseSchema, {
    summary: summarize({ ...factsOf(transaction, operations, due, rows, events, asked.problem), paused }),
    transaction: convert.toTransaction(transaction),
    operations: operations.map((operation) => toExplained(operation, due.get(operation.id))),
    events,
    reports: (await reportsOf(db, transaction.id, ROWS_MAX)).map((report) =>
      create(ReportSchema, {
        kind: report.kind === 'override' ? Report_Kind.OVERRIDE : Report_Kind.CONTRADICTION,
        operationId: report.operationId ?? '',
        caller: report.caller,
        outcome: report.said,
        reason: report.why,
        reportedAt: timestampFromDate(report.createdAt),
      }),
    ),
    relayProblem: asked.problem,
    ...(asked.paused && { paused: asked.paused }),
    readAt: timestampFromDate(now),
  });
}

function toEvent({ eventId, sequence, type, value, occurredAt, publishedAt }: EventRow): ExplainedEvent {
  return create(ExplainedEventSchema, {
    id: eventId,
    sequence,
    type: convert.eventType(type as Parameters<typeof convert.eventType>[0]),
    forWix: fromBinary(EventSchema, value).forWix,
    recordedAt: timestampFromDate(occurredAt),
    ...(publishedAt && { publishedAt: timestampFromDate(publishedAt) }),
  });
}

function toExplained(operation: Operation, dueAt: Date | undefined) {
  const { held, asks, expiresAt, processedAt, authorizationCode, networkTransactionId, acquirerReference } = operation;
  return create(ExplainedOperationSchema, {
    operation: convert.toOperation(operation),
    ...{ held, asks, authorizationCode, networkTransactionId, acquirerReference },
    ...(dueAt && { nextAt: timestampFromDate(dueAt) }),
    ...(expiresAt && { expiresAt: timestampFromDate(expiresAt) }),
    ...(processedAt && { processedAt: timestampFromDate(processedAt) }),
  });
}

/** Puts into each event what the relay has of it. */
async function askRelay(
  relay: Sources['relay'],
  transactionId: string,
  events: readonly ExplainedEvent[],
  call: CallOptions | undefined,
) {
  if (relay === undefined) return { problem: 'the core is not told where the webhook-relay is (RELAY_URL)' };
  if (typeof relay === 'string') return { problem: relay };
  try {
    const { deliveries, paused } = await relay.listDeliveries({ selection: { transactionId }, pageSize: 200 }, call);
    const received = new Map(deliveries.map((delivery) => [delivery.eventId, delivery]));
    for (const event of events) {
      const delivery = received.get(event.id);
      if (delivery) event.delivery = create(GetDeliveryResponseSchema, { delivery });
    }
    // Of the newest with their attempts.
    const shown = events.filter(({ delivery }) => delivery).slice(-DELIVERIES_MAX);
    // A few at a time: its other work needs connections too.
    for (let from = 0; from < shown.length; from += DELIVERIES_AT_ONCE)
      await Promise.all(
        shown.slice(from, from + DELIVERIES_AT_ONCE).map(async (event) => {
          event.delivery = await relay.getDelivery({ eventId: event.id }, call);
        }),
      );
    return { problem: '', paused };
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    const isToken = code === Code.Unauthenticated || code === Code.PermissionDenied;
    return { problem: isToken ? 'the webhook-relay does not let this token look' : `the webhook-relay: ${rawMessage}` };
  }
}

function factsOf(
  transaction: Transaction,
  operations: readonly Operation[],
  due: ReadonlyMap<string, Date>,
  rows: readonly EventRow[],
  events: readonly ExplainedEvent[],
  relayProblem: string,
): Facts {
  const { state, reason, errorMessage, createdAt, updatedAt } = transaction;
  const open = operations.filter(isOpen);
  // What ends the payment comes first: its cancel or reversal, what an operator must settle, what began it; then refunds, the oldest first.
  const operation =
    open.find(({ kind }) => kind === 'cancel' || kind === 'reversal') ?? open.find(({ held }) => held) ?? open[0];
  const authorize = operations.find(({ kind }) => kind === 'authorize');
  const came = rows.findLast(({ type }) => STATE_EVENTS[state].includes(type))?.occurredAt;
  const began = state === 'capturing' || state === 'voiding' ? operation?.createdAt : undefined;
  return {
    state,
    since: came ?? began ?? (state === 'authorizing' ? createdAt : updatedAt),
    reason:
      reason === null ? '' : [`${reason} ${Reason[reason] ?? ''}`.trim(), errorMessage].filter(Boolean).join(': '),
    ...(operation && {
      open: {
        kind: operation.kind,
        progress: operation.held ? 'held' : (operation.state as Progress),
        asks: operation.asks,
        nextAt: due.get(operation.id),
        expiresAt: operation.expiresAt ?? undefined,
      },
    }),
    lapsesAt: authorize?.expiresAt ?? undefined,
    delivery: standingOf(events, relayProblem),
  };
}

/** By which event a payment comes into its state. */
const STATE_EVENTS: Readonly<Record<Transaction['state'], readonly string[]>> = {
  authorizing: [],
  awaiting_buyer: ['transaction_awaiting_buyer'],
  pending: ['transaction_pending'],
  authorized: ['transaction_approved'],
  capturing: [],
  voiding: [],
  captured: ['transaction_approved', 'capture_succeeded'],
  voided: ['void_succeeded'],
  expired: ['transaction_expired'],
  declined: ['transaction_declined'],
};

/** Of the oldest event that Wix has not been told; else of the newest that it has. */
function standingOf(events: readonly ExplainedEvent[], relayProblem: string): Facts['delivery'] {
  const forWix = events.filter(({ forWix }) => forWix);
  const last = forWix.at(-1);
  if (!last) return { standing: 'nothing', event: '' };
  const named = (event: ExplainedEvent) => convert.eventName(event.type);
  const next = forWix.find(({ publishedAt, delivery }) => !publishedAt || (!relayProblem && !isFinished(delivery)));
  if (next && !next.publishedAt)
    return { standing: 'unpublished', event: named(next), at: next.recordedAt && timestampDate(next.recordedAt) };
  if (relayProblem) return { standing: 'unasked', event: named(last), why: relayProblem };
  if (!next) {
    const told = forWix.findLast(({ delivery }) => delivery?.delivery?.state === State.DELIVERED);
    const { finishedAt, state } = last.delivery?.delivery ?? {};
    if (state === State.SKIPPED)
      return { standing: 'given_up', event: named(last), why: last.delivery?.decisions.at(-1)?.reason ?? '' };
    if (!told) return { standing: 'nothing', event: '' };
    const at = told.delivery?.delivery?.finishedAt ?? finishedAt;
    return { standing: 'told', event: named(told), at: at && timestampDate(at) };
  }
  const { delivery, attempts = [], decisions = [] } = next.delivery ?? {};
  if (!delivery)
    return { standing: 'unreceived', event: named(next), at: next.publishedAt && timestampDate(next.publishedAt) };
  const attempt = attempts.at(-1);
  const answer =
    attempt && [attempt.httpStatus && `HTTP ${attempt.httpStatus}`, attempt.error].filter(Boolean).join(', ');
  return {
    standing: openStanding(delivery),
    event: named(next),
    at: delivery.nextAttemptAt && timestampDate(delivery.nextAttemptAt),
    attempts: delivery.attempts,
    ...(answer && { answer }),
    why: decisions.at(-1)?.reason ?? '',
  };
}

const FINISHED = [State.DELIVERED, State.SUPERSEDED, State.NOT_FOR_WIX, State.SKIPPED];

function isFinished(found: ExplainedEvent['delivery']): boolean {
  return found?.delivery !== undefined && FINISHED.includes(found.delivery.state);
}

function openStanding({ state, stuck, attempts, nextAttemptAt }: Delivery): Standing {
  if (state === State.PARKED) return 'parked';
  if (state === State.HELD) return 'held';
  if (stuck) return 'stuck';
  if (attempts > 0) return 'retrying';
  return nextAttemptAt ? 'first' : 'turn';
}
