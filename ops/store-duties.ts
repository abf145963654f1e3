import type { Queryable } from '../proto/runtime/database.ts';

// What commands do to merchants' accounts, and the record of all commands.

export interface Duty {
  readonly run: string;
  readonly command: string;
  readonly step: 'begun' | 'ended' | 'failed';
  readonly operator: string;
  readonly reason: string;
  /** Without secrets. */
  readonly details: object;
}

export async function insertDuty(db: Queryable, duty: Duty): Promise<void> {
  const { run, command, step, operator, reason, details } = duty;
  await db.query('insert into duties (run, command, step, operator, reason, details) values ($1, $2, $3, $4, $5, $6)', [
    ...[run, command, step, operator, reason],
    JSON.stringify(details),
  ]);
}

export interface Account {
  readonly id: string;
  readonly accountReference: string;
  readonly name: string;
  readonly suspendedAt: Date | null;
  readonly suspendedForMs: number | null;
  readonly versions: number;
}

/** The accounts of a merchant of Wix; one of them if its reference is given. */
export function accountsOf(db: Queryable, merchant: string, reference: string | null): Promise<Account[]> {
  return db.query<Account>(
    `select id, account_reference as "accountReference", name, suspended_at as "suspendedAt",
       (extract(epoch from now() - suspended_at) * 1000)::float8 as "suspendedForMs",
       (select count(*)::integer from merchant_credentials where account_id = merchant_accounts.id) as versions
     from merchant_accounts where external_merchant_id = $1 and ($2::text is null or account_reference = $2) order by created_at`,
    [merchant, reference],
  );
}

/** What is suspended already stays as it is. Every core notices: the row is another from then on. */
export async function suspend(db: Queryable, ids: readonly string[]): Promise<number> {
  const rows = await db.query(
    'update merchant_accounts set suspended_at = now(), updated_at = now() where id = any ($1::uuid[]) and suspended_at is null returning id',
    [ids],
  );
  return rows.length;
}

export async function resume(db: Queryable, ids: readonly string[]): Promise<number> {
  const rows = await db.query(
    'update merchant_accounts set suspended_at = null, updated_at = now() where id = any ($1::uuid[]) and suspended_at is not null returning id',
    [ids],
  );
  return rows.length;
}

/** Payments that are not at rest, or have an open operation; 1,000 at most. */
export async function openMoney(db: Queryable, ids: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ id: string }>(
    `select id from transactions where account_id = any ($1::uuid[]) and (
       state not in ('captured', 'voided', 'expired', 'declined')
       or exists (select from operations where transaction_id = transactions.id and state in ('running', 'waiting', 'unknown')))
     limit 1000`,
    [ids],
  );
  return rows.map(({ id }) => id);
}

/** Takes away what these accounts were called with, and their names. Payments stay. Answers how many versions of credentials there were. */
export async function forget(tx: Queryable, ids: readonly string[]): Promise<number> {
  const rows = await tx.query('delete from merchant_credentials where account_id = any ($1::uuid[]) returning id', [
    ids,
  ]);
  await tx.query(`update merchant_accounts set name = '', updated_at = now() where id = any ($1::uuid[])`, [ids]);
  return rows.length;
}
