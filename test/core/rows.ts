import type { Operation } from '../../core/operation.ts';
import { isApproved, type Transaction } from '../../core/transaction.ts';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';

// Rows as the tables of the core take them, with nothing on them that a test did not ask for.

export const NOW = new Date('2030-01-01T12:00:00Z');

/** A payment of 100 in this state; a sale, unless its state or the test says otherwise. */
export function payment(state: Transaction['state'], more: Partial<Transaction> = {}): Transaction {
  const reasons: Partial<Record<Transaction['state'], Reason>> = {
    pending: Reason.PENDING_GENERAL,
    declined: Reason.GENERAL_BANK_DECLINE,
  };
  return {
    id: 'payment',
    externalId: 'external',
    externalMerchantId: 'merchant',
    accountId: 'account',
    mode: 'sandbox',
    currency: 'EUR',
    requestedAmount: 100n,
    paymentMethod: 'creditCard',
    authorizeOnly: ['authorized', 'capturing', 'voiding', 'voided', 'expired'].includes(state),
    buyerAbsent: false,
    requestedLastFour: null,
    state,
    authorizedAmount: isApproved(state) ? 100n : 0n,
    capturedAmount: state === 'captured' ? 100n : 0n,
    refundedAmount: 0n,
    reason: reasons[state] ?? null,
    errorCode: null,
    errorMessage: null,
    idWithheld: false,
    lapsed: false,
    awaitedBuyer: state === 'awaiting_buyer',
    setUpAsked: false,
    allowPartial: false,
    redirectUrl: state === 'awaiting_buyer' ? 'https://page.example' : null,
    cardScheme: null,
    cardBin: null,
    cardLastFour: null,
    credentialsOnFile: null,
    credentialsKeyId: null,
    sequence: 1n,
    createdAt: NOW,
    updatedAt: NOW,
    ...more,
  };
}

/** An operation of 100 in this state. */
export function operation(
  kind: Operation['kind'],
  state: Operation['state'],
  more: Partial<Operation> = {},
): Operation {
  const isRefused = state === 'declined' || state === 'failed';
  return {
    id: kind,
    transactionId: 'payment',
    kind,
    state,
    caller: 'wix',
    key: 'key',
    callId: null,
    attempt: 1,
    amount: kind === 'cancel' || kind === 'reversal' ? null : 100n,
    approvedAmount: state === 'approved' ? 100n : null,
    reason: isRefused ? Reason.GENERAL_BANK_DECLINE : null,
    errorCode: null,
    errorMessage: null,
    why: '',
    processorReference: '',
    authorizationCode: '',
    networkTransactionId: '',
    acquirerReference: '',
    approvalReceived: state === 'approved',
    held: false,
    asked: false,
    asks: 0,
    expiresAt: null,
    processedAt: null,
    createdAt: NOW,
    changedAt: NOW,
    finishedAt: null,
    ...more,
  };
}
