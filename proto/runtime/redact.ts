import type { DescEnum, DescField, DescMessage, MessageShape } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';

// What may be printed, and what may not.

const REDACTED = '[redacted]';

/**
 * The one way to print a message (R32): a plain object of its set fields, by their proto names. What carries debug_redact is
 * '[redacted]' at any depth; enums are names, int64 are strings, bytes are their length.
 */
export function redact<D extends DescMessage>(schema: D, message: MessageShape<D>): unknown {
  return printable(reflect(schema, message));
}

function printable(message: ReflectMessage): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    fields[field.name] = field.proto.options?.debugRedact ? REDACTED : printableField(message, field);
  }
  return fields;
}

function printableField(message: ReflectMessage, field: DescField): unknown {
  const element = (value: unknown) => printableValue(value, field.enum);
  switch (field.fieldKind) {
    case 'list':
      return Array.from(message.get(field), element);
    case 'map':
      return Object.fromEntries(Array.from(message.get(field), ([key, value]) => [String(key), element(value)]));
    default:
      return element(message.get(field));
  }
}

function printableValue(value: unknown, ofEnum: DescEnum | undefined): unknown {
  if (ofEnum) return ofEnum.value[value as number]?.name ?? value;
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return `[${value.length} bytes]`;
  if (typeof value === 'object' && value !== null) return printable(value as ReflectMessage);
  return value;
}

/**
 * Replaces whatever could be a card number: groups of digits, with single spaces or dashes between them, that have 12 to 19 digits
 * together and pass Luhn (R20).
 */
export function scrub(text: string): string {
  return text.replace(/\d+(?:[ -]\d+)*/g, (run) => {
    const groups = run.match(/\d+[ -]?/g) ?? [];
    let clean = '';
    for (let from = 0; from < groups.length; ) {
      const end = endOfCardNumber(groups, from);
      clean += end ? groups.slice(from, end).join('').replace(/.*\d/, '[card number]') : groups[from];
      from = end ?? from + 1;
    }
    return clean;
  });
}

/** The longest card number that begins with the group at `from`: the index of the group after it. */
function endOfCardNumber(groups: readonly string[], from: number): number | undefined {
  for (let end = Math.min(groups.length, from + 19); end > from; end--) {
    const digits = groups.slice(from, end).join('').replace(/\D/g, '');
    if (digits.length >= 12 && digits.length <= 19 && passesLuhn(digits)) return end;
  }
  return undefined;
}

function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = Number(digits[digits.length - 1 - i]);
    const doubled = i % 2 === 1 ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}

/** At most max UTF-16 units, never half of a surrogate pair. */
export function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const last = text.charCodeAt(max - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? max - 1 : max);
}
