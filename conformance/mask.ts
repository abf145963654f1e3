import type { Config } from './config.ts';

// Reports are handed around: no card number, credential, token or secret is in them.

const STARS = '***';
/** So long that it stands nowhere by chance. */
const SECRET_MIN = 6;
/** Members whose text is masked, whatever it is. */
const SECRET_MEMBERS =
  /("(?:cvv|pan|number|cryptogram|client_secret|access_token|token|networkTransactionId|dsTransactionId)"\s*:\s*)"(?:[^"\\]|\\.)*"/g;
const CREDENTIALS = /("(?:credentials|merchantCredentials)"\s*:\s*\{)([^{}]*)(\})/g;
/** A number on its own, or in groups of four; not the digits of a GUID. */
const DIGITS = /(?<![\w-])(?:\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7})(?![\w-])/g;

export type Mask = (text: string) => string;

export function createMask(config: Config): Mask {
  const { wix, merchant } = config;
  const { credentials, wrongCredentials, blockedCredentials, inactiveCredentials, otherCredentials } = merchant;
  const all = [credentials, wrongCredentials, blockedCredentials, inactiveCredentials, otherCredentials];
  const secrets = [wix.appSecret, ...all.flatMap((values) => Object.values(values ?? {})), ...cardNumbers(config)]
    .filter((secret): secret is string => secret !== undefined && secret.length >= SECRET_MIN)
    .sort((one, other) => other.length - one.length);
  return (text) => {
    let masked = text
      .replaceAll(
        CREDENTIALS,
        (_, before, values: string, after) =>
          `${before}${values.replaceAll(/(:\s*)"(?:[^"\\]|\\.)*"/g, `$1"${STARS}"`)}${after}`,
      )
      .replaceAll(SECRET_MEMBERS, `$1"${STARS}"`)
      .replaceAll(/kit-token-[\w-]+/g, `kit-token-${STARS}`)
      // The signature of a Digest: its claims are what an author wants to read.
      .replaceAll(/(JWT=[\w-]*\.[\w-]*\.)[\w-]+/g, `$1${STARS}`);
    for (const secret of secrets) masked = masked.replaceAll(secret, STARS);
    return masked.replaceAll(DIGITS, (digits) => (isLuhn(digits) ? STARS : digits));
  };
}

/** Every card that the run pays with. */
export function cardNumbers({ cards }: Config): string[] {
  const { approved, declined, pendingApproved, pendingDeclined, captureFails, refundFails, challenged } = cards;
  const numbers = [
    approved,
    ...Object.keys(declined),
    pendingApproved,
    pendingDeclined,
    captureFails,
    refundFails,
    challenged,
  ];
  return numbers.filter((number) => number !== undefined);
}

function isLuhn(text: string): boolean {
  const digits = text.replaceAll(/\D/g, '');
  const sum = [...digits].reverse().reduce((total, digit, i) => {
    const value = Number(digit) * (i % 2 === 0 ? 1 : 2);
    return total + (value > 9 ? value - 9 : value);
  }, 0);
  return sum % 10 === 0;
}
