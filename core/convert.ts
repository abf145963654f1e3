import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Event_Type } from '../proto/gen/payments/v1/event_pb.js';
import { Mode as ProtoMode } from '../proto/gen/payments/v1/merchant_account_pb.js';
import { CardDetailsSchema, type CredentialsOnFile } from '../proto/gen/payments/v1/outcome_pb.js';
import {
  Initiator,
  Operation_Kind,
  Operation_State,
  OperationSchema,
  type Operation as ProtoOperation,
  type Refusal as ProtoRefusal,
  type Transaction as ProtoTransaction,
  RefusalSchema,
  Transaction_State,
  TransactionSchema,
} from '../proto/gen/payments/v1/transaction_pb.js';
import type { EventType } from './decide.ts';
import type { Operation, OperationKind, OperationState } from './operation.ts';
import type { Mode, Refusal, Transaction, TransactionState } from './transaction.ts';

// Rows <-> proto.

export const MODES: Readonly<Record<Mode, ProtoMode>> = { live: ProtoMode.LIVE, sandbox: ProtoMode.SANDBOX };

/** Undefined: Wix did not say. */
export function modeOf(mode: ProtoMode): Mode | undefined {
  return mode === ProtoMode.LIVE ? 'live' : mode === ProtoMode.SANDBOX ? 'sandbox' : undefined;
}

/** The name that a state, kind or type has in its proto enum: one without such a name does not compile. */
const named = <Name extends string>(name: Name) => name.toUpperCase() as Uppercase<Name>;

export const transactionState = (state: TransactionState) => Transaction_State[named(state)];
export const operationKind = (kind: OperationKind) => Operation_Kind[named(kind)];
export const operationState = (state: OperationState) => Operation_State[named(state)];
export const eventType = (type: EventType) => Event_Type[named(type)];
/** As the tables and the log have it: refund_succeeded. */
export const eventName = (type: Event_Type) => (Event_Type[type] ?? 'unknown').toLowerCase();

/** Names of proto states; what is no state is left out. */
export function statesOf(states: readonly Transaction_State[]): TransactionState[] {
  return states.flatMap((state) =>
    state > 0 && Transaction_State[state] ? [Transaction_State[state].toLowerCase() as TransactionState] : [],
  );
}

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
    state: transactionState(t.state),
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
    kind: operationKind(o.kind),
    state: operationState(o.state),
    errorCode: o.errorCode ?? '',
    errorMessage: o.errorMessage ?? '',
    externalRefundId: externalRefundId(o),
    initiator: initiatorOf(o.caller),
    caller: o.caller,
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
