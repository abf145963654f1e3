import type { SQLOutputValue } from 'node:sqlite';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Outcome, OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { type Instruction, InstructionSchema } from '../../proto/gen/processor/v1/processor_pb.js';
import type { Aftermath, PageKind } from './cards.ts';

// One row of the simulated engine's books, and the tables that hold it.

export type Kind = 'authorize' | 'capture' | 'void' | 'refund' | 'reversal' | 'tombstone';

/** One operation. Money in minor units: an approval of it holds or releases `held`, and takes or returns `taken`. */
export interface Entry {
  readonly requestId: string;
  readonly kind: Kind;
  readonly transactionId: string;
  readonly accountReference: string;
  /** Request id of the authorize that this is about; its own for an authorize. */
  readonly originalRequestId: string;
  readonly amount: bigint;
  readonly currency: string;
  /** An authorize that captures. */
  readonly sale: boolean;
  readonly aftermath: Aftermath;
  readonly lastFour: string;
  readonly token: string;
  readonly outcome: Outcome;
  /** A Cancel ended it; a tombstone is ended before it began. */
  readonly ended: boolean;
  readonly held: bigint;
  readonly taken: bigint;
  /** What a pending outcome turns into, when it is due (milliseconds since 1970). */
  readonly later: Outcome | undefined;
  readonly dueAt: number | undefined;
  /** As it came, without credentials; undefined for what only a Cancel or a Reverse has named. */
  readonly instruction: Instruction | undefined;
}

/** Where a buyer decides about one operation. */
export interface Page {
  /** The last part of its link: 128 random bits. */
  readonly token: string;
  readonly requestId: string;
  readonly kind: PageKind;
  /** As Wix names the payment method. */
  readonly method: string;
  /** Where the buyer goes afterwards. */
  readonly returnUrl: string;
  /** What an approval on the page leads to. */
  readonly passes: Outcome;
}

export type Row = Record<string, SQLOutputValue>;

export const COLUMNS = `request_id, kind, transaction_id, account_reference, original_request_id, amount, currency, sale, aftermath,
  last_four, token, outcome, ended, held, taken, later, due_at, instruction`;

/** Reads a row whose integers are bigints. */
export function entryOf(row: Row): Entry {
  const text = (name: string) => String(row[name]);
  return {
    requestId: text('request_id'),
    kind: text('kind') as Kind,
    transactionId: text('transaction_id'),
    accountReference: text('account_reference'),
    originalRequestId: text('original_request_id'),
    amount: row.amount as bigint,
    currency: text('currency'),
    sale: row.sale === 1n,
    aftermath: text('aftermath') as Aftermath,
    lastFour: text('last_four'),
    token: text('token'),
    outcome: fromBinary(OutcomeSchema, row.outcome as Uint8Array),
    ended: row.ended === 1n,
    held: row.held as bigint,
    taken: row.taken as bigint,
    later: row.later === null ? undefined : fromBinary(OutcomeSchema, row.later as Uint8Array),
    dueAt: row.due_at === null ? undefined : Number(row.due_at),
    instruction: row.instruction === null ? undefined : fromBinary(InstructionSchema, row.instruction as Uint8Array),
  };
}

/** The values of COLUMNS, in their order. */
export function valuesOf(entry: Entry) {
  return [
    ...[entry.requestId, entry.kind, entry.transactionId, entry.accountReference, entry.originalRequestId],
    ...[entry.amount, entry.currency, Number(entry.sale), entry.aftermath, entry.lastFour, entry.token],
    ...[toBinary(OutcomeSchema, entry.outcome), Number(entry.ended), entry.held, entry.taken],
    ...[entry.later ? toBinary(OutcomeSchema, entry.later) : null, entry.dueAt ?? null],
    entry.instruction ? toBinary(InstructionSchema, entry.instruction) : null,
  ];
}

export function pageOf(row: Row): Page {
  return {
    token: String(row.token),
    requestId: String(row.request_id),
    kind: String(row.kind) as PageKind,
    method: String(row.method),
    returnUrl: String(row.return_url),
    passes: fromBinary(OutcomeSchema, row.passes as Uint8Array),
  };
}

// WAL with synchronous = normal survives the death of the process, not of the machine: enough for a simulator, and fast.
export const SCHEMA = `
pragma journal_mode = wal;
pragma synchronous = normal;
create table if not exists operations (
  number integer primary key,
  request_id text not null unique,
  kind text not null check (kind in ('authorize', 'capture', 'void', 'refund', 'reversal', 'tombstone')),
  transaction_id text not null,
  account_reference text not null,
  original_request_id text not null,
  amount integer not null,
  currency text not null,
  sale integer not null,
  aftermath text not null,
  last_four text not null check (length(last_four) <= 4),
  token text not null,
  outcome blob not null,
  ended integer not null,
  held integer not null,
  taken integer not null,
  later blob,
  due_at integer,
  to_report integer not null default 0,
  instruction blob,
  changed_at integer not null default 0,
  check ((later is null) = (due_at is null))
) strict;
create index if not exists operations_of_transaction on operations (transaction_id);
create index if not exists operations_of_original on operations (original_request_id);
create index if not exists operations_by_token on operations (token) where token <> '';
create index if not exists operations_due on operations (due_at) where due_at is not null;
create index if not exists operations_to_report on operations (number) where to_report = 1;
create table if not exists pages (
  token text primary key,
  request_id text not null unique,
  kind text not null check (kind in ('challenge', 'redirect', 'voucher', 'hosted')),
  method text not null,
  return_url text not null,
  passes blob not null
) strict, without rowid;
create table if not exists calls (
  request_id text not null,
  method text not null,
  count integer not null,
  primary key (request_id, method)
) strict, without rowid;
`;

/** Columns of books that are older. */
export const ADDED = [
  ['instruction', 'blob'],
  ['changed_at', 'integer not null default 0'],
] as const;
