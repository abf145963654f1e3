import { toBinary } from '@bufbuild/protobuf';
import { CredentialsOnFileSchema } from '../proto/gen/payments/v1/outcome_pb.js';
import { isOutage, type Queryable } from '../proto/runtime/database.ts';
import { counter } from '../proto/runtime/metrics.ts';
import type { Core } from './context.ts';
import { type Change, decide, type EventType } from './decide.ts';
import { buildEvent } from './event.ts';
import { operationId } from './ids.ts';
import { gapMs, isOpen, type Operation } from './operation.ts';
import { type Said, UNKNOWN } from './outcome.ts';
import { ClaimedMeanwhile, insertOperation, insertReport, operationsOf, updateOperation } from './store/operations.ts';
import { insertEvent } from './store/outbox.ts';
import { lockTransaction, updateTransaction } from './store/transactions.ts';
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

/** An operation is claimed once in a lease, so that a second try meets no claim again. */
const TRIES = 3;

/**
 * Applies what was said of an operation to the state that is found. Undefined if there is no such operation. What cannot be written,
 * though the database is there, counts as unknown from then on: it is asked again, and alerts when it grows old (R16, R47).
 */
export async function settle(core: Core, id: string, said: Said, source = SYSTEM): Promise<Settled | undefined> {
  try {
    return await settleInTries(core, id, said, source);
  } catch (error) {
    if (isOutage(error)) throw error;
    const { name, code, constraint } = error as Error & { code?: string; constraint?: string };
    core.log.alert('outcome_not_recorded', { operationId: id, trigger: said.trigger, error: name, code, constraint });
    if (said === UNKNOWN) throw error;
    const settled = await settle(core, id, UNKNOWN);
    if (source !== SYSTEM) throw error;
    return settled;
  }
}

async function settleInTries(core: Core, id: string, said: Said, source: Source): Promise<Settled | undefined> {
  for (let tries = 1; ; tries++) {
    try {
      return await settleOnce(core, id, said, source);
    } catch (error) {
      if (!(error instanceof ClaimedMeanwhile) || tries === TRIES) throw error;
    }
  }
}

async function settleOnce(core: Core, id: string, said: Said, source: Source): Promise<Settled | undefined> {
  const settled = await core.db.inTx(async (tx) => {
    const found = await lockTransaction(tx, { operationId: id });
    if (!found) return undefined;
    const { now, ...transaction } = found;
    const operations = await operationsOf(tx, transaction.id);
    const operation = operations.find((other) => other.id === id);
    if (!operation) return undefined;
    const options = { buyerTimeoutMs: core.config.BUYER_TIMEOUT_MS, override: source.override !== undefined };
    const change = decide(transaction, operations, operation, said, now, options);
    return apply(core, tx, transaction, operations, operation, change, said, source);
  });
  if (settled) announce(core, settled);
  return settled;
}

async function apply(
  core: Core,
  tx: Queryable,
  before: Transaction,
  operations: readonly Operation[],
  target: Operation,
  change: Change,
  said: Said,
  source: Source,
): Promise<Settled> {
  if (change.contradiction || source.override) {
    const kind = change.contradiction ? 'contradiction' : 'override';
    const report = {
      operationId: target.id,
      kind,
      caller: source.caller,
      said: inWords(said),
      why: source.override?.why ?? '',
    } as const;
    const isNew = await insertReport(tx, report);
    // Said twice, it is the same contradiction.
    if (change.contradiction && !isNew)
      return { transaction: before, operation: target, change: { ...change, event: undefined } };
  }
  const onFile =
    said.credentialsOnFile && change.event === 'transaction_approved' ? sealOnFile(core, before, said) : {};
  const transaction: Transaction = { ...before, ...change.transaction, ...onFile, ...next(before, change.event) };
  const isChanged = change.event !== undefined || Object.keys(change.transaction).length > 0;
  const written = isChanged ? await updateTransaction(tx, transaction, before.state) : before;
  const operation = await writeOperation(core, tx, target, { ...target, ...change.operation });
  const cancel = operations.find((other) => other.kind === 'cancel' && isOpen(other));
  if (change.closeCancel && cancel) await updateOperation(tx, { ...cancel, state: 'closed' }, cancel, 0);
  if (change.begin) await begin(tx, written, operations, target, change.begin);
  if (change.event) await insertEvent(tx, buildEvent(change.event, written, operation));
  return { transaction: written, operation, change };
}

/** What is kept of a report: no credential and no address of a page. */
function inWords({ trigger, amount, refusal, processorReference }: Said): string {
  return JSON.stringify({ trigger, amount: amount?.toString(), ...refusal, processorReference });
}

/** While its first call may still run, an operation keeps its due time; else an open one is due again after a gap that widens. */
async function writeOperation(core: Core, tx: Queryable, before: Operation, after: Operation): Promise<Operation> {
  if (before.state === 'running' && after.state === 'running') return before;
  return updateOperation(tx, after, before, gapMs(after.asks, core.config.RECONCILE_GRACE_MS));
}

function next(before: Transaction, event: EventType | undefined): Pick<Transaction, 'sequence'> {
  return { sequence: event ? before.sequence + 1n : before.sequence };
}

function sealOnFile(core: Core, transaction: Transaction, said: Said) {
  if (!said.credentialsOnFile) return {};
  const keys = core.config.EVENTS_KEY;
  const sealed = keys.seal(toBinary(CredentialsOnFileSchema, said.credentialsOnFile), transaction.id);
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
  const attempt = operations.filter((other) => other.kind === what.kind).length + 1;
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
