import type { CredentialsOnFile } from '../proto/gen/payments/v1/outcome_pb.js';
import type {
  CaptureTransactionResponse,
  ConnectMerchantAccountResponse,
  CreateTransactionResponse,
  RefundTransactionResponse,
  VoidTransactionResponse,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import { Transaction_State as State, type Transaction } from '../proto/gen/payments/v1/transaction_pb.js';
import { cut } from '../proto/runtime/redact.ts';
import type { Refusal } from './refusal.ts';

// What Wix hears (contract 4.3, 5.5, 6.2, 7.3 and 10). Absent means approved there, so whatever is not clearly something else must
// never be rendered: an answer of the core that says none of these things is no answer.

const ERROR_CODE_MAX = 50;
const ERROR_MESSAGE_MAX = 300;

/** The body of an answer with status 200. */
export type WixAnswer = Readonly<Record<string, unknown>>;

/** No answer: a status other than 200, and a body that tells nothing. `message` is for the log. */
export class HttpError extends Error {
  override name = 'HttpError';
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function renderRefusal({ reason, errorCode, message }: Refusal): WixAnswer {
  return filled({
    reasonCode: reason || Reason.GENERAL_ERROR,
    errorCode: cut(errorCode, ERROR_CODE_MAX),
    errorMessage: cut(message, ERROR_MESSAGE_MAX),
  });
}

/** All that came, in the order it came in, then what the processor added. */
export function renderConnection(
  { account, credentials, refusal }: ConnectMerchantAccountResponse,
  received: Readonly<Record<string, string>>,
): WixAnswer {
  if (refusal) return renderRefusal(refusal);
  if (!account) throw new HttpError(503, 'the core answered neither an account nor a refusal');
  // A map keeps the place of a key's first value and its last value; fromEntries keeps a key called __proto__.
  const came = Object.entries(received);
  const all = new Map([...came, ...Object.entries(credentials?.values ?? {}), ...came]);
  return { credentials: Object.fromEntries(all), accountId: account.id, accountName: account.name };
}

/** With neither a transaction nor a refusal the malformed request named somebody's payment: 400, which says nothing of it (R2). */
export function renderCreation({ transaction, refusal }: CreateTransactionResponse): WixAnswer {
  if (!transaction && !refusal) throw new HttpError(400, 'malformed repeat');
  return {
    ...(transaction && !transaction.idWithheld && { pluginTransactionId: transaction.id }),
    ...(refusal ? renderRefusal(refusal) : renderState(transaction!)),
  };
}

export function renderRefund({ operation, refusal }: RefundTransactionResponse): WixAnswer {
  if (!operation && !refusal) throw new HttpError(503, 'the core answered neither a refund nor a refusal');
  return { ...(operation && { pluginRefundId: operation.id }), ...(refusal && renderRefusal(refusal)) };
}

export function renderOperation({ refusal }: CaptureTransactionResponse | VoidTransactionResponse): WixAnswer {
  return refusal ? renderRefusal(refusal) : {};
}

/** Once approved, always approved, whatever became of the payment since (R5). */
const APPROVED = [State.AUTHORIZED, State.CAPTURING, State.VOIDING, State.CAPTURED, State.VOIDED, State.EXPIRED];

function renderState({ state, reason, redirectUrl, cardDetails, credentialsOnFile }: Transaction): WixAnswer {
  if (state === State.PENDING) return { reasonCode: reason || Reason.PENDING_GENERAL };
  if (state === State.AWAITING_BUYER && redirectUrl) return { redirectUrl };
  if (!APPROVED.includes(state)) throw new HttpError(503, `the core answered ${State[state]} and nothing to say of it`);
  const { bin, lastFour } = cardDetails ?? {};
  return filled({
    cardDetails: bin && lastFour && { bin, lastFour },
    credentialsOnFile: credentialsOnFile && renderCredentialsOnFile(credentialsOnFile),
  });
}

function renderCredentialsOnFile({ info, paymentMethod }: CredentialsOnFile): WixAnswer {
  if (info.case === 'paymentMethodReference')
    return filled({ paymentMethodReference: { token: info.value.token }, paymentMethod });
  if (info.case === undefined) return filled({ paymentMethod });
  const { networkTransactionId, dsTransactionId, transactionLinkId } = info.value;
  return filled({ cardReference: filled({ networkTransactionId, dsTransactionId, transactionLinkId }), paymentMethod });
}

/** Only the members that say something. */
function filled(members: Record<string, unknown>): WixAnswer {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== '' && value !== undefined));
}
