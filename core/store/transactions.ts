import type { Queryable } from '../../proto/runtime/database.ts';
import { maybeRow, onlyRow } from '../../proto/runtime/database.ts';
import type { PageEnd } from '../../proto/runtime/requests.ts';
import type { Transaction, TransactionState } from '../transaction.ts';
import { selectList } from './columns.ts';

const COLUMNS = selectList([
  ...(['id', 'externalId', 'externalMerchantId', 'accountId', 'mode', 'currency', 'requestedAmount'] as const),
  ...(['paymentMethod', 'authorizeOnly', 'buyerAbsent', 'requestedLastFour', 'state', 'authorizedAmount'] as const),
  ...(['capturedAmount', 'refundedAmount', 'reason', 'errorCode', 'errorMessage', 'idWithheld', 'lapsed'] as const),
  ...(['awaitedBuyer', 'setUpAsked', 'allowPartial', 'redirectUrl', 'cardScheme', 'cardBin', 'cardLastFour'] as const),
  ...(['credentialsOnFile', 'credentialsKeyId', 'sequence', 'createdAt', 'updatedAt'] as const),
]);

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

/** Newest first, from before a cursor; every condition that is null or empty is left out. */
export async function listTransactions(
  db: Queryable,
  filter: {
    before: PageEnd | null;
    accountId: string | null;
    externalMerchantId: string | null;
    states: readonly TransactionState[];
    limit: number;
  },
): Promise<(Transaction & { cursor: string })[]> {
  return db.query<Transaction & { cursor: string }>(
    `select ${COLUMNS}, created_at::text as cursor from transactions
     where ($1::timestamptz is null or (created_at, id) < ($1::timestamptz, $2::uuid))
       and ($3::uuid is null or account_id = $3)
       and ($4::text is null or external_merchant_id = $4)
       and (cardinality($5::text[]) = 0 or state = any ($5))
     order by created_at desc, id desc
     limit $6`,
    [
      filter.before?.at ?? null,
      filter.before?.id ?? null,
      filter.accountId,
      filter.externalMerchantId,
      filter.states,
      filter.limit,
    ],
  );
}
