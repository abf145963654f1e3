import { fromBinary } from '@bufbuild/protobuf';
import { type Event, Event_Type } from '../proto/gen/payments/v1/event_pb.js';
import { type CredentialsOnFile, CredentialsOnFileSchema } from '../proto/gen/payments/v1/outcome_pb.js';
import { cut } from '../proto/runtime/redact.ts';
import type { KeyRing } from '../proto/runtime/seal.ts';

// What Wix hears of an event: the bodies of Submit Event (Wix contract 8.3 to 8.5).

const ERROR_CODE_MAX = 50;
const ERROR_MESSAGE_MAX = 300;

type Render = (event: Event, keys: KeyRing) => object;

/** How each kind of event is told; null for those that Wix never hears of. */
const BODIES: Readonly<Record<Event_Type, Render | null>> = {
  [Event_Type.UNSPECIFIED]: null,
  [Event_Type.TRANSACTION_PENDING]: (event) => ({ transaction: { ...identity(event), reasonCode: reasonOf(event) } }),
  [Event_Type.TRANSACTION_AWAITING_BUYER]: (event) => ({
    transaction: { ...identity(event), reasonCode: reasonOf(event) },
  }),
  [Event_Type.TRANSACTION_APPROVED]: (event, keys) => ({
    transaction: { ...identity(event), ...approval(event, keys) },
  }),
  [Event_Type.TRANSACTION_DECLINED]: (event) => ({ transaction: { ...identity(event), ...failure(event) } }),
  [Event_Type.CAPTURE_SUCCEEDED]: (event) => ({ capture: movement(event) }),
  [Event_Type.CAPTURE_FAILED]: (event) => ({ capture: { ...movement(event), ...failure(event) } }),
  [Event_Type.VOID_SUCCEEDED]: (event) => ({ void: movement(event) }),
  [Event_Type.VOID_FAILED]: (event) => ({ void: { ...movement(event), ...failure(event) } }),
  [Event_Type.REFUND_SUCCEEDED]: (event) => ({ refund: refund(event) }),
  [Event_Type.REFUND_FAILED]: (event) => ({ refund: { ...refund(event), ...failure(event) } }),
  [Event_Type.REFUND_RETURNED]: (event) => ({ refund: { ...refund(event), ...failure(event) } }),
  [Event_Type.TRANSACTION_EXPIRED]: null,
  [Event_Type.TRANSACTION_REVERSED]: null,
  [Event_Type.CONTRADICTION_REPORTED]: null,
};

/**
 * The body as it goes over the wire. Throws an Error for an event that cannot be told truthfully, such as a decline without its reason
 * (which Wix would read as an approval), and an UnsealError when the key of its credentials is not configured.
 */
export function renderEvent(event: Event, keys: KeyRing): Uint8Array {
  const render = BODIES[event.type];
  if (!render) throw new Error('this kind of event has no body for Wix');
  return Buffer.from(JSON.stringify({ event: render(event, keys) }));
}

/** Whether the body carries what Wix charges again with, and is sealed at rest (R28). */
export function holdsCredentials(event: Event): boolean {
  return event.type === Event_Type.TRANSACTION_APPROVED && event.sealedCredentialsOnFile.length > 0;
}

function identity(event: Event): object {
  return {
    wixTransactionId: required(event.externalId, 'external_id'),
    pluginTransactionId: event.idWithheld ? undefined : required(event.transactionId, 'transaction_id'),
  };
}

function approval(event: Event, keys: KeyRing): object {
  const { cardDetails: card } = event;
  return {
    cardDetails: card && { bin: card.bin, lastFour: card.lastFour },
    credentialsOnFile: holdsCredentials(event) ? credentialsOnFile(event, keys) : undefined,
    authorizedAmount: event.partiallyAuthorized ? String(event.authorizedAmount) : undefined,
  };
}

function credentialsOnFile(event: Event, keys: KeyRing): object {
  const { info, paymentMethod } = fromBinary(
    CredentialsOnFileSchema,
    keys.unseal(event.sealedCredentialsOnFile, event.transactionId),
  );
  return { ...reference(info), paymentMethod: paymentMethod || undefined };
}

function reference(info: CredentialsOnFile['info']): object {
  switch (info.case) {
    case 'cardReference': {
      const { networkTransactionId, dsTransactionId, transactionLinkId } = info.value;
      return {
        cardReference: {
          networkTransactionId: networkTransactionId || undefined,
          dsTransactionId: dsTransactionId || undefined,
          transactionLinkId: transactionLinkId || undefined,
        },
      };
    }
    case 'paymentMethodReference':
      return { paymentMethodReference: { token: info.value.token } };
    default:
      throw new Error('the credentials on file are of no known kind');
  }
}

/** Of a failure, the amount that was asked for. */
function movement(event: Event): object {
  return { wixTransactionId: required(event.externalId, 'external_id'), amount: amountOf(event) };
}

function refund(event: Event): object {
  return {
    wixTransactionId: required(event.externalId, 'external_id'),
    pluginRefundId: required(event.operationId, 'operation_id'),
    amount: amountOf(event),
    wixRefundId: event.externalRefundId || undefined,
  };
}

function failure(event: Event): object {
  return {
    reasonCode: reasonOf(event),
    errorCode: cut(event.errorCode, ERROR_CODE_MAX) || undefined,
    errorMessage: cut(event.errorMessage, ERROR_MESSAGE_MAX) || undefined,
  };
}

function reasonOf(event: Event): number {
  return required(event.reason, 'reason');
}

function amountOf(event: Event): string {
  return required(event.operationAmount?.toString(), 'operation_amount');
}

function required<T>(value: T | undefined, field: string): T {
  if (!value) throw new Error(`the event has no ${field}`);
  return value;
}
