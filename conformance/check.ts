import type { Config } from './config.ts';
import type { Wix } from './wix.ts';

/** One rule of the contract. */
export interface Check {
  readonly id: string;
  /** Of the contract. */
  readonly section: string;
  /** What a sound plugin does. */
  readonly title: string;
  /** For the author of one that does not. */
  readonly fix: string;
  /** What a plugin must be able to do, or its config must tell, for the rule to be tried. */
  readonly needs?: readonly Need[];
  /**
   * With others by default. 'alone' with nobody else, because it disturbs them; 'after' looks at everything that was said before.
   */
  readonly when?: 'alone' | 'after';
  /** Longer than a call and its event take. */
  readonly limitSeconds?: (limits: Config['limits']) => number;
  readonly run: (wix: Wix) => Promise<void> | void;
}

/** By name, what the config says of it, and what to write there. */
export const NEEDS = {
  authorizeOnly: [({ capabilities }) => capabilities.authorizeOnly, 'capabilities.authorizeOnly'],
  partialCapture: [
    ({ capabilities }) => capabilities.authorizeOnly && capabilities.partialCapture,
    'capabilities.authorizeOnly and partialCapture',
  ],
  partialRefund: [({ capabilities }) => capabilities.partialRefund, 'capabilities.partialRefund'],
  moto: [({ capabilities }) => capabilities.moto, 'capabilities.moto'],
  googlePay: [({ capabilities }) => capabilities.googlePay, 'capabilities.googlePay'],
  applePay: [({ capabilities }) => capabilities.applePay, 'capabilities.applePay'],
  credentialsOnFile: [({ capabilities }) => capabilities.credentialsOnFile, 'capabilities.credentialsOnFile'],
  redirect: [({ capabilities }) => capabilities.redirect, 'capabilities.redirect'],
  hostedPage: [
    ({ capabilities }) => capabilities.redirect && capabilities.hostedPage,
    'capabilities.redirect and hostedPage',
  ],
  buyerTimeout: [
    ({ capabilities, redirect }) => capabilities.redirect && redirect.buyerTimeoutSeconds !== undefined,
    'capabilities.redirect and redirect.buyerTimeoutSeconds',
  ],
  approveButton: [pressed('approve'), 'capabilities.redirect and redirect.buttons.approve'],
  declineButton: [pressed('decline'), 'capabilities.redirect and redirect.buttons.decline'],
  cancelButton: [pressed('cancel'), 'capabilities.redirect and redirect.buttons.cancel'],
  laterButton: [pressed('later'), 'capabilities.redirect and redirect.buttons.later'],
  declined: [({ cards }) => Object.keys(cards.declined).length > 0, 'cards.declined'],
  pendingApproved: [({ cards }) => cards.pendingApproved !== undefined, 'cards.pendingApproved'],
  pendingDeclined: [({ cards }) => cards.pendingDeclined !== undefined, 'cards.pendingDeclined'],
  captureFails: [
    ({ cards, capabilities }) => capabilities.authorizeOnly && cards.captureFails !== undefined,
    'capabilities.authorizeOnly and cards.captureFails',
  ],
  refundFails: [({ cards }) => cards.refundFails !== undefined, 'cards.refundFails'],
  challenged: [
    ({ cards, capabilities }) => capabilities.redirect && cards.challenged !== undefined,
    'capabilities.redirect and cards.challenged',
  ],
  refusedCurrency: [({ merchant }) => merchant.refusedCurrency !== undefined, 'merchant.refusedCurrency'],
  otherCurrencies: [({ merchant }) => merchant.otherCurrencies.length > 0, 'merchant.otherCurrencies'],
  wrongCredentials: [({ merchant }) => merchant.wrongCredentials !== undefined, 'merchant.wrongCredentials'],
  blockedCredentials: [({ merchant }) => merchant.blockedCredentials !== undefined, 'merchant.blockedCredentials'],
  inactiveCredentials: [({ merchant }) => merchant.inactiveCredentials !== undefined, 'merchant.inactiveCredentials'],
  otherCredentials: [({ merchant }) => merchant.otherCredentials !== undefined, 'merchant.otherCredentials'],
  sandbox: [({ merchant }) => merchant.mode === 'sandbox', 'merchant.mode: sandbox'],
} as const satisfies Record<string, readonly [(config: Config) => boolean, string]>;

function pressed(button: keyof Config['redirect']['buttons']) {
  return ({ capabilities, redirect }: Config) => capabilities.redirect && redirect.buttons[button] !== undefined;
}

export type Need = keyof typeof NEEDS;

/** What the config does not have for this check. */
export function missing({ needs = [] }: Check, config: Config): string[] {
  return needs.filter((need) => !NEEDS[need][0](config)).map((need) => NEEDS[need][1]);
}
