import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import {
  type Approved,
  type CardDetails,
  CardDetailsSchema,
  CredentialsOnFileSchema,
  type Outcome,
} from '../../proto/gen/payments/v1/outcome_pb.js';
import { type Wallet, Wallet_AuthenticationMethod } from '../../proto/gen/payments/v1/payment_details_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import type { AuthorizeRequest, Instruction } from '../../proto/gen/processor/v1/processor_pb.js';
import type { Payment } from './books.ts';
import {
  type Aftermath,
  type Behaviour,
  behaviourOf,
  CHALLENGE_FAILED,
  LIVE,
  NO_CHALLENGE,
  NO_PAGE,
  type PageKind,
  pageOfMethod,
  REVOKED,
  TOO_LITTLE,
  UNKNOWN_TOKEN,
} from './cards.ts';
import type { Entry } from './entry.ts';
import { approved, type Decline, declined, inDays, pending } from './outcomes.ts';

// What the simulated engine decides: pure, from the order and what the books say.

/** Acquirers usually hold money for a week. */
const AUTHORIZATION_DAYS = 7;

export interface Decision {
  readonly outcome: Outcome;
  /** What a pending outcome turns into. */
  readonly later?: Outcome;
  /** The buyer decides on a page, and `passes` is what an approval there leads to; `outcome` holds where no page can be shown. */
  readonly page?: { readonly kind: PageKind; readonly passes: Outcome };
  readonly silent?: Behaviour['silent'];
  readonly aftermath: Aftermath;
  /** The only digits of a card that the books keep. */
  readonly lastFour: string;
  /** Given out for later charges; the books know it again. */
  readonly token: string;
}

/** `aftermathOf` tells what a token stands for; undefined: it was never given out. */
export function decideAuthorize(
  request: AuthorizeRequest,
  instruction: Instruction,
  aftermathOf: (token: string) => Aftermath | undefined,
): Decision {
  const { details, capture, allowPartial } = request;
  const method = details?.method;
  const number = numberOf(method);
  const isAbsent = isBuyerAbsent(request);
  const behaviour = instruction.mode === Mode.LIVE ? LIVE : behaviourFor(method, isAbsent, aftermathOf);
  const kind = behaviour === LIVE ? undefined : pageFor(request, behaviour, isAbsent);
  const isAuthenticated = kind === 'challenge' || (behaviour.threeDSecure === 'frictionless' && !details?.moto);
  const onFile =
    details?.setupCredentialsOnFile && kind !== 'hosted' && kind !== 'voucher'
      ? credentialsOnFile(instruction, method, number, isAuthenticated)
      : undefined;
  const passes = outcomeOf({ ...instruction, capture, allowPartial }, behaviour, {
    ...(isAuthenticated && { threeDSecureResult: 'Y', eci: isMastercard(number) ? '02' : '05' }),
    ...(behaviour.threeDSecure === 'not enrolled' && { eci: '07' }),
    ...(number && { avsResult: 'Y', cvvResult: 'M' }),
    ...(isMastercard(number) && { transactionLinkId: linkId(instruction.requestId) }),
    ...(method?.case === 'wallet' && { cardDetails: fundingCard(method.value) }),
    ...(onFile && { credentialsOnFile: onFile }),
  });
  const kept = {
    silent: behaviour.silent,
    aftermath: behaviour.aftermath ?? '',
    lastFour: number.slice(-4),
    token: onFile?.info.case === 'paymentMethodReference' ? onFile.info.value.token : '',
  };
  if (!kind) return { ...kept, ...reviewed(behaviour, passes, instruction.requestId) };
  const outcome = declined(kind === 'challenge' ? NO_CHALLENGE : NO_PAGE, referenceOf(instruction.requestId));
  if (isAbsent) return { ...kept, outcome };
  const fails = behaviour.threeDSecure === 'challenge fails';
  return { ...kept, outcome, page: { kind, passes: fails ? challengeFailed(instruction.requestId) : passes } };
}

/** The payment of a hosted page, once the buyer has typed a card. It may lead to a challenge. */
export function decideHosted({ requestId, amount, currency, sale }: Entry, number: string): Decision {
  const behaviour = behaviourOf(number);
  const needsChallenge = behaviour.threeDSecure?.startsWith('challenge') ?? false;
  const passes = outcomeOf({ requestId, amount, currency, capture: sale, allowPartial: false }, behaviour, {
    ...(needsChallenge && { threeDSecureResult: 'Y', eci: isMastercard(number) ? '02' : '05' }),
    ...{ avsResult: 'Y', cvvResult: 'M' },
  });
  const kept = { aftermath: behaviour.aftermath ?? '', lastFour: number.slice(-4), token: '' } as const;
  if (!needsChallenge) return { ...kept, ...reviewed(behaviour, passes, requestId) };
  const fails = behaviour.threeDSecure === 'challenge fails';
  return { ...kept, outcome: passes, page: { kind: 'challenge', passes: fails ? challengeFailed(requestId) : passes } };
}

const challengeFailed = (requestId: string) => declined(CHALLENGE_FAILED, referenceOf(requestId));

function reviewed(behaviour: Behaviour, decision: Outcome, requestId: string): Pick<Decision, 'outcome' | 'later'> {
  if (!behaviour.reviews) return { outcome: decision };
  return { outcome: pending(Reason.PENDING_FRAUDULENT_TRANSACTION, referenceOf(requestId)), later: decision };
}

type Order = Pick<Instruction, 'requestId' | 'amount' | 'currency'> & { capture: boolean; allowPartial: boolean };

function outcomeOf(order: Order, behaviour: Behaviour, more: Omit<Partial<Approved>, '$typeName'>): Outcome {
  const { requestId, amount, currency } = order;
  const reference = referenceOf(requestId);
  if (behaviour.declines) return declined(behaviour.declines, reference);
  if (behaviour.partial && !order.allowPartial) return declined(TOO_LITTLE, reference);
  return approved({
    processorReference: reference,
    amount: behaviour.partial ? (amount + 1n) / 2n : amount,
    currency,
    authorizationCode: digest(requestId).slice(0, 6),
    networkTransactionId: networkId(requestId),
    ...(!order.capture && { authorizationExpiresAt: inDays(AUTHORIZATION_DAYS) }),
    ...more,
  });
}

type Method = NonNullable<AuthorizeRequest['details']>['method'] | undefined;

/** Wix says `off_session` of wallets too while their buyer is there (Wix contract, 5.6). */
function isBuyerAbsent({ merchantInitiated, details }: AuthorizeRequest): boolean {
  const isOffSession = details?.offSession === true && details.method.case !== 'wallet';
  return merchantInitiated || details?.moto === true || isOffSession;
}

function behaviourFor(
  method: Method,
  isAbsent: boolean,
  aftermathOf: (token: string) => Aftermath | undefined,
): Behaviour {
  if (method?.case === 'reference') {
    const aftermath = aftermathOf(method.value.token);
    if (aftermath === undefined) return UNKNOWN_TOKEN;
    return aftermath === 'charges revoked' ? { declines: REVOKED } : { aftermath };
  }
  if (method?.case !== 'card' && method?.case !== 'wallet') return {};
  const behaviour = behaviourOf(numberOf(method));
  if (behaviour.aftermath === 'charges revoked' && isAbsent && isOnFile(method)) return { declines: REVOKED };
  return behaviour;
}

/** The page that this payment needs; the merchant's wish for a challenge counts only while the buyer is there. */
function pageFor(request: AuthorizeRequest, behaviour: Behaviour, isAbsent: boolean): PageKind | undefined {
  const { details, paymentMethod } = request;
  const method = details?.method;
  if (method?.case === 'reference') return undefined;
  if (method?.case !== 'card' && method?.case !== 'wallet') return pageOfMethod(paymentMethod);
  const { PAN_ONLY } = Wallet_AuthenticationMethod;
  // A cryptogram is the proof that its buyer was authenticated; a mail or telephone order has nobody to authenticate.
  if (details?.moto || (method.case === 'wallet' && method.value.authenticationMethod !== PAN_ONLY)) return undefined;
  const { threeDSecure, declines, silent, reviews } = behaviour;
  if (threeDSecure === 'challenge unless on file') return isOnFile(method) ? undefined : 'challenge';
  if (threeDSecure) return threeDSecure.startsWith('challenge') ? 'challenge' : undefined;
  const mayAsk = details?.scaRequested && !isAbsent && !declines && !silent && !reviews;
  return mayAsk ? 'challenge' : undefined;
}

/** A later charge of a card that was set up before. */
const isOnFile = (method: Method) => method?.case === 'card' && method.value.networkTransactionId !== '';

function numberOf(method: Method): string {
  if (method?.case === 'card') return method.value.number;
  return method?.case === 'wallet' ? method.value.pan : '';
}

/** Takes part or all of what is held; the rest is released. */
export function decideCapture(instruction: Instruction, payment: Payment | undefined): Outcome {
  if (!payment) return declined(NO_PAYMENT);
  if (payment.currency !== instruction.currency) return declined(OTHER_CURRENCY);
  if (payment.held === 0n) return declined(NOTHING_HELD);
  if (instruction.amount < 1n || instruction.amount > payment.held) return declined(CAPTURE_AMOUNT);
  if (payment.aftermath === 'captures fail') return declined(CAPTURE_DECLINED);
  return asAsked(instruction);
}

export function decideVoid(instruction: Instruction, payment: Payment | undefined): Outcome {
  if (!payment) return declined(NO_PAYMENT);
  if (payment.currency !== instruction.currency) return declined(OTHER_CURRENCY);
  if (payment.held === 0n) return declined(NOTHING_HELD);
  if (instruction.amount !== payment.held) return declined(VOID_AMOUNT);
  return payment.aftermath === 'voids fail' ? declined(VOID_DECLINED) : asAsked(instruction);
}

export function decideRefund(instruction: Instruction, payment: Payment | undefined): Outcome {
  if (!payment) return declined(NO_PAYMENT_TO_REFUND);
  if (payment.currency !== instruction.currency) return declined(OTHER_CURRENCY);
  if (payment.captured === 0n) return declined(NOT_CAPTURED);
  if (payment.taken === 0n) return declined(NOTHING_LEFT);
  if (instruction.amount < 1n) return declined(REFUND_AMOUNT);
  if (instruction.amount > payment.taken) return declined(ABOVE_REMAINING);
  if (payment.aftermath === 'refunds fail') return declined(REFUND_DECLINED);
  if (payment.aftermath === 'refunds break') return declined(REFUND_BROKEN);
  if (payment.aftermath === 'refunds too late') return declined(REFUND_TOO_LATE);
  if (payment.aftermath === 'no partial refunds' && instruction.amount < payment.captured) return declined(NO_PARTS);
  return asAsked(instruction);
}

// For captures and voids Wix's table has no group of its own that is known, so general reasons, legal everywhere, are used.
const NO_PAYMENT: Decline = [Reason.REQUEST_IS_NOT_ALLOWED, 'NO_PAYMENT', 'There is no such approved payment'];
const OTHER_CURRENCY: Decline = [Reason.INVALID_VALUE, 'CURRENCY', 'The payment is in another currency'];
const NOTHING_HELD: Decline = [Reason.REQUEST_IS_NOT_ALLOWED, 'NOTHING_HELD', 'No money is held for this payment'];
const CAPTURE_AMOUNT: Decline = [Reason.INVALID_VALUE, 'AMOUNT', 'The amount is not within what is held'];
const VOID_AMOUNT: Decline = [Reason.INVALID_VALUE, 'AMOUNT', 'A void releases exactly what is held'];
const CAPTURE_DECLINED: Decline = [Reason.GENERAL_ERROR, 'CAPTURE_DECLINED', 'The acquirer declined the capture'];
const VOID_DECLINED: Decline = [Reason.GENERAL_ERROR, 'VOID_DECLINED', 'The acquirer declined the void'];
const NO_PAYMENT_TO_REFUND: Decline = [Reason.REFUND_NOT_ALLOWED, 'NO_PAYMENT', 'There is no such approved payment'];
const NOT_CAPTURED: Decline = [Reason.REFUND_NOT_ALLOWED, 'NOT_CAPTURED', 'No money was captured for this payment'];
const NOTHING_LEFT: Decline = [Reason.PAYMENT_ALREADY_REFUNDED, 'NOTHING_LEFT', 'The payment is fully refunded'];
const REFUND_AMOUNT: Decline = [Reason.REFUND_NOT_ALLOWED, 'AMOUNT', 'A refund returns at least one minor unit'];
const ABOVE_REMAINING: Decline = [Reason.INSUFFICIENT_FUNDS_FOR_REFUND, 'ABOVE_REMAINING', 'Less than that is left'];
const REFUND_DECLINED: Decline = [Reason.INSUFFICIENT_FUNDS_FOR_REFUND, 'BALANCE', 'The merchant balance is too low'];
const REFUND_BROKEN: Decline = [Reason.REFUND_TECHNICAL_ERROR, 'ACQUIRER', 'The acquirer could not refund'];
const REFUND_TOO_LATE: Decline = [Reason.REFUND_TIME_LIMIT_EXCEEDED, 'TOO_LATE', 'The time to refund is over'];
const NO_PARTS: Decline = [Reason.PARTIAL_REFUND_NOT_ALLOWED, 'NO_PARTS', 'This payment is refunded as a whole'];

function asAsked({ requestId, amount, currency }: Instruction): Outcome {
  return approved({ processorReference: referenceOf(requestId), amount, currency });
}

/**
 * A card is charged again by its network's id of the first payment, anything else by a token of ours; a card too, of a merchant whose
 * credentials have `onFile` "token".
 */
function credentialsOnFile(
  { requestId, credentials }: Instruction,
  method: Method,
  number: string,
  isAuthenticated: boolean,
) {
  return create(
    CredentialsOnFileSchema,
    method?.case === 'card' && credentials?.values.onFile !== 'token'
      ? {
          info: {
            case: 'cardReference',
            value: {
              networkTransactionId: networkId(requestId),
              ...(isAuthenticated && { dsTransactionId: directoryServerId(requestId) }),
              ...(isMastercard(number) && { transactionLinkId: linkId(requestId) }),
            },
          },
        }
      : {
          info: { case: 'paymentMethodReference', value: { token: `tok_${digest(requestId).slice(0, 24)}` } },
          ...(method?.case === 'wallet' && { paymentMethod: 'creditCard' }),
        },
  );
}

/** A cryptogram comes with a device's number, which only the network can lead back to the card that pays. */
function fundingCard({ pan, authenticationMethod }: Wallet): CardDetails {
  const scheme = pan.startsWith('4') ? 'visa' : 'mastercard';
  const behind = scheme === 'visa' ? { bin: '411111', lastFour: '1111' } : { bin: '510510', lastFour: '5100' };
  const shown =
    authenticationMethod === Wallet_AuthenticationMethod.PAN_ONLY
      ? { bin: pan.slice(0, 6), lastFour: pan.slice(-4) }
      : behind;
  return create(CardDetailsSchema, { scheme, ...shown });
}

export function referenceOf(requestId: string): string {
  return `sim_${requestId}`;
}

function networkId(requestId: string): string {
  return `NET${digest(requestId).slice(-12)}`.toUpperCase();
}

/** Mastercard's id that links later charges to the first one. */
const linkId = (requestId: string) => digest(`link of ${requestId}`).slice(0, 22).toUpperCase();

/** As the directory server of 3-D Secure numbers an authentication: a UUID. */
function directoryServerId(requestId: string): string {
  const digits = digest(`authentication of ${requestId}`);
  return [digits.slice(0, 8), digits.slice(8, 12), `4${digits.slice(13, 16)}`, `8${digits.slice(17, 20)}`]
    .concat(digits.slice(20, 32))
    .join('-');
}

const isMastercard = (number: string) => /^(5[1-5]|2[2-7])/.test(number);

/** Everything that an engine would draw by lot is derived, so that two runs give the same. */
function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
