import { createHash } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import type { VerifyAccountRequest, VerifyAccountResponseSchema } from '../../proto/gen/processor/v1/processor_pb.js';
import type { Decline } from './outcomes.ts';

/**
 * Any credentials connect but a few: the `apiKey` (or `api_key`) of REFUSED, `accountRef` (or `account_ref`) names the account, and
 * `currencies` ("EUR,USD") limits it, `allowPartial` ("true") says that it takes approvals of a part.
 */
export function verifyAccount(request: VerifyAccountRequest): MessageInitShape<typeof VerifyAccountResponseSchema> {
  const credentials = request.credentials?.values ?? {};
  const apiKey = credentials.apiKey ?? credentials.api_key;
  const currencies: string[] = (credentials.currencies ?? '').toUpperCase().match(/[A-Z]{3}/g) ?? [];
  if (apiKey !== undefined && Object.hasOwn(REFUSED, apiKey)) return refused(REFUSED[apiKey]!);
  if (request.mode === Mode.LIVE) return refused(SIMULATED);
  if (request.currency && currencies.length > 0 && !currencies.includes(request.currency.toUpperCase()))
    return refused(CURRENCY);
  const accountReference = credentials.accountRef || credentials.account_ref || derived(request.externalMerchantId);
  const name = `Simulated account ${accountReference.slice(-6)}`;
  const allowPartial = credentials.allowPartial === 'true';
  return { result: { case: 'account', value: { accountReference, name, currencies, allowPartial } } };
}

/** API keys that do not connect. */
const REFUSED: Readonly<Record<string, Decline>> = {
  closed: [Reason.MERCHANT_ACCOUNT_IS_NOT_ACTIVE, 'CLOSED', 'The account is closed'],
  blocked: [Reason.MERCHANT_ACCOUNT_BLOCKED_OR_RESTRICTED, 'BLOCKED', 'The account is blocked'],
  invalid: [Reason.MERCHANT_ACCOUNT_INVALID, 'CREDENTIALS', 'The API key is not valid'],
  inactive: [Reason.PAYMENT_METHOD_IS_NOT_ACTIVATED, 'NOT_ACTIVATED', 'No payment method is activated'],
  broken: [Reason.GENERAL_ERROR, 'FAULT', 'The account could not be checked'],
};
const SIMULATED: Decline = [Reason.MERCHANT_ACCOUNT_IS_IN_TEST_MODE, 'SIMULATED', 'This engine takes no live payments'];
const CURRENCY: Decline = [
  Reason.MERCHANT_ACCOUNT_DOES_NOT_MATCH_CURRENCY,
  'CURRENCY',
  'The account does not take this currency',
];

function refused([reason, errorCode, message]: Decline): MessageInitShape<typeof VerifyAccountResponseSchema> {
  return { result: { case: 'refusal', value: { reason, errorCode, message } } };
}

function derived(merchantId: string): string {
  return `acct_${createHash('sha256').update(merchantId).digest('hex').slice(0, 16)}`;
}
