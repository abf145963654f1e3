import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  type Cursor,
  type Delivery,
  type DeliveryState,
  planDeliveries,
  RETRY_AFTER_MS_MAX,
  retryDelayMs,
} from '../../webhook-relay/delivery.ts';

// A delivery is written as its sequence, its kind and its state: 2A+ is the second event, an approval, delivered.
const KINDS: Record<string, string> = {
  P: 'TRANSACTION_PENDING',
  A: 'TRANSACTION_APPROVED',
  D: 'TRANSACTION_DECLINED',
  O: 'REFUND_FAILED',
};
const STATES: Record<string, DeliveryState> = {
  '': 'waiting',
  '+': 'delivered',
  '-': 'superseded',
  x: 'not_for_wix',
  '!': 'held',
  '/': 'parked',
  '~': 'skipped',
};

function deliveries(text: string): Delivery[] {
  return text.split(' ').map((word, index) => {
    const [, sequence = '', kind = '', state = ''] = /^(\d+)([PADO])(.?)$/.exec(word)!;
    return { eventId: `${word}#${index}`, sequence: BigInt(sequence), type: KINDS[kind]!, state: STATES[state]! };
  });
}

function planned(cursor: Cursor, text: string): string {
  const list = deliveries(text);
  const { next, moves, doneThrough, finalTold, gap } = planDeliveries(cursor, list);
  const sequenceOf = (id: string) => list.find(({ eventId }) => eventId === id)!.sequence;
  return [
    next ? `send ${next.sequence}` : 'send nothing',
    ...moves.map(({ eventId, state }) => `${sequenceOf(eventId)} ${state}`),
    `done ${doneThrough}`,
    ...(finalTold ? [finalTold] : []),
    ...(gap ? ['gap'] : []),
  ].join(', ');
}

const START: Cursor = { doneThrough: 0n, finalTold: null };
const APPROVED: Cursor = { doneThrough: 3n, finalTold: 'approved' };
const DECLINED: Cursor = { doneThrough: 3n, finalTold: 'declined' };

describe('the order in which Wix hears of a payment', () => {
  const cases: [string, Cursor, string, string][] = [
    ['R26 sends the first event', START, '1A', 'send 1, done 0'],
    ['R26 sends nothing before what came before it has come', START, '2A', 'send nothing, done 0, gap'],
    ['R26 sends what has everything before it, though a later event is missing', START, '1A 3O', 'send 1, done 0, gap'],
    ['R26 sends an operation after the final event', START, '1A+ 2O', 'send 2, done 1, approved'],
    ['R26 sends operations one after the other', APPROVED, '4O 5O', 'send 4, done 3, approved'],
    ['R26 an operation waits for the operation before it', APPROVED, '4O+ 5O 6O', 'send 5, done 4, approved'],
    ['R26 a transaction event does not wait for an operation', START, '1P+ 2O 3A', 'send 3, done 1'],
    ['R26 an operation before the final event waits for it', START, '1P+ 2O', 'send nothing, done 1'],
    ['R26 and goes once it is told', START, '1P+ 2O 3A+', 'send 2, done 1, approved'],
    ['R26 passes over what is not for Wix', START, '1Ox 2A', 'send 2, done 1'],
    ['R26 counts what is finished and not for Wix', START, '1Ox 2Ox', 'send nothing, done 2'],
    ['R26 a declined event that is not for Wix ends nothing', START, '1Dx 2A', 'send 2, done 1'],
    ['R27 a final event supersedes a pending one', START, '1P 2A', 'send 2, 1 superseded, done 1'],
    ['R27 not while the final event may not go: something before it is missing', START, '1P 3A', 'send 1, done 0, gap'],
    ['R27 not while the final event may not go: something before it is held', START, '1P 2O! 3A', 'send 1, done 0'],
    [
      'R27 a pending event after an approval is superseded',
      START,
      '1A+ 2P',
      'send nothing, 2 superseded, done 2, approved',
    ],
    [
      'R27 a pending event after a decline is superseded',
      START,
      '1D+ 2P',
      'send nothing, 2 superseded, done 2, declined',
    ],
    ['R27 a second final event is held', START, '1A+ 2D', 'send nothing, 2 held, done 1, approved'],
    ['R27 a second final event of the same kind too', APPROVED, '4A 5O', 'send nothing, 4 held, done 3, approved'],
    ['R27 of two final events the first goes', START, '1A 2D', 'send 1, done 0'],
    ['R27 a final event told once more goes before what follows it', START, '1P- 2A 3O+ 4O', 'send 2, done 1'],
    [
      'U17 a refund refused on a payment that ends declined is not for Wix',
      START,
      '1P+ 2O 3D+',
      'send nothing, 2 not_for_wix, done 3, declined',
    ],
    ['U17 also when it comes afterwards', DECLINED, '4O', 'send nothing, 4 not_for_wix, done 4, declined'],
    ['R26 a held event holds what follows it', APPROVED, '4O! 5O', 'send nothing, done 3, approved'],
    ['R26 a held event does not hold what precedes it', APPROVED, '4O 5O!', 'send 4, done 3, approved'],
    ['R26 two events of one sequence hold each other', START, '1A 1D!', 'send nothing, done 0'],
    [
      'R26 a held event of a sequence that is told holds what follows',
      START,
      '1A+ 1D! 2O',
      'send nothing, done 0, approved',
    ],
    ['R29 a parked event holds what follows it', APPROVED, '4O/ 5O', 'send nothing, done 3, approved'],
    ['R27 a parked pending event is not superseded', START, '1P/ 2A', 'send nothing, done 0'],
    ['R29 what follows a skipped event goes on', APPROVED, '4O~ 5O', 'send 5, done 4, approved'],
    ['R29 R26 operations go after a skipped approval as if it were told', START, '1A~ 2O', 'send 2, done 1, approved'],
    [
      'R29 R27 no other final event goes after a skipped one',
      START,
      '1A~ 2D',
      'send nothing, 2 held, done 1, approved',
    ],
    ['R29 U17 nothing goes after a skipped decline', START, '1D~ 2O', 'send nothing, 2 not_for_wix, done 2, declined'],
  ];
  for (const [promise, cursor, before, after] of cases) it(promise, () => assert.equal(planned(cursor, before), after));

  it('R26 R27 allows no order that Wix forbids, in whatever order events come and attempts fail', () => {
    fc.assert(
      fc.property(history, steps, (kinds, path) => live(kinds, path)),
      { numRuns: 3000 },
    );
  });
});

/** What the core may publish of one payment: refused refunds anywhere, at most one final event, operations after an approval. */
const history = fc
  .record({
    before: fc.array(fc.constantFrom('P', 'O', 'X'), { maxLength: 4 }),
    final: fc.constantFrom('A', 'D', ''),
    after: fc.array(fc.constantFrom('O', 'X'), { maxLength: 4 }),
  })
  .map(({ before, final, after }) =>
    [...before, ...(final ? [final] : []), ...after].filter((kind, i, all) => kind !== 'P' || all.indexOf('P') === i),
  );

/** Which event comes next, and what becomes of a running attempt. */
const steps = fc.array(fc.oneof(fc.nat(8), fc.constantFrom('start', 'success', 'failure')), { maxLength: 60 });

/** Lives through the steps as the relay does, then lets everything come and succeed. */
function live(kinds: readonly string[], path: readonly (number | string)[]): void {
  const rows: Delivery[] = [];
  const told: { kind: string; sequence: number }[] = [];
  let cursor: Cursor = START;
  let next: Delivery | undefined;
  let running: Delivery | undefined;

  const setState = (id: string, state: DeliveryState) => {
    const index = rows.findIndex(({ eventId }) => eventId === id);
    rows[index] = { ...rows[index]!, state };
  };
  const settle = () => {
    rows.sort((a, b) => Number(a.sequence - b.sequence));
    const plan = planDeliveries(
      cursor,
      rows.filter(({ sequence }) => sequence > cursor.doneThrough),
    );
    for (const { eventId, state } of plan.moves) setState(eventId, state);
    cursor = plan;
    next = plan.next;
  };
  const come = (sequence: number) => {
    const kind = kinds[sequence - 1];
    if (!kind || BigInt(sequence) <= cursor.doneThrough || rows.some(({ eventId }) => eventId === `e${sequence}`))
      return;
    const state = kind === 'X' ? 'not_for_wix' : 'waiting';
    rows.push({
      eventId: `e${sequence}`,
      sequence: BigInt(sequence),
      type: KINDS[kind] ?? 'TRANSACTION_EXPIRED',
      state,
    });
    if (!running) settle();
  };
  const start = () => {
    if (running || !next) return;
    running = next;
    const sequence = Number(running.sequence);
    const missing = kinds
      .slice(0, sequence - 1)
      .filter((_, i) => BigInt(i + 1) > cursor.doneThrough && !rows.some(({ eventId }) => eventId === `e${i + 1}`));
    assert.deepEqual(missing, [], 'everything before it has come');
    told.push({ kind: kinds[sequence - 1]!, sequence });
  };
  const end = (delivered: boolean) => {
    if (running && delivered) setState(running.eventId, 'delivered');
    if (running) settle();
    running = undefined;
  };

  for (const step of path) {
    if (typeof step === 'number') come(step + 1);
    else if (step === 'start') start();
    else end(step === 'success');
  }
  end(false);
  kinds.forEach((_, i) => {
    come(i + 1);
  });
  for (; next; end(true)) start();

  const order = told.map(({ kind }) => kind).join('');
  assert.match(order, /^P*(A+O*|D+)?$/, `told ${order}`);
  const operations = told.filter(({ kind }) => kind === 'O').map(({ sequence }) => sequence);
  assert.deepEqual(
    operations,
    operations.toSorted((a, b) => a - b),
    'operations in their order',
  );
  if (!kinds.includes('A') && !kinds.includes('D')) return;
  assert.equal(cursor.doneThrough, BigInt(kinds.length), 'everything is finished');
  for (const row of rows) {
    const kind = kinds[Number(row.sequence) - 1]!;
    if (kind === 'O') assert.equal(row.state, kinds.includes('A') ? 'delivered' : 'not_for_wix');
    if (kind === 'A' || kind === 'D') assert.equal(row.state, 'delivered');
  }
}

describe('the time until the next attempt', () => {
  const most = (number: number) => retryDelayMs({ number, stuck: false, retryAfterMs: 0 }, () => 1);

  it('R29 is under a limit that doubles from 2 s to an hour', () => {
    assert.deepEqual([1, 2, 3, 11, 12, 13, 2000].map(most), [2e3, 4e3, 8e3, 2048e3, 3600e3, 3600e3, 3600e3]);
  });
  it('R29 is anything below that limit', () => {
    assert.equal(
      retryDelayMs({ number: 5, stuck: false, retryAfterMs: 0 }, () => 0),
      0,
    );
    assert.equal(
      retryDelayMs({ number: 5, stuck: false, retryAfterMs: 0 }, () => 0.5),
      16_000,
    );
  });
  it('R29 is not before Retry-After, up to six hours', () => {
    assert.equal(
      retryDelayMs({ number: 1, stuck: false, retryAfterMs: 60_000 }, () => 1),
      60_000,
    );
    assert.equal(
      retryDelayMs({ number: 1, stuck: false, retryAfterMs: 1e12 }, () => 1),
      RETRY_AFTER_MS_MAX,
    );
  });
  it('R29 is six hours once stuck', () => {
    assert.equal(
      retryDelayMs({ number: 99, stuck: true, retryAfterMs: 1 }, () => 1),
      6 * 3600 * 1000,
    );
  });
});
