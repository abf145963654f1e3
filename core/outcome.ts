import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { Approved, CredentialsOnFile, Outcome } from '../proto/gen/payments/v1/outcome_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import { cut, scrub } from '../proto/runtime/redact.ts';
import type { Operation } from './operation.ts';
import { isPending, legalReason } from './reason.ts';
import type { Refusal, Trigger } from './transaction.ts';

// What the processor's words mean (R18), made into triggers of the tables. Nothing here does I/O.

/** What was learned of an operation, bounded, its texts scrubbed (R20). */
export interface Said {
  readonly trigger: Trigger;
  /** Minor units approved. */
  readonly amount?: bigint;
  readonly refusal?: Refusal;
  readonly processorReference?: string;
  readonly authorizationCode?: string;
  readonly networkTransactionId?: string;
  readonly acquirerReference?: string;
  readonly processedAt?: Date;
  readonly expiresAt?: Date;
  readonly redirectUrl?: string;
  readonly card?: { readonly scheme: string; readonly bin: string; readonly lastFour: string };
  readonly credentialsOnFile?: CredentialsOnFile;
  /** It speaks of one send alone: once reconciliation has asked, and may have sent again, it says nothing (R18). */
  readonly unlessAsked?: boolean;
}

export const UNKNOWN: Said = { trigger: 'unknown' };

/** The first send certainly did nothing: it never left, or was refused at the processor's door. */
export function notDone(operation: Operation, errorCode: string, message: string): Said {
  return { trigger: 'failed', refusal: failure(operation, errorCode, message), unlessAsked: true };
}

/** R8: the code of what certainly did not happen. */
function failure(operation: Operation, errorCode: string, message: string): Refusal {
  const reason = operation.kind === 'refund' ? Reason.REFUND_TECHNICAL_ERROR : Reason.PROVIDER_TECHNICAL_ERROR;
  return { reason, errorCode: short(errorCode) || 'NOT_PROCESSED', message: long(message) || 'It was not processed' };
}

/** Reads an outcome that the processor gave for this operation, asked for in this currency. Never throws. */
export function readOutcome(operation: Operation, currency: string, outcome: Outcome | undefined): Said {
  switch (outcome?.kind.case) {
    case 'approved':
      return readApproved(operation, currency, outcome.kind.value);
    case 'declined': {
      const { reason, errorCode, message, processorReference, processedAt } = outcome.kind.value;
      const legal = legalReason(operation.kind, reason, short(errorCode));
      return {
        trigger: 'declined',
        refusal: { ...legal, message: long(message) || (legal.errorCode ? 'Declined by the processor' : '') },
        processorReference: cut(processorReference, 200),
        ...(processedAt && { processedAt: timestampDate(processedAt) }),
      };
    }
    case 'pending': {
      const { reason, expiresAt, processorReference } = outcome.kind.value;
      return {
        trigger: 'pending',
        refusal: { reason: isPending(reason) ? reason : Reason.PENDING_GENERAL, errorCode: '', message: '' },
        processorReference: cut(processorReference, 200),
        ...(expiresAt && { expiresAt: timestampDate(expiresAt) }),
      };
    }
    case 'buyerAction': {
      const { url, expiresAt, processorReference } = outcome.kind.value;
      if (!isPage(url)) return UNKNOWN;
      return {
        trigger: 'buyer_action',
        redirectUrl: url,
        processorReference: cut(processorReference, 200),
        ...(expiresAt && { expiresAt: timestampDate(expiresAt) }),
      };
    }
    case 'failed':
      return {
        trigger: 'failed',
        refusal: failure(operation, outcome.kind.value.errorCode, outcome.kind.value.message),
      };
    case 'expired': {
      const { errorCode, message } = outcome.kind.value;
      return {
        trigger: 'expired',
        refusal: {
          reason: operation.kind === 'refund' ? Reason.REFUND_NOT_ALLOWED : Reason.TRANSACTION_EXPIRED,
          errorCode: short(errorCode) || 'EXPIRED',
          message: long(message) || 'The authorization has expired',
        },
      };
    }
    default:
      return UNKNOWN;
  }
}

function readApproved(operation: Operation, currency: string, approved: Approved): Said {
  const asked = operation.amount ?? 0n;
  const amount = approved.amount ?? asked;
  const card = approved.cardDetails;
  return {
    trigger: triggerFor(operation, asked, amount, approved.currency === '' || approved.currency === currency),
    amount,
    processorReference: cut(approved.processorReference, 200),
    authorizationCode: cut(approved.authorizationCode, 100),
    networkTransactionId: cut(approved.networkTransactionId, 100),
    acquirerReference: cut(approved.acquirerReference, 200),
    ...(approved.processedAt && { processedAt: timestampDate(approved.processedAt) }),
    ...(card && /^\d{6,8}$/.test(card.bin) && /^\d{4}$/.test(card.lastFour)
      ? { card: { scheme: bounded(card.scheme, 50), bin: card.bin, lastFour: card.lastFour } }
      : {}),
    ...(approved.credentialsOnFile && { credentialsOnFile: approved.credentialsOnFile }),
  };
}

/** A capture books what was captured; nothing else may be approved with less than was asked, nothing at all with more (R18). */
function triggerFor(operation: Operation, asked: bigint, amount: bigint, sameCurrency: boolean): Trigger {
  if (!sameCurrency || amount > asked || amount < 0n) return 'misfit';
  if (amount === asked) return 'approved';
  return operation.kind === 'capture' && amount > 0n ? 'approved' : 'partly';
}

/** A page for the buyer must be absolute https (Wix contract, 5.5); plain http is for an engine on this machine. */
function isPage(url: string): boolean {
  if (url.length > 2000 || !URL.canParse(url)) return false;
  const { protocol, hostname } = new URL(url);
  return protocol === 'https:' || (protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname));
}

/** Free text of the processor, scrubbed of card numbers and cut (R20). */
export function bounded(text: string, max: number): string {
  return cut(scrub(text), max);
}

const short = (errorCode: string) => bounded(errorCode, 50);
const long = (message: string) => bounded(message, 300);
