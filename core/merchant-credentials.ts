import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Credentials, CredentialsSchema } from '../proto/gen/payments/v1/merchant_account_pb.js';
import type { Queryable } from '../proto/runtime/database.ts';
import type { KeyRing } from '../proto/runtime/seal.ts';
import type { Core } from './context.ts';
import {
  type CredentialsVersion,
  hasCredentials,
  insertCredentials,
  newestCredentials,
} from './store/merchant-accounts.ts';
import type { Mode, Transaction } from './transaction.ts';

// A merchant's credentials: sealed at rest, found by a keyed hash over canonical JSON, newest version first (R11, R31).

const PURPOSE = 'merchant-credentials';

function canonical(credentials: Credentials): string {
  return JSON.stringify(Object.entries(credentials.values).sort(([a], [b]) => (a < b ? -1 : 1)));
}

export async function keepCredentials(
  core: Core,
  tx: Queryable,
  account: { id: string; externalMerchantId: string },
  credentials: Credentials,
  mode: Mode,
): Promise<void> {
  const keys = core.config.CREDENTIALS_KEY;
  const sealed = keys.seal(toBinary(CredentialsSchema, credentials), account.id);
  await insertCredentials(tx, {
    accountId: account.id,
    externalMerchantId: account.externalMerchantId,
    mode,
    lookup: credentialsLookup(keys, credentials),
    keyId: keys.keyIdOf(sealed),
    sealed,
  });
}

/** By which they are found, under the first key. */
export const credentialsLookup = (keys: KeyRing, credentials: Credentials): Buffer =>
  keys.mac(PURPOSE, canonical(credentials));

/** By which stored credentials that equal these are found; none for none. */
export function credentialsHashes(core: Pick<Core, 'config'>, credentials: Credentials | undefined): Buffer[] {
  if (!credentials) return [];
  return core.config.CREDENTIALS_KEY.macs(PURPOSE, canonical(credentials)).map(({ mac }) => mac);
}

/** Whether they are any version of any account of the payment's merchant: merchants reconnect (R11). */
export async function isOfMerchant(
  core: Core,
  db: Queryable,
  { externalMerchantId }: Transaction,
  credentials: Credentials | undefined,
): Promise<boolean> {
  const hashes = credentialsHashes(core, credentials);
  return externalMerchantId !== null && hashes.length > 0 && hasCredentials(db, externalMerchantId, hashes);
}

/** What the processor is called with for this account. */
export interface ProcessorAccount {
  readonly accountReference: string;
  readonly credentials: Credentials;
}

/** The account's newest credentials of the payment's mode (R11). */
export async function processorAccount(
  core: Core,
  db: Queryable,
  { accountId, mode }: Transaction,
): Promise<ProcessorAccount> {
  if (accountId === null || mode === null) throw new Error('a payment without an account has no processor');
  const newest = await newestCredentials(db, accountId, mode);
  if (!newest) throw new Error(`account ${accountId} has no ${mode} credentials`);
  return openAccount(core, newest);
}

export function openAccount(
  core: Pick<Core, 'config'>,
  { accountId, accountReference, sealed }: CredentialsVersion & { accountReference: string },
): ProcessorAccount {
  const plain = core.config.CREDENTIALS_KEY.unseal(sealed, accountId);
  return { accountReference, credentials: fromBinary(CredentialsSchema, plain) };
}

/** What came, and what the processor adds; it may never overwrite (Wix contract, 4.3). */
export function withExtras(given: Credentials, extra: Credentials | undefined): Credentials {
  return create(CredentialsSchema, { values: { ...given.values, ...without(extra?.values ?? {}, given.values) } });
}

function without(entries: Record<string, string>, taken: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(entries).filter(([key]) => !Object.hasOwn(taken, key)));
}
