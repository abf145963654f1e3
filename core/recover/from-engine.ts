import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type CallOptions, Code, ConnectError } from '@connectrpc/connect';
import { Operation_Kind } from '../../proto/gen/payments/v1/transaction_pb.js';
import type { Instruction, ListedOperation } from '../../proto/gen/processor/v1/processor_pb.js';
import type { Tx } from '../../proto/runtime/database.ts';
import * as ids from '../ids.ts';
import { readLedgerRecord } from '../ledger-record.ts';
import { processorAccount } from '../merchant-credentials.ts';
import { isOpen, type Operation, type OperationKind } from '../operation.ts';
import { callProcessorAgain, readAnswer, subject } from '../processor.ts';
import { settle } from '../settle.ts';
import { operationById, operationsOf, refundsByReference } from '../store/operations.ts';
import { hasAccount, insertRestored, putOperation, renameOperation, updateRestored } from '../store/restore.ts';
import { lockTransaction, transactionById } from '../store/transactions.ts';
import { CAUSES, type Transaction } from '../transaction.ts';
import { newOperation, paymentOf, refusedOperation } from './rebuild.ts';
import { inTx, isBlocked, noteTrouble, type Run } from './run.ts';

// What the engine tells: which orders it was sent, with our own record of each, and what became of them.

const PAGE = 500;
const LIST_MS = 30_000;

/** An order with ids that can be looked for. */
export type Listed = ListedOperation & { readonly instruction: Instruction };

/** What the engine was sent since, a page at a time; nothing, if it does not offer that. */
export async function* listOperations(run: Run): AsyncGenerator<Listed[]> {
  const { core, since, recovered } = run;
  const tokens = new Set<string>();
  let pageToken = '';
  do {
    const request = { changedSince: timestampFromDate(since), pageSize: PAGE, pageToken };
    const page = await core.processor.listOperations(request, { timeoutMs: LIST_MS }).catch((error: unknown) => {
      if (ConnectError.from(error).code === Code.Unimplemented) return undefined;
      throw new Error(`the engine did not answer ListOperations: ${Code[ConnectError.from(error).code]}`);
    });
    recovered.engineLists = page !== undefined;
    if (!page) return;
    // What is no id of ours may be anything, and is not repeated.
    if (!page.operations.every(isListed)) noteTrouble(run, 'operations without ids of ours', 'unknown order');
    yield page.operations.filter(isListed);
    pageToken = page.nextPageToken;
    if (tokens.has(pageToken)) throw new Error('the engine gave the same next_page_token twice: its list has no end');
    tokens.add(pageToken);
  } while (pageToken !== '');
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function isListed(listed: ListedOperation): listed is Listed {
  return ID.test(listed.instruction?.requestId ?? '') && ID.test(listed.instruction?.transactionId ?? '');
}

const kindOf = (kind: Operation_Kind) => (Operation_Kind[kind] ?? '').toLowerCase() as OperationKind;
export const isAuthorize = ({ kind }: Listed) => kind === Operation_Kind.AUTHORIZE;
export const isOther = (listed: Listed) => !isAuthorize(listed);

/** A payment that the engine was sent, if the ledger has none: as tx 1 recorded it. */
export async function beginPayment(run: Run, { instruction, outcome }: Listed): Promise<void> {
  const { requestId, transactionId, attempt } = instruction;
  const { core, recovered } = run;
  if (await operationById(core.db, requestId)) return;
  const { payment, operation } = readLedgerRecord(instruction.ledgerRecord) ?? {};
  // Ids are derived: a record that was mixed up with another's is found out.
  const fits =
    payment &&
    operation &&
    ids.transactionId(payment.externalId) === transactionId &&
    ids.operationId('authorize', payment.externalId, operation.caller, operation.key, 1) === requestId;
  if (!fits) return noteTrouble(run, requestId, 'unknown order');
  const createdAt = createdAtOf(run, instruction);
  const awaitedBuyer = outcome?.kind.case === 'buyerAction' && !payment.buyerAbsent;
  const transaction = paymentOf(transactionId, payment, { createdAt, awaitedBuyer });
  const facts = { ...operation, id: requestId, transactionId, kind: 'authorize', attempt, createdAt } as const;
  const begun = await inTx(run, transactionId, async (tx) => {
    const found = await lockTransaction(tx, { id: transactionId });
    // It was declined at the door since: what the engine approved is to be undone.
    if (found?.state === 'declined') await putOperation(tx, refusedOperation(newOperation(facts), found));
    if (found) return found.state === 'declined' ? 'declined' : 'there by now';
    if (!(await hasAccount(tx, payment))) return 'account';
    if (!(await insertRestored(tx, transaction))) return 'there by now';
    await putOperation(tx, newOperation(facts));
    return 'begun';
  });
  if (begun === 'declined') recovered.operations += 1;
  if (begun === 'account') noteTrouble(run, transactionId, 'account');
  if (begun !== 'begun') return;
  run.pretended.set(transactionId, transaction);
  recovered.payments += 1;
  recovered.operations += 1;
}

const createdAtOf = ({ since }: Run, { createdAt }: Instruction) => (createdAt ? timestampDate(createdAt) : since);

/** An order of the engine's: its row, if it lacks one, and what became of it, as if that had just been learned. */
export async function learnListed(run: Run, listed: Listed): Promise<void> {
  const { core, recovered, isDry } = run;
  const { instruction, outcome } = listed;
  if (isBlocked(run, instruction.transactionId)) return;
  const known = await operationById(core.db, instruction.requestId);
  const operation = known ? await reopened(run, known, listed) : await beginMoney(run, listed);
  const transaction = operation && (await transactionById(core.db, operation.transactionId));
  if (!transaction || isDry) return;
  await nameAsRecorded(run, listed, transaction, operation);
  // Of one that was undone an event tells, where there are any.
  if (!isNews(transaction, operation, listed) || (listed.reversed && !isOpen(operation) && !run.hasTopic)) return;
  // It may have been approved, and told so, before its hold ran out.
  const mayHaveHeld = operation.kind === 'authorize' && transaction.authorizeOnly && transaction.sequence === 0n;
  if (outcome?.kind.case === 'expired' && mayHaveHeld && !run.hasTopic)
    return noteTrouble(run, transaction.id, 'expired');
  const isUndone = listed.reversed && isOpen(operation);
  const learned = isUndone
    ? ({ trigger: 'failed', refusal: CAUSES.unseen } as const)
    : readAnswer(core, transaction, operation, outcome);
  const settled = await settle(core, operation, learned);
  if (settled && (settled.change.event || settled.operation.state !== operation.state)) recovered.answers += 1;
}

/** Who asked for it, and by which key: of what was brought back from an event the engine alone may know. */
async function nameAsRecorded(
  { core }: Run,
  { kind, instruction: { requestId, ledgerRecord, attempt } }: Listed,
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
function isNews({ state }: Transaction, operation: Operation, { outcome }: Listed): boolean {
  if (operation.held) return false;
  if (isOpen(operation)) return true;
  const said = outcome?.kind.case;
  if (operation.kind === 'authorize')
    return (state === 'declined' && said === 'approved') || (state === 'authorized' && said === 'expired');
  return operation.kind === 'refund' && operation.state === 'approved' && (said === 'declined' || said === 'failed');
}

const ORDERED = { capture: 'authorized', void: 'authorized', refund: 'captured' } as const;
const RUNNING = { capture: 'capturing', void: 'voiding', refund: 'captured' } as const;
type MoneyKind = keyof typeof ORDERED;

/**
 * A capture, void or refund that the ledger refused by itself since, while the engine had done it, is open again: what the engine says of it
 * is booked. Others are as they are.
 */
async function reopened(run: Run, known: Operation, { outcome }: Listed): Promise<Operation> {
  const isRefused = known.state === 'declined' || known.state === 'failed';
  const isOurs = !known.asked && known.processorReference === '' && known.kind in ORDERED;
  if (!isRefused || !isOurs || outcome?.kind.case !== 'approved' || run.isDry) return known;
  const kind = known.kind as MoneyKind;
  const open = newOperation(known);
  const begun = await inTx(run, known.id, async (tx) => {
    const locked = await lockTransaction(tx, { id: known.transactionId });
    if (locked?.state !== ORDERED[kind]) return undefined;
    const { now: _, ...transaction } = locked;
    await updateRestored(tx, { ...transaction, state: RUNNING[kind] });
    await putOperation(tx, open);
    return open;
  });
  noteTrouble(run, known.id, begun ? 'refused' : 'misfit');
  return begun ?? known;
}

/** A capture, void or refund that the ledger lacks, as tx 1 recorded it. */
async function beginMoney(run: Run, listed: Listed): Promise<Operation | undefined> {
  const { instruction } = listed;
  const { requestId, transactionId, attempt } = instruction;
  const kind = kindOf(listed.kind);
  if (run.recovered.troubles.has(requestId)) return undefined;
  if (kind === 'authorize' && !run.isDry) noteTrouble(run, transactionId, 'misfit');
  if (kind === 'authorize') return undefined;
  const { operation: facts } = readLedgerRecord(instruction.ledgerRecord) ?? {};
  const begun = await inTx(run, requestId, async (tx) => {
    const locked = await lockTransaction(tx, { id: transactionId });
    const found = run.isDry ? (run.pretended.get(transactionId) ?? locked) : locked;
    const fits =
      found && facts && ids.operationId(kind, found.externalId, facts.caller, facts.key, attempt) === requestId;
    // One that was made at the engine alone, and reported, stands under its reference (R23).
    if (!fits && (await isReported(run, tx, found, listed))) return undefined;
    if (!fits) return 'unknown order' as const;
    const createdAt = createdAtOf(run, instruction);
    const operation = newOperation({ ...facts, id: requestId, transactionId, kind, attempt, createdAt });
    // What came before it is not written there.
    if (run.isDry) return operation;
    const { now: _, ...transaction } = locked!;
    if (transaction.state !== ORDERED[kind as MoneyKind]) return 'misfit' as const;
    await updateRestored(tx, { ...transaction, state: RUNNING[kind as MoneyKind] });
    await putOperation(tx, operation);
    return operation;
  });
  if (typeof begun === 'string') noteTrouble(run, requestId, begun);
  if (!begun || typeof begun === 'string') return undefined;
  run.recovered.operations += 1;
  return begun;
}

async function isReported(
  { references }: Run,
  tx: Tx,
  found: Transaction | undefined,
  { outcome }: Listed,
): Promise<boolean> {
  const reference = outcome?.kind.case === 'approved' ? outcome.kind.value.processorReference : '';
  if (!found?.accountId || reference === '') return false;
  if (references.has(reference)) return true;
  return (await refundsByReference(tx, found.accountId, reference)).length > 0;
}

/** What may have come after a payment's events without one of its own: an approval that was too late, and one that has run out. */
export async function askAboutApproval(run: Run, id: string): Promise<void> {
  const { core, recovered } = run;
  const transaction = await transactionById(core.db, id);
  const authorize = (await operationsOf(core.db, id)).find(({ kind }) => kind === 'authorize');
  if (!transaction || !authorize || !['declined', 'authorized'].includes(transaction.state) || isBlocked(run, id))
    return;
  const account = await processorAccount(core, core.db, transaction).catch(() => undefined);
  const name = account && subject(transaction, authorize, account);
  const ask = (options: CallOptions) => core.processor.getOperation(name ? { subject: name } : {}, options);
  const answer = name && (await callProcessorAgain(core, 'get_operation', ask));
  if (!answer) return noteTrouble(run, id, 'not asked');
  if (answer.result.case !== 'outcome') return;
  const settled = await settle(core, authorize, readAnswer(core, transaction, authorize, answer.result.value));
  if (settled?.change.event || settled?.change.begin) recovered.answers += 1;
}
