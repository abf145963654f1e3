/** A JSON object of Wix as it arrived: properties that were null are gone, since a null is an absent one (contract 2). */
export type JsonObject = Record<string, unknown>;

export const INT64_MAX = 2n ** 63n - 1n;
const DIGITS = /^\d{1,19}$/;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Nothing that Wix sends is nested like this, and no order of a thousand lines has so many values. */
const DEPTH_MAX = 64;
const VALUES_MAX = 50_000;

/**
 * Reads a body that must be a JSON object in UTF-8, or gives undefined. Numbers written as plain digits become bigint, so that
 * none above 2^53 loses its last digits; every other number (a fraction, an exponent, a sign) stays a number, which no amount is.
 * One of more than 50,000 values, or nested deeper than 64, is not read: parsing it would hold up everybody else. Why a body cannot be
 * read is never told: a parser's message quotes its input (R7).
 */
export function parseWixJson(body: Uint8Array): JsonObject | undefined {
  try {
    const json = utf8.decode(body);
    const value: unknown = isModest(json) ? JSON.parse(json, lossless) : undefined;
    return typeof value === 'object' && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

/** Counts in one pass: a value follows a comma, or is the first of its object or list. */
function isModest(json: string): boolean {
  let [depth, values] = [0, 0];
  for (let i = 0; i < json.length; i++) {
    switch (json[i]) {
      case '"':
        for (i += 1; i < json.length && json[i] !== '"'; i++) if (json[i] === '\\') i += 1;
        break;
      case '{':
      case '[':
        depth += 1;
        values += 1;
        break;
      case '}':
      case ']':
        depth -= 1;
        break;
      case ',':
        values += 1;
        break;
    }
    if (depth > DEPTH_MAX || values > VALUES_MAX) return false;
  }
  return true;
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
