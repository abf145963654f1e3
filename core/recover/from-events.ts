import { fromBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { type Event, EventSchema } from '../../proto/gen/payments/v1/event_pb.js';
import type { Tx } from '../../proto/runtime/database.ts';
import { type BusMessage, isSigned } from '../../proto/runtime/event-bus.ts';
import { eventName } from '../convert.ts';
import { isOpen, type Operation } from '../operation.ts';
import { operationsOf } from '../store/operations.ts';
import { eventsOf, hasAccount, insertRestored, putEvent, putOperation, updateRestored } from '../store/restore.ts';
import { lockTransaction } from '../store/transactions.ts';
import type { Transaction } from '../transaction.ts';
import { operationAfter, paymentAfter, UNCLEAR } from './rebuild.ts';
import { inTx, noteTrouble, type Run, type Trouble } from './run.ts';

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
  const id = read[0]!.event.transactionId;
  const { recovered } = run;
  // What is behind a trouble does not fit either.
  if (recovered.troubles.has(id)) return;
  const inOrder = read.toSorted((a, b) => Number(a.event.sequence - b.event.sequence));
  const counts =
    (await inTx(run, id, (tx) => applyUnderLock(run, tx, id, inOrder))) ??
    // Somebody else has written it first: it is read once more.
    (await inTx(run, id, (tx) => applyUnderLock(run, tx, id, inOrder)));
  if (!counts) return;
  if (counts.trouble) noteTrouble(run, id, counts.trouble);
  recovered.payments += counts.payments;
  recovered.operations += counts.operations;
  recovered.events += counts.events;
}

interface Counts {
  payments: number;
  operations: number;
  events: number;
  trouble: Trouble | undefined;
}

/** Undefined: it was not there, and is by now; nothing was written. */
async function applyUnderLock(run: Run, tx: Tx, id: string, read: readonly Read[]): Promise<Counts | undefined> {
  const { core, isDry, pretended, references } = run;
  const locked = await lockTransaction(tx, { id });
  const { now: _, ...found } = locked ?? { now: undefined };
  let transaction = locked && (found as Transaction);
  let isThere = transaction !== undefined;
  if (isDry) transaction = pretended.get(id) ?? transaction;
  const counts: Counts = { payments: 0, operations: 0, events: 0, trouble: undefined };
  let operations = await operationsOf(tx, id);
  const kept = await eventsOf(tx, id);
  const known = new Map(kept.map(({ eventId, value }) => [eventId, value]));
  for (const { event, message } of read) {
    const last = transaction?.sequence ?? 0n;
    const value = known.get(event.id);
    if (event.sequence <= last && value && !isSameStory(value, event)) counts.trouble = 'conflict';
    if (event.sequence > last + 1n) counts.trouble = 'gap';
    if (counts.trouble) break;
    if (event.sequence <= last) continue;
    const { merchantAccountId: accountId, externalMerchantId } = event;
    const operation = operationAfter(event, operations);
    const after = operation ? [...operations.filter((one) => one.id !== operation.id), operation] : operations;
    const next = paymentAfter(event, transaction, after, (sealed) => core.config.EVENTS_KEY.keyIdOf(sealed));
    if (next === UNCLEAR) counts.trouble = UNCLEAR;
    else if (accountId && !(await hasAccount(tx, { accountId, externalMerchantId, mode: next.mode })))
      counts.trouble = 'account';
    if (next === UNCLEAR || counts.trouble) break;
    if (isThere) await updateRestored(tx, next);
    else if (!(await insertRestored(tx, next)) && !isDry) return undefined;
    isThere = true;
    if (!transaction) counts.payments += 1;
    if (operation) await putOperation(tx, operation);
    if (operation?.kind === 'refund') references.add(operation.processorReference);
    if (after.length > operations.length) counts.operations += 1;
    await closeCancel(tx, next, operations);
    await putEvent(tx, eventRow(event, message));
    counts.events += 1;
    [transaction, operations] = [next, after];
  }
  if (isDry && transaction) pretended.set(id, transaction);
  return counts;
}

/** Whether the event that the ledger has under this number says the same; its times may be others. */
function isSameStory(value: Uint8Array, event: Event): boolean {
  const { type, operationId, operationAmount, state, reason, ...kept } = fromBinary(EventSchema, value);
  const amounts = ['authorizedAmount', 'capturedAmount', 'refundedAmount'] as const;
  return (
    type === event.type &&
    operationId === event.operationId &&
    operationAmount === event.operationAmount &&
    state === event.state &&
    reason === event.reason &&
    amounts.every((amount) => kept[amount] === event[amount])
  );
}

/** The tx that decided the payment closed its cancel (R16). */
async function closeCancel(tx: Tx, { state, updatedAt }: Transaction, operations: readonly Operation[]): Promise<void> {
  const cancel = operations.find((operation) => operation.kind === 'cancel' && isOpen(operation));
  if (!cancel || state === 'authorizing' || state === 'awaiting_buyer' || state === 'pending') return;
  await putOperation(tx, { ...cancel, state: 'closed', changedAt: updatedAt, finishedAt: updatedAt });
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
