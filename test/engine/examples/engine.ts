import { hash, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http2';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter, type Interceptor, type ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { OutcomeSchema } from '../../../proto/gen/payments/v1/outcome_pb.js';
import { Reason } from '../../../proto/gen/payments/v1/reason_pb.js';
import { type Instruction, ProcessorService, type VoidRequest } from '../../../proto/gen/processor/v1/processor_pb.js';

// The smallest engine that keeps the promises of processor.v1. ENGINE_TOKEN=... ENGINE_PORT=50061 node engine.ts
// Its books are in memory, to be small: in earnest they are tables, written in one transaction before the answer is given.

type Outcome = MessageInitShape<typeof OutcomeSchema>;
type Payment = { currency: string; held: bigint; taken: bigint };
type Move = (now: Payment, amount: bigint) => [held: bigint, taken: bigint] | false;

/** What each request id was answered, and what each approved authorize holds and has taken (minor units). */
const books = new Map<string, { kind: string; outcome: Outcome }>();
const payments = new Map<string, Payment>();

const yes = (id: string): Outcome => ({ kind: { case: 'approved', value: { processorReference: `ref-${id}` } } });
const no = (reason: Reason): Outcome => ({ kind: { case: 'declined', value: { reason, errorCode: `E-${reason}` } } });
const failed = (errorCode: string): Outcome => ({ kind: { case: 'failed', value: { errorCode } } });
const IN_REVIEW: Outcome = { kind: { case: 'pending', value: { reason: Reason.PENDING_FRAUDULENT_TRANSACTION } } };

/** Decides an order once for its request id. Nothing in here waits, so of two sends at once one comes first. */
function once(kind: string, order: Instruction | undefined, decide: (order: Instruction) => Outcome) {
  if (!order?.requestId) throw new ConnectError('request_id is missing', Code.InvalidArgument);
  const known = books.get(order.requestId);
  if (known && ![kind, 'tombstone'].includes(known.kind)) throw new ConnectError('another kind', Code.InvalidArgument);
  const outcome = known?.outcome ?? decide(order);
  if (!known) books.set(order.requestId, { kind, outcome });
  return { outcome };
}

function charge({ requestId, amount, currency }: Instruction, capture: boolean): Outcome {
  payments.set(requestId, { currency, held: capture ? 0n : amount, taken: capture ? amount : 0n });
  return yes(requestId);
}

/** A capture, void or refund. `move` says what the payment then holds and has taken, or false if that may not be. */
function follow(kind: string, reason: Reason, move: Move) {
  return ({ instruction, original }: Pick<VoidRequest, 'instruction' | 'original'>) =>
    once(kind, instruction, ({ requestId, amount, currency }) => {
      const payment = payments.get(original?.requestId ?? '');
      const moved = amount > 0n && payment?.currency === currency && move(payment, amount);
      if (!moved) return no(reason);
      [payment.held, payment.taken] = moved;
      return yes(requestId);
    });
}

const engine: Omit<ServiceImpl<typeof ProcessorService>, 'listOperations'> = {
  verifyAccount: ({ externalMerchantId, credentials }) => {
    const account = { accountReference: `account-${externalMerchantId}`, name: 'Example account' };
    const refusal = { reason: Reason.MERCHANT_ACCOUNT_INVALID, errorCode: 'API_KEY', message: 'The API key is wrong' };
    const isRight = credentials?.values.apiKey === 'test';
    return { result: isRight ? { case: 'account', value: account } : { case: 'refusal', value: refusal } };
  },
  authorize: ({ instruction, details, capture }) =>
    once('authorize', instruction, (order) => {
      const number = details?.method.case === 'card' ? details.method.value.number : '';
      if (number === '4000000000000002' || order.amount < 1n) return no(Reason.GENERAL_BANK_DECLINE);
      if (number !== '4000000000009235') return charge(order, capture);
      setTimeout(() => {
        const found = books.get(order.requestId);
        if (found?.outcome === IN_REVIEW) found.outcome = charge(order, capture);
      }, 1_000);
      return IN_REVIEW;
    }),
  capture: follow('capture', Reason.REQUEST_IS_NOT_ALLOWED, ({ held }, sum) => sum <= held && [0n, sum]),
  void: follow('void', Reason.REQUEST_IS_NOT_ALLOWED, ({ held, taken }, sum) => sum === held && [0n, taken]),
  refund: follow('refund', Reason.REFUND_NOT_ALLOWED, ({ held, taken }, sum) => sum <= taken && [held, taken - sum]),
  getOperation: ({ subject }) => {
    const known = books.get(subject?.requestId ?? '');
    return { result: known ? { case: 'outcome', value: known.outcome } : { case: 'notFound', value: {} } };
  },
  cancel: ({ subject }) => {
    const { kind, outcome } = books.get(subject?.requestId ?? '') ?? { kind: 'tombstone', outcome: IN_REVIEW };
    if (kind !== 'tombstone' && outcome !== IN_REVIEW) return { result: { case: 'outcome', value: outcome } };
    books.set(subject?.requestId ?? '', { kind, outcome: failed('CANCELLED') });
    return { result: { case: 'ended', value: { tombstone: kind === 'tombstone' } } };
  },
  reverse: ({ subject }) => {
    const payment = payments.get(subject?.requestId ?? '');
    if (payment) Object.assign(payment, { held: 0n, taken: 0n });
    return { outcome: payment ? yes(`reversal-of-${subject?.requestId}`) : failed('NOT_APPROVED') };
  },
};

const { ENGINE_TOKEN: token, ENGINE_PORT: port = '50061' } = process.env;
if (!token) throw new Error('ENGINE_TOKEN is missing');
const digest = (text: string | null) => hash('sha256', text ?? '', 'buffer');
const door: Interceptor = (next) => (request) => {
  if (timingSafeEqual(digest(request.header.get('authorization')), digest(`Bearer ${token}`))) return next(request);
  throw new ConnectError('the token is wrong', Code.Unauthenticated);
};
const routes = (router: ConnectRouter) => void router.service(ProcessorService, engine);
createServer(connectNodeAdapter({ routes, interceptors: [door] })).listen(Number(port), '127.0.0.1');
