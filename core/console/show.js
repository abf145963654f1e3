import { html } from './preact.js';

// How values look.

/** Decimal digits of minor units that are not 2, as Wix has them (Wix contract, 13.2). */
const DIGITS = Object.fromEntries([
  ...'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF'.split(' ').map((code) => [code, 0]),
  ...'BHD IQD JOD KWD LYD OMR TND'.split(' ').map((code) => [code, 3]),
]);

export function money(minor, currency = '') {
  if (minor === undefined) return '-';
  const digits = DIGITS[currency] ?? 2;
  const text = String(minor).padStart(digits + 1, '0');
  return `${digits ? `${text.slice(0, -digits)}.${text.slice(-digits)}` : text} ${currency}`.trim();
}

/** Minor units of what a person writes, such as "12.5"; undefined if it is no amount of the currency. */
export function minorUnits(text, currency) {
  const digits = DIGITS[currency] ?? 2;
  const [, whole, part = ''] = /^(\d{1,15})(?:[.,](\d+))?$/.exec(text.trim()) ?? [];
  if (whole === undefined || part.length > digits) return undefined;
  return String(BigInt(whole + part.padEnd(digits, '0')));
}

/** STATE_AWAITING_BUYER -> awaiting buyer */
export const words = (name = '') =>
  name
    .replace(/^(STATE|KIND|TYPE|MODE|REASON|ACTION|INITIATOR)_/, '')
    .toLowerCase()
    .replaceAll('_', ' ');

const TONES = {
  good: ['captured', 'authorized', 'approved', 'delivered', 'voided'],
  bad: ['declined', 'failed', 'held', 'expired', 'stuck'],
  open: ['pending', 'awaiting buyer', 'authorizing', 'capturing', 'voiding', 'running', 'waiting', 'unknown', 'parked'],
};

export function State({ of }) {
  const text = words(of);
  const tone = Object.keys(TONES).find((name) => TONES[name].includes(text)) ?? 'plain';
  return html`<span class="state ${tone}">${text}</span>`;
}

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: 'short', timeStyle: 'medium' });

export function Time({ at }) {
  if (!at) return '-';
  const time = new Date(at);
  return html`<time datetime=${at} title=${relative(time)}>${clock.format(time)}</time>`;
}

export function relative(time, now = Date.now()) {
  const seconds = Math.round((time - now) / 1000);
  const size = Math.abs(seconds);
  const [count, unit] =
    size < 120
      ? [size, 's']
      : size < 7200
        ? [Math.round(size / 60), 'min']
        : size < 172800
          ? [Math.round(size / 3600), 'h']
          : [Math.round(size / 86400), 'days'];
  return seconds > 0 ? `in ${count} ${unit}` : `${count} ${unit} ago`;
}

/** The times of a summary in the reader's own words. */
export const sentence = (text = '') =>
  text.replaceAll(
    /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g,
    (time) => `${clock.format(new Date(time))} (${relative(new Date(time))})`,
  );

export const Id = ({ of }) => html`<code class="id">${of || '-'}</code>`;

/** What went wrong, read out at once. */
export const Problem = ({ error }) =>
  error ? html`<p class="problem" role="alert">${error.message ?? String(error)}</p>` : null;
