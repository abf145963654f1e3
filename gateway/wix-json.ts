/** A JSON object of Wix as it arrived: properties that were null are gone, since a null is an absent one (contract 2). */
export type JsonObject = Record<string, unknown>;

export const INT64_MAX = 2n ** 63n - 1n;
const DIGITS = /^\d{1,19}$/;
/** So many digits are exact in a double. */
const SHORT_DIGITS = 15;
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
    const { isModest, areNumbersPlain } = lookThrough(json);
    if (!isModest) return undefined;
    // A reviver that sees how each number was written takes several times as long as all else.
    const value: unknown = areNumbersPlain ? exact(JSON.parse(json)) : JSON.parse(json, lossless);
    return typeof value === 'object' && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * In one pass: how much it holds (a value follows a comma, or is the first of its object or list), and whether each number shows by its
 * value how it was written: it has few digits, and is no whole number if it has a fraction.
 */
function lookThrough(json: string): { isModest: boolean; areNumbersPlain: boolean } {
  let [depth, values, digits] = [0, 0, 0];
  let areNumbersPlain = true;
  /** Of a fraction, only zeros so far. */
  let isWhole = false;
  for (let i = 0; i < json.length; i++) {
    const char = json[i]!;
    if (char >= '0' && char <= '9') {
      digits += 1;
      if (digits > SHORT_DIGITS) areNumbersPlain = false;
      if (char !== '0') isWhole = false;
      continue;
    }
    if (char === '.') {
      isWhole = true;
      continue;
    }
    if (isWhole || ((char === 'e' || char === 'E') && digits > 0)) areNumbersPlain = false;
    digits = 0;
    isWhole = false;
    if (char === '"') for (i += 1; i < json.length && json[i] !== '"'; i++) i += Number(json[i] === '\\');
    else if (char === ',') values += 1;
    else if (char === '{' || char === '[') {
      depth += 1;
      values += 1;
    } else if (char === '}' || char === ']') depth -= 1;
    if (depth > DEPTH_MAX || values > VALUES_MAX) return { isModest: false, areNumbersPlain };
  }
  return { isModest: true, areNumbersPlain };
}

/** What `lossless` makes of it. */
function exact(value: unknown): unknown {
  if (typeof value === 'number')
    return Number.isInteger(value) && !Object.is(value, -0) && value >= 0 ? BigInt(value) : value;
  if (typeof value !== 'object' || value === null) return value ?? undefined;
  const members = value as Record<string, unknown>;
  for (const name of Object.keys(members)) {
    const member = exact(members[name]);
    if (member === undefined) delete members[name];
    else members[name] = member;
  }
  return value;
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
