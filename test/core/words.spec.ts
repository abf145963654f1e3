import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { describe, it } from 'mocha';
import type { OperationKind } from '../../core/operation.ts';
import { type LearnedOutcome, notDone, readOutcome } from '../../core/outcome.ts';
import { legalReason } from '../../core/reason.ts';
import { type Outcome, OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { approved } from '../engine/outcomes.ts';
import { NOW, operation, payment } from './rows.ts';

// What the processor's words mean (docs/RULES.md, R8, R18, R20), read from the rules and from the Wix contract, section 11.

const MONEY = ['authorize', 'capture', 'void', 'refund'] as const;
type Words = NonNullable<Exclude<MessageInitShape<typeof OutcomeSchema>, Outcome>['kind']>;

/** Reads what was said of an operation of 100 EUR. */
function read(kind: OperationKind, said: Words, number?: string): LearnedOutcome {
  return readOutcome(payment('authorizing'), operation(kind, 'running'), create(OutcomeSchema, { kind: said }), number);
}

describe('R18 an approval', () => {
  const trigger = (kind: OperationKind, value: { amount?: bigint; currency?: string }) =>
    read(kind, { case: 'approved', value }).trigger;

  for (const kind of MONEY) {
    it(`of ${kind} without an amount is one of what was asked`, () => {
      const { trigger, amount } = read(kind, { case: 'approved', value: {} });
      assert.deepEqual({ trigger, amount }, { trigger: 'approved', amount: 100n });
    });

    it(`of ${kind} with more, with less than nothing, or in another currency fits nothing`, () =>
      assert.deepEqual(
        [{ amount: 101n }, { amount: -1n }, { currency: 'USD' }, { amount: 70n, currency: 'USD' }].map((value) =>
          trigger(kind, value),
        ),
        ['misfit', 'misfit', 'misfit', 'misfit'],
      ));

    it(`of ${kind} with less is ${kind === 'capture' ? 'an approval of that' : 'an approval of a part'}`, () =>
      assert.equal(trigger(kind, { amount: 99n, currency: 'EUR' }), kind === 'capture' ? 'approved' : 'partly'));
  }

  it('U3 of a part is one of a payment alone, where its merchant takes that, and of nothing never', () => {
    const of = (kind: 'authorize' | 'void' | 'refund', amount: bigint) =>
      readOutcome(payment('authorizing', { allowPartial: true }), operation(kind, 'running'), approved({ amount }))
        .trigger;
    assert.deepEqual(
      [of('authorize', 99n), of('authorize', 0n), of('authorize', 101n)],
      ['approved', 'partly', 'misfit'],
    );
    assert.deepEqual([of('void', 99n), of('refund', 99n)], ['partly', 'partly']);
  });

  it('of a capture of nothing is none', () => assert.equal(trigger('capture', { amount: 0n }), 'partly'));
});

describe('R18 a reason', () => {
  const ALL = Object.values(Reason).filter((code): code is Reason => typeof code === 'number' && code !== 0);
  const between = (from: number, to: number) => (code: number) => code >= from && code <= to;
  const isGeneral = between(1002, 1013);
  const isRefund = (code: number) => [3022, 3023, 3024, 3025, 3032, 3033].includes(code);
  const isPending = (code: number) => code === 5005 || code === 5009;
  const isDecline = (code: number) => between(3000, 5999)(code) && !isRefund(code) && !isPending(code);
  // The group of captures and voids is not known: what Wix tells of a payment that was captured, voided or expired, and amounts (U1).
  const isCommitted = (code: number) => [3001, 3031, 3035].includes(code);
  const legal = {
    connect: between(2000, 2999),
    authorize: isDecline,
    capture: isCommitted,
    void: isCommitted,
    refund: isRefund,
  };

  for (const [group, isLegal] of Object.entries(legal) as [keyof typeof legal, (code: number) => boolean][])
    it(`is told for ${group} where Wix knows it there, and else becomes ${group === 'refund' ? 1013 : 6000} with its number`, () => {
      for (const code of ALL) {
        const may = isGeneral(code) || isLegal(code) || code === 6000;
        const told = legalReason(group, code, 'OWN');
        const instead = { reason: group === 'refund' ? 1013 : 6000, errorCode: String(code) };
        assert.deepEqual(told, may ? { reason: code, errorCode: 'OWN' } : instead, `${code}`);
      }
    });

  it('that Wix does not list any more, or that nobody knows, is never told', () => {
    for (const code of [1, 999, 1000, 1001, 1008, 1011, 1014, 2003, 3005, 3038, 5004, 6001, 9999, -1])
      for (const kind of MONEY) assert.equal(legalReason(kind, code, '').errorCode, String(code));
  });

  it('that was not given is a general error with a code', () => {
    assert.deepEqual(legalReason('authorize', 0, ''), { reason: 6000, errorCode: 'UNSPECIFIED' });
    assert.deepEqual(legalReason('refund', 0, 'OWN'), { reason: 1013, errorCode: 'OWN' });
  });

  it('of a general error has a code and a text (Wix contract, 10)', () => {
    const { refusal } = read('authorize', { case: 'declined', value: { reason: Reason.GENERAL_ERROR } });
    assert.ok(refusal?.errorCode && refusal.message);
  });

  it('of a pending payment is 5005 for a review and 5009 for everything else', () => {
    const reason = (code: number) => read('authorize', { case: 'pending', value: { reason: code } }).refusal?.reason;
    assert.deepEqual([5005, 5009, 0, 3012].map(reason), [5005, 5009, 5009, 5009]);
  });
});

describe('R8 what certainly did not happen', () => {
  for (const kind of MONEY)
    it(`is ${kind === 'refund' ? 1013 : 1003} for ${kind}, whoever says so`, () => {
      const reason = kind === 'refund' ? 1013 : 1003;
      assert.equal(read(kind, { case: 'failed', value: {} }).refusal?.reason, reason);
      assert.equal(notDone(operation(kind, 'running'), 'DOOR', 'refused').refusal?.reason, reason);
    });

  it('R18 is said of one send alone where the processor did not say it', () => {
    assert.equal(notDone(operation('refund', 'running'), 'DOOR', '').unlessAsked, true);
    assert.equal(read('refund', { case: 'failed', value: {} }).unlessAsked, undefined);
  });
});

describe('an expiry', () => {
  it('is 3035, and for a refund, where Wix knows no such reason, 3022', () =>
    assert.deepEqual(
      MONEY.map((kind) => read(kind, { case: 'expired', value: {} }).refusal?.reason),
      [3035, 3035, 3035, 3022],
    ));
});

describe('an answer that says nothing', () => {
  const page = (url: string) => read('authorize', { case: 'buyerAction', value: { url } }).trigger;

  it('is unknown, never a decline', () => {
    for (const kind of MONEY) {
      assert.equal(readOutcome(payment('authorizing'), operation(kind, 'running'), undefined).trigger, 'unknown');
      assert.equal(read(kind, { case: undefined }).trigger, 'unknown');
      assert.equal(read(kind, { case: 'unknown', value: { message: 'declined' } }).trigger, 'unknown');
    }
  });

  it('is unknown if it sends the buyer to a page that Wix may not open', () => {
    const bad = [
      '',
      'page',
      '/page',
      'http://psp.example/',
      'javascript:alert(1)',
      `https://psp.example/${'x'.repeat(2000)}`,
    ];
    assert.deepEqual(new Set(bad.map(page)), new Set(['unknown']));
    assert.deepEqual(['https://psp.example/p', 'http://127.0.0.1:8080/p'].map(page), ['buyer_action', 'buyer_action']);
  });
});

describe('R20 free text of the processor', () => {
  const CARD = '4242424242424242';
  const declined = (errorCode: string, message: string) =>
    read('authorize', { case: 'declined', value: { reason: Reason.GENERAL_BANK_DECLINE, errorCode, message } }).refusal;

  it('holds no card number, however it is written', () => {
    for (const number of [CARD, '4242 4242 4242 4242', '4242-4242-4242-4242', '378282246310005', '4222222222222'])
      assert.deepEqual(declined(`E ${number}`, `Card ${number} was refused`), {
        reason: 3000,
        errorCode: 'E [card number]',
        message: 'Card [card number] was refused',
      });
  });

  it('keeps numbers that are no card', () =>
    assert.equal(
      declined('', 'Order 4242424242424241, call 0800 123 4567')?.message,
      'Order 4242424242424241, call 0800 123 4567',
    ));

  it('is cut to what Wix takes: 50 characters of code, 300 of text', () => {
    const refusal = declined('c'.repeat(51), 'm'.repeat(301));
    assert.deepEqual([refusal?.errorCode.length, refusal?.message.length], [50, 300]);
  });

  it('is clean in every kind of answer', () => {
    const value = { errorCode: CARD, message: CARD, url: 'https://psp.example/' };
    for (const kind of ['declined', 'failed', 'expired', 'pending', 'buyerAction', 'approved'] as const) {
      const said = read('authorize', { case: kind, value } as Words);
      assert.ok(!JSON.stringify(said, (_, it) => (typeof it === 'bigint' ? String(it) : it)).includes(CARD), kind);
    }
  });
});

describe('what came with an answer', () => {
  it('leaves a reference as it is, though one in ten long numbers looks like a card: the processor must know it again', () => {
    const said = read('authorize', { case: 'approved', value: { processorReference: '400000000000000002' } });
    assert.equal(said.processorReference, '400000000000000002');
  });

  it('is kept: references, times, and the digits of a card that is whole', () => {
    const at = timestampFromDate(NOW);
    const said = read('authorize', {
      case: 'approved',
      value: {
        processorReference: 'P',
        authorizationCode: 'A',
        networkTransactionId: 'N',
        acquirerReference: 'Q',
        processedAt: at,
        cardDetails: { scheme: 'visa', bin: '424242', lastFour: '4242' },
      },
    });
    const { processorReference, authorizationCode, networkTransactionId, acquirerReference, processedAt, card } = said;
    assert.deepEqual(
      [processorReference, authorizationCode, networkTransactionId, acquirerReference],
      ['P', 'A', 'N', 'Q'],
    );
    assert.deepEqual([processedAt, card], [NOW, { scheme: 'visa', bin: '424242', lastFour: '4242' }]);
    const half = read('authorize', {
      case: 'approved',
      value: { cardDetails: { scheme: 'visa', bin: CARD_IN_FULL, lastFour: '4242' } },
    });
    assert.equal(half.card, undefined);
  });

  it('R35 is kept of no card number that first six and last four would nearly tell', () => {
    const digits = { scheme: 'maestro', bin: '639000', lastFour: '0021' };
    for (const [number, card] of [
      ['639000000021', undefined],
      ['6390000000021', undefined],
      ['63900000000021', digits],
    ] as const) {
      const said = read('authorize', { case: 'approved', value: { cardDetails: digits } }, number);
      assert.deepEqual([said.card, said.lost], [card, undefined]);
    }
  });

  it('is kept of an expiry', () => {
    for (const kind of ['pending', 'buyerAction'] as const) {
      const value = { url: 'https://psp.example/', expiresAt: timestampFromDate(NOW) };
      assert.deepEqual(read('authorize', { case: kind, value } as Words).expiresAt, NOW);
    }
  });
});

const CARD_IN_FULL = '4242424242424242';
