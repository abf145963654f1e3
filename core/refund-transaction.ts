import { create } from '@bufbuild/protobuf';
import { Code, type HandlerContext } from '@connectrpc/connect';
import {
  type RefundTransactionRequest,
  type RefundTransactionResponse,
  RefundTransactionResponseSchema,
  RefundTransactionRequest_Why as Why,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import { type Caller, callerKey } from '../proto/runtime/callers.ts';
import type { Queryable } from '../proto/runtime/database.ts';
import { counter } from '../proto/runtime/metrics.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import { answerOperation, outcomeUnknown } from './answer-operation.ts';
import { type Budget, startBudget, within } from './calls.ts';
import type { Core } from './context.ts';
import * as convert from './convert.ts';
import { noTransaction } from './find-transactions.ts';
import { operationId } from './ids.ts';
import { isOfMerchant, processorAccount } from './merchant-credentials.ts';
import { type Operation, reserved } from './operation.ts';
import { perform, runningMs } from './perform.ts';
import { sendMoney } from './processor.ts';
import { reconcileOperation } from './reconcile.ts';
import { type Recorded, receiveInTurn, record } from './record.ts';
import { announce } from './settle.ts';
import { claimOne, operationById, operationsOf, refundByKey } from './store/operations.ts';
import { lockTransaction, transactionById } from './store/transactions.ts';
import { type Refusal, reception, remaining, type Transaction } from './transaction.ts';
import { ensureNoCard, validRefund, validRefundOfPsp } from './valid.ts';

const foreignIds = counter('foreign_ids_total', 'Known ids that came with another merchant or payment (R9).', ['call']);

/** Who asks: Wix through the gateway, or a service of the PSP's, each with keys of its own (R23). */
interface Asker {
  readonly isWix: boolean;
  readonly caller: string;
  readonly key: string;
}

/** Returns captured money: synchronous, once for each key of its asker, never above what remains (R22, R23). */
export async function refundTransaction(
  core: Core,
  request: RefundTransactionRequest,
  context: HandlerContext,
): Promise<RefundTransactionResponse> {
  const asker = askerOf(request, context.values.get(callerKey));
  const budget = startBudget(core.config.ANSWER_BUDGET_MS, context.timeoutMs());
  const payment = request.externalId || request.transactionId;
  const arrival = { kind: 'follow_up', externalId: payment, owner: payment } as const;
  const known = await core.admission.admit(arrival, budget, () => refundByKey(core.db, asker.caller, asker.key));
  if (known) return answerKnown(core, budget, request, asker, known);
  // While a capture runs, what can be refunded depends on what becomes of it.
  const received = await receiveInTurn(core, budget, payment, (tx) => receive(core, tx, request, asker));
  if (!received) throw outcomeUnknown();
  if ('known' in received) return answerKnown(core, budget, request, asker, received.known);
  if ('refusal' in received)
    return create(RefundTransactionResponseSchema, { refusal: convert.toRefusal(received.refusal) });
  const { transaction, operation, authorize } = received;
  announce(core, { ...received, change: { event: received.event } });
  if (authorize) {
    const account = await processorAccount(core, core.db, transaction);
    await perform(core, budget, received, sendMoney(core, transaction, authorize, operation, account));
  }
  return create(RefundTransactionResponseSchema, await answerOperation(core, budget, operation.id));
}

function askerOf(request: RefundTransactionRequest, { name, role }: Caller): Asker {
  const isWix = role === 'gateway';
  if (isWix) validRefund(request);
  else validRefundOfPsp(request);
  return isWix
    ? { isWix, caller: 'wix', key: request.externalRefundId }
    : { isWix, caller: name, key: request.requestKey };
}

/** The same key again: the answer from its row; if that is unknown, the processor is asked first (R22). */
async function answerKnown(
  core: Core,
  budget: Budget,
  request: RefundTransactionRequest,
  asker: Asker,
  known: Operation,
): Promise<RefundTransactionResponse> {
  const transaction = await transactionById(core.db, known.transactionId);
  if (!transaction || !isNamed(transaction, request, asker)) {
    if (!asker.isWix)
      throw rpcError(Code.AlreadyExists, 'REQUEST_KEY_USED', 'this request_key belongs to a refund of another payment');
    foreignIds.inc({ call: 'refund' });
    core.log.warn('refund.known_to_another_payment', { operationId: known.id });
    const refusal = {
      reason: Reason.INVALID_VALUE,
      errorCode: 'REFUND_ID',
      message: 'This refund id belongs to another payment',
    };
    return create(RefundTransactionResponseSchema, { refusal });
  }
  if (known.amount !== request.amount && request.amount !== undefined)
    core.log.warn('refund.repeated_differently', { operationId: known.id, differs: ['amount'] });
  const claimed = known.state === 'unknown' ? await claimOne(core.db, known.id, runningMs(core)) : undefined;
  if (claimed)
    await within(
      budget.leftMs(),
      core.calls.run(() => reconcileOperation(core, claimed)),
    );
  return create(RefundTransactionResponseSchema, await answerOperation(core, budget, known.id));
}

type Received =
  | (Recorded & { readonly authorize?: Operation })
  | { readonly refusal: Refusal }
  | { readonly known: Operation };

/**
 * tx 1. Every refund that names a known payment, with credentials of its merchant, gets a row and, if its amount is known, an event
 * (R22). Undefined: wait.
 */
async function receive(
  core: Core,
  tx: Queryable,
  request: RefundTransactionRequest,
  asker: Asker,
): Promise<Received | undefined> {
  const { externalId, transactionId: id } = request;
  const found = await lockTransaction(tx, externalId === '' ? { id } : { externalId });
  if (!found && asker.isWix) return unknownPayment(request);
  if (!found || !isNamed(found, request, asker)) throw noTransaction();
  ensureNoCard(request.requestKey, 'request_key', found);
  const { now: _, ...transaction } = found;
  const requestId = operationId('refund', transaction.externalId, asker.caller, asker.key, 1);
  // One that was brought back after a loss may stand under its id alone.
  const [byKey, byId] = await Promise.all([refundByKey(tx, asker.caller, asker.key), operationById(tx, requestId)]);
  const known = byKey ?? byId;
  if (known) return { known };
  // Another merchant does not learn that the payment exists, and leaves nothing behind.
  if (asker.isWix && !(await isOfMerchant(core, tx, transaction, request.merchantCredentials))) {
    foreignIds.inc({ call: 'refund' });
    core.log.warn('refund.of_another_merchant', { transactionId: transaction.id });
    return unknownPayment(request);
  }
  const operations = await operationsOf(tx, transaction.id);
  const verdict = asker.isWix
    ? judge(core, request, transaction, operations)
    : ensureBalance(transaction, operations, request.amount);
  if (verdict === 'wait') return undefined;

  const amount = verdict.amount ?? null;
  const fields = {
    id: requestId,
    kind: 'refund',
    caller: asker.caller,
    key: asker.key,
    callId: null,
    attempt: 1,
    amount,
    approvedAmount: null,
    why: why(request.why),
    dueInMs: runningMs(core),
  } as const;
  const { refusal } = verdict;
  if (refusal)
    return record(
      core,
      tx,
      transaction,
      {},
      { ...fields, state: 'declined', refusal },
      amount === null ? undefined : 'refund_failed',
    );
  core.calls.ensureRoom(transaction.externalMerchantId ?? '', false);
  const authorize = operations.find((operation) => operation.kind === 'authorize');
  if (!authorize) throw new Error('a captured payment has an authorize operation');
  return { ...(await record(core, tx, transaction, {}, { ...fields, state: 'running' })), authorize };
}

interface Judgement {
  readonly amount: bigint | undefined;
  readonly refusal?: Refusal;
}

/** Whether the request names this payment. Wix's plugin id is checked later, as its refusal is kept and told (R11). */
function isNamed({ id, externalId }: Transaction, request: RefundTransactionRequest, { isWix }: Asker): boolean {
  if (isWix) return externalId === request.externalId;
  return [externalId, ''].includes(request.externalId) && [id, ''].includes(request.transactionId.toLowerCase());
}

/** Whether a new refund that Wix asks for may run. */
function judge(
  { config }: Core,
  request: RefundTransactionRequest,
  transaction: Transaction,
  operations: readonly Operation[],
): Judgement | 'wait' {
  const refuse = (reason: Reason, errorCode: string, message: string) => ({
    amount: request.amount,
    refusal: { reason, errorCode, message },
  });
  if (request.refusal) return refuse(request.refusal.reason, request.refusal.errorCode, request.refusal.message);
  if (request.transactionId !== transaction.id) return { amount: request.amount, refusal: NO_PAYMENT };
  const mode = convert.modeOf(request.mode);
  if (mode && mode !== transaction.mode)
    return refuse(Reason.TEST_MODE, 'MODE', 'The payment was made in another mode');
  if (request.amount === undefined && config.REFUND_AMOUNT_WHEN_ABSENT === 'refuse')
    return refuse(Reason.REQUIRED_FIELDS_ARE_MISSING, 'MISSING_FIELD', 'refundAmount is missing');
  switch (reception('refund', transaction.state)) {
    case 'wait':
      return 'wait';
    case 'balance':
      break;
    default:
      return refuse(Reason.REFUND_NOT_ALLOWED, 'NOT_CAPTURED', 'Payment is not captured');
  }
  return balance(transaction, operations, request.amount);
}

/** Whether a new refund of the PSP's own may run: else an error, which leaves no row, so that its key may come again (R23). */
function ensureBalance(
  transaction: Transaction,
  operations: readonly Operation[],
  amount: bigint | undefined,
): Judgement {
  const { state, capturedAmount, refundedAmount } = transaction;
  if (state !== 'captured')
    throw rpcError(Code.FailedPrecondition, 'NOT_CAPTURED', `the payment is ${state}, not captured`, { state });
  const judgement = balance(transaction, operations, amount);
  const { refusal } = judgement;
  if (!refusal) return judgement;
  const code = refusal.errorCode === 'REFUND_IN_PROGRESS' ? Code.Aborted : Code.FailedPrecondition;
  throw rpcError(code, refusal.errorCode, refusal.message, {
    captured_amount: String(capturedAmount),
    refunded_amount: String(refundedAmount),
    reserved_amount: String(reserved(operations)),
  });
}

/** Whether the balance of a captured payment allows a refund, and its amount: an absent one is what remains, fixed here (R22). */
function balance(transaction: Transaction, operations: readonly Operation[], asked: bigint | undefined): Judgement {
  const refuse = (reason: Reason, errorCode: string, message: string) => ({
    amount: asked,
    refusal: { reason, errorCode, message },
  });
  if (operations.some((operation) => operation.kind === 'refund' && operation.state === 'unknown'))
    return refuse(Reason.REFUND_TECHNICAL_ERROR, 'REFUND_IN_PROGRESS', 'An earlier refund is not decided yet');
  if (transaction.capturedAmount === 0n)
    return refuse(Reason.REFUND_NOT_ALLOWED, 'NOTHING_CAPTURED', 'The payment was a verification of the card');
  if (transaction.refundedAmount >= transaction.capturedAmount)
    return refuse(Reason.PAYMENT_ALREADY_REFUNDED, 'NOTHING_LEFT', 'Payment is fully refunded');
  if (asked === 0n) return refuse(Reason.REFUND_NOT_ALLOWED, 'AMOUNT', 'The amount must not be zero');
  const left = remaining(transaction, reserved(operations));
  // All of it may be reserved by refunds that still run.
  if (left === 0n || (asked ?? left) > left)
    return refuse(Reason.INSUFFICIENT_FUNDS_FOR_REFUND, 'AMOUNT', `More than the remaining ${left}`);
  return { amount: asked ?? left };
}

const NO_PAYMENT: Refusal = {
  reason: Reason.REFUND_NOT_ALLOWED,
  errorCode: 'NO_PAYMENT',
  message: 'Payment not found',
};

/** The answer to a refund of a payment that is not known, or not to this merchant: no row and no event (R22). */
function unknownPayment({ refusal }: RefundTransactionRequest): { refusal: Refusal } {
  return { refusal: refusal ?? NO_PAYMENT };
}

function why(why: Why): string {
  return why === Why.UNSPECIFIED ? '' : (Why[why] ?? '');
}
