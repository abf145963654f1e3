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
 * Replaces whatever could be a card number (R20): 12 to 19 digits of any script that pass Luhn, as one group, or as several with anything
 * but letters between them that begin as cards do; dates and addresses are written in groups too. One pass, whatever the text.
 */
export function scrub(text: string): string {
  let clean = '';
  let done = 0;
  for (const groups of runsOf(text))
    for (let from = 0; from < groups.length; ) {
      const end = endOfCardNumber(groups, from);
      if (end !== undefined) {
        clean += `${text.slice(done, groups[from]!.start)}${CARD_NUMBER}`;
        done = groups[end - 1]!.end;
      }
      from = end ?? from + 1;
    }
  return clean + text.slice(done);
}

const CARD_NUMBER = '[card number]';

/** Replaces every run of digits for which it is true, of any script and with anything but letters between the digits. */
export function withoutRuns(text: string, isOne: (digits: string) => boolean, instead = CARD_NUMBER): string {
  let clean = '';
  let done = 0;
  for (const groups of runsOf(text)) {
    if (!isOne(digitsOf(groups))) continue;
    clean += `${text.slice(done, groups[0]!.start)}${instead}`;
    done = groups.at(-1)!.end;
  }
  return clean + text.slice(done);
}

/** Whether a text has such a run of digits. */
export function quotes(text: string, isOne: (digits: string) => boolean): boolean {
  return runsOf(text).some((groups) => isOne(digitsOf(groups)));
}

const digitsOf = (groups: readonly Group[]) => groups.map(({ digits }) => digits).join('');

/** At most max of a text, scrubbed. Of a longer one only a beginning is looked at, so that no text costs more than a short one. */
export function bounded(text: string, max: number): string {
  return beginning(scrub(beginning(text, 4 * max)), max);
}

/** At most max UTF-16 units, without the digits at the end where it is cut: they may be a part of a card number. */
export function beginning(text: string, max: number): string {
  if (text.length <= max) return text;
  const head = cut(text, max);
  const last = runsOf(head).at(-1);
  return last && goesOn(head, last.at(-1)!.end, head.length) ? head.slice(0, last[0]!.start) : head;
}

/** Digits with nothing between them. */
interface Group {
  readonly start: number;
  readonly end: number;
  /** As 0 to 9. */
  readonly digits: string;
}

/** The groups of digits of a text, by runs that no letter and no other number interrupts. */
function runsOf(text: string): Group[][] {
  const runs: Group[][] = [];
  let end: number | undefined;
  for (const { 0: found, index } of text.matchAll(/\p{Nd}+/gu)) {
    const group = { start: index, end: index + found.length, digits: toAscii(found) };
    if (end !== undefined && goesOn(text, end, index)) runs.at(-1)?.push(group);
    else runs.push([group]);
    end = group.end;
  }
  return runs;
}

const goesOn = (text: string, from: number, to: number) => !/[\p{L}\p{N}]/u.test(text.slice(from, to));

/** Unicode has the ten digits of a script side by side, zero first. */
function toAscii(digits: string): string {
  return digits.replace(/[^0-9]/gu, (digit) => {
    const code = digit.codePointAt(0)!;
    const value = VALUES.get(code) ?? placeOf(code);
    VALUES.set(code, value);
    return String(value);
  });
}

const VALUES = new Map<number, number>();

function placeOf(code: number): number {
  let place = 0;
  while (/\p{Nd}/u.test(String.fromCodePoint(code - place - 1))) place += 1;
  return place % 10;
}

/** The longest card number that begins with the group at `from`: the index of the group after it. */
function endOfCardNumber(groups: readonly Group[], from: number): number | undefined {
  let { digits } = groups[from]!;
  let end = isCardNumber(digits) ? from + 1 : undefined;
  if (!/^(?:[3-6]|2[2-7])/.test(`${digits}${groups[from + 1]?.digits ?? ''}`)) return end;
  for (let i = from + 1; i < groups.length && digits.length + groups[i]!.digits.length <= 19; i++) {
    digits += groups[i]!.digits;
    if (isCardNumber(digits)) end = i + 1;
  }
  return end;
}

/** Twice a digit, its own digits added. */
const DOUBLED = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];

/** Whether these are 12 to 19 digits that pass Luhn. */
export function isCardNumber(digits: string): boolean {
  if (digits.length < 12 || digits.length > 19) return false;
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = digits.charCodeAt(digits.length - 1 - i) - 48;
    sum += i % 2 ? DOUBLED[digit]! : digit;
  }
  return sum % 10 === 0;
}

/** Without what PostgreSQL, a log line or a header cannot hold: control characters and halves of surrogate pairs. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}]/gu, '');
}

/** At most max UTF-16 units, never half of a surrogate pair. */
export function cut(text: string, max: number): string {
  return text.length <= max ? text : text.slice(0, max).replace(/[\ud800-\udbff]$/, '');
}
