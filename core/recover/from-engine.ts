import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { Operation_Kind } from '../../proto/gen/payments/v1/transaction_pb.js';
import type { Instruction, ListedOperation } from '../../proto/gen/processor/v1/processor_pb.js';
import type { Tx } from '../../proto/runtime/database.ts';
import type { Core } from '../context.ts';
import * as ids from '../ids.ts';
import { readLedgerRecord } from '../ledger-record.ts';
import { processorAccount } from '../merchant-credentials.ts';
import { isOpen, type Operation, type OperationKind } from '../operation.ts';
import { runningMs } from '../perform.ts';
import { readAnswer, subject } from '../processor.ts';
import { settle } from '../settle.ts';
import { operationById, operationsOf, refundsByReference } from '../store/operations.ts';
import { hasAccount, putOperation, putTransaction, renameOperation } from '../store/restore.ts';
import { lockTransaction, transactionById } from '../store/transactions.ts';
import { CAUSES, type Transaction } from '../transaction.ts';
import { newOperation, paymentOf } from './rebuild.ts';
import { inTx, type Recovered, type Run } from './run.ts';

// What the engine tells: which orders it was sent, with our own record of each, and what became of them.

const PAGE = 500;
const LIST_MS = 30_000;

/** What the engine was sent since, a page at a time; nothing, if it does not offer that. */
export async function* listOperations(
  core: Core,
  since: Date,
  recovered: Recovered,
): AsyncGenerator<ListedOperation[]> {
  let pageToken = '';
  do {
    const request = { changedSince: timestampFromDate(since), pageSize: PAGE, pageToken };
    const page = await core.processor.listOperations(request, { timeoutMs: LIST_MS }).catch((error: unknown) => {
      if (ConnectError.from(error).code === Code.Unimplemented) return undefined;
      throw new Error(`the engine did not answer ListOperations: ${Code[ConnectError.from(error).code]}`);
    });
    recovered.engineLists = page !== undefined;
    if (!page) return;
    yield page.operations;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}

const kindOf = (kind: Operation_Kind) => (Operation_Kind[kind] ?? '').toLowerCase() as OperationKind;
export const isAuthorize = ({ kind }: ListedOperation) => kind === Operation_Kind.AUTHORIZE;
export const isOther = (listed: ListedOperation) => !isAuthorize(listed);

/** A payment that the engine was sent, if the ledger has none: as tx 1 recorded it. */
export async function beginPayment(run: Run, { instruction, outcome }: ListedOperation): Promise<void> {
  if (!instruction || (await transactionById(run.core.db, instruction.transactionId))) return;
  const { recovered } = run;
  const { requestId, transactionId } = instruction;
  const { payment, operation } = readLedgerRecord(instruction.ledgerRecord) ?? {};
  // Ids are derived: a record that was mixed up with another's is found out.
  const fits =
    payment &&
    operation &&
    ids.transactionId(payment.externalId) === transactionId &&
    ids.operationId('authorize', payment.externalId, operation.caller, operation.key, 1) === requestId;
  if (!fits) return void recovered.troubles.set(requestId, 'unknown order');
  const createdAt = instruction.createdAt ? timestampDate(instruction.createdAt) : run.since;
  const transaction = paymentOf(transactionId, payment, {
    createdAt,
    awaitedBuyer: outcome?.kind.case === 'buyerAction',
  });
  const begun = await inTx(run, transactionId, async (tx) => {
    if (!(await hasAccount(tx, payment.accountId, payment.externalMerchantId))) return 'account' as const;
    await putTransaction(tx, transaction);
    const { attempt } = instruction;
    const facts = { ...operation, id: requestId, transactionId, kind: 'authorize', attempt, createdAt } as const;
    await putOperation(tx, newOperation(facts), runningMs(run.core));
    return 'begun' as const;
  });
  if (begun === 'account') recovered.troubles.set(transactionId, 'account');
  if (begun !== 'begun') return;
  run.pretended.set(transactionId, transaction);
  recovered.payments += 1;
  recovered.operations += 1;
}

/** An order of the engine's: its row, if it lacks one, and what became of it, as if that had just been learned. */
export async function learnListed(run: Run, listed: ListedOperation): Promise<void> {
  const { core, recovered, isDry } = run;
  const { instruction, outcome } = listed;
  if (!instruction) return;
  const operation =
    (await operationById(core.db, instruction.requestId)) ?? (await beginMoney(run, listed, instruction));
  const transaction = operation && (await transactionById(core.db, operation.transactionId));
  if (!transaction || isDry) return;
  await nameAsRecorded(run, listed, instruction, transaction, operation);
  const before = operation.state;
  if (!isNews(transaction, operation, listed)) return;
  const isUndone = listed.reversed && isOpen(operation);
  const learned = isUndone
    ? ({ trigger: 'failed', refusal: CAUSES.unseen } as const)
    : readAnswer(core, transaction, operation, outcome);
  const settled = await settle(core, operation, learned);
  if (settled && (settled.change.event || settled.operation.state !== before)) recovered.answers += 1;
}

/** Who asked for it, and by which key: of what was brought back from an event the engine alone may know. */
async function nameAsRecorded(
  { core }: Run,
  { kind }: ListedOperation,
  { requestId, ledgerRecord, attempt }: Instruction,
  { externalId }: Transaction,
  known: Operation,
): Promise<void> {
  const { operation: facts } = readLedgerRecord(ledgerRecord) ?? {};
  if (!facts || (facts.caller === known.caller && facts.callId === known.callId && facts.why === known.why)) return;
  if (ids.operationId(kindOf(kind), externalId, facts.caller, facts.key, attempt) === requestId)
    await renameOperation(core.db, requestId, facts);
}

/**
 * Whether the engine's word may be new to the ledger. What was decided stays decided, whoever decided it: beside what is open, an approval
 * may have come too late, a hold have run out, or a refund have come back, without an event.
 */
function isNews({ state }: Transaction, operation: Operation, { outcome }: ListedOperation): boolean {
  if (isOpen(operation)) return true;
  const said = outcome?.kind.case;
  if (operation.kind === 'authorize')
    return (state === 'declined' && said === 'approved') || (state === 'authorized' && said === 'expired');
  return operation.kind === 'refund' && operation.state === 'approved' && (said === 'declined' || said === 'failed');
}

/** A capture, void or refund that the ledger lacks, as tx 1 recorded it. */
async function beginMoney(run: Run, listed: ListedOperation, instruction: Instruction): Promise<Operation | undefined> {
  const { recovered, core } = run;
  const { requestId, transactionId, attempt } = instruction;
  const kind = kindOf(listed.kind);
  if (recovered.troubles.has(transactionId) || recovered.troubles.has(requestId) || kind === 'authorize')
    return undefined;
  const { operation: facts } = readLedgerRecord(instruction.ledgerRecord) ?? {};
  const createdAt = instruction.createdAt ? timestampDate(instruction.createdAt) : run.since;
  const begun = await inTx(run, requestId, async (tx) => {
    const found = await lockTransaction(tx, { id: transactionId });
    const fits =
      found && facts && ids.operationId(kind, found.externalId, facts.caller, facts.key, attempt) === requestId;
    // One that was made at the engine alone, and reported, stands under its reference (R23).
    if (!fits && (await isReported(tx, found, listed))) return undefined;
    if (!fits) return 'unknown order' as const;
    const { now: _, ...transaction } = found;
    const states = { capture: 'capturing', void: 'voiding' } as const;
    const isRefund = kind === 'refund';
    if (transaction.state !== (isRefund ? 'captured' : 'authorized')) return 'misfit' as const;
    if (!isRefund) await putTransaction(tx, { ...transaction, state: states[kind as keyof typeof states] });
    const operation = newOperation({ ...facts, id: requestId, transactionId, kind, attempt, createdAt });
    await putOperation(tx, operation, runningMs(core));
    return operation;
  });
  if (!begun || typeof begun === 'string') {
    if (begun) recovered.troubles.set(requestId, begun);
    return undefined;
  }
  recovered.operations += 1;
  return begun;
}

async function isReported(tx: Tx, found: Transaction | undefined, { outcome }: ListedOperation): Promise<boolean> {
  const reference = outcome?.kind.case === 'approved' ? outcome.kind.value.processorReference : '';
  if (!found?.accountId || reference === '') return false;
  return (await refundsByReference(tx, found.accountId, reference)).length > 0;
}

/** What may have come after a payment's events without one of its own: an approval that was too late, and one that has run out. */
export async function askAboutApproval(run: Run, id: string): Promise<void> {
  const { core, recovered } = run;
  const transaction = await transactionById(core.db, id);
  const authorize = (await operationsOf(core.db, id)).find(({ kind }) => kind === 'authorize');
  if (!transaction || !authorize || !['declined', 'authorized'].includes(transaction.state)) return;
  const name = subject(transaction, authorize, await processorAccount(core, core.db, transaction));
  const { result } = await core.processor.getOperation({ subject: name }, { timeoutMs: LIST_MS });
  if (result.case !== 'outcome') return;
  const settled = await settle(core, authorize, readAnswer(core, transaction, authorize, result.value));
  if (settled?.change.event || settled?.change.begin) recovered.answers += 1;
}
