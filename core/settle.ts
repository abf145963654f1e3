import { toBinary } from '@bufbuild/protobuf';
import { CredentialsOnFileSchema } from '../proto/gen/payments/v1/outcome_pb.js';
import { isOutage, isRolledBack, type Queryable, type Tx } from '../proto/runtime/database.ts';
import { counter } from '../proto/runtime/metrics.ts';
import { currentTraceparent } from '../proto/runtime/tracing.ts';
import type { Core } from './context.ts';
import { type Change, decide } from './decide.ts';
import { buildEvent } from './event.ts';
import { operationId } from './ids.ts';
import { gapMs, isOpen, nextAttempt, type Operation } from './operation.ts';
import { type LearnedOutcome, UNKNOWN } from './outcome.ts';
import { ClaimedMeanwhile, closeCancel, insertOperation, insertReport } from './store/operations.ts';
import { type Locked, lockPayments, type Settlement, type Written, writeSettlements } from './store/settlements.ts';
import type { Transaction } from './transaction.ts';

// tx 2: what was learned of an operation, through the tables, under the payment's row lock (R14). Whoever learns it - the call
// itself, reconciliation, a report, an operator, the answer budget - comes through here. A claim by reconciliation is the one change
// that does not wait for that lock; the writes notice it (R46).

export interface Settled {
  readonly transaction: Transaction;
  readonly operation: Operation;
  readonly change: Change;
}

/** Who said it, for what is kept of contradictions and overrides (R24). */
export interface Source {
  readonly caller: string;
  readonly override?: { readonly why: string };
}

const SYSTEM: Source = { caller: 'system' };

const events = counter('payment_events_total', 'Events by type.', ['type']);
const refusals = counter('refusals_total', "Payments and operations that were refused, by Wix's code of the reason.", [
  'reason',
]);
const REFUSALS = /_(declined|failed)$/;

/** An operation is claimed once in a lease, so that a second try meets no claim again. */
const TRIES = 3;
/** Payments that are locked by somebody else for longer are waited for alone, so that they hold up no others. */
const LOCK_MS = 250;

/** Names an operation. */
type OperationKey = Pick<Operation, 'id' | 'transactionId'>;

/** What was learned of one operation, and from whom. */
export interface ToSettle {
  readonly about: OperationKey;
  readonly outcome: LearnedOutcome;
  readonly source: Source;
  /** In whose trace it was learned: many are written together. */
  readonly traceparent?: string | undefined;
}

/** 'claimed': it was claimed since it was read. 'alone': more follows from it than is written for many at once. Nothing was written. */
export type Result = Settled | undefined | 'claimed' | 'alone';

/**
 * Applies what was learned of an operation to the state that is found. Undefined if there is no such operation. What cannot be written,
 * though the database is there, counts as unknown from then on: it is asked again, and alerts when it grows old (R16, R47).
 */
export async function settle(
  core: Core,
  about: OperationKey,
  outcome: LearnedOutcome,
  source = SYSTEM,
): Promise<Settled | undefined> {
  try {
    return await settleInTries(core, { about, outcome, source, traceparent: currentTraceparent() });
  } catch (error) {
    if (isOutage(error)) throw error;
    const { name, code, constraint } = error as Error & { code?: string; constraint?: string };
    const operationId = about.id;
    core.log.alert('outcome_not_recorded', { operationId, trigger: outcome.trigger, error: name, code, constraint });
    if (outcome === UNKNOWN) throw error;
    const settled = await settle(core, about, UNKNOWN);
    if (source !== SYSTEM) throw error;
    return settled;
  }
}

async function settleInTries(core: Core, toSettle: ToSettle): Promise<Settled | undefined> {
  for (let tries = 1; tries <= TRIES; tries++) {
    const together = await core.settle(toSettle).catch((error: unknown) => {
      if (!isRolledBack(error)) throw error;
      return 'alone' as const;
    });
    const result = together === 'alone' ? await settleAlone(core, toSettle) : together;
    if (result === 'claimed') continue;
    if (result) announce(core, result);
    return result;
  }
  throw new Error(`operation ${toSettle.about.id} is claimed again and again`);
}

/** tx 2 of payments, one thing learned of each. */
export async function settleAll(core: Core, batch: readonly ToSettle[]): Promise<Result[]> {
  const [first, ...others] = batch;
  if (first && others.length === 0) return [await settleAlone(core, first, LOCK_MS)];
  const settleUnderLocks = async (tx: Tx) => {
    const found = await lockPayments(
      tx,
      batch.map(({ about }) => about.transactionId),
    );
    const decided = batch.map((toSettle) => decideOn(core, found, toSettle));
    const simple = decided.flatMap((one) => (one && isSimple(one) ? [one.settlement] : []));
    const written = await writeSettlements(tx.last, simple);
    return decided.map((one) => (one && !isSimple(one) ? 'alone' : one && settled(one, written)));
  };
  return core.db.inTx(settleUnderLocks, { lockTimeoutMs: LOCK_MS });
}

async function settleAlone(
  core: Core,
  toSettle: ToSettle,
  lockTimeoutMs?: number,
): Promise<Settled | undefined | 'claimed'> {
  const settleUnderLock = async (tx: Tx) => {
    const found = await lockPayments(tx, [toSettle.about.transactionId]);
    const one = decideOn(core, found, toSettle);
    if (one && isSimple(one)) return settled(one, await writeSettlements(tx.last, [one.settlement]));
    return one && apply(tx, one, toSettle);
  };
  try {
    return await core.db.inTx(settleUnderLock, { lockTimeoutMs });
  } catch (error) {
    if (error instanceof ClaimedMeanwhile) return 'claimed';
    throw error;
  }
}

/** What follows for a locked payment. */
interface Decided {
  readonly payment: Locked;
  readonly settlement: Settlement;
  readonly change: Change;
  readonly isOverride: boolean;
}

function isSimple({ payment, change, isOverride }: Decided): boolean {
  const closes = change.closeCancel && payment.operations.some((other) => other.kind === 'cancel' && isOpen(other));
  return !change.contradiction && !isOverride && !change.begin && !closes;
}

function decideOn(
  core: Core,
  found: ReadonlyMap<string, Locked>,
  { about, outcome, source, traceparent }: ToSettle,
): Decided | undefined {
  const payment = found.get(about.transactionId);
  const read = payment?.operations.find(({ id }) => id === about.id);
  if (!payment || !read) return undefined;
  const { transaction: before, operations, now } = payment;
  const options = {
    buyerTimeoutMs: core.config.BUYER_TIMEOUT_MS,
    tellsBuyerWait: core.config.BUYER_WAIT_EVENT,
    override: source.override !== undefined,
  };
  const change = decide(before, operations, read, outcome, now, options);
  const onFile =
    outcome.credentialsOnFile && change.event === 'transaction_approved' ? sealOnFile(core, before, outcome) : {};
  const isChanged = change.event !== undefined || Object.keys(change.transaction).length > 0;
  const sequence = change.event ? before.sequence + 1n : before.sequence;
  const transaction = isChanged ? { ...before, ...change.transaction, ...onFile, sequence, updatedAt: now } : undefined;
  const operation = { ...read, ...change.operation };
  const settlement = {
    read,
    operation,
    transaction,
    dueInMs: gapMs(operation.asks, core.config.RECONCILE_GRACE_MS),
    event: transaction &&
      change.event && { ...buildEvent(core.config, change.event, transaction, operation), traceparent },
  };
  return { payment, settlement, change, isOverride: options.override };
}

function settled(one: Decided, written: ReadonlyMap<string, Written>): Settled | 'claimed' {
  const { transaction, operation } = one.settlement;
  const row = written.get(operation.id);
  if (!row) return 'claimed';
  return {
    transaction: transaction ?? one.payment.transaction,
    operation: { ...operation, ...row },
    change: one.change,
  };
}

async function apply(tx: Queryable, one: Decided, { outcome, source }: ToSettle): Promise<Settled> {
  const { change, settlement } = one;
  const { transaction, operations } = one.payment;
  const { read } = settlement;
  if (change.contradiction || source.override) {
    const kind = change.contradiction ? 'contradiction' : 'override';
    const report = {
      operationId: read.id,
      kind,
      caller: source.caller,
      said: inWords(outcome),
      why: source.override?.why ?? '',
    } as const;
    const isNew = await insertReport(tx, report);
    // Said twice, it is the same contradiction.
    if (change.contradiction && !isNew)
      return { transaction, operation: read, change: { ...change, event: undefined } };
  }
  const result = settled(one, await writeSettlements(tx, [settlement]));
  if (result === 'claimed') throw new ClaimedMeanwhile(`operation ${read.id} is not as it was read`);
  const cancel = operations.find((other) => other.kind === 'cancel' && isOpen(other));
  if (change.closeCancel && cancel) await closeCancel(tx, cancel);
  if (change.begin) await begin(tx, transaction, operations, read, change.begin);
  return result;
}

/** What is kept of a report: no credential and no address of a page. */
function inWords({ trigger, amount, refusal, processorReference }: LearnedOutcome): string {
  return JSON.stringify({ trigger, amount: amount?.toString(), ...refusal, processorReference });
}

function sealOnFile(core: Core, transaction: Transaction, outcome: LearnedOutcome) {
  if (!outcome.credentialsOnFile) return {};
  const keys = core.config.EVENTS_KEY;
  const sealed = keys.seal(toBinary(CredentialsOnFileSchema, outcome.credentialsOnFile), transaction.id);
  return { credentialsOnFile: sealed, credentialsKeyId: keys.keyIdOf(sealed) };
}

/** A cancel or reversal is an operation like any other, due at once. */
async function begin(
  tx: Queryable,
  transaction: Transaction,
  operations: readonly Operation[],
  target: Operation,
  what: NonNullable<Change['begin']>,
): Promise<void> {
  const attempt = nextAttempt(what.kind, operations);
  const cause = what.kind === 'cancel' ? what.cause : undefined;
  await insertOperation(tx, {
    id: operationId(what.kind, transaction.externalId, 'system', target.id, attempt),
    transactionId: transaction.id,
    kind: what.kind,
    state: 'running',
    caller: 'system',
    key: target.id,
    callId: null,
    attempt,
    amount: null,
    approvedAmount: null,
    reason: cause?.reason ?? null,
    errorCode: cause?.errorCode ?? null,
    errorMessage: cause?.message ?? null,
    why: '',
    dueInMs: 0,
  });
}

/** One log line and one count for each thing that happened, after the tx that made it true. */
export function announce(
  core: Core,
  {
    transaction,
    operation,
    change,
  }: { transaction: Transaction; operation?: Operation | undefined; change: Partial<Change> },
): void {
  const ids = {
    transactionId: transaction.id,
    externalId: transaction.externalId,
    operationId: operation?.id,
    kind: operation?.kind,
    state: transaction.state,
  };
  if (change.event) {
    events.inc({ type: change.event });
    if (REFUSALS.test(change.event))
      refusals.inc({ reason: String(transaction.reason ?? operation?.reason ?? 'none') });
    core.log.info(change.event.replace('_', '.'), {
      ...ids,
      reason: transaction.reason ?? operation?.reason,
      sequence: transaction.sequence,
    });
    core.wakePublisher();
  }
  if (change.begin) core.wakeReconcile();
  if (change.alert) core.log.alert(change.alert, ids);
}
