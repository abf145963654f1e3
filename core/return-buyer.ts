import { createHash, randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type CallOptions, Code, ConnectError, type HandlerContext } from '@connectrpc/connect';
import {
  type ReturnUrls as GivenUrls,
  type ReturnBuyerRequest,
  type ReturnBuyerResponse,
  ReturnBuyerResponseSchema,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { counter } from '../proto/runtime/metrics.ts';
import { rpcError } from '../proto/runtime/rpc.ts';
import { type Budget, readWithin, startBudget, within } from './calls.ts';
import type { Core } from './context.ts';
import { processorAccount } from './merchant-credentials.ts';
import type { Operation } from './operation.ts';
import { UNKNOWN } from './outcome.ts';
import { callProcessor, readAnswer, subject } from './processor.ts';
import { settle } from './settle.ts';
import { liveLink, type NewBuyerLink, type ReturnUrls, takeLook } from './store/buyer-links.ts';
import { type NewOperation, operationById } from './store/operations.ts';
import { transactionById } from './store/transactions.ts';
import { isApproved, type ShopPage, shopPage, type Transaction } from './transaction.ts';
import { validReturn } from './valid.ts';

// The way of a buyer who was sent to a page of the engine and comes back by a link of ours (R36). What Wix believes is changed by the
// event alone: the page that the buyer is sent to only agrees with it.

const TOKEN_BYTES = 16;
/** Of the buyer's own time a link is good for so much more: who comes late is told so by the shop, not by us. */
const LATE_MS = 24 * 3_600_000;
/** The engine is asked for so long at most, and once in that time. */
const LOOK_MS = 5_000;

const returns = counter(
  'buyers_returned_total',
  'Buyers who came back, by where they were sent; none: Wix gave no page.',
  ['to'],
);

const hashOf = (token: string) => createHash('sha256').update(token).digest();

/** A new link for the buyer of this payment, and the URL of it for the engine: empty where no page may be shown. */
export function newLink(
  { config: { PUBLIC_URL, BUYER_TIMEOUT_MS } }: Pick<Core, 'config'>,
  { buyerAbsent }: Pick<Transaction, 'buyerAbsent'>,
  { id: operationId }: Pick<NewOperation, 'id'>,
  given: GivenUrls | undefined,
): { link: NewBuyerLink | undefined; returnUrl: string } {
  if (PUBLIC_URL === undefined || buyerAbsent) return { link: undefined, returnUrl: '' };
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  const link = {
    tokenHash: hashOf(token),
    operationId,
    successUrl: given?.successUrl || null,
    errorUrl: given?.errorUrl || null,
    cancelUrl: given?.cancelUrl || null,
    pendingUrl: given?.pendingUrl || null,
    lifeMs: BUYER_TIMEOUT_MS + LATE_MS,
  };
  return { link, returnUrl: `${PUBLIC_URL}/return/${token}` };
}

/** Learns what became of the payment of a buyer who has come back, and answers where in the shop the buyer belongs. */
export async function returnBuyer(
  core: Core,
  request: ReturnBuyerRequest,
  context: HandlerContext,
): Promise<ReturnBuyerResponse> {
  validReturn(request);
  const budget = startBudget(core.config.ANSWER_BUDGET_MS, context.timeoutMs());
  const tokenHash = hashOf(request.token);
  // Whoever tries tokens has one share of the queue.
  const arrival = { kind: 'follow_up', externalId: '', owner: 'buyers' } as const;
  const link = await core.admission.admit(arrival, budget, () => liveLink(core.db, tokenHash));
  if (!link) throw rpcError(Code.NotFound, 'LINK_NOT_FOUND', 'there is no such link, or it has ended');
  const { operationId, transactionId } = link;
  const look = () => lookWithin(core, budget, { tokenHash, operationId, transactionId });
  const transaction = await core.turns.read(`return ${operationId}`, look);
  const to = shopPage(transaction);
  const url = urlOf(to, link);
  returns.inc({ to: url ? to : 'none' });
  core.log.info('buyer.returned', { transactionId, externalId: transaction.externalId, state: transaction.state, to });
  return create(ReturnBuyerResponseSchema, { url: url ?? '', transactionId });
}

/** Names a link that was found, its operation and its payment. */
interface Link {
  readonly tokenHash: Uint8Array;
  readonly operationId: string;
  readonly transactionId: string;
}

/** The payment as it is once the engine was asked, by us or by somebody else who has its look, or once the budget is over. */
async function lookWithin(core: Core, budget: Budget, link: Link): Promise<Transaction> {
  let transaction: Transaction | undefined;
  await readWithin(budget, async () => {
    transaction = await transactionById(core.db, link.transactionId);
    if (!transaction || isDecided(transaction)) return true;
    // While the engine's answer to the call itself is still to come, that answer decides.
    if (transaction.state === 'authorizing') return undefined;
    core.calls.ensureRoom(transaction.externalMerchantId ?? '', false);
    if (!(await takeLook(core.db, link.tokenHash, LOOK_MS))) return transaction.state === 'pending' || undefined;
    transaction = (await askDetached(core, budget, transaction, link)) ?? transaction;
    return true;
  });
  if (!transaction) throw new Error('a link leads to no payment');
  return transaction;
}

/** Goes on without the caller (R3). Undefined: it was not done within the budget. */
async function askDetached(
  core: Core,
  budget: Budget,
  transaction: Transaction,
  { operationId }: Link,
): Promise<Transaction | undefined> {
  let found: Transaction | undefined;
  const place = core.calls.take(transaction.externalMerchantId ?? '');
  const work = core.calls.run(async () => {
    const operation = await operationById(core.db, operationId);
    // What only an operator may settle is not asked about.
    found = operation && !operation.held ? await askEngine(core, transaction, operation) : transaction;
  }, place);
  await within(budget.leftMs(), work);
  return found;
}

/** Records what the engine says; a buyer is awaited no more, whatever that is. */
async function askEngine(core: Core, transaction: Transaction, operation: Operation): Promise<Transaction> {
  const name = subject(transaction, operation, await processorAccount(core, core.db, transaction));
  const call = (options: CallOptions) => core.processor.getOperation({ subject: name }, options);
  const answer = await callProcessor(core, 'get_operation', call, Math.min(LOOK_MS, core.config.PROCESSOR_TIMEOUT_MS));
  const result = answer instanceof ConnectError ? undefined : answer.result;
  // That the engine does not know it means nothing yet: reconciliation finds out what does (R15).
  const learned = result?.case === 'outcome' ? readAnswer(core, transaction, operation, result.value) : UNKNOWN;
  const settled = learned === UNKNOWN ? undefined : await settle(core, operation, learned);
  const found = settled?.transaction ?? transaction;
  if (found.state !== 'awaiting_buyer') return found;
  return (await settle(core, operation, { trigger: 'buyer_returned' }))?.transaction ?? found;
}

function isDecided({ state }: Transaction): boolean {
  return state === 'declined' || isApproved(state);
}

/** A page that Wix did not give falls back as its contract has it (5.3), and never to one of another outcome. */
function urlOf(page: ShopPage, urls: ReturnUrls): string | null {
  const { successUrl, errorUrl, cancelUrl, pendingUrl } = urls;
  return { success: successUrl, error: errorUrl, cancel: cancelUrl ?? errorUrl, pending: pendingUrl ?? successUrl }[
    page
  ];
}
