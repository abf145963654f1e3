import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import {
  type CardDetails,
  CardDetailsSchema,
  type CredentialsOnFile,
  CredentialsOnFileSchema,
  type Outcome,
} from '../../proto/gen/payments/v1/outcome_pb.js';
import { type Wallet, Wallet_AuthenticationMethod } from '../../proto/gen/payments/v1/payment_details_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import type { AuthorizeRequest, Instruction } from '../../proto/gen/processor/v1/processor_pb.js';
import type { Payment } from './books.ts';
import { type Aftermath, type Behaviour, behaviourOf, LIVE, REDIRECT, UNKNOWN_TOKEN } from './cards.ts';
import { approved, type Decline, declined, inDays, pending } from './outcomes.ts';

// What the simulated engine decides: pure, from the order and what the books say.

/** Acquirers usually hold money for a week. */
const AUTHORIZATION_DAYS = 7;

export interface Decision {
  readonly outcome: Outcome;
  /** What a pending outcome turns into. */
  readonly later?: Outcome;
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
  const { details } = request;
  const method = details?.method;
  const number = numberOf(method);
  const behaviour = instruction.mode === Mode.LIVE ? LIVE : behaviourFor(method, aftermathOf);
  const reference = referenceOf(instruction.requestId);
  const onFile = details?.setupCredentialsOnFile
    ? credentialsOnFile(instruction.requestId, method?.case === 'wallet')
    : undefined;
  const decision = behaviour.declines
    ? declined(behaviour.declines, reference)
    : approved({
        processorReference: reference,
        amount: instruction.amount,
        currency: instruction.currency,
        authorizationCode: digest(instruction.requestId).slice(0, 6),
        networkTransactionId: networkId(instruction.requestId),
        ...(number && { avsResult: 'Y', cvvResult: 'M' }),
        ...(!request.capture && { authorizationExpiresAt: inDays(AUTHORIZATION_DAYS) }),
        ...(method?.case === 'wallet' && { cardDetails: fundingCard(method.value) }),
        ...(onFile && { credentialsOnFile: onFile }),
      });
  return {
    ...(behaviour.reviews
      ? { outcome: pending(Reason.PENDING_FRAUDULENT_TRANSACTION, reference), later: decision }
      : { outcome: decision }),
    silent: behaviour.silent,
    aftermath: behaviour.aftermath ?? '',
    lastFour: number.slice(-4),
    token: onFile?.info.case === 'paymentMethodReference' ? onFile.info.value.token : '',
  };
}

type Method = NonNullable<AuthorizeRequest['details']>['method'] | undefined;

function behaviourFor(method: Method, aftermathOf: (token: string) => Aftermath | undefined): Behaviour {
  if (method?.case === 'reference') {
    const aftermath = aftermathOf(method.value.token);
    return aftermath === undefined ? UNKNOWN_TOKEN : { aftermath };
  }
  return method?.case === 'card' || method?.case === 'wallet' ? behaviourOf(numberOf(method)) : REDIRECT;
}

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
  return instruction.amount === payment.held ? asAsked(instruction) : declined(VOID_AMOUNT);
}

export function decideRefund(instruction: Instruction, payment: Payment | undefined): Outcome {
  if (!payment) return declined(NO_PAYMENT_TO_REFUND);
  if (payment.currency !== instruction.currency) return declined(OTHER_CURRENCY);
  if (payment.captured === 0n) return declined(NOT_CAPTURED);
  if (payment.taken === 0n) return declined(NOTHING_LEFT);
  if (instruction.amount < 1n) return declined(REFUND_AMOUNT);
  if (instruction.amount > payment.taken) return declined(ABOVE_REMAINING);
  return payment.aftermath === 'refunds fail' ? declined(REFUND_DECLINED) : asAsked(instruction);
}

// For captures and voids Wix's table has no group of its own that is known, so general reasons, legal everywhere, are used.
const NO_PAYMENT: Decline = [Reason.REQUEST_IS_NOT_ALLOWED, 'NO_PAYMENT', 'There is no such approved payment'];
const OTHER_CURRENCY: Decline = [Reason.INVALID_VALUE, 'CURRENCY', 'The payment is in another currency'];
const NOTHING_HELD: Decline = [Reason.REQUEST_IS_NOT_ALLOWED, 'NOTHING_HELD', 'No money is held for this payment'];
const CAPTURE_AMOUNT: Decline = [Reason.INVALID_VALUE, 'AMOUNT', 'The amount is not within what is held'];
const VOID_AMOUNT: Decline = [Reason.INVALID_VALUE, 'AMOUNT', 'A void releases exactly what is held'];
const CAPTURE_DECLINED: Decline = [Reason.GENERAL_ERROR, 'CAPTURE_DECLINED', 'The acquirer declined the capture'];
const NO_PAYMENT_TO_REFUND: Decline = [Reason.REFUND_NOT_ALLOWED, 'NO_PAYMENT', 'There is no such approved payment'];
const NOT_CAPTURED: Decline = [Reason.REFUND_NOT_ALLOWED, 'NOT_CAPTURED', 'No money was captured for this payment'];
const NOTHING_LEFT: Decline = [Reason.PAYMENT_ALREADY_REFUNDED, 'NOTHING_LEFT', 'The payment is fully refunded'];
const REFUND_AMOUNT: Decline = [Reason.REFUND_NOT_ALLOWED, 'AMOUNT', 'A refund returns at least one minor unit'];
const ABOVE_REMAINING: Decline = [Reason.INSUFFICIENT_FUNDS_FOR_REFUND, 'ABOVE_REMAINING', 'Less than that is left'];
const REFUND_DECLINED: Decline = [Reason.INSUFFICIENT_FUNDS_FOR_REFUND, 'BALANCE', 'The merchant balance is too low'];

function asAsked({ requestId, amount, currency }: Instruction): Outcome {
  return approved({ processorReference: referenceOf(requestId), amount, currency });
}

/** A card is charged again by its network's id of the first payment, a wallet by a token of ours. */
function credentialsOnFile(requestId: string, isWallet: boolean): CredentialsOnFile {
  return create(
    CredentialsOnFileSchema,
    isWallet
      ? {
          info: { case: 'paymentMethodReference', value: { token: `tok_${digest(requestId).slice(0, 24)}` } },
          paymentMethod: 'creditCard',
        }
      : { info: { case: 'cardReference', value: { networkTransactionId: networkId(requestId) } } },
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

/** Everything that an engine would draw by lot is derived, so that two runs give the same. */
function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
