// JSON as Wix's own system would treat it: whole numbers of any size, nothing lost.

export type JsonObject = { [name: string]: unknown };

// Known to Node 24, not yet to the compiler's library.
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };
const parseWithSource = JSON.parse as (
  text: string,
  reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
) => unknown;

/** Writes bigints as numbers. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, member) => (typeof member === 'bigint' ? rawJSON(String(member)) : member));
}

/** An object; a whole number beyond 2^53 is a bigint in it. Undefined if the text is anything else. */
export function parseObject(text: string): JsonObject | undefined {
  try {
    const value = parseWithSource(text, (_key, member, { source }) =>
      typeof member === 'number' && /^-?\d{16,}$/.test(source ?? '') ? BigInt(source as string) : member,
    );
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The same text for the same value, whatever the order of its members. */
export function canonical(value: unknown): string {
  return toJson(sorted(value));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const names = Object.keys(value).sort();
  return Object.fromEntries(names.map((name) => [name, sorted(value[name])]));
}
