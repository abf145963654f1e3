import { isCardNumber } from '../proto/runtime/redact.ts';
import type { Transaction } from './transaction.ts';

// Whether somebody quotes the card that pays (R20). Nothing here does I/O.

/** Whether a run of digits, whatever stood between them, holds the number of the payment's own card. */
export type OwnCard = (digits: string) => boolean;

/**
 * By its number, while that is in memory, and by the digits that are kept: the first six and last four, or of a wallet's device number
 * the last four. `shown` are digits of the card behind a wallet that came just now.
 */
export function ownCard(
  payment: Pick<Transaction, 'cardBin' | 'cardLastFour' | 'requestedLastFour'>,
  number = '',
  shown?: { readonly bin: string; readonly lastFour: string },
): OwnCard {
  const { cardBin, cardLastFour, requestedLastFour } = payment;
  const known = [
    cardBin && cardLastFour ? `${cardBin.slice(0, 6)}\\d{2,9}${cardLastFour}` : '',
    shown && /^\d{6,8} \d{4}$/.test(`${shown.bin} ${shown.lastFour}`)
      ? `${shown.bin.slice(0, 6)}\\d{2,9}${shown.lastFour}`
      : '',
    /^\d{12,}$/.test(number) ? number : '',
  ].filter(Boolean);
  const pattern = known.length > 0 ? new RegExp(known.join('|')) : undefined;
  const device = number || requestedLastFour === cardLastFour ? null : requestedLastFour;
  return (digits) => pattern?.test(digits) === true || (device !== null && endsInCard(digits, device));
}

/** Few long numbers pass Luhn and begin as cards do. */
const isPlausible = (digits: string) => /^(?:[3-6]|2[2-7])/.test(digits) && isCardNumber(digits);

function endsInCard(digits: string, lastFour: string): boolean {
  for (let at = digits.indexOf(lastFour, 8); at >= 0; at = digits.indexOf(lastFour, at + 1))
    for (let length = 12; length <= 19 && length <= at + 4; length++)
      if (isPlausible(digits.slice(at + 4 - length, at + 4))) return true;
  return false;
}
