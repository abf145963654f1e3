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
import { demandLength, demandUuid, readPageSize, readPageToken, toPageToken } from '../proto/runtime/requests.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import type { Core } from './context.ts';
import * as convert from './convert.ts';
import { operationsOf } from './store/operations.ts';
import {
  listTransactions as selectTransactions,
  transactionByExternalId,
  transactionById,
} from './store/transactions.ts';
import type { Transaction } from './transaction.ts';
import { validList } from './valid.ts';

/** One payment with its operations, by our id or the external one. */
export async function getTransaction(
  core: Core,
  { key }: Pick<GetTransactionRequest, 'key'>,
): Promise<GetTransactionResponse> {
  const transaction = await findTransaction(core, key);
  const operations = await operationsOf(core.db, transaction.id);
  return create(GetTransactionResponseSchema, {
    transaction: convert.toTransaction(transaction),
    operations: operations.map(convert.toOperation),
  });
}

export async function findTransaction(core: Core, key: GetTransactionRequest['key']): Promise<Transaction> {
  if (key.case === undefined) throw rpcError(Code.InvalidArgument, 'INVALID_ARGUMENT', 'id or external_id is missing');
  if (key.case === 'id') demandUuid(key.value, 'id');
  else demandLength(key.value, 'external_id', 1, 200);
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
  const found = await selectTransactions(core.db, {
    before: readPageToken(request.pageToken),
    accountId: request.merchantAccountId || null,
    externalMerchantId: request.externalMerchantId || null,
    states: convert.statesOf(request.states),
    limit: limit + 1,
  });
  const page = found.slice(0, limit);
  const last = page.at(-1);
  return create(ListTransactionsResponseSchema, {
    transactions: page.map((transaction) => convert.toTransaction(transaction)),
    nextPageToken: found.length > limit && last ? toPageToken({ at: last.cursor, id: last.id }) : '',
  });
}
