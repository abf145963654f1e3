import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { OperationKind } from '../../core/operation.ts';
import { type Facts, type Progress, type Standing, summarize } from '../../core/summary.ts';
import type { TransactionState } from '../../core/transaction.ts';

const SINCE = new Date('2026-11-27T14:02:11.345Z');
const NEXT = new Date('2026-11-27T14:20:00Z');

// biome-ignore format: lists
const STATES: readonly TransactionState[] = ['authorizing', 'awaiting_buyer', 'pending', 'authorized', 'capturing', 'voiding',
  'captured', 'voided', 'expired', 'declined'];
const KINDS: readonly OperationKind[] = ['authorize', 'capture', 'void', 'refund', 'cancel', 'reversal'];
const PROGRESS: readonly Progress[] = ['running', 'waiting', 'unknown', 'held'];
// biome-ignore format: lists
const STANDINGS: readonly Standing[] = ['nothing', 'told', 'given_up', 'unpublished', 'unreceived', 'turn', 'first', 'retrying',
  'stuck', 'parked', 'held', 'unasked'];

const OPEN = { asks: 3, nextAt: NEXT, expiresAt: undefined };
const TOLD = { standing: 'told', event: 'transaction_pending', at: SINCE } as const;
const facts = (more: Partial<Facts>): Facts => ({
  state: 'pending',
  since: SINCE,
  reason: '5009',
  delivery: TOLD,
  ...more,
});

describe('why a payment stands where it stands', () => {
  it('is a whole sentence for every state, open operation and standing of its event', () => {
    const said = new Map<string, string>();
    for (const state of STATES)
      for (const kind of [undefined, ...KINDS])
        for (const progress of kind ? PROGRESS : [undefined])
          for (const standing of STANDINGS) {
            const open = kind && progress && { kind, progress, ...OPEN };
            const delivery = {
              standing,
              event: 'refund_failed',
              at: NEXT,
              attempts: 2,
              answer: 'HTTP 500',
              why: 'asked',
            };
            const text = summarize(facts({ state, ...(open && { open }), delivery }));
            assert.match(text, /^[A-Z][^{}]+\. [A-Z][^{}]+\.$/, text);
            assert.doesNotMatch(text, /undefined|null|NaN|\{| {2}/, text);
            assert.ok(text.includes('2026-11-27T14:02:11Z'), text);
            if (open)
              assert.equal(text.includes('next at 2026-11-27T14:20:00Z'), true && hasNext(progress, standing), text);
            said.set([state, kind, progress, standing].join(), text);
          }
    assert.equal(said.size, STATES.length * (1 + KINDS.length * PROGRESS.length) * STANDINGS.length);
  });

  /** What is held is not asked about; what Wix did not take is tried again. */
  const hasNext = (progress: Progress | undefined, standing: Standing) =>
    progress !== 'held' || standing === 'retrying' || standing === 'stuck';

  it('differs wherever two states, two kinds of operations, or two standings differ', () => {
    const differ = (all: readonly Partial<Facts>[]) =>
      assert.equal(new Set(all.map((some) => summarize(facts(some)))).size, all.length);
    differ(STATES.map((state) => ({ state })));
    differ(KINDS.map((kind) => ({ open: { kind, progress: 'unknown', ...OPEN } })));
    differ(STANDINGS.map((standing) => ({ delivery: { standing, event: 'refund_failed' } })));
    for (const kind of ['authorize', 'capture', 'void', 'refund'] as const)
      differ(PROGRESS.map((progress) => ({ open: { kind, progress, ...OPEN } })));
  });

  for (const [promise, some, text] of [
    [
      'tells of a pending payment how often the engine was asked, and when it is asked next',
      { open: { kind: 'authorize', progress: 'waiting', ...OPEN } },
      'Pending since 2026-11-27T14:02:11Z: the engine has not decided, asked 3 times, next at 2026-11-27T14:20:00Z. Wix was told of transaction_pending on 2026-11-27T14:02:11Z.',
    ],
    [
      'tells of a buyer on the page until when it is waited for',
      {
        state: 'awaiting_buyer',
        open: { kind: 'authorize', progress: 'waiting', asks: 0, nextAt: NEXT, expiresAt: NEXT },
        delivery: { standing: 'nothing', event: '' },
      },
      "Awaiting its buyer since 2026-11-27T14:02:11Z: the buyer has not come back from the engine's page, expires at 2026-11-27T14:20:00Z, asked at 2026-11-27T14:20:00Z. There is nothing to tell Wix.",
    ],
    [
      'tells of an event that Wix does not take what Wix says',
      {
        state: 'declined',
        reason: '3012 INSUFFICIENT_FUNDS',
        delivery: { standing: 'retrying', event: 'transaction_declined', attempts: 3, answer: 'HTTP 500', at: NEXT },
        paused: 'by ann: maintenance',
      },
      'Declined on 2026-11-27T14:02:11Z with 3012 INSUFFICIENT_FUNDS. Wix has not taken transaction_declined: HTTP 500, tried 3 times, next at 2026-11-27T14:20:00Z. All deliveries are paused: by ann: maintenance.',
    ],
    [
      'names the operator where nobody else can help',
      { state: 'captured', open: { kind: 'refund', progress: 'held', ...OPEN } },
      "Captured on 2026-11-27T14:02:11Z: the engine's answer to the refund does not fit what was asked, and an operator has to settle it. Wix was told of transaction_pending on 2026-11-27T14:02:11Z.",
    ],
  ] as [string, Partial<Facts>, string][])
    it(promise, () => assert.equal(summarize(facts(some)), text));
});
