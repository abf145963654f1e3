import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type Operation, reserved } from '../../core/operation.ts';
import { CAUSES, remaining, type Trigger } from '../../core/transaction.ts';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { hear, inWords, SAID, TRIGGERS } from './lines.ts';
import { NOW, operation, payment } from './rows.ts';

// What the tables of docs/RULES.md, section D, say only under a condition.

const OPEN = ['authorizing', 'awaiting_buyer', 'pending'] as const;
const LATER = new Date(NOW.getTime() + 60_000);
const authorize = (state: Operation['state'] = 'waiting', more: Partial<Operation> = {}) =>
  operation('authorize', state, { expiresAt: NOW, ...more });

describe('R16 while a cancel is open', () => {
  const { reason, errorCode, message } = CAUSES.left;
  const cancel = operation('cancel', 'running', { reason, errorCode, errorMessage: message });
  const closes: readonly Trigger[] = [
    ...(['approved', 'partly', 'misfit', 'declined', 'failed', 'expired', 'cancel_confirmed'] as const),
  ];
  for (const state of OPEN)
    for (const trigger of TRIGGERS)
      it(`${state} x ${trigger}: ${closes.includes(trigger) ? 'closes it' : 'leaves it open, and begins no other'}`, () => {
        const change = hear(payment(state), [cancel, authorize()], SAID[trigger]);
        assert.equal(change.closeCancel === true, closes.includes(trigger));
        assert.notEqual(change.begin?.kind, 'cancel');
      });

  for (const state of OPEN)
    it(`${state}: failed, ended and tombstone decline with its cause, and nothing else does`, () => {
      const reasonAfter = (trigger: Trigger) =>
        hear(payment(state), [cancel, authorize()], SAID[trigger]).transaction.reason;
      assert.deepEqual((['failed', 'cancel_confirmed', 'declined', 'expired', 'partly'] as const).map(reasonAfter), [
        Reason.BUYER_CANCELED,
        Reason.BUYER_CANCELED,
        Reason.CARD_EXPIRED,
        Reason.TRANSACTION_EXPIRED,
        3012,
      ]);
    });

  it('that was closed, another may begin', () => {
    const closed = operation('cancel', 'closed');
    assert.equal(hear(payment('pending'), [closed, authorize()], SAID.unseen).begin?.kind, 'cancel');
  });
});

describe('R16 the time of a buyer or a pending payment', () => {
  for (const state of ['awaiting_buyer', 'pending'] as const) {
    it(`${state}: is not over before it is over, whoever asks`, () => {
      for (const expiresAt of [null, LATER])
        assert.deepEqual(
          hear(payment(state), [authorize('waiting', { expiresAt })], {
            ...SAID.past_expiry,
            ...(expiresAt && { expiresAt }),
          }),
          { transaction: {}, operation: {} },
        );
    });

    it(`${state}: is not over for one who asked about another end`, () => {
      const said = { ...SAID.past_expiry, expiresAt: new Date(NOW.getTime() - 1) };
      assert.equal(hear(payment(state), [authorize('waiting', { expiresAt: NOW })], said).begin, undefined);
      assert.ok(hear(payment(state), [authorize('waiting', { expiresAt: NOW })], SAID.past_expiry).begin);
    });

    it(`${state}: ends for a pending payment when the processor says, and never if it does not say`, () => {
      const end = (expiresAt?: Date) =>
        hear(payment(state), [authorize()], { ...SAID.pending, ...(expiresAt && { expiresAt }) }).operation.expiresAt;
      assert.deepEqual([end(LATER), end()], [LATER, null]);
    });
  }

  it('is what the core gives where a page came without one, counted from the first time', () => {
    const end = (state: 'authorizing' | 'awaiting_buyer', expiresAt: Date | null, named?: Date) =>
      hear(payment(state), [authorize('waiting', { expiresAt })], {
        ...SAID.buyer_action,
        ...(named && { expiresAt: named }),
      }).operation.expiresAt;
    const anHour = new Date(NOW.getTime() + 3_600_000);
    assert.deepEqual([end('authorizing', null), end('awaiting_buyer', LATER)], [anHour, LATER]);
    assert.deepEqual([end('authorizing', null, LATER), end('awaiting_buyer', anHour, LATER)], [LATER, LATER]);
  });

  it('ends with 3030 where the processor still waits for the buyer, else with 3035', () => {
    const cause = (awaitedBuyer: boolean, redirectUrl?: string) => {
      const said = { ...SAID.past_expiry, ...(redirectUrl && { redirectUrl }) };
      const { begin } = hear(payment('pending', { awaitedBuyer }), [authorize()], said);
      return begin?.kind === 'cancel' && begin.cause.reason;
    };
    assert.deepEqual([cause(true, 'https://page.example'), cause(true), cause(false)], [3030, 3035, 3035]);
  });
});

describe('a buyer action', () => {
  const words = (state: (typeof OPEN)[number], more: Parameters<typeof payment>[1]) => {
    const before = payment(state, more);
    const target = authorize('running');
    return inWords(hear(before, [target], SAID.buyer_action), before, target);
  };

  it('begins a cancel 3004 where no buyer is present', () =>
    assert.equal(words('authorizing', { buyerAbsent: true }), '- | unknown | - | cancel 3004'));

  it('stays pending where the payment awaited its buyer before', () =>
    assert.equal(words('pending', { awaitedBuyer: true }), '- | waiting | - | -'));
});

describe('an authorization', () => {
  for (const state of OPEN)
    it(`only, ${state} x approved -> authorized, and nothing captured`, () => {
      const { transaction } = hear(payment(state, { authorizeOnly: true }), [authorize()], SAID.approved);
      assert.deepEqual(
        [transaction.state, transaction.authorizedAmount, transaction.capturedAmount],
        ['authorized', 100n, 0n],
      );
    });

  it('that lapsed leaves its payment expired when a capture or void is refused', () => {
    for (const [kind, state] of [
      ['capture', 'capturing'],
      ['void', 'voiding'],
    ] as const)
      for (const trigger of ['declined', 'failed', 'cancel_confirmed'] as const)
        assert.equal(
          hear(payment(state, { lapsed: true }), [operation(kind, 'unknown')], SAID[trigger]).transaction.state,
          'expired',
        );
  });

  it('that lapsed is captured or voided all the same, if the processor did it', () => {
    const later = (kind: 'capture' | 'void', state: 'capturing' | 'voiding') =>
      hear(payment(state, { lapsed: true }), [operation(kind, 'unknown')], SAID.approved).transaction.state;
    assert.deepEqual([later('capture', 'capturing'), later('void', 'voiding')], ['captured', 'voided']);
  });
});

describe('R18 what is held', () => {
  const final: readonly Trigger[] = [
    'approved',
    'partly',
    'misfit',
    'declined',
    'failed',
    'expired',
    'cancel_confirmed',
  ];
  const held = (kind: Operation['kind']) => operation(kind, 'unknown', { held: true, approvalReceived: true });
  const kinds = [
    ['authorize', 'pending'],
    ['capture', 'capturing'],
    ['void', 'voiding'],
    ['refund', 'captured'],
  ] as const;
  for (const [kind, state] of kinds)
    for (const trigger of TRIGGERS)
      it(`${kind} x ${trigger} -> ${final.includes(trigger) ? 'contradiction' : 'nothing'}`, () => {
        const {
          transaction,
          operation: after,
          begin,
          contradiction,
        } = hear(payment(state), [held(kind)], SAID[trigger]);
        assert.deepEqual({ transaction, after, begin }, { transaction: {}, after: {}, begin: undefined });
        assert.equal(contradiction === true, final.includes(trigger));
      });

  for (const [kind, state] of kinds)
    it(`R24 ${kind} is settled by an operator, either way`, () => {
      for (const trigger of ['approved', 'declined', 'failed', 'expired'] as const) {
        const change = hear(payment(state), [held(kind)], SAID[trigger], true);
        assert.equal(change.operation.held, false);
        const isReversed = kind === 'authorize' && trigger !== 'approved';
        assert.equal(change.begin?.kind, isReversed ? 'reversal' : undefined);
      }
    });
});

describe('R17 a reversal', () => {
  const reversal = (state: Operation['state'] = 'running') => operation('reversal', state);
  for (const trigger of TRIGGERS)
    it(`x ${trigger} -> ${['approved', 'partly', 'misfit'].includes(trigger) ? 'reversed' : 'alert, again'}`, () => {
      const { operation: after, event, alert, transaction } = hear(payment('declined'), [reversal()], SAID[trigger]);
      const isReversed = ['approved', 'partly', 'misfit'].includes(trigger);
      assert.deepEqual(
        [after.state, event],
        isReversed ? ['approved', 'transaction_reversed'] : ['unknown', undefined],
      );
      assert.deepEqual([alert, transaction], [isReversed ? undefined : 'reversal_not_confirmed', {}]);
    });

  it('begins once for each authorize', () => {
    for (const state of ['running', 'unknown', 'approved'] as const)
      assert.equal(hear(payment('declined'), [reversal(state), authorize('declined')], SAID.approved).begin, undefined);
  });

  it('R24 begins when an operator declines what was ever approved, and not otherwise', () => {
    const begun = (approvalReceived: boolean) =>
      hear(payment('pending'), [authorize('unknown', { approvalReceived })], SAID.declined, true).begin?.kind;
    assert.deepEqual([begun(true), begun(false)], ['reversal', undefined]);
  });
});

describe('R18 a first send that did nothing', () => {
  const said = { ...SAID.failed, unlessAsked: true };

  it('means failed if reconciliation has not asked', () =>
    assert.equal(hear(payment('captured'), [operation('refund', 'running')], said).operation.state, 'failed'));

  it('means nothing once it has, for it may have sent again', () => {
    const later = (state: Operation['state']) =>
      hear(payment('captured'), [operation('refund', state, { asked: true })], said);
    assert.equal(later('running').operation.state, 'unknown');
    assert.deepEqual(later('approved'), { transaction: {}, operation: {} });
  });
});

describe('R22 amounts', () => {
  it('of refunds that run or are unknown are reserved, and those that were made are gone', () => {
    const refund = (state: Operation['state'], amount: bigint) => operation('refund', state, { amount });
    const all = [
      refund('running', 1n),
      refund('unknown', 2n),
      refund('approved', 4n),
      refund('declined', 8n),
      refund('failed', 16n),
    ];
    assert.equal(reserved([...all, operation('capture', 'unknown')]), 3n);
    assert.equal(remaining(payment('captured', { refundedAmount: 4n }), reserved(all)), 93n);
  });

  it('of a refund count once it was made, and not any more when it came back', () => {
    const made = hear(payment('captured', { refundedAmount: 20n }), [operation('refund', 'unknown')], SAID.approved);
    assert.equal(made.transaction.refundedAmount, 120n);
    const back = hear(payment('captured', { refundedAmount: 100n }), [operation('refund', 'approved')], SAID.declined);
    assert.equal(back.transaction.refundedAmount, 0n);
  });

  it('R18 a capture books what was captured', () => {
    const { transaction, operation: after } = hear(payment('capturing'), [operation('capture', 'running')], {
      trigger: 'approved',
      amount: 60n,
    });
    assert.deepEqual([transaction.capturedAmount, after.approvedAmount], [60n, 60n]);
  });

  it('another amount for what was approved is a contradiction', () => {
    for (const [kind, state] of [
      ['authorize', 'authorized'],
      ['capture', 'captured'],
      ['refund', 'captured'],
    ] as const)
      assert.equal(
        hear(payment(state), [operation(kind, 'approved')], { trigger: 'approved', amount: 60n }).contradiction,
        true,
      );
  });
});
