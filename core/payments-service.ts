import type { ServiceImpl } from '@connectrpc/connect';
import type { PaymentsService } from '../proto/gen/payments/v1/payments_service_pb.js';
import type { Role } from '../proto/runtime/callers.ts';
import { captureTransaction } from './capture-transaction.ts';
import { connectMerchantAccount } from './connect-merchant-account.ts';
import type { Core } from './context.ts';
import { createTransaction } from './create-transaction.ts';
import { explainTransaction } from './explain.ts';
import { getTransaction, listTransactions } from './find-transactions.ts';
import { refundTransaction } from './refund-transaction.ts';
import { withTokenOf } from './relay.ts';
import { reportOutcome } from './report-outcome.ts';
import { reportRefund } from './report-refund.ts';
import { returnBuyer } from './return-buyer.ts';
import { voidTransaction } from './void-transaction.ts';
import { watchTransaction } from './watch-transaction.ts';

/** Who may call what (R33): nobody but the gateway takes money, and the engine may not begin a payment. */
export const ALLOWED: Readonly<Record<string, readonly Role[]>> = {
  ConnectMerchantAccount: ['gateway'],
  CreateTransaction: ['gateway'],
  ReturnBuyer: ['gateway'],
  CaptureTransaction: ['gateway'],
  VoidTransaction: ['gateway'],
  RefundTransaction: ['gateway', 'backoffice', 'operator'],
  ReportRefund: ['engine', 'backoffice'],
  ReportOutcome: ['engine', 'operator'],
  GetTransaction: ['gateway', 'backoffice', 'reader', 'operator'],
  ListTransactions: ['gateway', 'backoffice', 'reader', 'operator'],
  ExplainTransaction: ['backoffice', 'reader', 'operator'],
  WatchTransaction: ['gateway', 'backoffice', 'reader', 'operator'],
};

/** The table of contents of the core. */
export function paymentsService(core: Core): ServiceImpl<typeof PaymentsService> {
  return {
    connectMerchantAccount: (request, context) => connectMerchantAccount(core, request, context),
    createTransaction: (request, context) => createTransaction(core, request, context),
    returnBuyer: (request, context) => returnBuyer(core, request, context),
    captureTransaction: (request, context) => captureTransaction(core, request, context),
    voidTransaction: (request, context) => voidTransaction(core, request, context),
    refundTransaction: (request, context) => refundTransaction(core, request, context),
    reportRefund: (request, context) => reportRefund(core, request, context),
    reportOutcome: (request, context) => reportOutcome(core, request, context),
    getTransaction: (request) => getTransaction(core, request),
    listTransactions: (request) => listTransactions(core, request),
    explainTransaction: (request, { requestHeader }) =>
      explainTransaction({ db: core.db, relay: core.relay, call: withTokenOf(requestHeader) }, request),
    watchTransaction: (request, context) => watchTransaction(core, request, context),
  };
}
