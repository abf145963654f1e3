import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Event_Type } from '../proto/gen/payments/v1/event_pb.js';
import { Mode as ProtoMode } from '../proto/gen/payments/v1/merchant_account_pb.js';
import { CardDetailsSchema, type CredentialsOnFile } from '../proto/gen/payments/v1/outcome_pb.js';
import {
  Initiator,
  type Refusal as ProtoRefusal,
  type Transaction as ProtoTransaction,
  type Operation as ProtoOperation,
  Operation_Kind,
  Operation_State,
  OperationSchema,
  RefusalSchema,
  Transaction_State,
  TransactionSchema,
} from '../proto/gen/payments/v1/transaction_pb.js';
import type { EventType } from './decide.ts';
import type { Operation, OperationKind, OperationState } from './operation.ts';
import type { Mode, Refusal, Transaction, TransactionState } from './transaction.ts';

// Rows <-> proto. Every table is total: a new state does not compile until it has a number.

export const MODES: Readonly<Record<Mode, ProtoMode>> = { live: ProtoMode.LIVE, sandbox: ProtoMode.SANDBOX };

/** Undefined: Wix did not say. */
export function modeOf(mode: ProtoMode): Mode | undefined {
  return mode === ProtoMode.LIVE ? 'live' : mode === ProtoMode.SANDBOX ? 'sandbox' : undefined;
}

export const TRANSACTION_STATES: Readonly<Record<TransactionState, Transaction_State>> = {
  authorizing: Transaction_State.AUTHORIZING,
  awaiting_buyer: Transaction_State.AWAITING_BUYER,
  pending: Transaction_State.PENDING,
  authorized: Transaction_State.AUTHORIZED,
  capturing: Transaction_State.CAPTURING,
  voiding: Transaction_State.VOIDING,
  captured: Transaction_State.CAPTURED,
  voided: Transaction_State.VOIDED,
  expired: Transaction_State.EXPIRED,
  declined: Transaction_State.DECLINED,
};

export const OPERATION_KINDS: Readonly<Record<OperationKind, Operation_Kind>> = {
  authorize: Operation_Kind.AUTHORIZE,
  capture: Operation_Kind.CAPTURE,
  void: Operation_Kind.VOID,
  refund: Operation_Kind.REFUND,
  cancel: Operation_Kind.CANCEL,
  reversal: Operation_Kind.REVERSAL,
};

const OPERATION_STATES: Readonly<Record<OperationState, Operation_State>> = {
  running: Operation_State.RUNNING,
  waiting: Operation_State.WAITING,
  unknown: Operation_State.UNKNOWN,
  approved: Operation_State.APPROVED,
  declined: Operation_State.DECLINED,
  failed: Operation_State.FAILED,
  closed: Operation_State.CLOSED,
};

export const EVENT_TYPES: Readonly<Record<EventType, Event_Type>> = {
  transaction_pending: Event_Type.TRANSACTION_PENDING,
  transaction_approved: Event_Type.TRANSACTION_APPROVED,
  transaction_declined: Event_Type.TRANSACTION_DECLINED,
  capture_succeeded: Event_Type.CAPTURE_SUCCEEDED,
  capture_failed: Event_Type.CAPTURE_FAILED,
  void_succeeded: Event_Type.VOID_SUCCEEDED,
  void_failed: Event_Type.VOID_FAILED,
  refund_succeeded: Event_Type.REFUND_SUCCEEDED,
  refund_failed: Event_Type.REFUND_FAILED,
  transaction_awaiting_buyer: Event_Type.TRANSACTION_AWAITING_BUYER,
  transaction_expired: Event_Type.TRANSACTION_EXPIRED,
  transaction_reversed: Event_Type.TRANSACTION_REVERSED,
  contradiction_reported: Event_Type.CONTRADICTION_REPORTED,
  refund_returned: Event_Type.REFUND_RETURNED,
};

export function initiatorOf(caller: string): Initiator {
  return caller === 'wix' ? Initiator.WIX : caller === 'system' ? Initiator.SYSTEM : Initiator.PSP;
}

/** Wix hears the card of wallets only, whose funding card it cannot know (Wix contract, 5.5). */
export function isWallet(transaction: Transaction): boolean {
  return transaction.paymentMethod === 'googlePay' || transaction.paymentMethod === 'applePay';
}

export function cardDetails(transaction: Transaction) {
  const { cardScheme, cardBin, cardLastFour } = transaction;
  if (cardBin === null || cardLastFour === null) return undefined;
  return create(CardDetailsSchema, { scheme: cardScheme ?? '', bin: cardBin, lastFour: cardLastFour });
}

/** `credentialsOnFile` is given only in answers to the gateway. */
export function toTransaction(t: Transaction, credentialsOnFile?: CredentialsOnFile): ProtoTransaction {
  const card = cardDetails(t);
  const init: MessageInitShape<typeof TransactionSchema> = {
    id: t.id,
    externalId: t.externalId,
    merchantAccountId: t.accountId ?? '',
    externalMerchantId: t.externalMerchantId ?? '',
    mode: t.mode ? MODES[t.mode] : ProtoMode.UNSPECIFIED,
    currency: t.currency ?? '',
    authorizedAmount: t.authorizedAmount,
    capturedAmount: t.capturedAmount,
    refundedAmount: t.refundedAmount,
    authorizeOnly: t.authorizeOnly,
    paymentMethod: t.paymentMethod,
    state: TRANSACTION_STATES[t.state],
    errorCode: t.errorCode ?? '',
    errorMessage: t.errorMessage ?? '',
    idWithheld: t.idWithheld,
    redirectUrl: t.state === 'awaiting_buyer' ? (t.redirectUrl ?? '') : '',
    sequence: t.sequence,
    createdAt: timestampFromDate(t.createdAt),
    updatedAt: timestampFromDate(t.updatedAt),
    ...(t.reason !== null && { reason: t.reason }),
    ...(t.requestedAmount !== null && { requestedAmount: t.requestedAmount }),
    ...(card && { cardDetails: card }),
    ...(credentialsOnFile && { credentialsOnFile }),
  };
  return create(TransactionSchema, init);
}

export function toOperation(o: Operation): ProtoOperation {
  return create(OperationSchema, {
    id: o.id,
    transactionId: o.transactionId,
    kind: OPERATION_KINDS[o.kind],
    state: OPERATION_STATES[o.state],
    errorCode: o.errorCode ?? '',
    errorMessage: o.errorMessage ?? '',
    externalRefundId: externalRefundId(o),
    initiator: initiatorOf(o.caller),
    processorReference: o.processorReference,
    callId: o.callId ?? '',
    createdAt: timestampFromDate(o.createdAt),
    ...(o.reason !== null && { reason: o.reason }),
    ...(o.amount !== null && { amount: o.amount }),
    ...(o.approvedAmount !== null && { approvedAmount: o.approvedAmount }),
    ...(o.finishedAt && { finishedAt: timestampFromDate(o.finishedAt) }),
  });
}

/** Wix's wixRefundId, on refunds that Wix asked for. */
export function externalRefundId(o: Operation): string {
  return o.kind === 'refund' && o.caller === 'wix' ? o.key : '';
}

export function toRefusal(refusal: Refusal): ProtoRefusal {
  return create(RefusalSchema, refusal);
}

/** Why a declined payment or a refused operation was refused. */
export function refusalOf(row: Pick<Operation | Transaction, 'reason' | 'errorCode' | 'errorMessage'>): ProtoRefusal {
  return create(RefusalSchema, {
    errorCode: row.errorCode ?? '',
    message: row.errorMessage ?? '',
    ...(row.reason !== null && { reason: row.reason }),
  });
}
