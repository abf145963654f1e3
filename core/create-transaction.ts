import { create, fromBinary } from '@bufbuild/protobuf';
import type { CallOptions, HandlerContext } from '@connectrpc/connect';
import { CredentialsOnFileSchema } from '../proto/gen/payments/v1/outcome_pb.js';
import {
  Wallet_AuthenticationMethod as AuthenticationMethod,
  type PaymentDetails,
  Wallet_Type as WalletType,
} from '../proto/gen/payments/v1/payment_details_pb.js';
import {
  type CreateTransactionRequest,
  type CreateTransactionResponse,
  CreateTransactionResponseSchema,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import { AuthorizeRequest_StoredCredential as StoredCredential } from '../proto/gen/processor/v1/processor_pb.js';
import { TooManyWaiting } from '../proto/runtime/gather.ts';
import { counter } from '../proto/runtime/metrics.ts';
import { type Budget, budgetOver, ensureTime, overloaded, type Place, readWithin, startBudget } from './calls.ts';
import type { Core } from './context.ts';
import * as convert from './convert.ts';
import { isCurrency } from './currencies.ts';
import { buildEvent } from './event.ts';
import { operationId, transactionId } from './ids.ts';
import { isOfMerchant, type ProcessorAccount } from './merchant-credentials.ts';
import type { Merchant, NoMerchant } from './merchants.ts';
import { NOTHING_LEARNED } from './operation.ts';
import { type Intent, perform, runningMs } from './perform.ts';
import { instruction } from './processor.ts';
import { missingField } from './required-fields.ts';
import { newLink } from './return-buyer.ts';
import { announce, settle } from './settle.ts';
import type { Begun } from './store/begin-payments.ts';
import type { NewOperation } from './store/operations.ts';
import { insertEvent } from './store/outbox.ts';
import { insertTransaction, transactionByExternalId } from './store/transactions.ts';
import type { Refusal, Transaction } from './transaction.ts';
import { validCreate } from './valid.ts';

const foreignIds = counter('foreign_ids_total', 'Known ids that came with another merchant or payment (R9).', ['call']);

/** Charges or authorises a buyer, once for each external id whatever is repeated. */
export async function createTransaction(
  core: Core,
  request: CreateTransactionRequest,
  context: HandlerContext,
): Promise<CreateTransactionResponse> {
  validCreate(request);
  const budget = startBudget(core.config.ANSWER_BUDGET_MS, context.timeoutMs());
  const arrival = { kind: 'create', externalId: request.externalId, owner: request.externalMerchantId } as const;
  const begun = await core.admission.admit(arrival, budget, (isRepeat) => begin(core, budget, request, isRepeat));
  if ('known' in begun) return answerKnown(core, budget, request, begun.known);
  if ('declined' in begun) {
    announce(core, { transaction: begun.declined, change: { event: 'transaction_declined' } });
    return answer(core, request, begun.declined);
  }
  const send = (options: CallOptions) => core.processor.authorize(authorizeRequest(begun, request), options);
  const settled = await perform(core, budget, begun, send, numberOf(request.details), begun.place);
  const isDecided = settled !== undefined && settled.transaction.state !== 'authorizing';
  return isDecided ? answer(core, request, settled.transaction) : answerInTime(core, budget, request);
}

function authorizeRequest(
  { transaction, operation, account, returnUrl }: Started,
  { authorizeOnly, details }: CreateTransactionRequest,
) {
  return {
    instruction: instruction(transaction, operation, account),
    capture: !authorizeOnly,
    paymentMethod: transaction.paymentMethod,
    merchantInitiated: transaction.buyerAbsent,
    storedCredential: storedCredential(details),
    returnUrl,
    allowPartial: transaction.allowPartial,
    ...(details && { details }),
  };
}

/** Recorded, and about to be sent. */
type Started = Intent & { readonly account: ProcessorAccount; readonly place: Place; readonly returnUrl: string };

type Begin =
  | Started
  /** It was recorded before. */
  | { readonly known: Transaction }
  /** Recorded and refused at once (R2). */
  | { readonly declined: Transaction };

/**
 * tx 1: the new payment with its running authorize, or declined as it is recorded. What is known of its merchant may come from memory: it
 * is confirmed by the statement that records the payment, and read anew if it has changed.
 */
async function begin(core: Core, budget: Budget, request: CreateTransactionRequest, isRepeat: boolean): Promise<Begin> {
  const key = {
    externalMerchantId: request.externalMerchantId,
    credentials: request.merchantCredentials,
    mode: convert.modeOf(request.mode),
  };
  // What needs a connection of its own waits for one as a capture does.
  const arrival = { kind: 'follow_up', externalId: request.externalId, owner: request.externalMerchantId } as const;
  const alone = <T>(work: () => Promise<T>) => core.admission.admit(arrival, budget, work);
  const find = () => alone(() => transactionByExternalId(core.db, request.externalId));
  let merchant: Merchant | NoMerchant | undefined = isRepeat ? undefined : core.merchants.remembered(key);
  for (;;) {
    // Nobody is refused by what was remembered.
    if (merchant && (refusalOf(core, request, merchant) || !core.calls.hasRoom(request.externalMerchantId, true)))
      merchant = undefined;
    if (!merchant) {
      const known = await find();
      if (known) return { known };
      merchant = await alone(() => core.merchants.read(key));
    }
    ensureTime(budget);
    const refusal = refusalOf(core, request, merchant);
    const row = newTransaction(request, typeof merchant === 'string' ? undefined : merchant, refusal);
    if (refusal || typeof merchant === 'string') {
      const declined = await alone(() => decline(core, row));
      if (declined) return { declined };
    } else {
      const operation = newAuthorize(core, row);
      const { account, version: merchantVersion } = merchant;
      const { link, returnUrl } = newLink(core, row, operation, request.returnUrls);
      const place = core.calls.reserve(request.externalMerchantId);
      const begun = await core
        .beginPayment({ transaction: row, operation, link, merchantVersion, beginMs: budget.beginMs })
        .catch((error: unknown) => {
          place.giveUp();
          throw error instanceof TooManyWaiting ? overloaded(error.message, true) : error;
        });
      if (begun.is === 'new') return { ...intent(row, operation, begun), account, place, returnUrl };
      place.giveUp();
      if (begun.is === 'late') throw budgetOver();
    }
    const other = await find();
    if (other) return { known: other };
    merchant = undefined;
  }
}

function decline(core: Core, row: NewTransaction): Promise<Transaction | undefined> {
  return core.db.inTx(async (tx) => {
    const transaction = await insertTransaction(tx, row);
    if (transaction) await insertEvent(tx, buildEvent(core.config, 'transaction_declined', transaction, undefined));
    return transaction;
  });
}

function newAuthorize(core: Core, row: NewTransaction): NewOperation {
  return {
    id: authorizeId(row.externalId),
    transactionId: row.id,
    kind: 'authorize',
    state: 'running',
    caller: 'wix',
    key: row.externalId,
    callId: null,
    attempt: 1,
    amount: row.requestedAmount,
    approvedAmount: null,
    reason: null,
    errorCode: null,
    errorMessage: null,
    why: '',
    dueInMs: runningMs(core),
  };
}

/** Both rows as they were inserted. */
function intent(
  row: NewTransaction,
  { dueInMs: _, ...operation }: NewOperation,
  { createdAt }: Extract<Begun, { is: 'new' }>,
): Intent {
  return {
    transaction: { ...row, createdAt, updatedAt: createdAt },
    operation: {
      ...operation,
      ...NOTHING_LEARNED,
      asked: false,
      createdAt,
      changedAt: createdAt,
    },
  };
}

const authorizeId = (externalId: string) => operationId('authorize', externalId, 'wix', externalId, 1);

/** Why a new id may not be tried (R9, R11, R12). */
function refusalOf(
  { config }: Core,
  request: CreateTransactionRequest,
  merchant: Merchant | NoMerchant,
): Refusal | undefined {
  const { refusal, currency, details } = request;
  const refuse = (reason: Reason, errorCode: string, message: string) => ({ reason, errorCode, message });
  if (refusal) return refuse(refusal.reason, refusal.errorCode, refusal.message);
  if (merchant === 'unknown') return refuse(Reason.INVALID_ACCOUNT, 'AUTH_FAILED', 'Merchant account not recognised');
  if (merchant === 'other_mode') return refuse(Reason.TEST_MODE, 'MODE', 'The account is not connected in this mode');
  if (merchant.isSuspended) return refuse(Reason.INVALID_ACCOUNT, 'SUSPENDED', 'The merchant account is suspended');
  if (!isCurrency(currency)) return refuse(Reason.CURRENCY_IS_NOT_SUPPORTED, 'CURRENCY', 'Currency is not supported');
  if (merchant.currencies.length > 0 && !merchant.currencies.includes(currency))
    return refuse(Reason.CURRENCY_IS_NOT_SUPPORTED, 'CURRENCY', `${currency} is not enabled for this account`);
  const isSetUp = details?.setupCredentialsOnFile === true;
  if (!config.APPLE_PAY && [request.paymentMethod, methodOf(details)].includes('applePay'))
    return refuse(Reason.PAYMENT_METHOD_NOT_AVAILABLE, 'METHOD', 'Apple Pay is not available');
  if (!config.WALLETS_ON_FILE && isSetUp && details.method.case === 'wallet')
    return refuse(Reason.TRANSACTION_TYPE_IS_NOT_SUPPORTED, 'WALLET_ON_FILE', 'A wallet cannot be charged again later');
  const missing = missingField(config.REQUIRED_FIELDS, details);
  if (missing) return missing;
  // R25: zero is for set-up payments, and only where they are switched on.
  if (request.amount !== 0n || (isSetUp && config.ZERO_AMOUNT_SET_UP)) return undefined;
  return refuse(Reason.INVALID_AMOUNT, 'AMOUNT', 'The amount must not be zero');
}

type NewTransaction = Omit<Transaction, 'createdAt' | 'updatedAt'>;

function newTransaction(
  request: CreateTransactionRequest,
  merchant: Merchant | undefined,
  refusal: Refusal | undefined,
): NewTransaction {
  const card = fundingCard(request.details);
  return {
    id: transactionId(request.externalId),
    externalId: request.externalId,
    externalMerchantId: request.externalMerchantId || null,
    accountId: merchant?.accountId ?? null,
    mode: merchant?.mode ?? null,
    // What no currency can be is not kept; the payment is declined for it.
    currency: request.currency.length > 10 ? null : request.currency || null,
    requestedAmount: request.amount ?? null,
    paymentMethod: request.paymentMethod || methodOf(request.details),
    authorizeOnly: request.authorizeOnly,
    buyerAbsent: isBuyerAbsent(request.details),
    requestedLastFour: lastFour(request.details),
    state: refusal ? 'declined' : 'authorizing',
    authorizedAmount: 0n,
    capturedAmount: 0n,
    refundedAmount: 0n,
    reason: refusal?.reason ?? null,
    errorCode: refusal?.errorCode || null,
    errorMessage: refusal?.message || null,
    idWithheld: refusal !== undefined,
    lapsed: false,
    awaitedBuyer: false,
    setUpAsked: request.details?.setupCredentialsOnFile ?? false,
    allowPartial: merchant?.allowPartial ?? false,
    redirectUrl: null,
    cardScheme: null,
    cardBin: card?.slice(0, 6) ?? null,
    cardLastFour: card?.slice(-4) ?? null,
    credentialsOnFile: null,
    credentialsKeyId: null,
    sequence: refusal ? 1n : 0n,
  };
}

/** Of wallets alone Wix sets offSession while the buyer is there (Wix contract, 5.6). */
function isBuyerAbsent(details: PaymentDetails | undefined): boolean {
  return details !== undefined && (details.moto || (details.offSession && details.method.case !== 'wallet'));
}

/** The method of what Wix sent without a name: whether it is a wallet decides what Wix hears. Empty for a page or a token. */
function methodOf(details: PaymentDetails | undefined): string {
  const method = details?.method;
  if (method?.case === 'card') return 'creditCard';
  if (method?.case !== 'wallet') return '';
  if (method.value.type === WalletType.GOOGLE_PAY) return 'googlePay';
  return method.value.type === WalletType.APPLE_PAY ? 'applePay' : '';
}

/**
 * Number of the card that pays, where it is known, and long enough for a part of it to be kept (R35). A wallet's number is the card's own
 * only without a cryptogram; else a device's.
 */
function fundingCard(details: PaymentDetails | undefined): string | undefined {
  const method = details?.method;
  const isCard =
    method?.case === 'wallet' &&
    method.value.authenticationMethod === AuthenticationMethod.PAN_ONLY &&
    method.value.cryptogram === '';
  const number = method?.case === 'card' ? method.value.number : isCard ? method.value.pan : '';
  return /^\d{14,19}$/.test(number) ? number : undefined;
}

function lastFour(details: PaymentDetails | undefined): string | null {
  return /\d{4}$/.exec(numberOf(details))?.[0] ?? null;
}

/** Of a card, or of a wallet's device. Empty: there is none. */
function numberOf(details: PaymentDetails | undefined): string {
  const method = details?.method;
  return method?.case === 'card' ? method.value.number : method?.case === 'wallet' ? method.value.pan : '';
}

function storedCredential(details: PaymentDetails | undefined): StoredCredential {
  if (details?.setupCredentialsOnFile) return StoredCredential.INITIAL;
  return isBuyerAbsent(details) && details?.offSession ? StoredCredential.SUBSEQUENT : StoredCredential.UNSPECIFIED;
}

/** A known id is answered from its row, before any other check (R9). */
async function answerKnown(
  core: Core,
  budget: Budget,
  request: CreateTransactionRequest,
  known: Transaction,
): Promise<CreateTransactionResponse> {
  if (request.refusal && !(await isOfSameMerchant(core, request, known)))
    return create(CreateTransactionResponseSchema);
  if (
    !request.refusal &&
    known.externalMerchantId !== null &&
    known.externalMerchantId !== request.externalMerchantId
  ) {
    foreignIds.inc({ call: 'create' });
    core.log.warn('transaction.known_to_another_merchant', { externalId: request.externalId });
    const refusal = {
      reason: Reason.INVALID_ACCOUNT,
      errorCode: 'AUTH_FAILED',
      message: 'Merchant account not recognised',
    };
    return create(CreateTransactionResponseSchema, { refusal });
  }
  if (!request.refusal) noticeDifferences(core, request, known);
  return answerInTime(core, budget, request);
}

/** R2: a malformed repeat hears of the payment only if it shows whose it is. */
async function isOfSameMerchant(core: Core, request: CreateTransactionRequest, known: Transaction): Promise<boolean> {
  if (known.externalMerchantId !== request.externalMerchantId) return false;
  return isOfMerchant(core, core.db, known, request.merchantCredentials);
}

/** R13: the first body wins; what a repeat says otherwise is logged by name. */
function noticeDifferences(core: Core, request: CreateTransactionRequest, known: Transaction): void {
  const again = newTransaction(request, undefined, undefined);
  const compared = ['currency', 'requestedAmount', 'paymentMethod', 'authorizeOnly', 'requestedLastFour'] as const;
  const differs = compared.filter((name) => known[name] !== again[name]);
  if (differs.length > 0) core.log.warn('transaction.repeated_differently', { transactionId: known.id, differs });
}

/** Waits for a running authorize within the budget, then says pending, with its event, before the answer (R1, R4). */
async function answerInTime(
  core: Core,
  budget: Budget,
  request: CreateTransactionRequest,
): Promise<CreateTransactionResponse> {
  const look = () => transactionByExternalId(core.db, request.externalId);
  const found = await readWithin(budget, async () => {
    const transaction = await core.turns.read(request.externalId, look);
    return transaction?.state === 'authorizing' ? undefined : transaction;
  });
  const authorize = { id: authorizeId(request.externalId), transactionId: transactionId(request.externalId) };
  const transaction = found ?? (await settle(core, authorize, { trigger: 'budget_over' }))?.transaction;
  if (!transaction) throw new Error('a payment that was recorded cannot be found');
  return answer(core, request, transaction);
}

/** From the row: once approved the answer is always the same (R5). */
function answer(core: Core, request: CreateTransactionRequest, transaction: Transaction): CreateTransactionResponse {
  const sealed = request.refusal ? null : transaction.credentialsOnFile;
  const onFile = sealed && fromBinary(CredentialsOnFileSchema, core.config.EVENTS_KEY.unseal(sealed, transaction.id));
  const told = convert.toTransaction(transaction, onFile ?? undefined);
  if (!convert.isWallet(transaction)) delete told.cardDetails;
  return create(CreateTransactionResponseSchema, {
    transaction: told,
    ...(transaction.state === 'declined' && { refusal: convert.refusalOf(transaction) }),
  });
}
