import { Code } from '@connectrpc/connect';
import type { Credentials } from '../proto/gen/payments/v1/merchant_account_pb.js';
import type {
  CaptureTransactionRequest,
  ConnectMerchantAccountRequest,
  CreateTransactionRequest,
  ListTransactionsRequest,
  RefundTransactionRequest,
  ReportOutcomeRequest,
  VoidTransactionRequest,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import type { Refusal } from '../proto/gen/payments/v1/transaction_pb.js';
import { rpcError } from '../proto/runtime/rpc.ts';

// The limits that the protos state, checked at the core's edge: a caller that breaks them gets INVALID_ARGUMENT, never a row.

export const INT64_MAX = 9_223_372_036_854_775_807n;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function demand(holds: boolean, field: string, rule: string): void {
  if (!holds) throw rpcError(Code.InvalidArgument, 'INVALID_ARGUMENT', `${field} ${rule}`, { field });
}

function length(value: string, field: string, min: number, max: number): void {
  demand(value.length >= min && value.length <= max, field, `must have ${min}..${max} characters`);
}

export function uuid(value: string, field: string): void {
  demand(UUID.test(value), field, 'must be a UUID');
}

function amount(value: bigint | undefined, field: string): void {
  demand(value === undefined || (value >= 0n && value <= INT64_MAX), field, 'must not be negative');
}

function refusal({ reason, errorCode, message }: Refusal): void {
  demand(reason !== 0, 'refusal.reason', 'is missing');
  length(errorCode, 'refusal.error_code', 0, 50);
  length(message, 'refusal.message', 0, 300);
}

export function validConnect(request: ConnectMerchantAccountRequest): Credentials {
  const { credentials } = request;
  length(request.externalMerchantId, 'external_merchant_id', 1, 200);
  length(request.country, 'country', 0, 1000);
  length(request.currency, 'currency', 0, 1000);
  if (!credentials)
    throw rpcError(Code.InvalidArgument, 'INVALID_ARGUMENT', 'credentials is missing', { field: 'credentials' });
  const entries = Object.entries(credentials.values);
  demand(entries.length <= 100, 'credentials', 'must have at most 100 entries');
  demand(entries.flat().join('').length <= 32_768, 'credentials', 'must have at most 32 KiB');
  return credentials;
}

export function validCreate(request: CreateTransactionRequest): void {
  const isComplete = request.refusal === undefined;
  length(request.externalId, 'external_id', 1, 200);
  length(request.externalMerchantId, 'external_merchant_id', isComplete ? 1 : 0, 200);
  length(request.paymentMethod, 'payment_method', 0, 200);
  length(request.currency, 'currency', isComplete ? 1 : 0, 200);
  amount(request.amount, 'amount');
  demand(!isComplete || request.amount !== undefined, 'amount', 'is missing');
  demand(!isComplete || request.merchantCredentials !== undefined, 'merchant_credentials', 'is missing');
  if (request.refusal) refusal(request.refusal);
}

export function validCapture(request: CaptureTransactionRequest | VoidTransactionRequest): void {
  length(request.externalId, 'external_id', 1, 200);
  uuid(request.callId, 'call_id');
  amount(request.amount, 'amount');
}

export function validRefund(request: RefundTransactionRequest): void {
  length(request.externalId, 'external_id', 1, 200);
  length(request.externalRefundId, 'external_refund_id', 1, 200);
  amount(request.amount, 'amount');
  if (request.refusal) refusal(request.refusal);
}

export function validList(request: ListTransactionsRequest): void {
  demand(request.pageSize >= 0 && request.pageSize <= 200, 'page_size', 'must be 0..200');
  if (request.merchantAccountId !== '') uuid(request.merchantAccountId, 'merchant_account_id');
  length(request.externalMerchantId, 'external_merchant_id', 0, 200);
  demand(request.states.length <= 20, 'states', 'must have at most 20 entries');
}

export function validReport(request: ReportOutcomeRequest): void {
  uuid(request.requestId, 'request_id');
  demand(request.outcome?.kind.case !== undefined, 'outcome', 'is missing');
  if (!request.override) return;
  length(request.overrideReason, 'override_reason', 1, 500);
  const isFinal = ['approved', 'declined', 'failed', 'expired'].includes(request.outcome?.kind.case ?? '');
  demand(isFinal, 'outcome', 'must be final to override');
}
