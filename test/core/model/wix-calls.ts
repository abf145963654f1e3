import { operationId, transactionId } from '../../../core/ids.ts';
import type { Operation } from '../../../core/operation.ts';
import type { NewOperation } from '../../../core/store/operations.ts';
import type { Refusal, Transaction } from '../../../core/transaction.ts';
import { Reason } from '../../../proto/gen/payments/v1/reason_pb.js';
import { claim, insertOperation, insertPayment, publish, updatePayment } from './ledger.ts';
import { reconcileOperation } from './reconcile.ts';
import { AUTHORIZE_ID, EXTERNAL_ID, perform, settle } from './settle.ts';
import { type Asked, toldEnd } from './wix.ts';
import { ASKED, type Flow, inTx, RUNNING_MS, spawn, startBudget, type World } from './world.ts';

// The calls of Wix, as core/create-transaction.ts, core/capture-or-void.ts and core/refund-transaction.ts have them.

export function* create(world: World, core: number): Flow {
  const { ledger, wix } = world;
  const knew = toldEnd(wix);
  const isOver = startBudget(world);
  yield;
  if (!ledger.payment) {
    yield;
    if (isOver()) return;
    const authorize = recordPayment(world);
    if (authorize) yield* perform(world, core, isOver, authorize);
  }
  yield () => ledger.payment?.state !== 'authorizing' || isOver();
  if (ledger.payment?.state === 'authorizing') yield* settle(world, AUTHORIZE_ID, { trigger: 'budget_over' });
  const said = answerOf(ledger.payment);
  yield;
  wix.answers.push({ to: 'create', said, knew });
  world.trace(`  Wix hears ${said}`);
}

function answerOf(payment: Transaction | undefined): string {
  switch (payment?.state) {
    case undefined:
    case 'authorizing':
      throw new Error('a create was answered without a word to say (R1)');
    case 'awaiting_buyer':
      return 'redirect';
    case 'pending':
    case 'declined':
      return `${payment.state} ${payment.reason}`;
    default:
      return 'approved';
  }
}

/** tx 1 of a create. Undefined: somebody else was first. */
function recordPayment({ ledger, now, authorizeOnly, buyerAbsent, allowPartial }: World): Operation | undefined {
  const id = transactionId(EXTERNAL_ID);
  const isNew = insertPayment(ledger, now, {
    id,
    externalId: EXTERNAL_ID,
    externalMerchantId: 'merchant',
    accountId: 'account',
    mode: 'sandbox',
    currency: 'EUR',
    requestedAmount: ASKED,
    paymentMethod: 'creditCard',
    authorizeOnly,
    buyerAbsent,
    requestedLastFour: null,
    state: 'authorizing',
    authorizedAmount: 0n,
    capturedAmount: 0n,
    refundedAmount: 0n,
    reason: null,
    errorCode: null,
    errorMessage: null,
    idWithheld: false,
    lapsed: false,
    awaitedBuyer: false,
    setUpAsked: false,
    allowPartial,
    redirectUrl: null,
    cardScheme: null,
    cardBin: null,
    cardLastFour: null,
    credentialsOnFile: null,
    credentialsKeyId: null,
    sequence: 0n,
  });
  if (!isNew) return undefined;
  const row = { ...fields('authorize', id, EXTERNAL_ID, 1, ASKED), id: AUTHORIZE_ID, state: 'running' } as const;
  return insertOperation(ledger, now, row);
}

function fields(kind: Operation['kind'], paymentId: string, key: string, attempt: number, amount: bigint | null) {
  return {
    id: operationId(kind, EXTERNAL_ID, 'wix', key, attempt),
    transactionId: paymentId,
    kind,
    caller: 'wix',
    key,
    callId: null,
    attempt,
    amount,
    approvedAmount: null,
    reason: null,
    errorCode: null,
    errorMessage: null,
    why: '',
    dueInMs: RUNNING_MS,
  } as const;
}

/** `operation`: its row answers; `runs`: it is to be sent first. */
type Received = 'wait' | 'refused' | { readonly operation: Operation; readonly runs: boolean };

export function* captureOrVoid(world: World, core: number, kind: 'capture' | 'void', asked: Asked): Flow {
  const isOver = startBudget(world);
  yield* follow(world, core, asked, isOver, () => receiveCaptureOrVoid(world, kind, asked.key, asked.amount ?? ASKED));
}

export function* refund(world: World, core: number, asked: Asked): Flow {
  const { key, amount } = asked;
  const isOver = startBudget(world);
  yield;
  const known = world.ledger.operations.find((operation) => operation.kind === 'refund' && operation.key === key);
  if (known?.state === 'unknown' && !known.held) {
    const claimed = claim(world.ledger, known.id, world.now, RUNNING_MS);
    const work = spawn(world, core, `ask about ${key}`, reconcileOperation(world, claimed));
    yield () => work.done || isOver();
  }
  yield* follow(world, core, asked, isOver, () => receiveRefund(world, key, amount));
}

function* follow(world: World, core: number, asked: Asked, isOver: () => boolean, receive: () => Received): Flow {
  const { wix, ledger } = world;
  const knew = toldEnd(wix);
  const { key: to, sends: send } = asked;
  let received: Received = 'wait';
  while (received === 'wait') {
    yield;
    if (isOver()) return;
    received = yield* inTx(world, () => undefined, receive);
    const { payment } = ledger;
    if (received === 'wait') yield () => isOver() || ledger.payment !== payment;
  }
  if (received !== 'refused') {
    const { operation, runs } = received;
    if (runs) yield* perform(world, core, isOver, operation);
    const row = () => ledger.operations.find(({ id }) => id === operation.id);
    yield () => row()?.state !== 'running' || isOver();
    const state = row()?.state;
    if (state === 'running' || state === 'unknown') return;
    received = state === 'approved' ? received : 'refused';
  }
  yield;
  if (asked.kind !== 'refund' && asked.sends !== send) return;
  wix.answers.push({ to, said: received === 'refused' ? 'refused' : 'done', knew });
}

function receiveCaptureOrVoid(world: World, kind: 'capture' | 'void', callId: string, amount: bigint): Received {
  const { ledger, now, rules } = world;
  const { payment, operations } = ledger;
  if (!payment) return 'refused';
  const known = operations.find((operation) => operation.callId === callId);
  if (known) return { operation: known, runs: false };
  const attempt = operations.filter((operation) => operation.kind === kind).length + 1;
  const row = { ...fields(kind, payment.id, EXTERNAL_ID, attempt, amount), callId };
  switch (rules.reception(kind, payment.state)) {
    case 'run': {
      const wrong = rules.wrongAmount(kind, amount, payment.authorizedAmount, true);
      if (wrong) return refuse(world, payment, row, wrong);
      return record(world, payment, { state: kind === 'capture' ? 'capturing' : 'voiding' }, row);
    }
    case 'wait':
      return 'wait';
    case 'expired':
      return refuse(world, payment, row, EXPIRED);
    case 'void_expired': {
      const operation = insertOperation(ledger, now, { ...row, state: 'approved', approvedAmount: amount });
      const sequence = payment.sequence + 1n;
      const voided = updatePayment(ledger, now, { ...payment, state: 'voided', sequence }, payment.state);
      publish(ledger, 'void_succeeded', voided, operation);
      return { operation, runs: false };
    }
    default:
      return 'refused';
  }
}

const EXPIRED: Refusal = { reason: Reason.TRANSACTION_EXPIRED, errorCode: 'AUTH_EXPIRED', message: 'expired' };
const NOT_ALLOWED: Refusal = { reason: Reason.REFUND_NOT_ALLOWED, errorCode: 'NO', message: 'not allowed' };

function receiveRefund(world: World, key: string, asked: bigint | undefined): Received {
  const { rules, ledger } = world;
  const { payment, operations } = ledger;
  if (!payment) return 'refused';
  const known = operations.find((operation) => operation.kind === 'refund' && operation.key === key);
  if (known) return { operation: known, runs: false };
  const received = rules.reception('refund', payment.state);
  if (received === 'wait') return 'wait';
  const row = (amount: bigint | undefined) => fields('refund', payment.id, key, 1, amount ?? null);
  if (received !== 'balance') return refuse(world, payment, row(asked), NOT_ALLOWED);
  const left = rules.remaining(payment, rules.reserved(operations));
  const amount = asked ?? left;
  const isOneUnknown = operations.some(({ kind, state }) => kind === 'refund' && state === 'unknown');
  if (isOneUnknown || amount <= 0n || amount > left) return refuse(world, payment, row(asked), NOT_ALLOWED);
  return record(world, payment, {}, row(amount));
}

type Fields = Omit<NewOperation, 'state'>;

function record({ ledger, now }: World, before: Transaction, patch: Partial<Transaction>, row: Fields): Received {
  if (patch.state) updatePayment(ledger, now, { ...before, ...patch }, before.state);
  return { operation: insertOperation(ledger, now, { ...row, state: 'running' }), runs: true };
}

/** A refusal with its row and, where an amount is known, its event. */
function refuse({ ledger, now }: World, before: Transaction, row: Fields, refusal: Refusal): Received {
  const { reason, errorCode, message: errorMessage } = refusal;
  const operation = insertOperation(ledger, now, { ...row, state: 'declined', reason, errorCode, errorMessage });
  if (operation.amount === null) return { operation, runs: false };
  const after = updatePayment(ledger, now, { ...before, sequence: before.sequence + 1n }, before.state);
  publish(
    ledger,
    row.kind === 'refund' ? 'refund_failed' : `${row.kind as 'capture' | 'void'}_failed`,
    after,
    operation,
  );
  return { operation, runs: false };
}
