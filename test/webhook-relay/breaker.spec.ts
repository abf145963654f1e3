import assert from 'node:assert/strict';
import { afterAttempt, type Breaker, closedBreaker, type Outcome, shareOf } from '../../webhook-relay/breaker.ts';

// + is a success and - a refusal, both of the merchant x. A small letter is a payment of the merchant of that name that gets no answer; a
// capital one a payment of the merchant y that gets none, a digit one of y that gets no token.
function after(attempts: string, breaker: Breaker = closedBreaker(8)): string {
  for (const transactionId of attempts) {
    const merchant = /[+-]/.test(transactionId) ? 'x' : /[a-z]/.test(transactionId) ? transactionId : 'y';
    const outcomes: Record<string, Outcome> = { '+': 'delivered', '-': 'refused' };
    const outcome = outcomes[transactionId] ?? (/\d/.test(transactionId) ? 'no_token' : 'no_answer');
    breaker = afterAttempt(breaker, { transactionId, merchant, outcome }, 8);
  }
  return `${breaker.open ? 'open' : 'closed'} ${breaker.slots}`;
}

describe('the breaker', () => {
  const cases: [string, string, string][] = [
    ['is closed with every slot at first', '', 'closed 8'],
    ['R29 stays closed while fewer than ten payments fail', 'abcdefghi', 'closed 8'],
    ['R29 opens with one slot when ten payments failed', 'abcdefghij', 'open 1'],
    ['R29 stays closed when one payment fails again and again', 'aaaaaaaaaaaaaaaaaaaa', 'closed 8'],
    ['R29 counts anew after a success', 'abcdefghi+abcdefghi', 'closed 8'],
    ['R29 counts anew after an answer about an event', 'abcdefghi-abcdefghi', 'closed 8'],
    ['R29 stays closed while Wix refuses events', '--------------------', 'closed 8'],
    ['R29 keeps its slots when Wix refuses an event', 'abcdefghij++--', 'closed 2'],
    ['R29 opens when no merchant but one has ever been tried', 'ABCDEFGHIJ', 'open 1'],
    ['R29 stays closed while one merchant fails and another was answered last', '+ABCDEFGHIJKLMNOP', 'closed 8'],
    ['R29 opens when a second merchant fails too', '+ABCDEFGHIJKa', 'open 1'],
    ['R29 opens when ten payments got no token, whoever was answered', '+0123456789', 'open 1'],
    ['R29 stays open while probes fail', 'abcdefghijklmnop', 'open 1'],
    ['R29 stays open while probes are refused', 'abcdefghij---', 'open 1'],
    ['R29 closes with one slot after a success', 'abcdefghij+', 'closed 1'],
    ['R29 doubles its slots with every full round', 'abcdefghij+++++++', 'closed 7'],
    ['R29 doubles them up to all', 'abcdefghij++++++++++', 'closed 8'],
    ['R29 keeps its slots when an attempt fails', 'abcdefghij++ab', 'closed 2'],
    ['R29 opens again from few slots', 'abcdefghij++abcdefghij', 'open 1'],
  ];
  for (const [promise, attempts, state] of cases) it(promise, () => assert.equal(after(attempts), state));

  it('R29 gives one merchant a quarter of the slots, and at least one', () => {
    assert.deepEqual([1, 4, 5, 8, 32].map(shareOf), [1, 1, 2, 2, 8]);
  });
});
