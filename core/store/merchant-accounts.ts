import type { Queryable } from '../../proto/runtime/database.ts';
import { maybeRow, onlyRow } from '../../proto/runtime/database.ts';
import type { Mode } from '../transaction.ts';

/** A row of `merchant_accounts`. */
export interface MerchantAccount {
  readonly id: string;
  readonly externalMerchantId: string;
  readonly accountReference: string;
  readonly name: string;
  /** ISO 4217; empty means every currency of Wix's table. */
  readonly currencies: readonly string[];
  /** Whether it takes an approval of less than was asked. */
  readonly allowPartial: boolean;
  readonly suspendedAt: Date | null;
}

/** One version of a merchant's credentials. */
export interface CredentialsVersion {
  readonly accountId: string;
  readonly mode: Mode;
  readonly sealed: Uint8Array;
}

const COLUMNS = `id, external_merchant_id as "externalMerchantId", account_reference as "accountReference", name, currencies,
  allow_partial as "allowPartial", suspended_at as "suspendedAt"`;

/** Inserts the account or brings what it says up to date; its id never changes (R11). */
export async function upsertMerchantAccount(
  tx: Queryable,
  account: Omit<MerchantAccount, 'suspendedAt'>,
): Promise<MerchantAccount> {
  return onlyRow(
    await tx.query<MerchantAccount>(
      `insert into merchant_accounts (id, external_merchant_id, account_reference, name, currencies, allow_partial)
       values ($1, $2, $3, $4, $5, $6)
       on conflict (external_merchant_id, account_reference)
         do update set name = excluded.name, currencies = excluded.currencies, allow_partial = excluded.allow_partial,
           updated_at = now()
       returning ${COLUMNS}`,
      [
        account.id,
        account.externalMerchantId,
        account.accountReference,
        account.name,
        account.currencies,
        account.allowPartial,
      ],
    ),
  );
}

/** Makes those who report refunds of one account take turns, so that no reference is taken twice (R23). */
export async function lockMerchantAccount(tx: Queryable, id: string): Promise<void> {
  await tx.query('select from merchant_accounts where id = $1 for no key update', [id]);
}

/** Adds a version of an account's credentials, unless its newest one is the same. */
export async function insertCredentials(
  tx: Queryable,
  version: CredentialsVersion & { externalMerchantId: string; lookup: Uint8Array; keyId: string },
): Promise<void> {
  await tx.query(
    `insert into merchant_credentials (account_id, external_merchant_id, mode, lookup, key_id, sealed)
     select $1, $2, $3, $4, $5, $6
     where not exists (
       select from (select mode, lookup from merchant_credentials where external_merchant_id = $2 order by id desc limit 1) as newest
       where newest.mode = $3 and newest.lookup = $4)`,
    [version.accountId, version.externalMerchantId, version.mode, version.lookup, version.keyId, version.sealed],
  );
}

/** Whether a merchant has, or had, credentials with one of these keyed hashes (R11). */
export async function hasCredentials(
  db: Queryable,
  externalMerchantId: string,
  lookups: readonly Uint8Array[],
): Promise<boolean> {
  const rows = await db.query(
    'select from merchant_credentials where external_merchant_id = $1 and lookup = any ($2::bytea[]) limit 1',
    [externalMerchantId, lookups],
  );
  return rows.length > 0;
}

/** The newest credentials of an account in a mode: what the processor is called with (R11). */
export async function newestCredentials(
  db: Queryable,
  accountId: string,
  mode: Mode,
): Promise<(CredentialsVersion & { accountReference: string }) | undefined> {
  return maybeRow(
    await db.query<CredentialsVersion & { accountReference: string }>(
      `select c.account_id as "accountId", c.mode, c.sealed, a.account_reference as "accountReference"
       from merchant_credentials c join merchant_accounts a on a.id = c.account_id
       where c.account_id = $1 and c.mode = $2
       order by c.id desc limit 1`,
      [accountId, mode],
    ),
  );
}

/**
 * An expression: a text that is another whenever a merchant has connected anew, with whatever account, or this account has changed.
 */
export function merchantVersion(externalMerchantId: string, accountId: string): string {
  return `(select concat(newest.id, ' ', account.xmin) from merchant_accounts account,
    lateral (select max(id) as id from merchant_credentials where external_merchant_id = ${externalMerchantId}) as newest
    where account.id = ${accountId})`;
}

/** An account that a merchant's credentials match, with the newest ones of their mode: those the processor is called with (R11). */
export interface MatchingAccount extends CredentialsVersion {
  readonly accountReference: string;
  readonly currencies: readonly string[];
  readonly allowPartial: boolean;
  readonly isSuspended: boolean;
  readonly version: string;
}

/** For each mode the newest match of these keyed hashes, newest first, as of one moment. */
export async function matchingAccounts(
  db: Queryable,
  externalMerchantId: string,
  lookups: readonly Uint8Array[],
): Promise<MatchingAccount[]> {
  return db.query<MatchingAccount>(
    `select account_id as "accountId", mode, account_reference as "accountReference", currencies, allow_partial as "allowPartial",
       suspended_at is not null as "isSuspended", (select sealed from merchant_credentials newest
        where newest.account_id = matching.account_id and newest.mode = matching.mode
        order by newest.id desc limit 1) as sealed,
       ${merchantVersion('$1', 'matching.account_id')} as version
     from (select distinct on (mode) account_id, mode, id from merchant_credentials
           where external_merchant_id = $1 and lookup = any ($2::bytea[])
           order by mode, id desc) as matching
     join merchant_accounts on merchant_accounts.id = account_id
     order by matching.id desc`,
    [externalMerchantId, lookups],
  );
}

/** Ids of all keys that stored data needs (R31). */
export async function keyIdsInUse(db: Queryable): Promise<{ credentials: string[]; events: string[] }> {
  return onlyRow(
    await db.query<{ credentials: string[]; events: string[] }>(
      // From one key to the next by the index: there are few, and millions of payments.
      `with recursive events (key_id) as (
         select (select min(credentials_key_id) from transactions where credentials_key_id is not null)
         union all
         select (select min(credentials_key_id) from transactions where credentials_key_id > events.key_id)
         from events where events.key_id is not null)
       select array(select distinct key_id from merchant_credentials) as credentials,
         array(select key_id from events where key_id is not null) as events`,
    ),
  );
}
