import type { Queryable } from '../../proto/runtime/database.ts';
import { maybeRow, onlyRow } from '../../proto/runtime/database.ts';
import type { PageEnd } from '../../proto/runtime/requests.ts';
import type { Transaction, TransactionState } from '../transaction.ts';
import { selectList } from './columns.ts';

/** All of a row, as its interface names it. */
export const TRANSACTION_PROPERTIES = [
  ...(['id', 'externalId', 'externalMerchantId', 'accountId', 'mode', 'currency', 'requestedAmount'] as const),
  ...(['paymentMethod', 'authorizeOnly', 'buyerAbsent', 'requestedLastFour', 'state', 'authorizedAmount'] as const),
  ...(['capturedAmount', 'refundedAmount', 'reason', 'errorCode', 'errorMessage', 'idWithheld', 'lapsed'] as const),
  ...(['awaitedBuyer', 'setUpAsked', 'allowPartial', 'redirectUrl', 'cardScheme', 'cardBin', 'cardLastFour'] as const),
  ...(['credentialsOnFile', 'credentialsKeyId', 'sequence', 'createdAt', 'updatedAt'] as const),
] as const;
const COLUMNS = selectList(TRANSACTION_PROPERTIES);

export async function transactionById(db: Queryable, id: string): Promise<Transaction | undefined> {
  return maybeRow(await db.query<Transaction>(`select ${COLUMNS} from transactions where id = $1`, [id]));
}

export async function transactionByExternalId(db: Queryable, externalId: string): Promise<Transaction | undefined> {
  return maybeRow(
    await db.query<Transaction>(`select ${COLUMNS} from transactions where external_id = $1`, [externalId]),
  );
}

/** The row, locked until the tx ends, with the database's time: every change of a payment is made under this lock. */
export async function lockTransaction(
  tx: Queryable,
  by: { id: string } | { externalId: string },
): Promise<(Transaction & { now: Date }) | undefined> {
  const [condition, value] = 'id' in by ? ['id = $1', by.id] : ['external_id = $1', by.externalId];
  return maybeRow(
    await tx.query<Transaction & { now: Date }>(
      `select ${COLUMNS}, clock_timestamp() as now from transactions where ${condition} for update`,
      [value],
    ),
  );
}

/** The same for several, in the order of their ids. */
export function lockTransactions(tx: Queryable, ids: readonly string[]): Promise<(Transaction & { now: Date })[]> {
  return tx.query<Transaction & { now: Date }>(
    `select ${COLUMNS}, clock_timestamp() as now from transactions where id = any ($1::uuid[]) order by id for update`,
    [ids],
  );
}

/** Inserts a new payment, or returns undefined if its external id is known (R9). */
export async function insertTransaction(
  tx: Queryable,
  t: Omit<Transaction, 'createdAt' | 'updatedAt'>,
): Promise<Transaction | undefined> {
  return maybeRow(
    await tx.query<Transaction>(
      `insert into transactions (id, external_id, external_merchant_id, account_id, mode, currency, requested_amount,
         payment_method, authorize_only, buyer_absent, requested_last_four, state, reason, error_code, error_message,
         id_withheld, card_scheme, card_bin, card_last_four, sequence, set_up_asked, allow_partial)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
       on conflict (external_id) do nothing
       returning ${COLUMNS}`,
      // biome-ignore format: in the order of the statement
      [
        t.id, t.externalId, t.externalMerchantId, t.accountId, t.mode, t.currency, t.requestedAmount,
        t.paymentMethod, t.authorizeOnly, t.buyerAbsent, t.requestedLastFour, t.state, t.reason, t.errorCode,
        t.errorMessage, t.idWithheld, t.cardScheme, t.cardBin, t.cardLastFour, t.sequence, t.setUpAsked,
        t.allowPartial,
      ],
    ),
  );
}

/** Writes what may change of a payment. The expected state is the second guard beside the row lock (R14). */
export async function updateTransaction(
  tx: Queryable,
  t: Transaction,
  expected: TransactionState,
): Promise<Transaction> {
  return onlyRow(
    await tx.query<Transaction>(
      `update transactions set state = $3, authorized_amount = $4, captured_amount = $5, refunded_amount = $6, reason = $7,
         error_code = $8, error_message = $9, lapsed = $10, awaited_buyer = $11, redirect_url = $12, card_scheme = $13,
         card_bin = $14, card_last_four = $15, credentials_on_file = $16, credentials_key_id = $17, sequence = $18,
         updated_at = clock_timestamp()
       where id = $1 and state = $2
       returning ${COLUMNS}`,
      // biome-ignore format: in the order of the statement
      [
        t.id, expected, t.state, t.authorizedAmount, t.capturedAmount, t.refundedAmount, t.reason, t.errorCode,
        t.errorMessage, t.lapsed, t.awaitedBuyer, t.redirectUrl, t.cardScheme, t.cardBin, t.cardLastFour,
        t.credentialsOnFile, t.credentialsKeyId, t.sequence,
      ],
    ),
  );
}

/** Payments for which all of it holds; what is null or empty is left out. */
export interface TransactionFilter {
  readonly before: PageEnd | null;
  readonly accountId: string | null;
  readonly externalMerchantId: string | null;
  readonly states: readonly TransactionState[];
  readonly createdFrom: Date | null;
  readonly createdBefore: Date | null;
  /** Minor units, of a currency. */
  readonly requested: { readonly amount: bigint; readonly currency: string } | null;
  readonly limit: number;
}

/**
 * Statements of this tx are planned for their own values. A plan for any would take an amount that nobody paid for a frequent one where
 * amounts are few, and look for it through the whole ledger.
 */
export async function planForValues(tx: Queryable): Promise<void> {
  await tx.query('set local plan_cache_mode = force_custom_plan');
}

/** Newest first, from before a cursor. */
export async function listTransactions(
  db: Queryable,
  filter: TransactionFilter,
): Promise<(Transaction & { cursor: string })[]> {
  const { before, accountId, externalMerchantId, states, createdFrom, createdBefore, requested, limit } = filter;
  const values: unknown[] = [];
  const given = (value: unknown, condition: (parameter: string) => string) =>
    value === null ? [] : [condition(`$${values.push(value)}`)];
  // Only what was asked for, so that a plan for any values finds the index that fits it.
  const conditions = [
    ...given(before?.at ?? null, (at) => `(created_at, id) < (${at}::timestamptz, $${values.push(before?.id)}::uuid)`),
    ...given(accountId, (id) => `account_id = ${id}::uuid`),
    ...given(externalMerchantId, (id) => `external_merchant_id = ${id}`),
    ...given(createdFrom, (time) => `created_at >= ${time}::timestamptz`),
    ...given(createdBefore, (time) => `created_at < ${time}::timestamptz`),
    ...given(requested?.amount ?? null, (amount) => `requested_amount = ${amount}::bigint`),
    ...given(requested?.currency ?? null, (currency) => `currency = ${currency}`),
  ];
  const most = `$${values.push(limit)}`;
  const select = (and: readonly string[]) =>
    `(select ${COLUMNS}, created_at::text as cursor from transactions
      ${and.length > 0 ? `where ${and.join(' and ')}` : ''} order by created_at desc, id desc limit ${most})`;
  // Each state by itself: their index is in order of time within a state.
  const selects =
    states.length === 0
      ? [select(conditions)]
      : [...new Set(states)].map((state) => select([...conditions, ofState(state)]));
  if (selects.length === 1) return db.query(selects.join(), values);
  return db.query(
    `select ${NAMES} from (${selects.join(' union all ')}) as found order by "createdAt" desc, id desc limit ${most}`,
    values,
  );
}

const NAMES = [...TRANSACTION_PROPERTIES, 'cursor'].map((property) => `"${property}"`).join(', ');

/** In words of the index of all states but the common one; a state is a name of ours, never a caller's text. */
const ofState = (state: TransactionState) =>
  state === 'captured' ? `state = 'captured'` : `state = '${state}' and state <> 'captured'`;
