import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { scrub } from '../../proto/runtime/redact.ts';
import type { Decline } from './outcomes.ts';

// What the simulated engine does with a payment is decided by its card number alone: amount, expiry and cvv are not looked at.

/** What becomes of an approved payment later on; the books remember it instead of the number. */
export type Aftermath =
  | ''
  | 'captures fail'
  | 'voids fail'
  | 'refunds fail'
  | 'refunds break'
  | 'refunds too late'
  | 'no partial refunds'
  | 'charges revoked';

/** What a buyer is sent to: the check of a card, a bank of a redirect method, a voucher, or a form for a card. */
export type PageKind = 'challenge' | 'redirect' | 'voucher' | 'hosted';

export interface Behaviour {
  /** Declines the payment; without it the payment is approved. */
  readonly declines?: Decline;
  /** Answers pending 5005 first, and decides after a short while. */
  readonly reviews?: true;
  /** Gives no answer, after the decision is written or instead of writing anything. */
  readonly silent?: 'after deciding' | 'doing nothing';
  readonly aftermath?: Aftermath;
  /** Approves half where the merchant takes less; else it is declined. */
  readonly partial?: true;
  /** How the card's bank checks the buyer. Without it: on a page, where the merchant asks for it. */
  readonly threeDSecure?:
    | 'challenge'
    | 'challenge unless on file'
    | 'challenge fails'
    | 'frictionless'
    | 'not enrolled';
}

export const NO_CHALLENGE: Decline = [
  Reason.THREE_D_SECURE_FAILED,
  '3DS_PAGE',
  'The card needs 3-D Secure, and there is no page or no buyer for it',
];

export const NO_PAGE: Decline = [
  Reason.PAYMENT_METHOD_NOT_AVAILABLE,
  'METHOD',
  'The payment method needs a page, and there is none or no buyer for it',
];

export const CHALLENGE_FAILED: Decline = [Reason.THREE_D_SECURE_FAILED, '3DS_N', 'The buyer was not authenticated'];
export const BANK_DECLINED: Decline = [Reason.GENERAL_BANK_DECLINE, 'ACQ-05', 'The bank declined'];
export const BUYER_CANCELED: Decline = [Reason.BUYER_CANCELED, 'BUYER_CANCELED', 'The buyer cancelled the payment'];

/** Methods whose buyer pays days later, in small letters (Wix contract, 14). */
const VOUCHERS = [
  ...['conveniencestore', 'boleto', 'oxxo', 'efecty', 'multibanco', 'paysafecash', 'astropaycash'],
  ...['malaysiacashpayment', 'thailandcashpayment', 'argentinecashpayment'],
];

/** The page of a payment without a card. */
export function pageOfMethod(paymentMethod: string): PageKind {
  if (paymentMethod === '') return 'hosted';
  return VOUCHERS.includes(paymentMethod.toLowerCase()) ? 'voucher' : 'redirect';
}

/** Money is simulated here, so nothing is done for a live merchant. */
export const LIVE: Behaviour = {
  declines: [Reason.TEST_MODE, 'SIMULATED', 'This engine takes no live payments'],
};

export const UNKNOWN_TOKEN: Behaviour = {
  declines: [Reason.BUYER_REVOKED_AUTHORIZATION, 'UNKNOWN_TOKEN', 'There is no such stored payment method'],
};

const INVALID_NUMBER: Behaviour = {
  declines: [Reason.INVALID_CARD_NUMBER, 'ACQ-14', 'The card number is not valid'],
};

export const REVOKED: Decline = [Reason.BUYER_REVOKED_AUTHORIZATION, 'REVOKED', 'The buyer revoked later charges'];
export const TOO_LITTLE: Decline = [Reason.INSUFFICIENT_FUNDS, 'ACQ-51', 'Not sufficient funds'];
const RISK: Decline = [Reason.RISK_MANAGEMENT_DECLINED, 'RISK', 'Declined by risk management'];

/** The numbers that mean something; any other valid number is approved. */
export const CARDS: Readonly<Record<string, Behaviour>> = {
  '4000000000000002': { declines: BANK_DECLINED },
  '4000000000009995': { declines: TOO_LITTLE },
  '4000000000009987': { declines: [Reason.LOST_OR_STOLEN_CARD, 'ACQ-41', 'The card is reported lost'] },
  '4000000000000069': { declines: [Reason.CARD_EXPIRED, 'ACQ-54', 'The card has expired'] },
  '4000000000000127': { declines: [Reason.INVALID_CVV_CVC, 'ACQ-N7', 'The security code is wrong'] },
  '4100000000000019': { declines: RISK },
  '4000000000060006': { declines: [Reason.GENERAL_ERROR, 'ACQ-96', 'The acquirer has a fault'] },
  '4000000000003220': { threeDSecure: 'challenge' },
  '4000002500003155': { threeDSecure: 'challenge unless on file' },
  '4000008400001280': { threeDSecure: 'challenge fails' },
  '4000008260003178': { threeDSecure: 'challenge', declines: TOO_LITTLE },
  '4000000000003055': { threeDSecure: 'frictionless' },
  '378282246310005': { threeDSecure: 'not enrolled' },
  '4000000000030124': { partial: true },
  '4000000000009235': { reviews: true },
  '4000000000004954': { reviews: true, declines: RISK },
  '4000000000000341': { aftermath: 'captures fail' },
  '4000000000060014': { aftermath: 'voids fail' },
  '4000000000005126': { aftermath: 'refunds fail' },
  '4000000000010134': { aftermath: 'refunds break' },
  '4000000000030249': { aftermath: 'no partial refunds' },
  '4000000000030330': { aftermath: 'refunds too late' },
  '4000000000030439': { aftermath: 'charges revoked' },
  '4000000000000119': { silent: 'after deciding' },
  '4000000000000259': { silent: 'doing nothing' },
};

export function behaviourOf(cardNumber: string): Behaviour {
  return CARDS[cardNumber] ?? (isCardNumber(cardNumber) ? {} : INVALID_NUMBER);
}

function isCardNumber(text: string): boolean {
  return /^\d{12,19}$/.test(text) && scrub(text) !== text;
}
