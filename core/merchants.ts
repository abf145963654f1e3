import type { Credentials } from '../proto/gen/payments/v1/merchant_account_pb.js';
import type { Core } from './context.ts';
import { credentialsHashes, openAccount, type ProcessorAccount } from './merchant-credentials.ts';
import { matchingAccounts } from './store/merchant-accounts.ts';
import type { Mode } from './transaction.ts';

// Merchants are few and change seldom: what a create needs of its merchant is kept in memory for a while. Nobody is refused by it alone,
// and nobody is charged by it: the statement that records a payment asks for the version under which it was read.

/** What a merchant's credentials stand for. */
export interface Merchant {
  readonly accountId: string;
  readonly mode: Mode;
  /** Empty: all. */
  readonly currencies: readonly string[];
  /** Whether it takes an approval of less than was asked. */
  readonly allowPartial: boolean;
  /** By an operator: it takes no new payments. */
  readonly isSuspended: boolean;
  readonly account: ProcessorAccount;
  /** See merchantVersion. */
  readonly version: string;
}

/** Which merchant: `mode` is that of the credentials, the newest ones' if undefined. */
export interface MerchantKey {
  readonly externalMerchantId: string;
  readonly credentials: Credentials | undefined;
  readonly mode: Mode | undefined;
}

/** There are no such credentials, or none in this mode. */
export type NoMerchant = 'unknown' | 'other_mode';

export interface Merchants {
  /** From memory; undefined if it has to be read. */
  remembered(key: MerchantKey): Merchant | undefined;
  /** From the database, for sure (R11, R12). */
  read(key: MerchantKey): Promise<Merchant | NoMerchant>;
}

const REMEMBERED_MAX = 1_000;
/** Opened credentials lie no longer than this in memory. */
const REMEMBERED_MS = 60_000;

export function createMerchants(core: Pick<Core, 'config' | 'db'>): Merchants {
  const kept = new Map<string, Merchant>();
  const nameOf = (hash: Buffer | undefined, { externalMerchantId, mode }: MerchantKey) =>
    `${hash?.toString('base64')} ${mode} ${externalMerchantId}`;

  return {
    remembered(key) {
      return kept.get(nameOf(credentialsHashes(core, key.credentials)[0], key));
    },
    async read(key) {
      const hashes = credentialsHashes(core, key.credentials);
      const name = nameOf(hashes[0], key);
      kept.delete(name);
      const matches = hashes.length > 0 ? await matchingAccounts(core.db, key.externalMerchantId, hashes) : [];
      const match = key.mode ? matches.find(({ mode }) => mode === key.mode) : matches[0];
      if (!match) return matches.length > 0 ? 'other_mode' : 'unknown';
      const { accountId, mode, currencies, allowPartial, isSuspended, version } = match;
      const merchant = {
        accountId,
        mode,
        currencies,
        allowPartial,
        isSuspended,
        version,
        account: openAccount(core, match),
      };
      for (const oldest of kept.keys()) {
        if (kept.size < REMEMBERED_MAX) break;
        kept.delete(oldest);
      }
      kept.set(name, merchant);
      setTimeout(() => kept.get(name) === merchant && kept.delete(name), REMEMBERED_MS).unref();
      return merchant;
    },
  };
}
