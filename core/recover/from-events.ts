import { fromBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { type Event, EventSchema } from '../../proto/gen/payments/v1/event_pb.js';
import type { Tx } from '../../proto/runtime/database.ts';
import { type BusMessage, isSigned } from '../../proto/runtime/event-bus.ts';
import { eventName } from '../convert.ts';
import { isOpen, type Operation } from '../operation.ts';
import { runningMs } from '../perform.ts';
import { operationsOf } from '../store/operations.ts';
import { eventsOf, hasAccount, putEvent, putOperation, putTransaction } from '../store/restore.ts';
import { lockTransaction } from '../store/transactions.ts';
import type { Transaction } from '../transaction.ts';
import { operationAfter, paymentAfter, UNCLEAR } from './rebuild.ts';
import { inTx, type Run, type Trouble } from './run.ts';

// What the topic tells: events in their order, under their numbers and with their bytes.

export interface Read {
  readonly event: Event;
  readonly message: BusMessage;
}

export function readEvent({ core, recovered }: Run, message: BusMessage): Read[] {
  recovered.messages += 1;
  if (isSigned(core.config.EVENTS_KEY, message))
    try {
      return [{ event: fromBinary(EventSchema, message.value), message }];
    } catch {
      // It is none of this version's.
    }
  recovered.unsigned += 1;
  return [];
}

/** Moves a payment on by the events that it lacks, in their order. */
export async function applyEvents(run: Run, read: readonly Read[]): Promise<void> {
  const { core, recovered, isDry, pretended } = run;
  const id = read[0]!.event.transactionId;
  const counts = await inTx(run, id, async (tx) => {
    const { now: _, ...found } = (await lockTransaction(tx, { id })) ?? { now: undefined };
    let transaction = 'id' in found ? (found as Transaction) : undefined;
    if (isDry) transaction = pretended.get(id) ?? transaction;
    const count = { payments: 0, operations: 0, events: 0, trouble: undefined as Trouble | undefined };
    const operations = await operationsOf(tx, id);
    const known = new Map(
      (
        await eventsOf(
          tx,
          read.map(({ event }) => event.id),
        )
      ).map(({ eventId, value }) => [eventId, value]),
    );
    for (const { event, message } of read.toSorted((a, b) => Number(a.event.sequence - b.event.sequence))) {
      const value = known.get(event.id);
      if (value && !Buffer.from(value).equals(message.value)) count.trouble = 'conflict';
      const last = transaction?.sequence ?? 0n;
      if (event.sequence <= last) continue;
      if (event.sequence > last + 1n) count.trouble = 'gap';
      else if (event.merchantAccountId && !(await hasAccount(tx, event.merchantAccountId, event.externalMerchantId)))
        count.trouble = 'account';
      if (count.trouble) break;
      const operation = operationAfter(event, operations);
      const after = operation ? [...operations.filter((one) => one.id !== operation.id), operation] : operations;
      const next = paymentAfter(event, transaction, after, (sealed) => core.config.EVENTS_KEY.keyIdOf(sealed));
      if (next === UNCLEAR) count.trouble = UNCLEAR;
      if (next === UNCLEAR) break;
      if (!transaction) count.payments += 1;
      await putTransaction(tx, next);
      if (operation) await putOperation(tx, operation, runningMs(core));
      if (operation && after.length > operations.length) count.operations += 1;
      await closeCancel(tx, next, operations, runningMs(core));
      await putEvent(tx, eventRow(event, message));
      operations.splice(0, operations.length, ...after);
      transaction = next;
      count.events += 1;
    }
    if (isDry && transaction) pretended.set(id, transaction);
    return count;
  });
  if (!counts) return;
  if (counts.trouble) recovered.troubles.set(id, counts.trouble);
  recovered.payments += counts.payments;
  recovered.operations += counts.operations;
  recovered.events += counts.events;
}

/** The tx that decided the payment closed its cancel (R16). */
async function closeCancel(
  tx: Tx,
  { state, updatedAt }: Transaction,
  operations: readonly Operation[],
  dueInMs: number,
): Promise<void> {
  const cancel = operations.find((operation) => operation.kind === 'cancel' && isOpen(operation));
  if (!cancel || state === 'authorizing' || state === 'awaiting_buyer' || state === 'pending') return;
  await putOperation(tx, { ...cancel, state: 'closed', changedAt: updatedAt, finishedAt: updatedAt }, dueInMs);
}

function eventRow(event: Event, { value, headers }: BusMessage) {
  return {
    eventId: event.id,
    transactionId: event.transactionId,
    sequence: event.sequence,
    type: eventName(event.type),
    value,
    occurredAt: event.recordedAt ? timestampDate(event.recordedAt) : new Date(0),
    traceparent: headers.traceparent ?? null,
  };
}
