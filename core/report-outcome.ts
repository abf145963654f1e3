import { create } from '@bufbuild/protobuf';
import { Code, type HandlerContext } from '@connectrpc/connect';
import {
  type ReportOutcomeRequest,
  type ReportOutcomeResponse,
  ReportOutcomeResponseSchema,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import { callerKey } from '../proto/runtime/callers.ts';
import { ensure } from '../proto/runtime/requests.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import type { Core } from './context.ts';
import * as convert from './convert.ts';
import { readFields } from './fields.ts';
import { processorAccount } from './merchant-credentials.ts';
import type { Operation } from './operation.ts';
import { readOutcome } from './outcome.ts';
import { ownCard } from './own-card.ts';
import { alertUnreadable } from './processor.ts';
import { end } from './reconcile.ts';
import { settle } from './settle.ts';
import { operationById } from './store/operations.ts';
import { transactionById } from './store/transactions.ts';
import type { Transaction } from './transaction.ts';
import { validReport } from './valid.ts';

/** Takes an outcome that came after its call, from the engine; or an operator's, where the engine cannot tell (R24). */
export async function reportOutcome(
  core: Core,
  request: ReportOutcomeRequest,
  context: HandlerContext,
): Promise<ReportOutcomeResponse> {
  validReport(request);
  const caller = context.values.get(callerKey);
  if (request.override !== (caller.role === 'operator'))
    throw rpcError(Code.PermissionDenied, 'ROLE_NOT_ALLOWED', 'operators override, engines report');
  const operation = await operationById(core.db, request.requestId);
  const transaction = operation && (await transactionById(core.db, operation.transactionId));
  if (!transaction || operation.kind === 'cancel') {
    core.log.alert('report_of_unknown_operation', { requestId: request.requestId, caller: caller.name });
    throw rpcError(Code.NotFound, 'OPERATION_NOT_FOUND', 'there is no operation with this request_id', {
      request_id: request.requestId,
    });
  }
  const { outcome } = request;
  const isReasonless = outcome?.kind.case === 'declined' && outcome.kind.value.reason === Reason.UNSPECIFIED;
  ensure(!request.override || !isReasonless, 'outcome.declined.reason', 'must be a reason of Wix');
  const learned = readOutcome(transaction, operation, outcome);
  const bad = learned.lost?.find((name) => !isOptional(name)) ?? '';
  ensure(
    bad === '',
    `outcome.${bad}`,
    'cannot be kept: control characters, a card number, too long, or no time in seconds',
  );
  if (learned.lost) alertUnreadable(core, operation, learned);
  const { text } = readFields(ownCard(transaction));
  const override = request.override ? { why: text('override_reason', request.overrideReason, 500) } : undefined;
  if (override && ['declined', 'failed', 'expired'].includes(learned.trigger))
    await ensureEnd(core, transaction, operation);
  const settled = await settle(core, operation, learned, { caller: caller.name, ...(override && { override }) });
  if (!settled) throw new Error('an operation that was read cannot be found');
  if (settled.change.contradiction)
    throw rpcError(
      Code.FailedPrecondition,
      'CONTRADICTION',
      'this contradicts what is known: it was kept and changes nothing',
      {
        state: settled.transaction.state,
        operation_state: settled.operation.state,
      },
    );
  return create(ReportOutcomeResponseSchema, {
    transaction: convert.toTransaction(settled.transaction),
    operation: convert.toOperation(settled.operation),
  });
}

/** A payment is approved all the same without what Wix could charge again with (R52). */
const isOptional = (name: string) => name.startsWith('approved.credentials_on_file');

/** A capture, void or refund may be declared undone only once the processor has promised that it will never happen, or never did (R24). */
async function ensureEnd(core: Core, transaction: Transaction, operation: Operation): Promise<void> {
  if (operation.kind === 'authorize' || operation.kind === 'reversal') return;
  const account = await processorAccount(core, core.db, transaction);
  const ended = await end(core, { transaction, account }, operation);
  if (['cancel_confirmed', 'declined', 'failed', 'expired'].includes(ended?.trigger ?? '')) return;
  throw rpcError(
    Code.FailedPrecondition,
    'CANCEL_NOT_CONFIRMED',
    'the processor has not confirmed that it will never happen',
  );
}
