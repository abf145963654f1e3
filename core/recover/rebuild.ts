import { timestampDate } from '@bufbuild/protobuf/wkt';
import { type Event, Event_Type as Type } from '../../proto/gen/payments/v1/event_pb.js';
import { Mode as ProtoMode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { Initiator, Operation_Kind, Transaction_State } from '../../proto/gen/payments/v1/transaction_pb.js';
import type { LedgerRecord } from '../ledger-record.ts';
import { isOpen, NOTHING_LEARNED, nextAttempt, type Operation, type OperationKind } from '../operation.ts';
import type { Transaction, TransactionState } from '../transaction.ts';

// From an event, or the record that the engine kept, back to rows. Pure. What neither says is as for a payment of which nothing more was
// learned: the engine is asked.

/** The event's payment cannot be told from it: whether its approval only holds the money is not known. */
export const UNCLEAR = 'unclear';

const isOneOf =
  <Value>(...values: readonly Value[]) =>
  (value: Value) =>
    values.includes(value);

const ofTransaction = isOneOf(
  ...[Type.TRANSACTION_PENDING, Type.TRANSACTION_APPROVED, Type.TRANSACTION_DECLINED],
  ...[Type.TRANSACTION_AWAITING_BUYER, Type.TRANSACTION_EXPIRED, Type.TRANSACTION_REVERSED],
);
const ofHolding = isOneOf<TransactionState>('authorized', 'capturing', 'voiding', 'voided', 'expired');
const succeeded = isOneOf(Type.CAPTURE_SUCCEEDED, Type.VOID_SUCCEEDED, Type.REFUND_SUCCEEDED);
const refused = isOneOf(Type.CAPTURE_FAILED, Type.VOID_FAILED, Type.REFUND_FAILED);

/** The payment after an event; `before` is the payment as it was, `operations` as they are after it. */
export function paymentAfter(
  event: Event,
  before: Transaction | undefined,
  operations: readonly Operation[],
  keyIdOf: (sealed: Uint8Array) => string,
): Transaction | typeof UNCLEAR {
  const state = stateAfter(event, before, operations);
  const authorizeOnly = event.authorizeOnly ?? before?.authorizeOnly ?? (ofHolding(state) || undefined);
  if (authorizeOnly === undefined && !isOneOf<TransactionState>('captured', 'declined')(state)) return UNCLEAR;
  const at = dateOf(event.recordedAt) ?? new Date(0);
  const sealed = event.sealedCredentialsOnFile;
  return {
    id: event.transactionId,
    externalId: event.externalId,
    externalMerchantId: event.externalMerchantId || null,
    accountId: event.merchantAccountId || null,
    mode: event.mode === ProtoMode.LIVE ? 'live' : event.mode === ProtoMode.SANDBOX ? 'sandbox' : null,
    currency: event.currency || null,
    requestedAmount: event.requestedAmount ?? null,
    paymentMethod: event.paymentMethod,
    authorizeOnly: authorizeOnly ?? false,
    buyerAbsent: event.buyerAbsent ?? before?.buyerAbsent ?? false,
    requestedLastFour: before?.requestedLastFour ?? null,
    state,
    authorizedAmount: event.authorizedAmount,
    capturedAmount: event.capturedAmount,
    refundedAmount: event.refundedAmount,
    ...reasonAfter(event, state, before),
    idWithheld: event.idWithheld,
    lapsed: state === 'expired' || (before?.lapsed ?? false),
    awaitedBuyer: event.type === Type.TRANSACTION_AWAITING_BUYER || (before?.awaitedBuyer ?? false),
    setUpAsked: before?.setUpAsked ?? null,
    allowPartial: event.allowPartial ?? before?.allowPartial ?? false,
    redirectUrl: before?.redirectUrl ?? null,
    cardScheme: event.cardDetails?.scheme ?? before?.cardScheme ?? null,
    cardBin: event.cardDetails?.bin ?? before?.cardBin ?? null,
    cardLastFour: event.cardDetails?.lastFour ?? before?.cardLastFour ?? null,
    credentialsOnFile: sealed.length > 0 ? sealed : (before?.credentialsOnFile ?? null),
    credentialsKeyId: sealed.length > 0 ? keyIdOf(sealed) : (before?.credentialsKeyId ?? null),
    sequence: event.sequence,
    createdAt: before?.createdAt ?? at,
    updatedAt: at,
  };
}

function stateAfter(event: Event, before: Transaction | undefined, operations: readonly Operation[]): TransactionState {
  const state = (Transaction_State[event.state] ?? '').toLowerCase() as TransactionState;
  // What came after it may have been told: nothing is said of it before its end. The page is known to its buyer.
  if (state === 'authorizing' || (state === 'awaiting_buyer' && !before?.redirectUrl)) return 'pending';
  const kind = state === 'capturing' ? 'capture' : state === 'voiding' ? 'void' : undefined;
  const isRunning = operations.some((operation) => operation.kind === kind && isOpen(operation));
  return kind && !isRunning ? 'authorized' : state;
}

function reasonAfter(event: Event, state: TransactionState, before: Transaction | undefined) {
  if (state !== 'pending' && state !== 'declined') return { reason: null, errorCode: null, errorMessage: null };
  if (ofTransaction(event.type) && event.reason !== Reason.UNSPECIFIED) return refusalOf(event);
  if (before?.state === state)
    return { reason: before.reason, errorCode: before.errorCode, errorMessage: before.errorMessage };
  return {
    reason: state === 'pending' ? Reason.PENDING_GENERAL : Reason.GENERAL_ERROR,
    errorCode: null,
    errorMessage: null,
  };
}

/** The operation that an event is about, after it; undefined: there is none. `operations` are the payment's, as they were. */
export function operationAfter(event: Event, operations: readonly Operation[]): Operation | undefined {
  if (event.operationId === '') return undefined;
  const before = operations.find(({ id }) => id === event.operationId) ?? begun(event, operations);
  const at = dateOf(event.recordedAt) ?? new Date(0);
  const references = {
    processorReference: event.processorReference || before.processorReference,
    authorizationCode: event.authorizationCode || before.authorizationCode,
    networkTransactionId: event.networkTransactionId || before.networkTransactionId,
    acquirerReference: event.acquirerReference || before.acquirerReference,
    processedAt: dateOf(event.occurredAt) ?? before.processedAt,
  };
  const ended = { ...before, ...references, changedAt: at, finishedAt: at, held: false };
  if (event.type === Type.TRANSACTION_APPROVED) {
    // What the engine said of the hold's end is asked for again.
    const expiresAt = event.state === Transaction_State.AUTHORIZED ? (before.expiresAt ?? at) : null;
    const approval = { approvedAmount: event.authorizedAmount, approvalReceived: true };
    return { ...ended, ...approval, ...noRefusal, state: 'approved', expiresAt };
  }
  if (succeeded(event.type)) {
    const approvedAmount = event.operationAmount ?? before.amount;
    return { ...ended, ...noRefusal, state: 'approved', approvedAmount, approvalReceived: true };
  }
  if (event.type === Type.TRANSACTION_REVERSED) return { ...ended, ...noRefusal, state: 'approved' };
  if (event.type === Type.TRANSACTION_DECLINED || refused(event.type))
    return { ...ended, ...refusalOf(event), state: 'declined' };
  if (event.type === Type.REFUND_RETURNED) return { ...ended, ...refusalOf(event), state: 'failed' };
  return { ...before, ...references };
}

const noRefusal = { reason: null, errorCode: null, errorMessage: null } as const;

function refusalOf({ reason, errorCode, errorMessage }: Event) {
  return {
    reason: reason === Reason.UNSPECIFIED ? Reason.GENERAL_ERROR : reason,
    errorCode: errorCode || null,
    errorMessage: errorMessage || null,
  };
}

const CALLERS: Partial<Record<Initiator, string>> = { [Initiator.WIX]: 'wix', [Initiator.SYSTEM]: 'system' };

/** The operation of an event as nothing was known of it yet. */
function begun(event: Event, operations: readonly Operation[]): Operation {
  const kind = (Operation_Kind[event.operationKind] ?? '').toLowerCase() as OperationKind;
  const authorize = operations.find((operation) => operation.kind === 'authorize');
  const keys: Partial<Record<OperationKind, string>> = {
    refund: event.externalRefundId || event.operationId,
    reversal: authorize?.id ?? event.operationId,
  };
  return newOperation({
    id: event.operationId,
    transactionId: event.transactionId,
    kind,
    caller: CALLERS[event.initiator] ?? RECOVERED,
    key: keys[kind] ?? event.externalId,
    callId: null,
    attempt: kind === 'refund' ? 1 : nextAttempt(kind, operations),
    amount: (kind === 'authorize' ? event.requestedAmount : event.operationAmount) ?? null,
    why: '',
    createdAt: dateOf(event.recordedAt) ?? new Date(0),
  });
}

/** Of a service of the PSP's, where its name is not known any more. */
const RECOVERED = 'recovered';

type New = Pick<
  Operation,
  'id' | 'transactionId' | 'kind' | 'caller' | 'key' | 'callId' | 'attempt' | 'amount' | 'why' | 'createdAt'
>;

/** An order whose outcome is to be learned. */
export function newOperation(facts: New): Operation {
  return {
    ...facts,
    state: 'unknown',
    approvedAmount: null,
    ...noRefusal,
    ...NOTHING_LEARNED,
    // It was sent: nobody may call it "not sent".
    asked: true,
    changedAt: facts.createdAt,
  };
}

/** As the payment was declined, before any answer of the engine. */
export function refusedOperation(
  operation: Operation,
  { reason, errorCode, errorMessage, updatedAt }: Transaction,
): Operation {
  const refusal = { reason: reason ?? Reason.GENERAL_ERROR, errorCode, errorMessage };
  return { ...operation, ...refusal, state: 'failed', changedAt: updatedAt, finishedAt: updatedAt };
}

/** The payment of an authorize whose outcome is to be learned. It may have been told of to its end: nothing is said of it before that. */
export function paymentOf(
  id: string,
  payment: NonNullable<LedgerRecord['payment']>,
  { createdAt, awaitedBuyer }: Pick<Transaction, 'createdAt' | 'awaitedBuyer'>,
): Transaction {
  return {
    id,
    ...payment,
    ...{ state: 'pending', reason: Reason.PENDING_GENERAL, errorCode: null, errorMessage: null },
    ...{ authorizedAmount: 0n, capturedAmount: 0n, refundedAmount: 0n },
    ...{ idWithheld: false, lapsed: false, awaitedBuyer, redirectUrl: null, cardScheme: null },
    ...{ credentialsOnFile: null, credentialsKeyId: null, sequence: 0n, createdAt, updatedAt: createdAt },
  };
}

const dateOf = (time: Event['recordedAt']) => time && timestampDate(time);
