import { Code, type HandlerContext } from '@connectrpc/connect';
import type {
  CaptureTransactionRequest,
  VoidTransactionRequest,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import type { Queryable } from '../proto/runtime/database.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import { answerOperation, outcomeUnknown } from './answer-operation.ts';
import { startBudget } from './calls.ts';
import type { Core } from './context.ts';
import * as convert from './convert.ts';
import { operationId } from './ids.ts';
import { isOfMerchant, processorAccount } from './merchant-credentials.ts';
import { nextAttempt, type Operation } from './operation.ts';
import { perform, runningMs } from './perform.ts';
import { sendMoney } from './processor.ts';
import { type Recorded, receiveInTurn, record } from './record.ts';
import { announce } from './settle.ts';
import { operationByCall, operationsOf } from './store/operations.ts';
import { lockTransaction } from './store/transactions.ts';
import { type Refusal, reception, wrongAmount } from './transaction.ts';
import { validCapture } from './valid.ts';

// What capture and void share: one of them at a time, once (R21).

type Kind = 'capture' | 'void';
type Request = CaptureTransactionRequest | VoidTransactionRequest;

export async function captureOrVoid(core: Core, kind: Kind, request: Request, context: HandlerContext) {
  validCapture(request);
  const budget = startBudget(core.config.ANSWER_BUDGET_MS, context.timeoutMs());
  // While another capture or void runs, the answer depends on what becomes of it.
  const received = await receiveInTurn(core, budget, request.externalId, (tx) => receive(core, tx, kind, request));
  if (!received) throw outcomeUnknown();
  if ('refusal' in received) return { refusal: convert.toRefusal(received.refusal) };
  const { transaction, operation, authorize } = received;
  announce(core, { ...received, change: { event: received.event } });
  if (authorize) {
    const account = await processorAccount(core, core.db, transaction);
    await perform(core, budget, received, sendMoney(core, transaction, authorize, operation, account));
  }
  return answerOperation(core, budget, operation.id);
}

type Received = (Recorded & { readonly authorize?: Operation }) | { readonly refusal: Refusal };

/** tx 1. With `authorize`, the operation runs and is to be sent; undefined: wait. */
async function receive(core: Core, tx: Queryable, kind: Kind, request: Request): Promise<Received | undefined> {
  const found = await lockTransaction(tx, { externalId: request.externalId });
  const isKnown = found?.id === request.transactionId;
  if (!isKnown || !(await isOfMerchant(core, tx, found, request.merchantCredentials))) return { refusal: NO_PAYMENT };
  const { now: _, ...transaction } = found;
  // The gateway's own repeat of one call of Wix is answered from its operation, before the table.
  const known = await operationByCall(tx, request.callId);
  if (known && (known.transactionId !== transaction.id || known.kind !== kind))
    throw rpcError(Code.AlreadyExists, 'CALL_ID_USED', 'this call_id belongs to another operation');
  if (known) return { transaction, operation: known };

  const operations = await operationsOf(tx, transaction.id);
  const attempt = nextAttempt(kind, operations);
  const fields = {
    id: operationId(kind, transaction.externalId, 'wix', transaction.externalId, attempt),
    kind,
    key: transaction.externalId,
    callId: request.callId,
    attempt,
    amount: request.amount,
    approvedAmount: null,
    why: '',
    dueInMs: runningMs(core),
  };
  const refuse = (refusal: Refusal) =>
    record(core, tx, transaction, {}, { ...fields, state: 'declined', refusal }, `${kind}_failed`);
  const committed = (state: 'captured' | 'voided') => {
    const end = state === 'captured' ? 'CAPTURED' : 'VOIDED';
    const call = kind === 'capture' ? 'CAPTURE' : 'VOID';
    const reason = core.config[`${call}_OF_${end}_REASON`] ?? core.config.ALREADY_COMMITTED_REASON;
    return { refusal: { reason, errorCode: `ALREADY_${end}`, message: `Payment was ${state} before` } };
  };

  switch (reception(kind, transaction.state)) {
    case 'run': {
      const refusal = wrongAmount(kind, request.amount, transaction.authorizedAmount, core.config.PARTIAL_CAPTURE);
      if (refusal) return refuse(refusal);
      core.calls.ensureRoom(transaction.externalMerchantId ?? '', false);
      const state = kind === 'capture' ? 'capturing' : 'voiding';
      const authorize = operations.find((operation) => operation.kind === 'authorize');
      if (!authorize) throw new Error('an authorized payment has an authorize operation');
      return { ...(await record(core, tx, transaction, { state }, { ...fields, state: 'running' })), authorize };
    }
    case 'wait':
      return undefined;
    case 'already_captured':
      return committed('captured');
    case 'already_voided':
      return committed('voided');
    case 'expired':
      return refuse({
        reason: Reason.TRANSACTION_EXPIRED,
        errorCode: 'AUTH_EXPIRED',
        message: 'Authorisation has expired',
      });
    case 'void_expired': {
      const operation = { ...fields, state: 'approved', approvedAmount: request.amount } as const;
      const refusal = wrongAmount(kind, request.amount, transaction.authorizedAmount, core.config.PARTIAL_CAPTURE);
      return refusal
        ? refuse(refusal)
        : record(core, tx, transaction, { state: 'voided' }, operation, 'void_succeeded');
    }
    default:
      return { refusal: TOO_EARLY };
  }
}

const NO_PAYMENT: Refusal = {
  reason: Reason.REQUEST_IS_NOT_ALLOWED,
  errorCode: 'NO_PAYMENT',
  message: 'Payment not found',
};
const TOO_EARLY: Refusal = {
  reason: Reason.REQUEST_IS_NOT_ALLOWED,
  errorCode: 'NOT_AUTHORIZED',
  message: 'Payment is not authorized',
};
