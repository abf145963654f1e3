import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import { beginning, cut, plain, quotes, scrub, withoutRuns } from '../proto/runtime/redact.ts';
import type { OwnCard } from './own-card.ts';

// The fields of what an engine or a caller says, made into what rows, events and Wix can hold (R20, R47). Nothing here does I/O.

/** What is sane for the time of something that happens to a payment: an engine that counts in other units than seconds is far from it. */
const FIRST_TIME = Date.UTC(2000, 0, 1);
const LAST_TIME = Date.UTC(2100, 0, 1);

/** Reads the fields of one answer. Nothing throws: what cannot be held is left out, and `lost` has the name of its field. */
export interface Fields {
  /** Names as in the proto, once each. */
  readonly lost: string[];
  /** What the engine must know again: without control characters, at most max; of card numbers it loses the payment's own alone. */
  reference(name: string, value: string, max: number): string;
  /**
   * Free text on one line, without any card number. Where it quotes the payment's own it loses all digits: its security code may be
   * among them. Too long is no loss: the proto says that it is cut.
   */
  text(name: string, value: string, max: number): string;
  /** Zero, and what is before it, is how some languages write that there is none. */
  time(name: string, value: Timestamp | undefined): Date | undefined;
  /** Whether a value names the payment's own card, also if it is escaped as in a URL. */
  quotesCard(value: string): boolean;
  /** Another field that is left out. */
  lose(name: string): void;
}

export function readFields(isOwnCard: OwnCard): Fields {
  const lost: string[] = [];
  const lose = (name: string) => void (lost.includes(name) || lost.push(name));
  return {
    lost,
    lose,
    reference(name, value, max) {
      const kept = cut(withoutRuns(plain(beginning(value, 8 * max)), isOwnCard), max);
      if (kept !== value) lose(name);
      return kept;
    },
    text(name, value, max) {
      const oneLine = beginning(value, 8 * max).replace(/[\t-\r\x85\u2028\u2029]+/g, ' ');
      const text = plain(oneLine);
      const isQuoted = quotes(text, isOwnCard);
      if (isQuoted || text !== oneLine) lose(name);
      return beginning(isQuoted ? withoutRuns(withoutRuns(text, isOwnCard), () => true, '[digits]') : scrub(text), max);
    },
    time(name, value) {
      if (!value || value.seconds <= 0n) return undefined;
      const time = timestampDate(value);
      if (time.getTime() >= FIRST_TIME && time.getTime() < LAST_TIME) return time;
      lose(name);
      return undefined;
    },
    quotesCard: (value) =>
      [value, unescaped(value), unescaped(unescaped(value))].some((text) => quotes(text, isOwnCard)),
  };
}

/** What is escaped as in a URL, read; nothing is malformed. */
const unescaped = (text: string) =>
  text.replace(/(?:%[0-9a-f]{2})+/gi, (bytes) => Buffer.from(bytes.replaceAll('%', ''), 'hex').toString());
