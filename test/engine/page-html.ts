import { createHash } from 'node:crypto';
import type { Outcome } from '../../proto/gen/payments/v1/outcome_pb.js';
import type { PageKind } from './cards.ts';

// What a buyer sees: one form, no script, one small style. Every text from outside is escaped.

export interface Shown {
  readonly kind: PageKind;
  /** As Wix names it; empty for a card or a hosted page. */
  readonly method: string;
  readonly merchant: string;
  readonly amount: bigint;
  readonly currency: string;
  readonly lastFour: string;
  /** What a buyer writes beside the code of a bank; the same whenever the page is shown. */
  readonly voucher: string;
}

/** What was wrong with the card form, by the name of its field. Nothing that was typed comes back. */
export type FormErrors = Partial<Record<CardField, string>>;
export type CardField = (typeof CARD_FIELDS)[number]['name'];

/** What a buyer may choose; the first of each page is what Enter does. */
export const CHOICES: Readonly<Record<PageKind, Readonly<Record<string, string>>>> = {
  challenge: {
    approve: 'Confirm the payment',
    decline: 'Decline',
    later: 'Decide later',
    cancel: 'Cancel',
  },
  redirect: { approve: 'Confirm the payment', decline: 'Decline', later: 'Decide later', cancel: 'Cancel' },
  voucher: {
    approve: 'Done: it will be paid soon',
    expire: 'Done: it will never be paid',
    later: 'Done: wait until it runs out',
    cancel: 'Cancel',
  },
  hosted: { approve: 'Pay', cancel: 'Cancel' },
};

const CARD_FIELDS = [
  { name: 'number', label: 'Card number', autocomplete: 'cc-number', inputmode: 'numeric', max: 23 },
  { name: 'expiry', label: 'Expiry date (MM/YY)', autocomplete: 'cc-exp', inputmode: 'text', max: 7 },
  { name: 'cvv', label: 'Security code', autocomplete: 'cc-csc', inputmode: 'numeric', max: 4 },
  { name: 'holder', label: 'Name on the card', autocomplete: 'cc-name', inputmode: 'text', max: 100 },
] as const;

export function buyerPage(shown: Shown, errors: FormErrors = {}): string {
  const { title, text } = words(shown);
  const isWrong = Object.keys(errors).length > 0;
  const buttons = Object.entries(CHOICES[shown.kind]).map(
    ([choice, label]) =>
      `<button name="choice" value="${choice}"${choice === 'cancel' ? ' formnovalidate' : ''}>${label}</button>`,
  );
  return page(
    isWrong ? `Error: ${title}` : title,
    `<h1>${safe(title)}</h1>
<dl>
<div><dt>To</dt><dd>${safe(shown.merchant)}</dd></div>
<div><dt>Amount</dt><dd>${safe(money(shown.amount, shown.currency))}</dd></div>
${shown.lastFour && `<div><dt>Card</dt><dd>ends in ${safe(shown.lastFour)}</dd></div>`}
</dl>
${text}
${isWrong ? '<p role="alert">The card could not be read. Please look at the marked fields.</p>' : ''}
<form method="post">
<input type="hidden" name="step" value="${shown.kind}">
${shown.kind === 'hosted' ? CARD_FIELDS.map((field) => input(field, errors[field.name])).join('\n') : ''}
${buttons.join('\n')}
</form>`,
  );
}

/** What is left once the buyer has decided, or the payment ended without one. */
export function endedPage(outcome: Outcome, returnUrl: string): string {
  return notice(ENDS[outcome.kind.case ?? ''] ?? 'This payment has ended.', returnUrl);
}

const ENDS: Readonly<Record<string, string>> = {
  approved: 'The payment is approved.',
  declined: 'The payment was not made.',
  pending: 'The payment will be decided later.',
};

/** A page with nothing to do but to go on, or to close it. */
export function notice(text: string, returnUrl = ''): string {
  const onward = returnUrl
    ? `<a href="${safe(returnUrl)}" rel="noreferrer">Back to the shop</a>`
    : 'You can close this page.';
  return page('Payment', `<h1>${safe(text)}</h1>\n<p>${onward}</p>`);
}

function words({ kind, method, voucher }: Shown): { title: string; text: string } {
  switch (kind) {
    case 'challenge':
      return { title: 'Confirm your payment', text: '<p>Your bank asks you to confirm this payment (3-D Secure).</p>' };
    case 'redirect':
      return { title: `Pay with ${method}`, text: '<p>You pay from your own account.</p>' };
    case 'voucher':
      return {
        title: `Your voucher for ${method}`,
        text: `<p>Pay with this reference: <strong>${safe(voucher)}</strong></p>`,
      };
    case 'hosted':
      return { title: 'Pay by card', text: '' };
  }
}

function input({ name, label, autocomplete, inputmode, max }: (typeof CARD_FIELDS)[number], error = ''): string {
  const wrong = error && ` aria-invalid="true" aria-describedby="${name}-error"`;
  return `<p><label for="${name}">${label}</label>
<input id="${name}" name="${name}" autocomplete="${autocomplete}" inputmode="${inputmode}" maxlength="${max}" required${wrong}>
${error && `<span id="${name}-error">${safe(error)}</span>`}</p>`;
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${safe(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${body}
</main>
<footer>A simulated page: no money moves.</footer>
</body>
</html>
`;
}

const STYLE = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 26rem; padding: 1rem }
h1 { font-size: 1.4rem; line-height: 1.25; overflow-wrap: anywhere }
dl { border-block: 1px solid; padding: .5rem 0 }
dl div { display: flex; justify-content: space-between; gap: 1rem }
dd { margin: 0; font-weight: 600; text-align: end; overflow-wrap: anywhere }
form p { margin: 0 0 1rem }
label { display: block }
input, button { box-sizing: border-box; width: 100%; min-height: 2.75rem; font: inherit; border: 1px solid; border-radius: .375rem; padding: .5rem .75rem }
button { display: block; margin-top: .75rem; cursor: pointer; background: transparent; color: inherit }
form button:first-of-type { background: #0b5cad; border-color: #0b5cad; color: #fff; font-weight: 600 }
:focus-visible { outline: 3px solid #f59e0b; outline-offset: 2px }
[aria-invalid] { border-width: 2px }
[role=alert], [id$=-error] { font-weight: 600 }
footer { margin-top: 2rem; font-size: .875rem }
`;

/** For style-src: this one style and no other. */
export const STYLE_HASH = `'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`;

/** Exact also above 2^53: the digits are set as text. */
function money(amount: bigint, currency: string): string {
  const format = new Intl.NumberFormat('en', { style: 'currency', currency, currencyDisplay: 'code' });
  const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
  const text = String(amount).padStart(digits + 1, '0');
  const exact = digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
  return format.format(exact as `${number}`);
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function safe(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
