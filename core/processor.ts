import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type CallOptions, Code, ConnectError } from '@connectrpc/connect';
import type { Outcome } from '../proto/gen/payments/v1/outcome_pb.js';
import { InstructionSchema, OriginalSchema, SubjectSchema } from '../proto/gen/processor/v1/processor_pb.js';
import { histogram } from '../proto/runtime/metrics.ts';
import { inSpan } from '../proto/runtime/tracing.ts';
import type { Core } from './context.ts';
import { MODES } from './convert.ts';
import { toLedgerRecord } from './ledger-record.ts';
import type { ProcessorAccount } from './merchant-credentials.ts';
import type { Operation } from './operation.ts';
import { type LearnedOutcome, notDone, readOutcome, UNKNOWN } from './outcome.ts';
import type { Transaction } from './transaction.ts';

// Calls to the PSP's engine, and what no answer means (R18). The client never retries by itself.

/** In answer to the first send of a request id these mean that certainly nothing happened (R18). */
const REFUSED_UNPROCESSED: readonly Code[] = [
  Code.Unimplemented,
  Code.InvalidArgument,
  Code.Unauthenticated,
  Code.PermissionDenied,
];

/** It may never have heard of the call. */
const SILENT: readonly Code[] = [Code.Unavailable, Code.DeadlineExceeded];

const duration = histogram('processor_call_duration_seconds', 'Calls of the processor by method and what came.', [
  'method',
  'came',
]);

/** Calls the processor within its time-out, ended otherwise only by shutdown (R3). The error, if any, is an answer of this function. */
export async function callProcessor<T>(
  core: Core,
  method: string,
  call: (options: CallOptions) => Promise<T>,
  timeoutMs = core.config.PROCESSOR_TIMEOUT_MS,
): Promise<T | ConnectError> {
  const started = performance.now();
  const measure = (came: string) => duration.observe({ method, came }, (performance.now() - started) / 1000);
  try {
    const answer = await inSpan(`engine ${method}`, { kind: 'client' }, () =>
      call({ timeoutMs, signal: core.calls.signal }),
    );
    measure('answer');
    core.engineSilence.end();
    return answer;
  } catch (error) {
    // What a shutdown cuts off keeps its row as it is (R38).
    if (core.calls.signal.aborted) throw error;
    const failure = ConnectError.from(error);
    measure(Code[failure.code]);
    // The engine's own words stay out of the log: they may quote a credential or a security code.
    const { code: cause } = (failure.cause ?? {}) as { code?: unknown };
    const fields = { method, code: Code[failure.code] };
    core.log.warn('processor.no_answer', { ...fields, cause });
    if (SILENT.includes(failure.code)) core.engineSilence.note(fields);
    else core.engineSilence.end();
    if (failure.code === Code.Unauthenticated)
      core.log.alert('token_refused', { ...fields, setting: 'PROCESSOR_TOKEN' });
    else if (REFUSED_UNPROCESSED.includes(failure.code)) core.log.alert('processor_refuses_calls', fields);
    return failure;
  }
}

type Send = (options: CallOptions) => Promise<{ outcome?: Outcome | undefined }>;

/** The first send of an operation's request id; `number` as in `readAnswer`. */
export async function sendFirst(
  core: Core,
  transaction: Transaction,
  operation: Operation,
  send: Send,
  number?: string,
): Promise<LearnedOutcome> {
  const answer = await callProcessor(core, operation.kind, send);
  if (!(answer instanceof ConnectError)) return readAnswer(core, transaction, operation, answer.outcome, number);
  if (!REFUSED_UNPROCESSED.includes(answer.code)) return UNKNOWN;
  return notDone(operation, 'PROCESSOR_REFUSED', 'The processor did not take the request');
}

/** A repeat of it, or a question about it: here an error at the door is no answer either (R18). */
export async function callProcessorAgain<T>(
  core: Core,
  method: string,
  call: (options: CallOptions) => Promise<T>,
): Promise<T | undefined> {
  const answer = await callProcessor(core, method, call);
  return answer instanceof ConnectError ? undefined : answer;
}

/**
 * Reads what the engine answered; `number` is the card's, while it is in memory. An answer that says nothing is unknown and worth a look,
 * as is one of which something had to go.
 */
export function readAnswer(
  core: Core,
  transaction: Transaction,
  operation: Operation,
  outcome: Outcome | undefined,
  number?: string,
): LearnedOutcome {
  const learned = readOutcome(transaction, operation, outcome, number);
  if (learned.lost || (learned.trigger === 'unknown' && outcome?.kind.case !== 'unknown'))
    alertUnreadable(core, operation, learned);
  return learned;
}

export function alertUnreadable(
  core: Core,
  { id: operationId, transactionId }: Operation,
  { lost }: LearnedOutcome,
): void {
  core.log.alert('processor_answer_unreadable', { transactionId, operationId, fields: lost });
}

/** The order to move money, as the engine gets it. */
export function instruction(transaction: Transaction, operation: Operation, account: ProcessorAccount) {
  return create(InstructionSchema, {
    requestId: operation.id,
    transactionId: transaction.id,
    accountReference: account.accountReference,
    credentials: account.credentials,
    amount: operation.amount ?? 0n,
    currency: transaction.currency ?? '',
    createdAt: timestampFromDate(operation.createdAt),
    attempt: operation.attempt,
    ledgerRecord: toLedgerRecord(transaction, operation),
    ...(transaction.mode && { mode: MODES[transaction.mode] }),
  });
}

/** The name of an operation, for questions about it. */
export function subject(transaction: Transaction, operation: Operation, account: ProcessorAccount) {
  return create(SubjectSchema, {
    requestId: operation.id,
    transactionId: transaction.id,
    accountReference: account.accountReference,
    credentials: account.credentials,
    createdAt: timestampFromDate(operation.createdAt),
    ...(transaction.mode && { mode: MODES[transaction.mode] }),
  });
}

/** How a capture, void or refund is sent, the first time and in every resend. */
export function sendMoney(
  core: Core,
  transaction: Transaction,
  authorize: Operation,
  operation: Operation,
  account: ProcessorAccount,
): Send {
  const request = {
    instruction: instruction(transaction, operation, account),
    original: create(OriginalSchema, {
      requestId: authorize.id,
      processorReference: authorize.processorReference,
      authorizedAmount: transaction.authorizedAmount,
      capturedAmount: transaction.capturedAmount,
      remainingAmount: transaction.capturedAmount - transaction.refundedAmount,
    }),
  };
  return (options) => {
    switch (operation.kind) {
      case 'capture':
        return core.processor.capture({ ...request, final: true }, options);
      case 'void':
        return core.processor.void(request, options);
      case 'refund':
        return core.processor.refund({ ...request, why: operation.why }, options);
      default:
        throw new Error(`${operation.kind} is not sent this way`);
    }
  };
}
