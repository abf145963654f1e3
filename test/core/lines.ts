import assert from 'node:assert/strict';
import { it } from 'mocha';
import { type Change, decide } from '../../core/decide.ts';
import type { Operation } from '../../core/operation.ts';
import type { LearnedOutcome } from '../../core/outcome.ts';
import type { Transaction, Trigger } from '../../core/transaction.ts';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { NOW } from './rows.ts';

// Tables of the rules as lines, `state x trigger -> outcome`, and what the core decides in the words of such a line.

/** What was learned; the tables name it by its trigger. */
export const SAID: Readonly<Record<Trigger, LearnedOutcome>> = {
  approved: { trigger: 'approved', amount: 100n },
  partly: { trigger: 'partly', amount: 70n },
  misfit: { trigger: 'misfit', amount: 150n },
  declined: { trigger: 'declined', refusal: { reason: Reason.CARD_EXPIRED, errorCode: '54', message: 'no' } },
  failed: {
    trigger: 'failed',
    refusal: { reason: Reason.PROVIDER_TECHNICAL_ERROR, errorCode: 'F', message: 'nothing' },
  },
  expired: { trigger: 'expired', refusal: { reason: Reason.TRANSACTION_EXPIRED, errorCode: 'E', message: 'ran out' } },
  pending: {
    trigger: 'pending',
    refusal: { reason: Reason.PENDING_FRAUDULENT_TRANSACTION, errorCode: '', message: '' },
  },
  unknown: { trigger: 'unknown' },
  buyer_action: { trigger: 'buyer_action', redirectUrl: 'https://page.example' },
  cancel_confirmed: { trigger: 'cancel_confirmed' },
  budget_over: { trigger: 'budget_over' },
  buyer_returned: { trigger: 'buyer_returned' },
  past_expiry: { trigger: 'past_expiry', expiresAt: NOW },
  unseen: { trigger: 'unseen' },
};
export const TRIGGERS = Object.keys(SAID) as Trigger[];
export const FINAL = ['authorized', 'capturing', 'voiding', 'captured', 'voided', 'expired'] as const;

/** Lines as pairs; `final` stands for its six states. A pair that is written twice is a mistake. */
export function pairs(lines: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of lines.trim().split('\n')) {
    const [left = '', right = ''] = line.split('->');
    const [states = '', triggers = ''] = left.split(' x ').map((side) => side.trim());
    const outcome = right
      .trim()
      .split(/ *\| */)
      .join(' | ');
    for (const state of states === 'final' ? FINAL : states.split(', '))
      for (const trigger of triggers.split(', ')) {
        assert.ok(!found.has(`${state} x ${trigger}`), `${state} x ${trigger} is written twice`);
        found.set(`${state} x ${trigger}`, outcome);
      }
  }
  return found;
}

/** Decides what follows for the last of these operations. */
export function hear(
  transaction: Transaction,
  operations: readonly Operation[],
  said: LearnedOutcome,
  override = false,
): Change {
  const target = operations.at(-1);
  assert.ok(target);
  return decide(transaction, operations, target, said, NOW, { buyerTimeoutMs: 3_600_000, override });
}

/** What becomes of the payment | of the operation | the event | what else. */
export function inWords(change: Change, before: Transaction, target: Operation): string {
  const { transaction, operation, begin, event, contradiction } = change;
  const state = transaction.state === before.state ? undefined : transaction.state;
  const cells = [
    [state, state && transaction.reason],
    operation.held
      ? ['held']
      : [operation.state === target.state ? undefined : operation.state, !transaction.reason && operation.reason],
    [event],
    [
      begin?.kind,
      begin?.kind === 'cancel' && begin.cause.reason,
      contradiction && 'contradiction',
      transaction.lapsed && !before.lapsed && 'lapsed',
    ],
  ];
  return cells.map((words) => words.filter(Boolean).join(' ') || '-').join(' | ');
}

/** A promise for each pair of states and triggers, all of which must be written. */
export function each(
  lines: string,
  states: readonly string[],
  check: (state: string, trigger: Trigger) => string,
): void {
  const written = pairs(lines);
  assert.deepEqual(
    [...written.keys()].sort(),
    states.flatMap((state) => TRIGGERS.map((it) => `${state} x ${it}`)).sort(),
  );
  for (const [pair, outcome] of written) {
    const [state = '', trigger = ''] = pair.split(' x ');
    it(`${pair} -> ${outcome}`, () => assert.equal(check(state, trigger as Trigger), outcome));
  }
}
