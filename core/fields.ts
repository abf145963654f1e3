import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import { cut, plain, scrub } from '../proto/runtime/redact.ts';

// The fields of what an engine says, made into what rows, events and Wix can hold (R47). Nothing here does I/O.

/** What is sane for the time of something that happens to a payment: an engine that counts in other units than seconds is far from it. */
const FIRST_TIME = Date.UTC(2000, 0, 1);
const LAST_TIME = Date.UTC(2100, 0, 1);

/** Reads the fields of one answer. Nothing throws: what cannot be held is left out, and `lost` has the name of its field. */
export interface Fields {
  /** Names as in the proto, once each. */
  readonly lost: string[];
  /** What the engine must know again: without control characters, at most max. */
  reference(name: string, value: string, max: number): string;
  /** Free text on one line, scrubbed of card numbers (R20). Too long is no loss: the proto says that it is cut. */
  text(name: string, value: string, max: number): string;
  /** Zero, and what is before it, is how some languages write that there is none. */
  time(name: string, value: Timestamp | undefined): Date | undefined;
  /** Another field that is left out. */
  lose(name: string): void;
}

export function readFields(): Fields {
  const lost: string[] = [];
  const lose = (name: string) => void (lost.includes(name) || lost.push(name));
  return {
    lost,
    lose,
    reference(name, value, max) {
      const kept = cut(plain(value), max);
      if (kept !== value) lose(name);
      return kept;
    },
    text(name, value, max) {
      // A part of a card number that the first cut left at the end is beyond the second.
      const oneLine = cut(value, 8 * max).replace(/[\t-\r\x85\u2028\u2029]+/g, ' ');
      const kept = plain(oneLine);
      if (kept !== oneLine) lose(name);
      return cut(scrub(kept), max);
    },
    time(name, value) {
      if (!value || value.seconds <= 0n) return undefined;
      const time = timestampDate(value);
      if (time.getTime() >= FIRST_TIME && time.getTime() < LAST_TIME) return time;
      lose(name);
      return undefined;
    },
  };
}
