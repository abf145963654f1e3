import { create } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import {
  type GetTransactionRequest,
  type GetTransactionResponse,
  GetTransactionResponseSchema,
  type ListTransactionsRequest,
  type ListTransactionsResponse,
  ListTransactionsResponseSchema,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import {
  ensureLength,
  ensureUuid,
  readPageSize,
  readPageToken,
  readTime,
  toPageToken,
} from '../proto/runtime/requests.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import type { Core } from './context.ts';
import * as convert from './convert.ts';
import { newestOperationsOf } from './store/operations.ts';
import {
  planForValues,
  listTransactions as selectTransactions,
  transactionByExternalId,
  transactionById,
} from './store/transactions.ts';
import type { Transaction } from './transaction.ts';
import { validList } from './valid.ts';

/** Refunds that were refused have no bound. */
const OPERATIONS_MAX = 200;

/** One payment by our id or the external one, with a page of its operations. */
export async function getTransaction(
  core: Core,
  { key, operationsPageToken }: Pick<GetTransactionRequest, 'key' | 'operationsPageToken'>,
): Promise<GetTransactionResponse> {
  const before = readPageToken(operationsPageToken, 'operations_page_token');
  const transaction = await findTransaction(core, key);
  const found = await newestOperationsOf(core.db, transaction.id, { before, limit: OPERATIONS_MAX + 1 });
  const page = found.slice(0, OPERATIONS_MAX).reverse();
  return create(GetTransactionResponseSchema, {
    transaction: convert.toTransaction(transaction),
    operations: page.map(convert.toOperation),
    olderOperationsPageToken: found.length > OPERATIONS_MAX ? tokenOf(page[0]) : '',
  });
}

/** For what comes after this row, which is the last of its page. */
function tokenOf(row: { readonly cursor: string; readonly id: string } | undefined): string {
  return row ? toPageToken({ at: row.cursor, id: row.id }) : '';
}

export async function findTransaction(core: Core, key: GetTransactionRequest['key']): Promise<Transaction> {
  if (key.case === undefined) throw rpcError(Code.InvalidArgument, 'INVALID_ARGUMENT', 'id or external_id is missing');
  if (key.case === 'id') ensureUuid(key.value, 'id');
  else ensureLength(key.value, 'external_id', 1, 200);
  const transaction = await (key.case === 'id' ? transactionById : transactionByExternalId)(core.db, key.value);
  if (!transaction) throw noTransaction();
  return transaction;
}

export function noTransaction() {
  return rpcError(Code.NotFound, 'TRANSACTION_NOT_FOUND', 'there is no such transaction');
}

/** Newest first; a page begins after the last payment of the one before, whatever has been added since. */
export async function listTransactions(
  core: Core,
  request: ListTransactionsRequest,
): Promise<ListTransactionsResponse> {
  validList(request);
  const limit = readPageSize(request.pageSize);
  const filter = {
    before: readPageToken(request.pageToken),
    accountId: request.merchantAccountId || null,
    externalMerchantId: request.externalMerchantId || null,
    states: convert.statesOf(request.states),
    createdFrom: readTime(request.createdFrom, 'created_from'),
    createdBefore: readTime(request.createdBefore, 'created_before'),
    requested: request.amount === undefined ? null : { amount: request.amount, currency: request.currency },
    limit: limit + 1,
  };
  const found = await core.db.inTx(async (tx) => {
    await planForValues(tx);
    return selectTransactions(tx, filter);
  });
  const page = found.slice(0, limit);
  return create(ListTransactionsResponseSchema, {
    transactions: page.map((transaction) => convert.toTransaction(transaction)),
    nextPageToken: found.length > limit ? tokenOf(page.at(-1)) : '',
  });
}
