import { z } from 'zod';
import { Mode } from '../proto/gen/payments/v1/merchant_account_pb.js';
import { cut } from '../proto/runtime/redact.ts';
import type { RefusalCode } from './refusal.ts';
import { INT64_MAX, readInteger } from './wix-json.ts';

// The parts of what Wix sends. Properties that no schema names are ignored. What decides about money is refused when it is malformed;
// anything else that is malformed counts as absent.

/** What a schema that JSON Schema cannot express looks like on the wire, for docs/openapi.yaml. */
export const onTheWire = z.registry<{ readonly [keyword: string]: unknown }>();

const TEXT_MAX = 1000;
const CREDENTIALS_ENTRIES_MAX = 100;
const CREDENTIALS_BYTES_MAX = 32 * 1024;

/** Text that PostgreSQL and protobuf can hold. */
const plain = z.string().refine((value) => value.isWellFormed() && !value.includes('\0'));

/** Too long is refused, for tokens as well: a cut one would be somebody else's. */
export const id = plain.min(1).max(200);
export const token = plain.max(TEXT_MAX);

/** Harmless text; empty when absent, cut when too long. */
export const text = plain.transform((value) => cut(value, TEXT_MAX)).catch('');

/** Absent when it is malformed. */
export const lenient = <S extends z.ZodType>(schema: S) => schema.optional().catch(undefined);

/** An object of harmless texts. */
export const texts = <Name extends string>(...names: Name[]) =>
  z.object(Object.fromEntries(names.map((name) => [name, text])) as Record<Name, typeof text>);

/** Whatever can be read of an object that is malformed elsewhere. */
export const readable = <S extends Record<string, z.ZodType>>(shape: S) => {
  const members = Object.entries(shape).map(([name, schema]) => [name, lenient(schema)]);
  return z.object(Object.fromEntries(members) as { [K in keyof S]: ReturnType<typeof lenient<S[K]>> });
};

/** A whole number, written as a number or as a string of digits; `code` is what any other value means. */
export const integer = (code: RefusalCode, min = 0n, max = INT64_MAX) =>
  z
    .transform((value: unknown, context): bigint => {
      const read = readInteger(value);
      if (read !== undefined && read >= min && read <= max) return read;
      context.issues.push({ code: 'custom', input: value, message: value === undefined ? 'MISSING_FIELD' : code });
      return z.NEVER;
    })
    .register(onTheWire, {
      ...{ type: ['integer', 'string'], pattern: '^-?[0-9]+$', minimum: Number(min) },
      ...(max < INT64_MAX && { maximum: Number(max) }),
    });

/** Minor units. */
export const amount = integer('AMOUNT');

/** One of these words; what Wix may add one day is the neutral value (contract 2). */
export const oneOf = <T>(words: Record<string, T>, neutral: T) =>
  z
    .unknown()
    .optional()
    .transform((word): T => new Map(Object.entries(words)).get(word as string) ?? neutral)
    .register(onTheWire, { type: 'string', examples: Object.keys(words) });

export const mode = oneOf({ live: Mode.LIVE, sandbox: Mode.SANDBOX }, Mode.UNSPECIFIED);

/** String to string, the object itself as it came: a copy by zod would lose a property called __proto__. */
export const credentials = z
  .custom<Record<string, string>>((value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    const parts: unknown[] = Object.entries(value).flat();
    return (
      parts.length <= 2 * CREDENTIALS_ENTRIES_MAX &&
      parts.every((part) => plain.safeParse(part).success) &&
      Buffer.byteLength(parts.join('')) <= CREDENTIALS_BYTES_MAX
    );
  })
  .transform((values) => ({ values }))
  .register(onTheWire, {
    ...{ type: 'object', additionalProperties: { type: 'string' }, maxProperties: CREDENTIALS_ENTRIES_MAX },
    description: 'What the merchant typed in, and what Connect Account answered.',
  });
