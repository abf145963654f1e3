import type { Core } from './context.ts';
import { type ProcessorAccount, processorAccount } from './merchant-credentials.ts';
import { afterNotFound, gapMs, isForgotten, isOpen, type Operation } from './operation.ts';
import { type LearnedOutcome, UNKNOWN } from './outcome.ts';
import { runningMs } from './perform.ts';
import { callProcessorAgain, readAnswer, sendMoney, subject } from './processor.ts';
import { settle } from './settle.ts';
import { type Claimed, claimDue, claimLapsed, operationsOf, postpone, stillClaimed } from './store/operations.ts';
import { transactionById } from './store/transactions.ts';
import type { Transaction } from './transaction.ts';

// Everything that is open is due at some time, and this is where it is looked at: lost outcomes, cancels, reversals, buyers who left,
// expiries (R15, R16, R17). Several cores share it; each claim is a lease on the operation's own row. A claim marks an operation asked,
// after which nobody may call it "not sent" any more; and only what is still open and still claimed after that is sent again, cancelled
// or reversed (R46).

const BATCH = 20;
const LONG_MS = 24 * 3_600_000;
/** An engine that has not let go what it said it would is asked again after so long. */
const LAPSED_AGAIN_MS = 24 * 3_600_000;

/** Claims what is due, as far as there is room, and looks at each. `done` resolves when all were looked at. */
export async function reconcile(core: Core): Promise<{ claimed: number; done: Promise<unknown> }> {
  const claimed = await claimDue(core.db, Math.min(BATCH, core.reconciliations.room()), runningMs(core));
  const lapsed = await claimLapsed(core.db, Math.min(BATCH, core.reconciliations.room()), LAPSED_AGAIN_MS);
  const work = [
    ...claimed.map((operation) => () => reconcileOperation(core, operation)),
    ...lapsed.map((authorize) => () => reconcileLapsed(core, authorize)),
  ];
  return { claimed: work.length, done: Promise.all(work.map((one) => core.reconciliations.run(one))) };
}

/** The time has passed at which the engine lets go of the money. No clock decides: the payment expires when the engine says so. */
async function reconcileLapsed(core: Core, authorize: Operation): Promise<void> {
  const transaction = await transactionById(core.db, authorize.transactionId);
  if (!transaction) throw new Error(`operation ${authorize.id} has no payment`);
  const name = subject(transaction, authorize, await processorAccount(core, core.db, transaction));
  const answer = await callProcessorAgain(core, 'get_operation', (options) =>
    core.processor.getOperation({ subject: name }, options),
  );
  if (answer?.result.case === 'outcome')
    await settle(core, authorize, readAnswer(core, transaction, authorize, answer.result.value));
}

/** What reconciling one operation needs to know of its payment. */
interface PaymentContext {
  readonly transaction: Transaction;
  readonly operations: readonly Operation[];
  readonly authorize: Operation;
  readonly account: ProcessorAccount;
}

/** Learns what became of one claimed operation, or moves it on. */
export async function reconcileOperation(core: Core, operation: Claimed): Promise<void> {
  const transaction = await transactionById(core.db, operation.transactionId);
  const operations = await operationsOf(core.db, operation.transactionId);
  if (!(await lookAgain(core, operation))) return;
  const authorize = operations.find((other) => other.kind === 'authorize');
  if (!transaction || !authorize) throw new Error(`operation ${operation.id} has no payment`);
  const about: PaymentContext = {
    transaction,
    operations,
    authorize,
    account: await processorAccount(core, core.db, transaction),
  };
  if (operation.kind === 'cancel') return reconcileCancel(core, about, operation);
  if (operation.kind === 'reversal') return reconcileReversal(core, about, operation);
  return reconcileOutcome(core, about, operation);
}

async function reconcileOutcome(core: Core, about: PaymentContext, operation: Claimed): Promise<void> {
  const { transaction, operations, account } = about;
  // Its cancel is asking already.
  if (operation.kind === 'authorize' && operations.some((other) => other.kind === 'cancel' && isOpen(other))) return;
  if (operation.state === 'unknown' && operation.now.getTime() - operation.changedAt.getTime() > LONG_MS)
    core.log.alert('outcome_unknown_for_long', { transactionId: transaction.id, operationId: operation.id });
  const name = subject(transaction, operation, account);
  const answer = await callProcessorAgain(core, 'get_operation', (options) =>
    core.processor.getOperation({ subject: name }, options),
  );
  if (answer?.result.case === 'notFound') return reconcileUnseen(core, about, operation);
  const learned = answer ? readAnswer(core, transaction, operation, answer.result.value) : UNKNOWN;
  await settle(core, operation, learned);
  // Only while the engine still waits: a payment that it has decided is decided (R16).
  if (operation.pastExpiry && (learned.trigger === 'pending' || learned.trigger === 'buyer_action'))
    await settle(core, operation, {
      trigger: 'past_expiry',
      expiresAt: learned.expiresAt ?? operation.expiresAt ?? undefined,
      ...(learned.redirectUrl !== undefined && { redirectUrl: learned.redirectUrl }),
    });
}

/** The processor does not know it: a late send of it may still be on its way (R15). */
async function reconcileUnseen(core: Core, about: PaymentContext, claimed: Claimed): Promise<void> {
  const { transaction, authorize, account } = about;
  const operation = await lookAgain(core, claimed);
  if (!operation) return;
  switch (afterNotFound(operation, operation.now)) {
    case 'cancel':
      await settle(core, operation, { trigger: 'unseen' });
      return;
    case 'resend': {
      const send = sendMoney(core, transaction, authorize, operation, account);
      const answer = await callProcessorAgain(core, operation.kind, send);
      await settle(core, operation, answer ? readAnswer(core, transaction, operation, answer.outcome) : UNKNOWN);
      return;
    }
    case 'end':
      await settle(core, operation, (await end(core, about, operation)) ?? UNKNOWN);
      return;
    case 'alert':
      core.log.alert('processor_forgot', { transactionId: transaction.id, operationId: operation.id });
      await settle(core, operation, UNKNOWN);
  }
}

/**
 * The claimed operation as it is now, before anything is sent for it. Undefined: its end was learned, or somebody else has claimed it, in
 * the time that reads and questions took (R46).
 */
async function lookAgain(core: Core, claimed: Claimed): Promise<Claimed | undefined> {
  const current = await stillClaimed(core.db, claimed);
  if (!current) core.log.info('reconcile.overtaken', { operationId: claimed.id, kind: claimed.kind });
  return current;
}

/** Asks the processor to end an operation for good. Undefined: no answer; else that it is ended, or its outcome. */
export async function end(
  core: Core,
  { transaction, account }: Pick<PaymentContext, 'transaction' | 'account'>,
  operation: Operation,
): Promise<LearnedOutcome | undefined> {
  const name = subject(transaction, operation, account);
  const answer = await callProcessorAgain(core, 'cancel', (options) =>
    core.processor.cancel({ subject: name }, options),
  );
  if (!answer) return undefined;
  if (answer.result.case === 'ended') return { trigger: 'cancel_confirmed' };
  return readAnswer(core, transaction, operation, answer.result.value);
}

/** What the cancel learns is an outcome of its authorize; the tx that decides the payment closes the cancel (R16). */
async function reconcileCancel(core: Core, about: PaymentContext, cancel: Claimed): Promise<void> {
  const isTooLate = isForgotten(about.authorize, cancel.now);
  const learned = isTooLate ? undefined : await end(core, about, about.authorize);
  if (learned && !['pending', 'unknown', 'buyer_action'].includes(learned.trigger)) {
    await settle(core, about.authorize, learned);
    return;
  }
  if (isTooLate || cancel.asks > 5)
    core.log.alert('cancel_not_confirmed', { transactionId: cancel.transactionId, operationId: cancel.id });
  await postpone(core.db, cancel.id, gapMs(cancel.asks, core.config.RECONCILE_GRACE_MS));
}

async function reconcileReversal(
  core: Core,
  { transaction, authorize, account }: PaymentContext,
  reversal: Claimed,
): Promise<void> {
  const name = subject(transaction, authorize, account);
  const answer = await callProcessorAgain(core, 'reverse', (options) =>
    core.processor.reverse({ subject: name }, options),
  );
  await settle(core, reversal, answer ? readAnswer(core, transaction, reversal, answer.outcome) : UNKNOWN);
}
