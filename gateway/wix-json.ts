/** A JSON object of Wix as it arrived: properties that were null are gone, since a null is an absent one (contract 2). */
export type JsonObject = Record<string, unknown>;

export const INT64_MAX = 2n ** 63n - 1n;
const DIGITS = /^\d{1,19}$/;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Reads a body that must be a JSON object in UTF-8, or gives undefined. Numbers written as plain digits become bigint, so that
 * none above 2^53 loses its last digits; every other number (a fraction, an exponent, a sign) stays a number, which no amount is.
 * Why a body cannot be read is never told: a parser's message quotes its input (R7).
 */
export function parseWixJson(body: Uint8Array): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(utf8.decode(body), lossless);
    return typeof value === 'object' && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

/** Reads a non-negative int64, written as a number or as a string of digits (contract 13.1); undefined for anything else. */
export function readInteger(value: unknown): bigint | undefined {
  const integer = typeof value === 'string' && DIGITS.test(value) ? BigInt(value) : value;
  return typeof integer === 'bigint' && integer <= INT64_MAX ? integer : undefined;
}

function lossless(_key: string, value: unknown, context?: { source: string }): unknown {
  if (typeof value === 'number' && DIGITS.test(context?.source ?? '')) return BigInt(context?.source ?? '');
  return value ?? undefined;
}
