import { v5 } from 'uuid';

// R10: our ids are derived from the caller's, so that a row lost by a fail-over to a stale replica cannot charge twice.

const NAMESPACE = '0b0d6f3e-6f0c-5d0a-9a3c-3a7f4f1d8e21';

const derived = (...parts: readonly (string | number | bigint)[]) => v5(JSON.stringify(parts.map(String)), NAMESPACE);

/** Wix's pluginTransactionId. */
export const transactionId = (externalId: string) => derived('transaction', externalId);

/** Wix's accountId: the same whenever the same account of the same merchant connects (R11). */
export const accountId = (externalMerchantId: string, accountReference: string) =>
  derived('account', externalMerchantId, accountReference);

/** Operation id, and the request id by which the processor knows it. */
export const operationId = (kind: string, externalId: string, caller: string, key: string, attempt: number) =>
  derived(kind, externalId, caller, key, attempt);

/**
 * Id of a refund that happened at the processor without an order of ours: of the processor's reference, whoever reports it (R23).
 */
export const reportedRefundId = (account: string, reference: string) => derived('reported refund', account, reference);

export const eventId = (transaction: string, sequence: bigint) => derived('event', transaction, sequence);
