import type { Queryable } from '../../proto/runtime/database.ts';
import type { Transaction } from '../transaction.ts';
import { NEW_LINK, type NewBuyerLink } from './buyer-links.ts';
import { columnList, toTableRows } from './columns.ts';
import { merchantVersion } from './merchant-accounts.ts';
import type { NewOperation } from './operations.ts';

// tx 1 of many creates, in one statement. Nothing is read before: whether an id is new, and its merchant still as it was read, is asked by
// the statement that writes.

/** A new payment with its running authorize, and the link for its buyer if a page may be shown. */
export interface Beginning {
  readonly transaction: Omit<Transaction, 'createdAt' | 'updatedAt'>;
  readonly operation: NewOperation;
  readonly link: NewBuyerLink | undefined;
  /** The merchant's version by which it was admitted. */
  readonly merchantVersion: string;
  /** Ms for which it may still begin. */
  readonly beginMs: () => number;
}

export type Begun =
  | { readonly is: 'new'; readonly createdAt: Date }
  /** Its external id is known (R9). */
  | { readonly is: 'known' }
  /** The merchant has connected anew since. */
  | { readonly is: 'outdated' }
  /** It had to wait, for a lock or for others, until it was too late to begin (R1). */
  | { readonly is: 'late' };

const NEW_PAYMENT = [
  ...(['id', 'externalId', 'externalMerchantId', 'accountId', 'mode', 'currency', 'requestedAmount'] as const),
  ...(['paymentMethod', 'authorizeOnly', 'buyerAbsent', 'requestedLastFour', 'state', 'cardBin'] as const),
  ...(['cardLastFour', 'setUpAsked', 'allowPartial', 'idWithheld', 'lapsed', 'awaitedBuyer', 'sequence'] as const),
  ...(['authorizedAmount', 'capturedAmount', 'refundedAmount'] as const),
] as const;

const NEW_OPERATION = [
  ...(['id', 'transactionId', 'kind', 'state', 'caller', 'key', 'callId', 'attempt', 'amount', 'why'] as const),
] as const;

const BEGIN = `
  with given as (
    select payment.*, version = ${merchantVersion('payment.external_merchant_id', 'payment.account_id')} as is_current,
      clock_timestamp() - now() >= begin_ms * interval '1 millisecond' as is_late
    from rows from (unnest($3::text[], $5::float8[]), json_populate_recordset(null::transactions, $1)) as payment (version, begin_ms)),
  payment as (
    insert into transactions (${columnList(NEW_PAYMENT)})
    select ${columnList(NEW_PAYMENT)} from given where is_current and not is_late order by id
    on conflict (external_id) do nothing
    returning id, created_at),
  operation as (
    insert into operations (${columnList(NEW_OPERATION)}, due_at, created_at, changed_at)
    select ${columnList(NEW_OPERATION, 'o.')}, now() + $4::float8 * interval '1 millisecond', now(), now()
    from json_populate_recordset(null::operations, $2) as o
    where o.transaction_id = any (array(select id from payment))
    returning id),
  link as (
    insert into buyer_links (${columnList(NEW_LINK)}, expires_at)
    select ${columnList(NEW_LINK, 'l.')}, now() + $7::float8 * interval '1 millisecond'
    from json_populate_recordset(null::buyer_links, $6) as l
    where l.operation_id = any (array(select id from operation)))
  select given.id, is_current as "isCurrent", is_late as "isLate", payment.created_at as "createdAt" from given left join payment using (id)`;

/** Inserts them, each unless its id is known or its merchant has changed. Answers in their order. `dueInMs` and `lifeMs` are the same for all. */
export async function beginPayments(db: Queryable, beginnings: readonly Beginning[]): Promise<Begun[]> {
  const transactions = beginnings.map(({ transaction }) => transaction);
  const links = beginnings.flatMap(({ link }) => link ?? []);
  type Row = { id: string; isCurrent: boolean; isLate: boolean; createdAt: Date | null };
  const rows = await db.query<Row>(BEGIN, [
    toTableRows(transactions, NEW_PAYMENT),
    toTableRows(
      beginnings.map(({ operation }) => operation),
      NEW_OPERATION,
    ),
    beginnings.map(({ merchantVersion }) => merchantVersion),
    beginnings[0]?.operation.dueInMs,
    beginnings.map(({ beginMs }) => beginMs()),
    toTableRows(links, NEW_LINK),
    links[0]?.lifeMs ?? 0,
  ]);
  const found = new Map(rows.map((row) => [row.id, row]));
  return transactions.map(({ id }): Begun => {
    const { isCurrent, isLate, createdAt } = found.get(id)!;
    if (createdAt) return { is: 'new', createdAt };
    if (isLate) return { is: 'late' };
    return { is: isCurrent ? 'known' : 'outdated' };
  });
}
