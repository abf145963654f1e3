import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { afterNotFound, gapMs, type Operation } from '../../core/operation.ts';
import { type Reception, reception, type Transaction } from '../../core/transaction.ts';
import { each, FINAL, hear, inWords, pairs, SAID } from './lines.ts';
import { NOW, operation, payment } from './rows.ts';

// The tables of docs/RULES.md, sections C and D, written down a second time and read by another eye: what becomes of the payment | of
// the operation | the event | what else.

const AUTHORIZE = `
  authorizing    x approved                   -> captured       | approved | transaction_approved       | -
  authorizing    x partly                     -> declined 3012  | declined | transaction_declined       | reversal
  authorizing    x misfit                     -> pending 5009   | held     | transaction_pending        | -
  authorizing    x declined                   -> declined 3013  | declined | transaction_declined       | -
  authorizing    x failed, cancel_confirmed   -> declined 1003  | failed   | transaction_declined       | -
  authorizing    x expired                    -> declined 3035  | declined | transaction_declined       | -
  authorizing    x pending                    -> pending 5005   | waiting  | transaction_pending        | -
  authorizing    x unknown                    -> pending 5009   | unknown  | transaction_pending        | -
  authorizing    x buyer_action               -> awaiting_buyer | waiting  | transaction_awaiting_buyer | -
  authorizing    x budget_over                -> pending 5009   | -        | transaction_pending        | -
  authorizing    x buyer_returned, past_expiry -> -             | -        | -                          | -
  authorizing    x unseen                     -> -              | -        | -                          | cancel 1003
  awaiting_buyer x approved                   -> captured       | approved | transaction_approved       | -
  awaiting_buyer x partly                     -> declined 3012  | declined | transaction_declined       | reversal
  awaiting_buyer x misfit                     -> pending 5009   | held     | transaction_pending        | -
  awaiting_buyer x declined                   -> declined 3013  | declined | transaction_declined       | -
  awaiting_buyer x failed, cancel_confirmed   -> declined 1003  | failed   | transaction_declined       | -
  awaiting_buyer x expired                    -> declined 3035  | declined | transaction_declined       | -
  awaiting_buyer x pending                    -> pending 5005   | -        | transaction_pending        | -
  awaiting_buyer x buyer_returned             -> pending 5009   | -        | transaction_pending        | -
  awaiting_buyer x unknown, buyer_action, budget_over -> -      | -        | -                          | -
  awaiting_buyer x past_expiry                -> -              | -        | -                          | cancel 3030
  awaiting_buyer x unseen                     -> -              | -        | -                          | cancel 1003
  pending        x approved                   -> captured       | approved | transaction_approved       | -
  pending        x partly                     -> declined 3012  | declined | transaction_declined       | reversal
  pending        x misfit                     -> -              | held     | -                          | -
  pending        x declined                   -> declined 3013  | declined | transaction_declined       | -
  pending        x failed, cancel_confirmed   -> declined 1003  | failed   | transaction_declined       | -
  pending        x expired                    -> declined 3035  | declined | transaction_declined       | -
  pending        x pending, unknown, budget_over, buyer_returned -> - | -  | -                          | -
  pending        x buyer_action               -> -              | unknown  | -                          | cancel 3004
  pending        x past_expiry                -> -              | -        | -                          | cancel 3035
  pending        x unseen                     -> -              | -        | -                          | cancel 1003
  final          x approved                   -> -              | -        | -                          | -
  final          x partly, misfit, declined, failed, cancel_confirmed -> - | - | contradiction_reported | contradiction
  authorized     x expired                    -> expired        | -        | transaction_expired        | lapsed
  capturing, voiding x expired                -> -              | -        | -                          | lapsed
  captured, voided, expired x expired         -> -              | -        | -                          | -
  final          x pending, unknown, buyer_action, budget_over, buyer_returned, past_expiry, unseen -> - | - | - | -
  declined       x approved, partly, misfit   -> -              | -        | -                          | reversal
  declined       x declined, failed, expired, pending, unknown, buyer_action, cancel_confirmed -> - | - | -     | -
  declined       x budget_over, buyer_returned, past_expiry, unseen -> -    | -  | -                    | -`;

const FOLLOW_UPS = `
  capture        x approved                   -> captured       | approved | capture_succeeded | -
  void           x approved                   -> voided         | approved | void_succeeded    | -
  refund         x approved                   -> -              | approved | refund_succeeded  | -
  capture        x declined                   -> authorized     | declined 3013 | capture_failed | -
  void           x declined                   -> authorized     | declined 3013 | void_failed  | -
  refund         x declined                   -> -              | declined 3013 | refund_failed | -
  capture        x failed, cancel_confirmed   -> authorized     | failed 1003 | capture_failed | -
  void           x failed, cancel_confirmed   -> authorized     | failed 1003 | void_failed    | -
  refund         x failed                     -> -              | failed 1003 | refund_failed  | -
  refund         x cancel_confirmed           -> -              | failed 1013 | refund_failed  | -
  capture        x expired                    -> expired        | declined 3035 | capture_failed | lapsed
  void           x expired                    -> expired        | declined 3035 | void_failed  | lapsed
  refund         x expired                    -> -              | declined 3035 | refund_failed | -
  capture, void, refund x partly, misfit      -> -              | held     | -                 | -
  capture, void, refund x pending, unknown, buyer_action, unseen -> - | unknown | -            | -
  capture, void, refund x budget_over, buyer_returned, past_expiry -> - | -  | -               | -`;

const FINISHED = `
  approved       x approved                   -> - | -      | -               | -
  approved       x partly, misfit, declined, failed, expired, cancel_confirmed -> - | - | contradiction_reported | contradiction
  approved       x pending, unknown, buyer_action, budget_over, buyer_returned, past_expiry, unseen -> - | - | - | -
  refused        x approved, partly, misfit   -> - | -      | contradiction_reported | contradiction
  refused        x declined, failed, expired, cancel_confirmed, pending, unknown, buyer_action -> - | - | -   | -
  refused        x budget_over, buyer_returned, past_expiry, unseen -> - | -  | -                             | -`;

const WORDS: Readonly<Record<Reception, string>> = {
  run: 'runs',
  wait: 'wait',
  too_early: '1006',
  already_captured: '3031 ALREADY_CAPTURED',
  already_voided: '3031 ALREADY_VOIDED',
  expired: '3035 + event',
  void_expired: 'voided + event',
  balance: 'R22',
  not_captured: '3022 + event',
  never_captured: '3022',
};
const HEARD = `
  capture x authorizing, awaiting_buyer, pending, declined -> 1006
  capture x authorized                  -> runs
  capture x capturing, voiding          -> wait
  capture x captured                    -> 3031 ALREADY_CAPTURED
  capture x voided                      -> 3031 ALREADY_VOIDED
  capture x expired                     -> 3035 + event
  void    x authorizing, awaiting_buyer, pending, declined -> 1006
  void    x authorized                  -> runs
  void    x capturing, voiding          -> wait
  void    x captured                    -> 3031 ALREADY_CAPTURED
  void    x voided                      -> 3031 ALREADY_VOIDED
  void    x expired                     -> voided + event
  refund  x authorizing, awaiting_buyer, pending -> 3022 + event
  refund  x authorized, voiding, voided, expired -> 3022 + event
  refund  x capturing                   -> wait
  refund  x captured                    -> R22
  refund  x declined                    -> 3022`;

describe('an authorize', () => {
  const STATES: Partial<Record<Transaction['state'], Operation['state']>> = {
    authorizing: 'running',
    awaiting_buyer: 'waiting',
    pending: 'waiting',
    declined: 'declined',
  };
  each(AUTHORIZE, ['authorizing', 'awaiting_buyer', 'pending', 'declined', ...FINAL], (state, trigger) => {
    const before = payment(state as Transaction['state']);
    const target = operation('authorize', STATES[before.state] ?? 'approved', { expiresAt: NOW });
    return inWords(hear(before, [target], SAID[trigger]), before, target);
  });
});

const DURING = { capture: 'capturing', void: 'voiding', refund: 'captured' } as const;
const KINDS = ['capture', 'void', 'refund'] as const;

describe('a capture, void or refund that is open', () => {
  each(FOLLOW_UPS, KINDS, (state, trigger) => {
    const kind = state as (typeof KINDS)[number];
    const before = payment(DURING[kind]);
    const target = operation(kind, 'running');
    return inWords(hear(before, [target], SAID[trigger]), before, target);
  });
});

describe('a capture or void that is finished', () => {
  for (const [kind, whole] of [
    ['capture', 'captured'],
    ['void', 'voided'],
  ] as const)
    each(FINISHED, ['approved', 'refused'], (state, trigger) => {
      const before = payment(state === 'approved' ? whole : 'authorized');
      const target = operation(kind, state === 'approved' ? 'approved' : 'failed');
      return inWords(hear(before, [target], SAID[trigger]), before, target);
    });
});

describe('a refund that is finished', () => {
  // R23: one that fails after its success frees the balance.
  const lines = FINISHED.replace('misfit, declined, failed, expired', 'misfit, expired').concat(`
  approved x declined -> - | failed 3013 | refund_returned | -
  approved x failed   -> - | failed 1003 | refund_returned | -`);
  each(lines, ['approved', 'refused'], (state, trigger) => {
    const before = payment('captured', { refundedAmount: state === 'approved' ? 100n : 0n });
    const target = operation('refund', state === 'approved' ? 'approved' : 'declined');
    return inWords(hear(before, [target], SAID[trigger]), before, target);
  });
});

describe('a call of Wix', () => {
  const written = pairs(HEARD);
  it('is decided in every state', () => assert.equal(written.size, 30));
  for (const [pair, words] of written) {
    const [call, state] = pair.split(' x ') as [(typeof KINDS)[number], Transaction['state']];
    it(`${pair} -> ${words}`, () => assert.equal(WORDS[reception(call, state)], words));
  }
});

describe('R15 what the processor does not know', () => {
  const MINUTE = 60_000;
  const DAY = 24 * 60 * MINUTE;
  const ages = [MINUTE, 14 * MINUTE, 15 * MINUTE, 179 * DAY, 181 * DAY];
  for (const [kind, ...reconciliations] of [
    ['authorize', 'cancel', 'cancel', 'cancel', 'cancel', 'alert'],
    ['capture', 'resend', 'resend', 'end', 'end', 'alert'],
    ['void', 'resend', 'resend', 'end', 'end', 'alert'],
    ['refund', 'resend', 'resend', 'end', 'end', 'alert'],
  ] as const)
    it(`${kind}: ${reconciliations.join(', ')}`, () =>
      assert.deepEqual(
        ages.map((age) => afterNotFound(operation(kind, 'unknown'), new Date(NOW.getTime() + age))),
        reconciliations,
      ));

  it('is remembered from its last change, not from its beginning', () => {
    const changed = operation('refund', 'unknown', { createdAt: new Date(NOW.getTime() - 181 * DAY) });
    assert.equal(afterNotFound(changed, NOW), 'end');
  });

  it('is asked for at gaps that widen up to an hour', () => {
    const gaps = [1, 2, 3, 4, 5, 6, 7, 40].map((asks) => gapMs(asks, 30_000) / MINUTE);
    assert.deepEqual(gaps, [1, 2, 4, 8, 16, 32, 60, 60]);
  });
});
