import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { EventSchema } from '../proto/gen/payments/v1/event_pb.js';
import { Mode as ProtoMode } from '../proto/gen/payments/v1/merchant_account_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import { Initiator } from '../proto/gen/payments/v1/transaction_pb.js';
import * as convert from './convert.ts';
import type { EventType } from './decide.ts';
import { eventId } from './ids.ts';
import type { Operation } from './operation.ts';
import type { OutboxRow } from './store/outbox.ts';
import type { CoreSwitches } from './switches.ts';
import { isApproved, type Transaction } from './transaction.ts';

// What each change says: an event is the payment after the change, with the operation it is about. Pure.

const NEVER_FOR_WIX: readonly EventType[] = ['transaction_expired', 'transaction_reversed', 'contradiction_reported'];

/** Which events Wix is to be told of where its contract leaves that open. */
export type Telling = Pick<
  CoreSwitches,
  'LATE_REFUND_FAILURE_EVENT' | 'BUYER_WAIT_EVENT' | 'EARLY_REFUND_REFUSAL_EVENT'
>;

/**
 * Whether Wix is to hear it. A refund that failed after its success, and that a buyer acts now, only if that is switched on (U4, U5). Not of a capture, void or refund of nothing: it refuses such an event, and all later ones of the payment would
 * wait behind it (R51). Not of a refund that is refused after the payment was declined (U17), nor of a refund of the PSP's own that
 * failed (R23).
 */
function isForWix(
  telling: Telling,
  type: EventType,
  transaction: Transaction,
  operation: Operation | undefined,
): boolean {
  if (NEVER_FOR_WIX.includes(type)) return false;
  if (type === 'transaction_awaiting_buyer') return telling.BUYER_WAIT_EVENT;
  if (type === 'refund_returned') return telling.LATE_REFUND_FAILURE_EVENT;
  if (!type.startsWith('transaction') && operation?.amount === 0n) return false;
  if (type !== 'refund_failed') return true;
  if (operation?.caller !== 'wix' || transaction.state === 'declined') return false;
  return telling.EARLY_REFUND_REFUSAL_EVENT || isApproved(transaction.state);
}

/** Fixes an event for the outbox. `transaction.updatedAt` is the database's time of the change. */
export function buildEvent(
  telling: Telling,
  type: EventType,
  transaction: Transaction,
  operation: Operation | undefined,
): Omit<OutboxRow, 'id'> {
  const id = eventId(transaction.id, transaction.sequence);
  // A payment's refusal is its own; a capture, void or refund has its operation's.
  const refusal = type.startsWith('transaction') ? transaction : operation;
  const isRefused = /_(pending|declined|failed|returned)$/.test(type);
  const forWix = isForWix(telling, type, transaction, operation);
  const isSuccess = type.endsWith('_succeeded');
  const amount = isSuccess ? operation?.approvedAmount : operation?.amount;
  const card =
    convert.isWallet(transaction) && type === 'transaction_approved' ? convert.cardDetails(transaction) : undefined;
  const init: MessageInitShape<typeof EventSchema> = {
    id,
    type: convert.eventType(type),
    sequence: transaction.sequence,
    forWix,
    transactionId: transaction.id,
    externalId: transaction.externalId,
    merchantAccountId: transaction.accountId ?? '',
    externalMerchantId: transaction.externalMerchantId ?? '',
    mode: transaction.mode ? convert.MODES[transaction.mode] : ProtoMode.UNSPECIFIED,
    currency: transaction.currency ?? '',
    paymentMethod: transaction.paymentMethod,
    authorizeOnly: transaction.authorizeOnly,
    buyerAbsent: transaction.buyerAbsent,
    allowPartial: transaction.allowPartial,
    idWithheld: transaction.idWithheld,
    state: convert.transactionState(transaction.state),
    authorizedAmount: transaction.authorizedAmount,
    capturedAmount: transaction.capturedAmount,
    refundedAmount: transaction.refundedAmount,
    initiator: operation ? convert.initiatorOf(operation.caller) : Initiator.WIX,
    recordedAt: timestampFromDate(transaction.updatedAt),
    partiallyAuthorized:
      isApproved(transaction.state) && transaction.authorizedAmount < (transaction.requestedAmount ?? 0n),
    ...(transaction.requestedAmount !== null && { requestedAmount: transaction.requestedAmount }),
    ...(operation && {
      operationId: operation.id,
      operationKind: convert.operationKind(operation.kind),
      externalRefundId: convert.externalRefundId(operation),
      processorReference: operation.processorReference,
      authorizationCode: operation.authorizationCode,
      networkTransactionId: operation.networkTransactionId,
      acquirerReference: operation.acquirerReference,
      ...(amount != null && { operationAmount: amount }),
      ...(operation.processedAt && { occurredAt: timestampFromDate(operation.processedAt) }),
    }),
    ...(isRefused && refusal?.reason != null
      ? { reason: refusal.reason, errorCode: refusal.errorCode ?? '', errorMessage: refusal.errorMessage ?? '' }
      : {}),
    // Wix reads what comes without a reason as an approval.
    ...(type === 'transaction_awaiting_buyer' && forWix && { reason: Reason.PENDING_GENERAL }),
    ...(card && { cardDetails: card }),
    ...(transaction.credentialsOnFile && type === 'transaction_approved'
      ? { sealedCredentialsOnFile: transaction.credentialsOnFile }
      : {}),
  };
  return {
    eventId: id,
    transactionId: transaction.id,
    sequence: transaction.sequence,
    type,
    value: toBinary(EventSchema, create(EventSchema, init)),
    occurredAt: transaction.updatedAt,
  };
}
