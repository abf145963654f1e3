import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { explore } from './model/explore.ts';
import { MUTATIONS } from './model/mutations.ts';
import { RULES, type Rules } from './model/rules.ts';

// The rules of money in many lives of one payment, with two cores that crash and sleep, an engine that may lose any message, and a
// Wix that repeats itself. MODEL_RUNS sets how many lives, MODEL_SEED which ones.

const RUNS = Number(process.env.MODEL_RUNS ?? 6_000);
const SEED = Number(process.env.MODEL_SEED ?? 1);

/** The numbers by which chance decides one life. */
const life = fc.array(fc.nat(9_999), { maxLength: 300, size: 'max' });

/** The shortest life found in which a promise is broken, told step by step. */
function hunt(rules: Rules, runs: number, shrink: boolean): string | undefined {
  const kept = fc.property(life, (numbers) => void explore(rules, numbers));
  const { counterexample } = fc.check(kept, { seed: SEED, numRuns: runs, endOnFailure: !shrink });
  return counterexample ? retell(rules, counterexample[0]) : undefined;
}

function retell(rules: Rules, numbers: readonly number[]): string {
  const steps: string[] = [];
  try {
    explore(rules, numbers, (line) => steps.push(line));
  } catch (error) {
    return `${error}\n\n${steps.join('\n')}\n\nnumbers: ${numbers}`;
  }
  throw new Error('a life went otherwise when it was told again');
}

describe('the rules of money', () => {
  it(`keep every promise in ${RUNS} lives of a payment`, function () {
    this.timeout(20_000 + 20 * RUNS);
    const broken = hunt(RULES, RUNS, true);
    assert.equal(broken, undefined, broken);
  });

  it('are tried in lives that tell every kind of event', () => {
    const told = new Set<string>();
    for (const numbers of fc.sample(life, { seed: SEED, numRuns: 1_000 }))
      for (const { type } of explore(RULES, numbers).ledger.outbox) told.add(type);
    assert.equal(told.size, 14, [...told].sort().join());
  });

  describe('are missed where one is broken:', () => {
    for (const [name, mutation] of Object.entries(MUTATIONS))
      it(name, () => assert.ok(hunt({ ...RULES, ...mutation }, 40_000, false), 'nobody noticed')).timeout(300_000);
  });
});
