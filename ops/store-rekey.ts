import type { Queryable } from '../proto/runtime/database.ts';

// What is sealed with a key that is not the first. Each row is written only if it is still sealed as it was read.

export interface SealedCredentials {
  readonly id: bigint;
  readonly accountId: string;
  readonly keyId: string;
  readonly sealed: Uint8Array;
}

export function staleCredentials(
  db: Queryable,
  first: string,
  after: bigint,
  limit: number,
): Promise<SealedCredentials[]> {
  return db.query<SealedCredentials>(
    `select id, account_id as "accountId", key_id as "keyId", sealed from merchant_credentials
     where id > $2 and key_id <> $1 order by id limit $3`,
    [first, after, limit],
  );
}

export async function writeCredentials(
  db: Queryable,
  row: SealedCredentials,
  now: { sealed: Uint8Array; lookup: Uint8Array; keyId: string },
): Promise<boolean> {
  const rows = await db.query(
    'update merchant_credentials set sealed = $3, lookup = $4, key_id = $5 where id = $1 and sealed = $2 returning id',
    [row.id, row.sealed, now.sealed, now.lookup, now.keyId],
  );
  return rows.length > 0;
}

export interface SealedRow {
  readonly id: string;
  readonly keyId: string;
  readonly sealed: Uint8Array;
}

/** Credentials on file of payments. */
export function stalePayments(db: Queryable, key: string, limit: number): Promise<SealedRow[]> {
  return db.query<SealedRow>(
    `select id, credentials_key_id as "keyId", credentials_on_file as sealed from transactions where credentials_key_id = $1 limit $2`,
    [key, limit],
  );
}

export async function writePayment(db: Queryable, row: SealedRow, sealed: Uint8Array, keyId: string): Promise<boolean> {
  const rows = await db.query(
    `update transactions set credentials_on_file = $3, credentials_key_id = $4 where id = $1 and credentials_on_file = $2 returning id`,
    [row.id, row.sealed, sealed, keyId],
  );
  return rows.length > 0;
}

/** Bodies that are still to be sent to Wix; of the relay's schema. */
export function staleBodies(db: Queryable, key: string, limit: number): Promise<SealedRow[]> {
  return db.query<SealedRow>(
    `select event_id as id, sealed_with as "keyId", body as sealed from deliveries where finished_at is null and sealed_with = $1 limit $2`,
    [key, limit],
  );
}

export async function writeBody(db: Queryable, row: SealedRow, sealed: Uint8Array, keyId: string): Promise<boolean> {
  const rows = await db.query(
    `update deliveries set body = $3, sealed_with = $4 where event_id = $1 and body = $2 and finished_at is null returning event_id`,
    [row.id, row.sealed, sealed, keyId],
  );
  return rows.length > 0;
}
