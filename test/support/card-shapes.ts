import fc from 'fast-check';

// Card numbers as somebody may quote them: in another script, with anything but letters between the digits, with more digits around.

/** Zeros of scripts with ten digits: ASCII, full-width, Arabic, Devanagari, bold mathematical. */
const zero = fc.constantFrom('0', '0', '0', '０', '٠', '०', '𝟎');
const between = fc.oneof(
  { weight: 6, arbitrary: fc.constant('') },
  fc.constantFrom(
    ' ',
    '-',
    '.',
    '\u00a0',
    '/',
    '\n',
    '\r\n',
    '  ',
    '_',
    '*',
    ', ',
    '\u200b',
    '\t',
    '":"',
    '|',
    '(',
    '\u0085',
  ),
);
const digits = (min: number, max: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: min, maxLength: max });

/** Digits that pass Luhn, as those of every card. */
export const anyCardNumber = fc
  .tuple(fc.constantFrom('4', '5', '34', '62', '2221', '6011'), digits(12, 14))
  .map(([iin, rest]) => {
    const payload = `${iin}${rest}`.slice(0, 15);
    const sum = [...payload].reverse().reduce((total, digit, i) => {
      const value = Number(digit) * (i % 2 ? 1 : 2);
      return total + (value > 9 ? value - 9 : value);
    }, 0);
    return `${payload}${(10 - (sum % 10)) % 10}`;
  });

/** A text that quotes this number, perhaps with a security code or an expiry behind it, or in the middle of a long run. */
export function quoting(number: string): fc.Arbitrary<string> {
  const around = fc.tuple(digits(0, 9), digits(0, 9));
  const gaps = fc.array(between, { minLength: 40, maxLength: 40 });
  const words = fc.tuple(fc.constantFrom('', 'card ', 'pan=', 'a'), fc.constantFrom('', ' refused', '&x=y', 'b'));
  return fc.tuple(zero, around, gaps, words).map(([zeroDigit, [before, after], betweens, [first, last]]) => {
    const shape = [...`${before}${number}${after}`].map((digit, i) => `${inScript(digit, zeroDigit)}${betweens[i]}`);
    return `${first}${shape.join('')}${last}`;
  });
}

const inScript = (digit: string, zeroDigit: string) => String.fromCodePoint(zeroDigit.codePointAt(0)! + Number(digit));

/** The digits of a text and nothing else, as 0 to 9; letters stay, since they part numbers. */
export function digitsAlone(text: string): string {
  return text
    .replace(/\p{Nd}/gu, (digit) => {
      const base = ['0', '０', '٠', '०', '𝟎'].find((zeroDigit) => {
        const value = digit.codePointAt(0)! - zeroDigit.codePointAt(0)!;
        return value >= 0 && value <= 9;
      });
      return base ? String(digit.codePointAt(0)! - base.codePointAt(0)!) : digit;
    })
    .replace(/[^\p{L}\p{N}]/gu, '');
}
