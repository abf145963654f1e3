import type { DescEnum, DescMessage, MessageShape } from '@bufbuild/protobuf';
import { isReflectList, isReflectMap, isReflectMessage, reflect } from '@bufbuild/protobuf/reflect';

// What may be printed, and what may not.

/**
 * The one way to print a message (R32): a plain object of its set fields, by their proto names. What carries debug_redact is
 * '[redacted]' at any depth; enums are names, int64 are strings, bytes are their length.
 */
export function redact<D extends DescMessage>(schema: D, message: MessageShape<D>): unknown {
  return printable(reflect(schema, message));
}

function printable(value: unknown, ofEnum?: DescEnum): unknown {
  if (isReflectMessage(value)) {
    const set = value.fields.filter((field) => value.isSet(field));
    const shown = (field: (typeof set)[number]) =>
      field.proto.options?.debugRedact ? '[redacted]' : printable(value.get(field), field.enum);
    return Object.fromEntries(set.map((field) => [field.name, shown(field)]));
  }
  if (isReflectList(value)) return Array.from(value, (element) => printable(element, ofEnum));
  if (isReflectMap(value))
    return Object.fromEntries(Array.from(value, ([key, each]) => [key, printable(each, ofEnum)]));
  if (ofEnum) return ofEnum.value[value as number]?.name ?? value;
  if (typeof value === 'bigint') return String(value);
  return value instanceof Uint8Array ? `[${value.length} bytes]` : value;
}

/**
 * Replaces whatever could be a card number: groups of digits, with single spaces or dashes between them, that have 12 to 19 digits
 * together and pass Luhn (R20). With `isSuspect` only those for whose digits it is true.
 */
export function scrub(text: string, isSuspect: (digits: string) => boolean = () => true): string {
  return text.replace(/\d+(?:[ -]\d+)*/g, (run) => {
    const groups = run.match(/\d+[ -]?/g) ?? [];
    let clean = '';
    for (let from = 0; from < groups.length; ) {
      const end = endOfCardNumber(groups, from, isSuspect);
      clean += end ? groups.slice(from, end).join('').replace(/.*\d/, '[card number]') : groups[from];
      from = end ?? from + 1;
    }
    return clean;
  });
}

/** The longest card number that begins with the group at `from`: the index of the group after it. */
function endOfCardNumber(
  groups: readonly string[],
  from: number,
  isSuspect: (digits: string) => boolean,
): number | undefined {
  for (let end = Math.min(groups.length, from + 19); end > from; end--) {
    const digits = groups.slice(from, end).join('').replace(/\D/g, '');
    if (isCardNumber(digits) && isSuspect(digits)) return end;
  }
  return undefined;
}

/** Twice a digit, its own digits added. */
const DOUBLED = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];

function isCardNumber(digits: string): boolean {
  if (digits.length < 12 || digits.length > 19) return false;
  const fromTheRight = Array.from(digits, Number).reverse();
  return fromTheRight.reduce((sum, digit, i) => sum + (i % 2 ? DOUBLED[digit]! : digit), 0) % 10 === 0;
}

/** Without what PostgreSQL, a log line or a header cannot hold: control characters and halves of surrogate pairs. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}]/gu, '');
}

/** At most max UTF-16 units, never half of a surrogate pair. */
export function cut(text: string, max: number): string {
  return text.length <= max ? text : text.slice(0, max).replace(/[\ud800-\udbff]$/, '');
}
