import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { scrub } from '../../proto/runtime/redact.ts';
import type { Decline } from './outcomes.ts';

// What the simulated engine does with a payment is decided by its card number alone: amount, expiry and cvv are not looked at.

/** What becomes of the money of an approved payment later on; the books remember it instead of the number. */
export type Aftermath = '' | 'captures fail' | 'refunds fail';

export interface Behaviour {
  /** Declines the payment; without it the payment is approved. */
  readonly declines?: Decline;
  /** Answers pending 5005 first, and decides after a short while. */
  readonly reviews?: true;
  /** Gives no answer, after the decision is written or instead of writing anything. */
  readonly silent?: 'after deciding' | 'doing nothing';
  readonly aftermath?: Aftermath;
}

// Buyer pages do not exist yet, so whatever needs one is declined. A test that needs a buyer action scripts it by `engine.fault`.
const NEEDS_PAGE: Behaviour = {
  declines: [Reason.THREE_D_SECURE_FAILED, '3DS_PAGE', 'The card needs 3-D Secure, and this engine has no page for it'],
};

/** A method whose buyer acts on a page (no card at all). */
export const REDIRECT: Behaviour = {
  declines: [Reason.PAYMENT_METHOD_NOT_AVAILABLE, 'METHOD', 'This engine has no page for this payment method'],
};

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

const RISK: Decline = [Reason.RISK_MANAGEMENT_DECLINED, 'RISK', 'Declined by risk management'];

/** The numbers that mean something; any other valid number is approved. */
export const CARDS: Readonly<Record<string, Behaviour>> = {
  '4000000000000002': { declines: [Reason.GENERAL_BANK_DECLINE, 'ACQ-05', 'The bank declined'] },
  '4000000000009995': { declines: [Reason.INSUFFICIENT_FUNDS, 'ACQ-51', 'Not sufficient funds'] },
  '4000000000009987': { declines: [Reason.LOST_OR_STOLEN_CARD, 'ACQ-41', 'The card is reported lost'] },
  '4000000000000069': { declines: [Reason.CARD_EXPIRED, 'ACQ-54', 'The card has expired'] },
  '4000000000000127': { declines: [Reason.INVALID_CVV_CVC, 'ACQ-N7', 'The security code is wrong'] },
  '4100000000000019': { declines: RISK },
  '4000002500003155': NEEDS_PAGE,
  '4000000000003220': NEEDS_PAGE,
  '4000000000009235': { reviews: true },
  '4000000000004954': { reviews: true, declines: RISK },
  '4000000000000341': { aftermath: 'captures fail' },
  '4000000000005126': { aftermath: 'refunds fail' },
  '4000000000000119': { silent: 'after deciding' },
  '4000000000000259': { silent: 'doing nothing' },
};

export function behaviourOf(cardNumber: string): Behaviour {
  return CARDS[cardNumber] ?? (isCardNumber(cardNumber) ? {} : INVALID_NUMBER);
}

function isCardNumber(text: string): boolean {
  return /^\d{12,19}$/.test(text) && scrub(text) !== text;
}
