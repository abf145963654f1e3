import assert from 'node:assert/strict';
import fc from 'fast-check';
import { readFields } from '../../core/fields.ts';
import { ownCard } from '../../core/own-card.ts';
import { anyCardNumber, digitsAlone, quoting } from '../support/card-shapes.ts';
import { payment } from './rows.ts';

// What is known of the payment's own card finds it in whatever shape it is quoted.

const quoted = anyCardNumber.chain((number) => fc.tuple(fc.constant(number), quoting(number)));
const ofCard = (number: string) => ({
  cardBin: number.slice(0, 6),
  cardLastFour: number.slice(-4),
  requestedLastFour: number.slice(-4),
});
const ofDevice = (number: string) => ({ cardBin: null, cardLastFour: null, requestedLastFour: number.slice(-4) });

describe('R20 the card that pays', () => {
  const KNOWN = [
    ['its number, while that is in memory', (number: string) => ownCard(payment('authorizing'), number)],
    ['its first six and last four', (number: string) => ownCard(payment('authorizing', ofCard(number)))],
    ["the last four of a wallet's device", (number: string) => ownCard(payment('authorizing', ofDevice(number)))],
    [
      'the digits of the card behind a wallet, from the answer itself',
      (number: string) => ownCard(payment('authorizing'), '', { bin: number.slice(0, 8), lastFour: number.slice(-4) }),
    ],
  ] as const;
  for (const [what, knowing] of KNOWN)
    it(`is found by ${what}, in whatever shape`, () =>
      fc.assert(
        fc.property(quoted, ([number, text]) => {
          const fields = readFields(knowing(number));
          assert.ok(!digitsAlone(fields.reference('reference', text, 200)).includes(number));
          assert.ok(!digitsAlone(fields.text('text', text, 300)).includes(number));
          assert.deepEqual(fields.lost, ['reference', 'text']);
          assert.ok(fields.quotesCard(`https://psp.example/?pan=${encodeURIComponent(text)}`));
          assert.ok(fields.quotesCard(encodeURIComponent(encodeURIComponent(text))));
        }),
        { numRuns: 1000 },
      ));

  it('takes its security code and expiry along, in free text', () => {
    const fields = readFields(ownCard(payment('authorizing'), '5105105105105100'));
    const told = fields.text('message', 'Card 5105 1051 0510 5100, cvv 737, valid to 09/31', 300);
    assert.equal(told, 'Card [card number], cvv [digits], valid to [digits]');
  });

  it('is no other number: a reference is kept as it is', () =>
    fc.assert(
      fc.property(anyCardNumber, anyCardNumber, (own, other) => {
        fc.pre(!own.endsWith(other.slice(-4)) && !other.includes(own.slice(-4)));
        for (const known of [ofCard(own), ofDevice(own)]) {
          const fields = readFields(ownCard(payment('authorizing', known), known.cardBin ? own : ''));
          assert.equal(fields.reference('reference', other, 200), other);
          assert.deepEqual(fields.lost, []);
        }
      }),
    ));
});
