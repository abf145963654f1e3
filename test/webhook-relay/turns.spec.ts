import assert from 'node:assert/strict';
import { claimDue } from '../../webhook-relay/store-attempts.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { type Kit, newPayment, openKit } from './relay-kit.ts';
import type { Reply } from './scripted-wix.ts';

describe('merchants that share a relay', () => {
  let url: string;
  let kit: Kit;
  before(async () => {
    url = await freshDatabase();
  });
  beforeEach(async () => {
    kit = await openKit(url);
  });
  afterEach(async () => {
    await kit.close();
    assert.deepEqual(kit.wix.problems, []);
  });

  /** The first events of that many payments of one merchant. */
  const eventsOf = (merchant: string, payments: number) =>
    Array.from({ length: payments }, () => newPayment(merchant)('TRANSACTION_APPROVED'));
  /** By the merchant, what Wix answers; of any other, that it has the event. */
  const answerBy = (replies: Record<string, Reply>, events: ReturnType<typeof eventsOf>) => {
    const merchants = new Map(events.map(({ externalId, externalMerchantId }) => [externalId, externalMerchantId]));
    kit.wix.answerEvent(({ wixTransactionId }) => replies[merchants.get(wixTransactionId) ?? '']);
    return () => kit.wix.events.map(({ wixTransactionId }) => merchants.get(wixTransactionId));
  };

  it('R29 40 events of one that are refused, and 40 of another that hang, hold up nobody else', async () => {
    const [refused, hanging, well] = [eventsOf('refused', 40), eventsOf('hanging', 40), eventsOf('well', 40)];
    answerBy({ refused: { status: 400 }, hanging: 'hang' }, [...refused, ...hanging, ...well]);
    const deliverer = kit.anotherDeliverer();
    deliverer.start();
    try {
      await kit.receive(...refused, ...hanging);
      // The merchant's share hangs, and of the refused ones each has been answered.
      await eventually(() => {
        assert.equal(kit.wix.inFlight.now, 2);
        assert.ok(kit.wix.events.length >= 42);
      });
      await kit.receive(...well);
      deliverer.wake();
      await eventually(() => {
        for (const event of well) assert.deepEqual(kit.toldOf(event), ['transaction']);
      });
      await eventually(() => assert.equal(kit.wix.inFlight.now, 2, 'those that hang still do'));
      assert.deepEqual(kit.alerts(), []);
    } finally {
      await deliverer.stop(0);
    }
  });

  it('R29 what hangs for one merchant alone is not taken for trouble of Wix', async () => {
    const [hanging, well] = [eventsOf('hanging', 12), eventsOf('well', 2)];
    answerBy({ hanging: 'reset' }, [...hanging, ...well]);
    await kit.receive(well[0]!);
    await kit.deliver();
    await kit.receive(...hanging);
    await kit.deliver();
    await kit.receive(well[1]!);
    await kit.deliver();
    assert.deepEqual(kit.toldOf(well[1]!), ['transaction']);
    assert.deepEqual(kit.alerts(), []);
  });

  it('R29 take turns for the slots, and then for the probes', async () => {
    const events = ['a', 'b', 'c'].flatMap((merchant) => eventsOf(merchant, 12));
    const merchants = answerBy({ a: 'reset', b: 'reset', c: { status: 503 } }, events);
    await kit.receive(...events);
    const round = async () => {
      const before = merchants().length;
      const claimed = await kit.deliverer.runOnce();
      await kit.deliverer.settled();
      return [claimed, merchants().slice(before).toSorted().join('')];
    };
    for (let i = 0; i < 2; i++) assert.deepEqual(await round(), [6, 'aabbcc']);
    assert.deepEqual(kit.alerts(), ['wix_unreachable']);
    const probes = [await round(), await round(), await round(), await round(), await round(), await round()];
    assert.deepEqual(
      probes.map(([claimed]) => claimed),
      [1, 1, 1, 1, 1, 1],
    );
    assert.equal(
      probes
        .map(([, merchant]) => merchant)
        .join('')
        .slice(0, 3)
        .split('')
        .toSorted()
        .join(''),
      'abc',
    );
    assert.equal(new Set(probes.slice(3).map(([, merchant]) => merchant)).size, 3);
  });

  it('R29 are given the free places at once: each an equal part, up to its share; whether more may be due is said', async () => {
    await kit.receive(...eventsOf('a', 9), ...eventsOf('b', 1), ...eventsOf('c', 9));
    const claimed = async (limit: number, running: [string, number][]) => {
      const claim = { limit, leaseMs: 30_000, after: '', share: 4, running: new Map(running) };
      const { claims, hasMore } = await claimDue(kit.db, claim);
      const merchants = claims.map(({ merchant }) => merchant).toSorted();
      return [...merchants, ...(hasMore ? ['and more'] : [])].join(' ');
    };
    assert.equal(await claimed(6, []), 'a a b c c and more');
    assert.equal(
      await claimed(14, [
        ['a', 2],
        ['c', 3],
      ]),
      'a a c and more',
    );
    assert.equal(await claimed(14, [['a', 4]]), 'c c c c and more');
    assert.equal(await claimed(14, [['c', 4]]), 'a a a a and more');
    assert.equal(await claimed(14, []), 'a c c');
    assert.equal(await claimed(14, []), '');
    await kit.receive(...eventsOf('d', 1), ...eventsOf('e', 1), ...eventsOf('f', 1));
    assert.equal(await claimed(2, []), 'd e and more');
    assert.equal(await claimed(1, []), 'f and more', 'it looked no further');
    assert.equal(await claimed(1, []), '');
  });

  it('R29 opens the breaker on tokens that Wix refuses, whoever was answered before', async () => {
    await kit.receive(...eventsOf('well', 1));
    await kit.deliver();
    kit.wix.answerToken(() => ({ status: 400 }));
    await kit.receive(...eventsOf('other', 10));
    await kit.deliver();
    assert.ok(kit.alerts().includes('wix_unreachable'));
  });

  for (const status of [429, 500, 503])
    it(`R29 opens the breaker on status ${status} to ten payments`, async () => {
      kit.wix.answerEvent(() => ({ status }));
      await kit.receive(...eventsOf('a', 5), ...eventsOf('b', 5));
      await kit.deliver();
      assert.deepEqual(kit.alerts(), ['wix_unreachable']);
    });

  it('R29 a first attempt of one goes before the retries of another', async () => {
    const [retried, fresh] = [eventsOf('a', 1), eventsOf('b', 1)];
    kit.wix.answerEvent(() => ({ status: 400 }));
    await kit.receive(...retried);
    await kit.deliver();
    await kit.makeDue();
    await kit.receive(...fresh);
    const claim = { limit: 1, leaseMs: 30_000, after: '', share: 1, running: new Map() };
    const { claims, next } = await claimDue(kit.db, claim);
    assert.deepEqual(
      claims.map(({ merchant, eventId }) => [merchant, eventId]),
      [['b', fresh[0]!.id]],
    );
    const second = await claimDue(kit.db, { ...claim, after: next });
    assert.deepEqual(
      second.claims.map(({ eventId }) => eventId),
      [retried[0]!.id],
    );
  });

  it('R29 have everything made due again when Wix is back, however much it is', async () => {
    kit.wix.answerEvent(() => ({ status: 503 }));
    await kit.receive(...eventsOf('a', 10));
    await kit.deliver();
    assert.deepEqual(kit.alerts(), ['wix_unreachable']);
    await kit.db.query(
      `insert into transactions (transaction_id, retrying, next_event_id, next_attempt_at)
       select gen_random_uuid(), true, gen_random_uuid(), now() + interval '1 hour' from generate_series(1, 12000)`,
    );
    kit.wix.answerEvent(() => undefined);
    await kit.receive(...eventsOf('b', 1));
    await kit.deliverer.runOnce();
    await kit.deliverer.settled();
    const waiting = await kit.db.query('select 1 from transactions where next_attempt_at > now()');
    assert.equal(waiting.length, 0);
  });

  it('R29 are found by a step each, however many deliveries are open', async () => {
    const open = (count: number, merchant: string, retrying: boolean, due: string) =>
      kit.db.query(
        `insert into transactions (transaction_id, merchant, retrying, next_event_id, next_attempt_at)
         select gen_random_uuid(), ${merchant}, ${retrying}, gen_random_uuid(), now() + ${due} from generate_series(1, ${count}) i`,
      );
    await kit.receive(...eventsOf('busy', 1), ...eventsOf('quiet', 1));
    await open(30_000, `'busy'`, false, `i * interval '1 microsecond'`);
    await open(30_000, `'m' || i % 50`, true, `interval '1 hour'`);
    await kit.db.query('analyze transactions');
    await kit.db.inTx(async (tx) => {
      const claim = { limit: 4, leaseMs: 30_000, after: '', share: 1, running: new Map<string, number>() };
      const { claims, next } = await claimDue(tx, claim);
      assert.deepEqual(claims.map(({ merchant }) => merchant).toSorted(), ['busy', 'quiet']);
      assert.deepEqual((await claimDue(tx, { ...claim, after: next, running: new Map([['busy', 1]]) })).claims, []);
      const [read] = await tx.query<{ seq: bigint; rows: bigint }>(
        `select seq_tup_read as seq, idx_tup_fetch as rows from pg_stat_xact_user_tables
         where schemaname = 'relay' and relname = 'transactions'`,
      );
      assert.equal(read?.seq, 0n);
      assert.ok(Number(read?.rows) < 300, `${read?.rows} rows were read`);
    });
  });
});
