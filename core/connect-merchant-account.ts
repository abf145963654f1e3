import { create } from '@bufbuild/protobuf';
import { ConnectError, type HandlerContext } from '@connectrpc/connect';
import { CredentialsSchema, MerchantAccountSchema } from '../proto/gen/payments/v1/merchant_account_pb.js';
import {
  type ConnectMerchantAccountRequest,
  type ConnectMerchantAccountResponse,
  ConnectMerchantAccountResponseSchema,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import type { VerifiedAccount } from '../proto/gen/processor/v1/processor_pb.js';
import { startBudget } from './calls.ts';
import type { Core } from './context.ts';
import * as convert from './convert.ts';
import { isCurrency } from './currencies.ts';
import { readFields } from './fields.ts';
import { accountId } from './ids.ts';
import { keepCredentials, withExtras } from './merchant-credentials.ts';
import { texts } from './outcome.ts';
import { callProcessor } from './processor.ts';
import { legalReason } from './reason.ts';
import { upsertMerchantAccount } from './store/merchant-accounts.ts';
import type { Refusal } from './transaction.ts';
import { areTakenBack, validConnect } from './valid.ts';

/** Verifies a merchant's credentials with the processor, and keeps a version of them under a stable account id (R11). */
export async function connectMerchantAccount(
  core: Core,
  request: ConnectMerchantAccountRequest,
  context: HandlerContext,
): Promise<ConnectMerchantAccountResponse> {
  const credentials = validConnect(request);
  const budget = startBudget(core.config.ANSWER_BUDGET_MS, context.timeoutMs());
  const mode = convert.modeOf(request.mode) ?? core.config.MODE_WHEN_ABSENT;
  const verify = {
    externalMerchantId: request.externalMerchantId,
    credentials,
    mode: convert.MODES[mode],
    country: request.country,
    currency: request.currency,
  };
  const answer = await callProcessor(
    core,
    'verify_account',
    (options) => core.processor.verifyAccount(verify, options),
    budget.leftMs(),
  );
  if (answer instanceof ConnectError || answer.result.case === undefined) return refuse(UNANSWERED);
  if (answer.result.case === 'refusal') {
    const { errorCode, message } = texts(readFields(noCard), answer.result.value);
    const legal = legalReason('connect', answer.result.value.reason, errorCode);
    return refuse({ ...legal, message: message || 'The account was refused' });
  }
  const { lost, isUsable, ...verified } = readAccount(answer.result.value);
  const kept = withExtras(credentials, answer.result.value.extraCredentials);
  if (!isUsable || !areTakenBack(kept)) {
    core.log.alert('processor_answer_unreadable', { method: 'verify_account', fields: lost });
    return refuse(UNANSWERED);
  }
  if (lost.length > 0) core.log.alert('processor_answer_unreadable', { method: 'verify_account', fields: lost });
  const { currency } = request;
  if (currency !== '' && !takes(verified, currency))
    return refuse({
      reason: Reason.MERCHANT_ACCOUNT_DOES_NOT_MATCH_CURRENCY,
      errorCode: 'CURRENCY',
      message: `${isCurrency(currency) ? currency : 'The currency'} is not enabled for this account`,
    });

  const account = await core.db.inTx(async (tx) => {
    const upserted = await upsertMerchantAccount(tx, {
      id: accountId(request.externalMerchantId, verified.accountReference),
      externalMerchantId: request.externalMerchantId,
      accountReference: verified.accountReference,
      name: verified.name,
      currencies: verified.currencies,
      allowPartial: verified.allowPartial,
    });
    if (upserted.suspendedAt === null) await keepCredentials(core, tx, upserted, kept, mode);
    return upserted;
  });
  if (account.suspendedAt !== null) return refuse(SUSPENDED);
  core.log.info('merchant_account.connected', {
    accountId: account.id,
    externalMerchantId: account.externalMerchantId,
    mode,
  });
  const { id, externalMerchantId, accountReference, name, currencies } = account;
  return create(ConnectMerchantAccountResponseSchema, {
    account: create(MerchantAccountSchema, {
      id,
      externalMerchantId,
      accountReference,
      name,
      currencies: [...currencies],
    }),
    credentials: create(CredentialsSchema, kept),
  });
}

/** R8: a connect without an answer. */
const UNANSWERED: Refusal = {
  reason: Reason.PROVIDER_ACCESS_ERROR,
  errorCode: 'NO_ANSWER',
  message: 'The account could not be verified now',
};

const SUSPENDED: Refusal = {
  reason: Reason.MERCHANT_ACCOUNT_BLOCKED_OR_RESTRICTED,
  errorCode: 'SUSPENDED',
  message: 'The account is suspended',
};

/** No card has a part in connecting. */
const noCard = () => false;

function refuse(refusal: Refusal): ConnectMerchantAccountResponse {
  return create(ConnectMerchantAccountResponseSchema, { refusal });
}

/** What the rows can hold of it (R47). It is no use without its own reference as the engine gave it, or with no currency left. */
function readAccount(account: VerifiedAccount) {
  const fields = readFields(noCard);
  const accountReference = fields.reference('account_reference', account.accountReference, 200);
  const currencies = account.currencies.filter((currency) => /^[A-Z]{3}$/.test(currency)).slice(0, 300);
  if (currencies.length < account.currencies.length) fields.lose('currencies');
  const isUsable =
    accountReference !== '' &&
    accountReference === account.accountReference &&
    (currencies.length > 0 || account.currencies.length === 0);
  const name = fields.text('name', account.name, 200) || accountReference;
  const { allowPartial } = account;
  return { accountReference, name, currencies, allowPartial, isUsable, lost: fields.lost };
}

function takes(account: Pick<VerifiedAccount, 'currencies'>, currency: string): boolean {
  return isCurrency(currency) && (account.currencies.length === 0 || account.currencies.includes(currency));
}
