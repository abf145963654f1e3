import { create } from '@bufbuild/protobuf';
import { Code, type HandlerContext } from '@connectrpc/connect';
import {
  type ReportRefundRequest,
  type ReportRefundResponse,
  ReportRefundResponseSchema,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { callerKey } from '../proto/runtime/callers.ts';
import type { Queryable } from '../proto/runtime/database.ts';
import { ensure, readTime } from '../proto/runtime/requests.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import type { Core } from './context.ts';
import * as convert from './convert.ts';
import { buildEvent } from './event.ts';
import { findTransaction } from './find-transactions.ts';
import { reportedRefundId } from './ids.ts';
import { isOpen, type Operation } from './operation.ts';
import { type Recorded, record } from './record.ts';
import { announce } from './settle.ts';
import { lockMerchantAccount } from './store/merchant-accounts.ts';
import { insertReport, operationsOf, refundsByReference } from './store/operations.ts';
import { insertEvent } from './store/outbox.ts';
import { lockTransaction, updateTransaction } from './store/transactions.ts';
import type { Transaction } from './transaction.ts';
import { ensureNoCard, INT64_MAX, validReportRefund } from './valid.ts';

/** Without an operation it is a contradiction; without an event it was known. */
type Reported = Omit<Recorded, 'operation'> & { readonly operation: Operation | undefined };

/** Records a refund that happened at the processor without an order of ours, once for each reference of the account (R23). */
export async function reportRefund(
  core: Core,
  request: ReportRefundRequest,
  context: HandlerContext,
): Promise<ReportRefundResponse> {
  validReportRefund(request);
  const payment = await findTransaction(core, request.key);
  const { id, accountId } = payment;
  ensureNoCard(request.processorReference, 'processor_reference', payment);
  const { name } = context.values.get(callerKey);
  const reported = await core.db.inTx((tx) => receive(core, tx, id, accountId, request, name));
  const { transaction, operation, event } = reported;
  if (!operation) {
    announce(core, { transaction, change: { event, alert: 'contradiction' } });
    const { state } = transaction;
    throw rpcError(
      Code.FailedPrecondition,
      'CONTRADICTION',
      'this contradicts what is known: it was kept and changes nothing',
      { state },
    );
  }
  const isAbove = event && transaction.refundedAmount > transaction.capturedAmount;
  announce(core, { transaction, operation, change: { event, ...(isAbove && { alert: 'refund_above_remaining' }) } });
  return create(ReportRefundResponseSchema, {
    transaction: convert.toTransaction(transaction),
    operation: convert.toOperation(operation),
  });
}

/** tx 1, and the only one: nothing is asked of the processor. */
async function receive(
  core: Core,
  tx: Queryable,
  id: string,
  accountId: string | null,
  { processorReference, amount, processedAt }: ReportRefundRequest,
  caller: string,
): Promise<Reported> {
  if (accountId) await lockMerchantAccount(tx, accountId);
  const found = await lockTransaction(tx, { id });
  if (!found) throw new Error('a payment that was read cannot be found');
  const { now: _, ...transaction } = found;
  const operations = await operationsOf(tx, id);
  const known = accountId ? await refundsByReference(tx, accountId, processorReference) : [];
  const same = known.find(
    (refund) => refund.transactionId === id && refund.state === 'approved' && refund.approvedAmount === amount,
  );
  if (same) return { transaction, operation: same };
  // It may be the one that is running, under a reference that is not known yet.
  if ([...operations, ...known].some((operation) => operation.kind === 'refund' && isOpen(operation)))
    throw rpcError(Code.Aborted, 'REFUND_IN_PROGRESS', 'a refund of this payment is not decided yet: report it again');
  if (transaction.state !== 'captured' || known.length > 0) {
    const about = operations.find((operation) => known.some((refund) => refund.id === operation.id)) ?? operations[0];
    const said = JSON.stringify({ refunded: String(amount), processorReference });
    return contradict(core, tx, transaction, about, said, caller);
  }
  const refundedAmount = transaction.refundedAmount + amount;
  ensure(refundedAmount <= INT64_MAX, 'amount', 'is out of range');
  const refundId = reportedRefundId(accountId ?? '', processorReference);
  const refund = {
    id: refundId,
    kind: 'refund',
    state: 'approved',
    caller,
    // The reference is unique within an account, a key is over all of a caller's.
    key: refundId,
    callId: null,
    attempt: 1,
    amount,
    approvedAmount: amount,
    why: '',
    dueInMs: 0,
    processorReference,
    processedAt: readTime(processedAt, 'processed_at'),
  } as const;
  return record(core, tx, transaction, { refundedAmount }, refund, 'refund_succeeded');
}

/** R24: kept as a row and told once; nothing else changes. */
async function contradict(
  core: Core,
  tx: Queryable,
  before: Transaction,
  about: Operation | undefined,
  said: string,
  caller: string,
): Promise<Reported> {
  const kept = { kind: 'contradiction', caller, said, why: '' } as const;
  const isNew = await insertReport(tx, {
    ...kept,
    ...(about ? { operationId: about.id } : { transactionId: before.id }),
  });
  if (!isNew) return { transaction: before, operation: undefined };
  const transaction = await updateTransaction(tx, { ...before, sequence: before.sequence + 1n }, before.state);
  await insertEvent(tx, buildEvent(core.config, 'contradiction_reported', transaction, about));
  return { transaction, operation: undefined, event: 'contradiction_reported' };
}
