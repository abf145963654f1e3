import type { Queryable } from '../../proto/runtime/database.ts';
import { maybeRow } from '../../proto/runtime/database.ts';
import { selectList } from './columns.ts';

/** Pages of the shop; null: Wix gave none. */
export interface ReturnUrls {
  readonly successUrl: string | null;
  readonly errorUrl: string | null;
  readonly cancelUrl: string | null;
  readonly pendingUrl: string | null;
}

/** The link by which a buyer comes back to a payment (R36). */
export interface BuyerLink extends ReturnUrls {
  /** SHA-256 of its token. */
  readonly tokenHash: Uint8Array;
  /** The payment's authorize. */
  readonly operationId: string;
}

/** One that is recorded with its payment (begin-payments.ts). It ends so long after that, or when the operation does, if that is later. */
export type NewBuyerLink = BuyerLink & { readonly lifeMs: number };

export const NEW_LINK = ['tokenHash', 'operationId', 'successUrl', 'errorUrl', 'cancelUrl', 'pendingUrl'] as const;

const LINK = selectList(NEW_LINK);

/** Undefined: there is none, or it has ended. */
export async function liveLink(
  db: Queryable,
  tokenHash: Uint8Array,
): Promise<(BuyerLink & { transactionId: string }) | undefined> {
  return maybeRow(
    await db.query<BuyerLink & { transactionId: string }>(
      `select ${LINK}, transaction_id as "transactionId" from buyer_links join operations on operations.id = operation_id
       where token_hash = $1
         and (buyer_links.expires_at > clock_timestamp() or state in ('running', 'waiting', 'unknown'))`,
      [tokenHash],
    ),
  );
}

/** Takes the one look at the engine that may begin in `everyMs`. False: somebody else has it, in this core or another. */
export async function takeLook(db: Queryable, tokenHash: Uint8Array, everyMs: number): Promise<boolean> {
  const rows = await db.query(
    `update buyer_links set looked_at = clock_timestamp()
     where token_hash = $1 and (looked_at is null or looked_at <= clock_timestamp() - $2::float8 * interval '1 millisecond')
     returning operation_id`,
    [tokenHash, everyMs],
  );
  return rows.length > 0;
}
