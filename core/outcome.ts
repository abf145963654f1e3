import {
  type Approved,
  type CardDetails,
  type CredentialsOnFile,
  type Outcome,
  OutcomeSchema,
} from '../proto/gen/payments/v1/outcome_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import { pageUrl } from '../proto/runtime/requests.ts';
import { type Fields, readFields } from './fields.ts';
import { readOnFile } from './on-file.ts';
import type { Operation } from './operation.ts';
import { ownCard } from './own-card.ts';
import { isPending, legalReason } from './reason.ts';
import type { Refusal, Transaction, Trigger } from './transaction.ts';

// What the processor's words mean (R18), made into triggers of the tables. Nothing here does I/O.

/** What was learned of an operation: the rows can hold all of it (R47), its texts are scrubbed (R20). */
export interface LearnedOutcome {
  readonly trigger: Trigger;
  /** Minor units approved. */
  readonly amount?: bigint;
  readonly refusal?: Refusal;
  readonly processorReference?: string;
  readonly authorizationCode?: string;
  readonly networkTransactionId?: string;
  readonly acquirerReference?: string;
  readonly processedAt?: Date | undefined;
  readonly expiresAt?: Date | undefined;
  readonly redirectUrl?: string;
  readonly card?: { readonly scheme: string; readonly bin: string; readonly lastFour: string } | undefined;
  readonly credentialsOnFile?: CredentialsOnFile | undefined;
  /** It speaks of one send alone: once reconciliation has asked, and may have sent again, it says nothing (R18). */
  readonly unlessAsked?: boolean;
  /** Proto names of the fields of which something had to go, such as approved.processed_at; absent if nothing had to. */
  readonly lost?: readonly string[];
}

export const UNKNOWN: LearnedOutcome = { trigger: 'unknown' };

/** The first send certainly did nothing: it never left, or was refused at the processor's door. */
export function notDone(operation: Operation, errorCode: string, message: string): LearnedOutcome {
  return { trigger: 'failed', refusal: failure(operation, errorCode, message), unlessAsked: true };
}

/** R8: the code of what certainly did not happen. */
function failure(operation: Operation, errorCode: string, message: string): Refusal {
  const reason = operation.kind === 'refund' ? Reason.REFUND_TECHNICAL_ERROR : Reason.PROVIDER_TECHNICAL_ERROR;
  return { reason, errorCode: errorCode || 'NOT_PROCESSED', message: message || 'It was not processed' };
}

/** What of a payment decides how an outcome is read. */
type Payment = Pick<
  Transaction,
  'currency' | 'cardBin' | 'cardLastFour' | 'requestedLastFour' | 'setUpAsked' | 'awaitedBuyer' | 'allowPartial'
>;

/** Reads an outcome that the processor gave for this operation of this payment. `number`: the card's, if it is in memory. Never throws. */
export function readOutcome(
  payment: Payment,
  operation: Operation,
  outcome: Outcome | undefined,
  number?: string,
): LearnedOutcome {
  const kind = outcome?.kind;
  if (!kind?.case) return UNKNOWN;
  const shown = kind.case === 'approved' ? kind.value.cardDetails : undefined;
  const fields = readFields(ownCard(payment, number, shown));
  const learned = read(payment, operation, kind, fields, number);
  const { name } = OutcomeSchema.field[kind.case];
  return fields.lost.length > 0 ? { ...learned, lost: fields.lost.map((field) => `${name}.${field}`) } : learned;
}

function read(
  payment: Payment,
  operation: Operation,
  kind: Outcome['kind'],
  fields: Fields,
  number?: string,
): LearnedOutcome {
  switch (kind.case) {
    case 'approved':
      return readApproved(payment, operation, kind.value, fields, number);
    case 'declined': {
      const { reason, processorReference, processedAt } = kind.value;
      const { errorCode, message } = texts(fields, kind.value);
      const legal = legalReason(operation.kind, reason, errorCode);
      return {
        trigger: 'declined',
        refusal: { ...legal, message: message || (legal.errorCode ? 'Declined by the processor' : '') },
        processorReference: fields.reference('processor_reference', processorReference, 200),
        processedAt: fields.time('processed_at', processedAt),
      };
    }
    case 'pending': {
      const { reason, expiresAt, processorReference } = kind.value;
      return {
        trigger: 'pending',
        refusal: { reason: isPending(reason) ? reason : Reason.PENDING_GENERAL, errorCode: '', message: '' },
        processorReference: fields.reference('processor_reference', processorReference, 200),
        expiresAt: fields.time('expires_at', expiresAt),
      };
    }
    case 'buyerAction': {
      const { url, expiresAt, processorReference } = kind.value;
      const redirectUrl = pageUrl(url, PAGE_MAX);
      if (redirectUrl === undefined || fields.quotesCard(redirectUrl)) {
        fields.lose('url');
        return UNKNOWN;
      }
      return {
        trigger: 'buyer_action',
        redirectUrl,
        processorReference: fields.reference('processor_reference', processorReference, 200),
        expiresAt: fields.time('expires_at', expiresAt),
      };
    }
    case 'failed': {
      const { errorCode, message } = texts(fields, kind.value);
      return { trigger: 'failed', refusal: failure(operation, errorCode, message) };
    }
    case 'expired': {
      const { errorCode, message } = texts(fields, kind.value);
      return {
        trigger: 'expired',
        refusal: {
          reason: operation.kind === 'refund' ? Reason.REFUND_NOT_ALLOWED : Reason.TRANSACTION_EXPIRED,
          errorCode: errorCode || 'EXPIRED',
          message: message || 'The authorization has expired',
        },
      };
    }
    default:
      return UNKNOWN;
  }
}

function readApproved(
  payment: Payment,
  operation: Operation,
  approved: Approved,
  fields: Fields,
  number?: string,
): LearnedOutcome {
  const amount = approved.amount ?? operation.amount ?? 0n;
  return {
    trigger: triggerFor(payment, operation, approved.currency, amount),
    // Less than nothing fits nothing, and no row holds it.
    ...(amount >= 0n && { amount }),
    processorReference: fields.reference('processor_reference', approved.processorReference, 200),
    authorizationCode: fields.reference('authorization_code', approved.authorizationCode, 100),
    networkTransactionId: fields.reference('network_transaction_id', approved.networkTransactionId, 100),
    acquirerReference: fields.reference('acquirer_reference', approved.acquirerReference, 200),
    processedAt: fields.time('processed_at', approved.processedAt),
    expiresAt: fields.time('authorization_expires_at', approved.authorizationExpiresAt),
    card: approved.cardDetails && readCard(approved.cardDetails, fields, number),
    credentialsOnFile: readOnFile(payment, approved, fields),
  };
}

/**
 * A capture books what was captured, and a payment is approved with less than was asked where its merchant takes that (U3); nothing else
 * may be, and nothing at all with more (R18).
 */
function triggerFor(payment: Payment, operation: Operation, currency: string, amount: bigint): Trigger {
  const asked = operation.amount ?? 0n;
  const isSameCurrency = currency === '' || currency === payment.currency;
  if (!isSameCurrency || amount > asked || amount < 0n) return 'misfit';
  if (amount === asked) return 'approved';
  const mayBePart = operation.kind === 'capture' || (operation.kind === 'authorize' && payment.allowPartial);
  return mayBePart && amount > 0n ? 'approved' : 'partly';
}

/** Of the page for a buyer (Wix contract, 5.5), in characters. */
const PAGE_MAX = 2000;

/** Of the digits no more than the first six and the last four, and none where they are nearly all (R35). */
function readCard({ scheme, bin, lastFour }: CardDetails, fields: Fields, number?: string): LearnedOutcome['card'] {
  if (number && number.length < CARD_LENGTH_MIN) return undefined;
  if (/^\d{6,8}$/.test(bin) && /^\d{4}$/.test(lastFour))
    return { scheme: fields.text('card_details.scheme', scheme, 50), bin: bin.slice(0, 6), lastFour };
  fields.lose('card_details');
  return undefined;
}

/** Of shorter numbers first six and last four would leave fewer than four digits to guess. */
const CARD_LENGTH_MIN = 14;

/** An engine's error code and message, as Wix takes them (Wix contract, 10). */
export function texts(
  fields: Fields,
  { errorCode, message }: { readonly errorCode: string; readonly message: string },
): { errorCode: string; message: string } {
  return { errorCode: fields.text('error_code', errorCode, 50), message: fields.text('message', message, 300) };
}
