import { Buffer } from 'node:buffer';
import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { isLoopback } from './config.ts';
import { rpcError } from './rpc.ts';

// The limits that the protos state, checked at a service's edge: a caller that breaks them gets INVALID_ARGUMENT, never a row.

export function ensure(holds: boolean, field: string, rule: string): void {
  if (!holds) throw rpcError(Code.InvalidArgument, 'INVALID_ARGUMENT', `${field} ${rule}`, { field });
}

/** Characters are UTF-16 units. PostgreSQL has no NUL. */
export function ensureLength(value: string, field: string, min: number, max: number): void {
  const fits = value.length >= min && value.length <= max;
  ensure(fits && !value.includes('\0'), field, `must have ${min}..${max} characters, none of them NUL`);
}

export function ensureUuid(value: string, field: string): void {
  ensure(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value), field, 'must be a UUID');
}

/**
 * A page that a browser may be sent to: an absolute URL with https, or with http on this machine, of at most `max` characters. As it was
 * parsed: what a URL cannot hold, such as the end of a line, is not in it. Undefined: it is none.
 */
export function pageUrl(text: string, max: number): string | undefined {
  const url = text.length <= max ? URL.parse(text) : null;
  const isSafe = url && (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.href)));
  return isSafe && url.href.length <= max ? url.href : undefined;
}

/** The last second of a protobuf Timestamp. */
const YEAR_9999 = 253_402_300_799n;

/** From 1970 on. */
export function readTime(time: Timestamp | undefined, field: string): Date | null {
  ensure(!time || (time.seconds >= 0n && time.seconds <= YEAR_9999), field, 'is out of range');
  return time ? timestampDate(time) : null;
}

/** How many rows a page has, at most 200; 0 means 50. */
export function readPageSize(size: number): number {
  ensure(size >= 0 && size <= 200, 'page_size', 'must be 0..200');
  return size || 50;
}

/** Where a page ended: the time of its last row, as PostgreSQL writes it, so that no digit is lost, and its id. */
export interface PageEnd {
  readonly at: string;
  readonly id: string;
}

export function toPageToken({ at, id }: PageEnd): string {
  return Buffer.from(`${at}|${id}`).toString('base64url');
}

const TIME = /^(?!0000)(\d{4}-\d\d-\d\d) ([01]\d|2[0-3])(:[0-5]\d){2}(\.\d{1,6})?[+-](0\d|1[0-5])(:[0-5]\d){0,2}$/;

/** Of a time that PostgreSQL can read: JavaScript takes the 31st of February for the 3rd of March. */
function isTime(text: string): boolean {
  const [, day = ''] = TIME.exec(text) ?? [];
  const start = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(start.getTime()) && start.toISOString().startsWith(day);
}

/** Null: the first page. */
export function readPageToken(token: string, field = 'page_token'): PageEnd | null {
  if (token === '') return null;
  const [at = '', id = ''] = Buffer.from(token, 'base64url').toString().split('|');
  ensure(isTime(at), field, 'is malformed');
  ensureUuid(id, field);
  return { at, id };
}
