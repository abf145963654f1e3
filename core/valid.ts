import { Code } from '@connectrpc/connect';
import type { Credentials } from '../proto/gen/payments/v1/merchant_account_pb.js';
import type {
  CaptureTransactionRequest,
  ConnectMerchantAccountRequest,
  CreateTransactionRequest,
  ListTransactionsRequest,
  RefundTransactionRequest,
  ReportOutcomeRequest,
  ReportRefundRequest,
  ReturnBuyerRequest,
  VoidTransactionRequest,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { type Refusal, Transaction_State } from '../proto/gen/payments/v1/transaction_pb.js';
import { quotes, scrub } from '../proto/runtime/redact.ts';
import { ensure, ensureLength, ensureUuid, pageUrl } from '../proto/runtime/requests.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import { ownCard } from './own-card.ts';
import { legalReason } from './reason.ts';
import type { Transaction } from './transaction.ts';

// The limits of payments.v1.

export const INT64_MAX = 9_223_372_036_854_775_807n;
function amount(value: bigint | undefined, field: string): void {
  ensure(value === undefined || (value >= 0n && value <= INT64_MAX), field, 'must not be negative');
}

function positive(value: bigint | undefined, field: string): void {
  ensure(value === undefined || (value > 0n && value <= INT64_MAX), field, 'must be at least 1');
}

/** It goes to Wix as it is. */
function refusal({ reason, errorCode, message }: Refusal, kind: 'authorize' | 'refund'): void {
  ensure(legalReason(kind, reason, '').reason === reason, 'refusal.reason', `is no reason against a ${kind}`);
  for (const text of [errorCode, message]) ensure(scrub(text) === text, 'refusal', 'holds a card number');
  ensureLength(errorCode, 'refusal.error_code', 0, 50);
  ensureLength(message, 'refusal.message', 0, 300);
}

export function validConnect(request: ConnectMerchantAccountRequest): Credentials {
  const { credentials } = request;
  ensureLength(request.externalMerchantId, 'external_merchant_id', 1, 200);
  ensureLength(request.country, 'country', 0, 1000);
  ensureLength(request.currency, 'currency', 0, 1000);
  if (!credentials)
    throw rpcError(Code.InvalidArgument, 'INVALID_ARGUMENT', 'credentials is missing', { field: 'credentials' });
  ensure(areTakenBack(credentials), 'credentials', 'must have at most 100 entries and 32 KiB, without NUL');
  return credentials;
}

/** Whether every payment may carry them: the gateway takes no others from Wix. */
export function areTakenBack({ values }: Credentials): boolean {
  const entries = Object.entries(values);
  const text = entries.flat().join('');
  return entries.length <= 100 && Buffer.byteLength(text) <= 32_768 && !text.includes('\0');
}

export function validCreate(request: CreateTransactionRequest): void {
  const isComplete = request.refusal === undefined;
  ensureLength(request.externalId, 'external_id', 1, 200);
  ensureLength(request.externalMerchantId, 'external_merchant_id', isComplete ? 1 : 0, 200);
  ensureLength(request.paymentMethod, 'payment_method', 0, 200);
  ensureLength(request.currency, 'currency', isComplete ? 1 : 0, 200);
  amount(request.amount, 'amount');
  ensure(!isComplete || request.amount !== undefined, 'amount', 'is missing');
  ensure(!isComplete || request.merchantCredentials !== undefined, 'merchant_credentials', 'is missing');
  if (request.refusal) refusal(request.refusal, 'authorize');
  const { successUrl = '', errorUrl = '', cancelUrl = '', pendingUrl = '' } = request.returnUrls ?? {};
  for (const page of [successUrl, errorUrl, cancelUrl, pendingUrl])
    ensure(!page || pageUrl(page, 4096) !== undefined, 'return_urls', 'must be https, of at most 4096 characters');
}

export function validReturn({ token }: ReturnBuyerRequest): void {
  ensure(/^[\w-]{22}$/.test(token), 'token', 'must have 22 characters of base64url');
}

export function validCapture(request: CaptureTransactionRequest | VoidTransactionRequest): void {
  ensureLength(request.externalId, 'external_id', 1, 200);
  ensureUuid(request.callId, 'call_id');
  amount(request.amount, 'amount');
}

export function validRefund(request: RefundTransactionRequest): void {
  ensureLength(request.externalId, 'external_id', 1, 200);
  ensureLength(request.externalRefundId, 'external_refund_id', 1, 200);
  amount(request.amount, 'amount');
  if (request.refusal) refusal(request.refusal, 'refund');
}

export function validRefundOfPsp(request: RefundTransactionRequest): void {
  ensureLength(request.requestKey, 'request_key', 1, 200);
  ensureLength(request.externalId, 'external_id', request.transactionId === '' ? 1 : 0, 200);
  if (request.transactionId !== '') ensureUuid(request.transactionId, 'transaction_id');
  ensure(request.externalRefundId === '', 'external_refund_id', "is Wix's; give a request_key");
  ensure(request.refusal === undefined, 'refusal', "is the gateway's");
  positive(request.amount, 'amount');
}

/** A key or reference is kept as it comes, so that it must not hold the card that paid (R20). */
export function ensureNoCard(value: string, field: string, payment: Transaction): void {
  ensure(!quotes(value, ownCard(payment)), field, 'holds the number of the card that paid');
}

export function validReportRefund(request: ReportRefundRequest): void {
  ensureLength(request.processorReference, 'processor_reference', 1, 200);
  positive(request.amount, 'amount');
}

export function validList(request: ListTransactionsRequest): void {
  if (request.merchantAccountId !== '') ensureUuid(request.merchantAccountId, 'merchant_account_id');
  ensureLength(request.externalMerchantId, 'external_merchant_id', 0, 200);
  ensure(request.states.length <= 20, 'states', 'must have at most 20 entries');
  const known = request.states.every((state) => state > 0 && Transaction_State[state] !== undefined);
  ensure(known, 'states', 'must be states that are known here');
  const { amount, currency } = request;
  ensure(amount === undefined || amount >= 0n, 'amount', 'must be in minor units, 0 or more');
  ensure(currency === '' || /^[A-Z]{3}$/.test(currency), 'currency', 'must be a code of ISO 4217');
  ensure((amount === undefined) === (currency === ''), 'amount', 'and currency go together');
}

export function validReport(request: ReportOutcomeRequest): void {
  ensureUuid(request.requestId, 'request_id');
  ensure(request.outcome?.kind.case !== undefined, 'outcome', 'is missing');
  if (!request.override) return;
  ensureLength(request.overrideReason, 'override_reason', 1, 500);
  const isFinal = ['approved', 'declined', 'failed', 'expired'].includes(request.outcome?.kind.case ?? '');
  ensure(isFinal, 'outcome', 'must be final to override');
}
