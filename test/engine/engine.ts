import { randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type Client,
  Code,
  ConnectError,
  type ConnectRouter,
  type HandlerContext,
  type ServiceImpl,
} from '@connectrpc/connect';
import { type Outcome, OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import type { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Operation_Kind } from '../../proto/gen/payments/v1/transaction_pb.js';
import {
  type AuthorizeRequest,
  type CaptureRequest,
  type Instruction,
  ProcessorService,
  type RefundRequest,
  type Subject,
  type VoidRequest,
} from '../../proto/gen/processor/v1/processor_pb.js';
import type { Log } from '../../proto/runtime/log.ts';
import { type Loop, sleep, startLoop } from '../../proto/runtime/loop.ts';
import { type Books, type Later, openBooks } from './books.ts';
import { type Decision, decideAuthorize, decideCapture, decideRefund, decideVoid, referenceOf } from './decide.ts';
import type { Kind, Page } from './entry.ts';
import type { FaultHook, Method, OutcomeInit, ProcessorRequest } from './fault.ts';
import { approved, buyerAction, expired, failed, isOpen } from './outcomes.ts';
import { verifyAccount } from './verify-account.ts';

// The simulated engine: somebody else's system, with books of its own, behind the same port as any engine. It is told what to do
// by card numbers (cards.ts) from outside, and by `fault` in tests.

export interface EngineOptions {
  /** Folder of the books, or ':memory:'. */
  readonly data: string;
  readonly log: Log;
  /** Where outcomes that come late are reported; without it they wait for GetOperation. */
  readonly reportTo?: Client<typeof PaymentsService>;
  /** How long a review takes. */
  readonly pendingMs?: number;
  /** How long a call without an answer stays open before it ends UNAVAILABLE; absent: until its caller gives up. */
  readonly silenceMs?: number;
}

export interface Engine {
  routes(router: ConnectRouter): void;
  readonly books: Books;
  fault: FaultHook | undefined;
  reportTo: Client<typeof PaymentsService> | undefined;
  /** Where its pages are, such as http://127.0.0.1:50062; without it what needs a page is declined. */
  pagesUrl: string | undefined;
  /**
   * Ends a pending operation or a buyer action: the answer of a buyer, a bank or a fraud team. Throws if it is not open. An outcome that
   * is open itself may turn into another one.
   */
  settle(requestId: string, outcome: OutcomeInit, next?: Later): void;
  /** Begins to decide what is pending and to report it. */
  start(): void;
  /** Ends silent calls and closes the books. */
  stop(): Promise<void>;
}

const IDLE_MS = 50;
const FOR_EVER_MS = 2 ** 31 - 1;
/** A page that nobody used or cancelled for so long is of no use any more. */
const PAGE_MS = 24 * 60 * 60 * 1_000;
const RETURN_URL_MAX = 2_000;
/** After one of these, asking the core once more changes nothing. */
const NEVER_AGAIN = [Code.NotFound, Code.FailedPrecondition, Code.InvalidArgument];

export function createEngine(options: EngineOptions): Engine {
  const { log, pendingMs = 1_500, silenceMs = FOR_EVER_MS } = options;
  const books = openBooks(options.data);
  const stopping = new AbortController();
  let loop: Loop | undefined;

  async function silence(context: HandlerContext): Promise<never> {
    await sleep(silenceMs, AbortSignal.any([context.signal, stopping.signal]));
    throw noAnswer();
  }

  /** Every call comes through here: it is counted, what is due is decided first, and a test may spoil it. */
  async function answer<Answer>(
    method: Method,
    request: ProcessorRequest,
    requestId: string,
    context: HandlerContext,
    run: (told: Outcome | undefined) => Answer,
  ): Promise<Answer> {
    if (requestId) books.countCall(requestId, method);
    const fault = await engine.fault?.(method, request, requestId);
    if (fault instanceof ConnectError) throw fault;
    if (fault === 'unavailable') throw noAnswer();
    if (fault === 'ignore') return silence(context);
    settleDue();
    const result = run(typeof fault === 'object' ? create(OutcomeSchema, fault) : undefined);
    log.info('engine.called', { method, requestId, ...(typeof fault === 'string' && { fault }) });
    if (fault === 'drop answer') throw noAnswer();
    if (fault === 'hang') return silence(context);
    return result;
  }

  /** Decides an order once for its request id, and answers it from the books ever after. */
  async function order(
    kind: 'authorize' | 'capture' | 'void' | 'refund',
    request: AuthorizeRequest | CaptureRequest | VoidRequest | RefundRequest,
    context: HandlerContext,
    decide: (instruction: Instruction) => Partial<Decision> & { outcome: Outcome },
  ): Promise<{ outcome: Outcome }> {
    const instruction = validInstruction(request.instruction);
    const { requestId } = instruction;
    let silent: Decision['silent'];
    const result = await answer(kind, request, requestId, context, (told) => {
      const known = books.find(requestId);
      if (known && known.kind !== kind && known.kind !== 'tombstone')
        throw invalid('the request_id is of another kind');
      if (known) return { outcome: known.outcome };
      const { page: needed, ...decided } = decide(instruction);
      const page = told || !('returnUrl' in request) ? undefined : pageFor(request, needed);
      const pageless = told ? { ...decided, outcome: told, later: undefined, silent: undefined } : decided;
      const decision = page ? { ...decided, outcome: page.outcome, later: LEFT } : pageless;
      silent = decision.silent;
      if (silent === 'doing nothing') return { outcome: decision.outcome };
      books.record(
        {
          requestId,
          kind,
          transactionId: instruction.transactionId,
          accountReference: instruction.accountReference,
          originalRequestId: 'original' in request ? (request.original?.requestId ?? '') : requestId,
          amount: instruction.amount,
          currency: instruction.currency,
          sale: 'capture' in request && request.capture,
          aftermath: decision.aftermath ?? '',
          lastFour: decision.lastFour ?? '',
          token: decision.token ?? '',
          outcome: decision.outcome,
          ended: false,
          later: decision.later,
          dueAt: decision.later && Date.now() + (page ? PAGE_MS : pendingMs),
          instruction: withoutCredentials(instruction),
        },
        page,
      );
      return { outcome: decision.outcome };
    });
    return silent ? silence(context) : result;
  }

  /** A page of its own for the buyer of this payment, if it needs one, there are any, and the buyer can come back from it. */
  function pageFor(request: AuthorizeRequest, page: Decision['page']): (Page & { outcome: Outcome }) | undefined {
    const { returnUrl, paymentMethod: method } = request;
    if (!page || !engine.pagesUrl || returnUrl === '') return undefined;
    if (!isWebAddress(returnUrl)) throw invalid('return_url is not a web address');
    const requestId = request.instruction?.requestId ?? '';
    const token = randomBytes(16).toString('base64url');
    const outcome = buyerAction(`${engine.pagesUrl}/pay/${token}`, referenceOf(requestId));
    return { ...page, token, requestId, method, returnUrl, outcome };
  }

  const paymentOf = (request: CaptureRequest | VoidRequest | RefundRequest) =>
    books.payment(request.original?.requestId ?? '', request.instruction?.transactionId ?? '');

  /** Ends what is not approved yet; what was never seen becomes a tombstone. */
  function cancel(subject: Subject) {
    const { requestId } = subject;
    const known = books.find(requestId);
    if (!known) books.record({ ...bare(subject), kind: 'tombstone', outcome: CANCELLED, ended: true });
    else if (isOpen(known.outcome)) books.settle(requestId, CANCELLED, { ended: true });
    else if (!known.ended) return { result: { case: 'outcome' as const, value: known.outcome } };
    return { result: { case: 'ended' as const, value: { tombstone: !known || known.kind === 'tombstone' } } };
  }

  /** Gives back whatever an approved authorize still holds or has taken, once. */
  function reverse(subject: Subject): { outcome: Outcome } {
    const requestId = `reversal of ${subject.requestId}`;
    const known = books.find(requestId);
    if (known) return { outcome: known.outcome };
    const original = books.find(subject.requestId);
    if (!original || !books.payment(subject.requestId, original.transactionId)) return { outcome: NOT_APPROVED };
    const outcome = approved({ processorReference: referenceOf(requestId) });
    const { transactionId, accountReference, amount, currency } = original;
    books.record({
      ...bare({ ...subject, transactionId, accountReference }),
      ...{ requestId, originalRequestId: subject.requestId, kind: 'reversal', amount, currency, outcome },
    });
    return { outcome };
  }

  const service: ServiceImpl<typeof ProcessorService> = {
    verifyAccount: (request, context) => answer('verifyAccount', request, '', context, () => verifyAccount(request)),
    authorize: (request, context) =>
      order('authorize', request, context, (instruction) => decideAuthorize(request, instruction, books.aftermathOf)),
    capture: (request, context) =>
      order('capture', request, context, (instruction) => ({
        outcome: decideCapture(instruction, paymentOf(request)),
      })),
    void: (request, context) =>
      order('void', request, context, (instruction) => ({ outcome: decideVoid(instruction, paymentOf(request)) })),
    refund: (request, context) =>
      order('refund', request, context, (instruction) => ({ outcome: decideRefund(instruction, paymentOf(request)) })),
    getOperation: (request, context) => {
      const { requestId } = validSubject(request.subject);
      return answer('getOperation', request, requestId, context, (told) => {
        const outcome = told ?? books.find(requestId)?.outcome;
        return { result: outcome ? { case: 'outcome', value: outcome } : { case: 'notFound', value: {} } };
      });
    },
    cancel: (request, context) => {
      const subject = validSubject(request.subject);
      return answer('cancel', request, subject.requestId, context, (told) =>
        told ? { result: { case: 'outcome' as const, value: told } } : cancel(subject),
      );
    },
    reverse: (request, context) => {
      const subject = validSubject(request.subject);
      return answer('reverse', request, subject.requestId, context, (told) =>
        told ? { outcome: told } : reverse(subject),
      );
    },
    listOperations: (request, context) =>
      answer('listOperations', request, '', context, () => {
        const { changedSince, pageSize, pageToken } = request;
        const since = changedSince ? timestampMs(changedSince) : 0;
        const page = books.changedSince(since, Number(pageToken), Math.min(Math.max(pageSize, 1), 1_000));
        const operations = page.map(({ kind, instruction, outcome }) => ({
          kind: LISTED[kind] ?? Operation_Kind.UNSPECIFIED,
          outcome,
          reversed: books.find(`reversal of ${instruction?.requestId}`) !== undefined,
          ...(instruction && { instruction }),
        }));
        return { operations, nextPageToken: page.length < pageSize ? '' : String(page.at(-1)?.number ?? '') };
      }),
  };

  function settleDue(): number {
    const due = books.due(Date.now());
    for (const { requestId, later } of due) if (later) books.settle(requestId, later);
    return due.length;
  }

  async function reportLate(): Promise<number> {
    const { reportTo } = engine;
    if (!reportTo) return 0;
    let reported = 0;
    for (const { requestId, outcome } of books.unreported()) {
      try {
        await reportTo.reportOutcome({ requestId, outcome }, { signal: stopping.signal });
      } catch (err) {
        log.warn('engine.report_failed', { requestId, err });
        if (!NEVER_AGAIN.includes(ConnectError.from(err).code)) continue;
      }
      books.reported(requestId);
      reported += 1;
    }
    return reported;
  }

  const engine: Engine = {
    routes: (router) => void router.service(ProcessorService, service),
    books,
    fault: undefined,
    reportTo: options.reportTo,
    pagesUrl: undefined,
    settle: (requestId, outcome, next) => {
      books.settle(requestId, create(OutcomeSchema, outcome), next);
      loop?.wake();
    },
    start: () => {
      loop ??= startLoop('engine', async () => settleDue() + (await reportLate()), { idleMs: IDLE_MS, log });
    },
    stop: async () => {
      if (stopping.signal.aborted) return;
      stopping.abort();
      await loop?.stop();
      books.close();
    },
  };
  return engine;
}

const LISTED: Partial<Record<Kind, Operation_Kind>> = {
  authorize: Operation_Kind.AUTHORIZE,
  capture: Operation_Kind.CAPTURE,
  void: Operation_Kind.VOID,
  refund: Operation_Kind.REFUND,
};

function withoutCredentials({ credentials: _, ...instruction }: Instruction): Instruction {
  return instruction;
}

const CANCELLED = failed('CANCELLED', 'The operation was cancelled before it was approved');
const LEFT = expired('BUYER_LEFT', 'The buyer did not finish the payment');
const NOT_APPROVED = failed('NOT_APPROVED', 'There is no approval to undo');

function bare({ requestId, transactionId, accountReference }: Omit<Subject, '$typeName'>) {
  return {
    ...{ requestId, originalRequestId: requestId, transactionId, accountReference, amount: 0n, currency: '' },
    ...{
      sale: false,
      aftermath: '' as const,
      lastFour: '',
      token: '',
      ended: false,
      later: undefined,
      dueAt: undefined,
      instruction: undefined,
    },
  };
}

function validInstruction(instruction: Instruction | undefined): Instruction {
  if (!instruction?.requestId || !instruction.transactionId)
    throw invalid('request_id and transaction_id are required');
  if (instruction.amount < 0n) throw invalid('an amount is not negative');
  if (!/^[A-Z]{3}$/.test(instruction.currency)) throw invalid('a currency is three letters of ISO 4217');
  return instruction;
}

function validSubject(subject: Subject | undefined): Subject {
  if (!subject?.requestId) throw invalid('request_id is required');
  return subject;
}

function isWebAddress(url: string): boolean {
  return url.length <= RETURN_URL_MAX && URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
}

const invalid = (message: string) => new ConnectError(message, Code.InvalidArgument);
const noAnswer = () => new ConnectError('no answer', Code.Unavailable);
