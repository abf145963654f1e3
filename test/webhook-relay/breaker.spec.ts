import assert from 'node:assert/strict';
import { afterAttempt, type Breaker, closedBreaker } from '../../webhook-relay/breaker.ts';

// + is a success, a letter a failure of that payment.
function after(outcomes: string, breaker: Breaker = closedBreaker(8)): string {
  for (const outcome of outcomes) breaker = afterAttempt(breaker, outcome, outcome === '+', 8);
  return `${breaker.open ? 'open' : 'closed'} ${breaker.slots}`;
}

describe('the breaker', () => {
  const cases: [string, string, string][] = [
    ['is closed with every slot at first', '', 'closed 8'],
    ['R29 stays closed while fewer than ten payments fail', 'abcdefghi', 'closed 8'],
    ['R29 opens with one slot when ten payments failed', 'abcdefghij', 'open 1'],
    ['R29 stays closed when one payment fails again and again', 'aaaaaaaaaaaaaaaaaaaa', 'closed 8'],
    ['R29 counts anew after a success', 'abcdefghi+abcdefghi', 'closed 8'],
    ['R29 stays open while probes fail', 'abcdefghijklmnop', 'open 1'],
    ['R29 closes with one slot after a success', 'abcdefghij+', 'closed 1'],
    ['R29 doubles its slots with every full round', 'abcdefghij+++++++', 'closed 7'],
    ['R29 doubles them up to all', 'abcdefghij++++++++++', 'closed 8'],
    ['R29 keeps its slots when an attempt fails', 'abcdefghij++ab', 'closed 2'],
    ['R29 opens again from few slots', 'abcdefghij++abcdefghij', 'open 1'],
  ];
  for (const [promise, outcomes, state] of cases) it(promise, () => assert.equal(after(outcomes), state));
});
