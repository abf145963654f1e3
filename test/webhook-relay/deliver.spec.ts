import assert from 'node:assert/strict';
import { sweep } from '../../webhook-relay/sweep.ts';
import { freshDatabase } from '../support/database.ts';
import { APP_SECRET, type Kit, newPayment, openKit } from './relay-kit.ts';
import type { SubmittedEvent } from './scripted-wix.ts';

/** A door that is shut until opened. */
function gate(): { opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

describe('delivering events', () => {
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

  const arrived = (count: number) => {
    const reached = gate();
    return { reached: reached.opened, note: () => kit.wix.events.length >= count && reached.open() };
  };

  it('calls Wix as the contract says', async () => {
    const event = newPayment()('TRANSACTION_APPROVED');
    await kit.receive(event);
    await kit.deliver();
    const [{ headers, body } = {} as SubmittedEvent] = kit.wix.events;
    assert.equal(headers.authorization, 'OAUTH2.token-1');
    assert.equal(headers['user-agent'], 'harbor-pay/1.4.0');
    assert.equal(headers['content-type'], 'application/json');
    assert.deepEqual(JSON.parse(body), {
      event: { transaction: { wixTransactionId: event.externalId, pluginTransactionId: event.transactionId } },
    });
    assert.deepEqual(JSON.parse(kit.wix.tokenRequests[0]!), {
      grant_type: 'client_credentials',
      scope: 'CASHIER.GET_ACCESS',
      client_id: 'app-id',
      client_secret: APP_SECRET,
    });
    const [attempt] = await kit.attemptsOf(event);
    assert.deepEqual(
      { ...attempt, duration_ms: 0 },
      { number: 1, http_status: 200, error: null, answer: '{}', duration_ms: 0, retry_ms: null },
    );
  });

  for (const status of [400, 401, 403])
    it(`R44 alerts when Wix answers ${status} to the app's secret, the first time, and names the settings`, async () => {
      const event = newPayment()('TRANSACTION_APPROVED');
      kit.wix.answerToken(() => ({ status }));
      await kit.receive(event, newPayment()('TRANSACTION_APPROVED'));
      await kit.deliver();
      assert.equal(kit.wix.tokenRequests.length, 2);
      assert.deepEqual(kit.alerts(), ['token_refused']);
      const alert = kit.log.lines.find((line) => line.alert === 'token_refused');
      assert.equal(alert?.setting, 'WIX_APP_ID, WIX_APP_SECRET');
    });

  it('R26 tells Wix in order of sequence, in whatever order events came', async () => {
    const next = newPayment();
    const events = [
      next('TRANSACTION_PENDING'),
      next('REFUND_FAILED'),
      next('TRANSACTION_APPROVED'),
      next('REFUND_SUCCEEDED'),
      next('REFUND_FAILED'),
    ];
    await kit.receive(events[0]!);
    await kit.deliver();
    for (const event of events.slice(1).reverse()) {
      await kit.receive(event);
      await kit.deliver();
    }
    assert.deepEqual(kit.toldOf(events[0]!), [
      'transaction 5009',
      'transaction',
      'refund 3000',
      'refund',
      'refund 3000',
    ]);
    assert.equal(kit.wix.events.at(-1)?.body.includes(events[4]!.operationId), true);
  });

  it('U17 never tells of a refund refused on a payment that ends declined', async () => {
    const next = newPayment();
    const events = [
      next('TRANSACTION_PENDING'),
      next('REFUND_FAILED'),
      next('TRANSACTION_DECLINED'),
      next('REFUND_FAILED'),
    ];
    await kit.receive(...events.slice(0, 2));
    await kit.deliver();
    await kit.receive(...events.slice(2));
    await kit.deliver();
    assert.deepEqual(kit.toldOf(events[0]!), ['transaction 5009', 'transaction 3000']);
    assert.deepEqual(await kit.states(events[0]!), ['1:delivered', '2:not_for_wix', '3:delivered', '4:not_for_wix']);
  });

  it('has one event of a payment in flight at a time, and one of every other payment beside it', async () => {
    const { opened, open } = gate();
    const { reached, note } = arrived(4);
    kit.wix.answerEvent(async () => {
      note();
      await opened;
      return {};
    });
    const payments = [newPayment(), newPayment(), newPayment(), newPayment()];
    await kit.receive(...payments.flatMap((next) => [next('TRANSACTION_APPROVED'), next('CAPTURE_SUCCEEDED')]));
    assert.equal(await kit.deliverer.runOnce(), 4);
    await reached;
    assert.equal(await kit.deliverer.runOnce(), 0);
    assert.equal(await kit.anotherDeliverer().runOnce(), 0);
    open();
    await kit.deliver();
    await kit.deliver();
    assert.equal(kit.wix.inFlight.max, 4);
    assert.equal(kit.wix.events.length, 8);
  });

  it('runs no more attempts at once than it may', async () => {
    await kit.receive(...Array.from({ length: 20 }, () => newPayment()('TRANSACTION_APPROVED')));
    assert.equal(await kit.deliverer.runOnce(), 8);
    assert.equal(await kit.deliverer.runOnce(), 0);
    await kit.deliver();
    assert.equal(kit.wix.events.length, 20);
    assert.ok(kit.wix.inFlight.max <= 8);
  });

  it('passes over a payment whose row is locked', async () => {
    const [locked, free] = [newPayment()('TRANSACTION_APPROVED'), newPayment()('TRANSACTION_APPROVED')];
    await kit.receive(locked, free);
    await kit.db.inTx(async (tx) => {
      await tx.query('select 1 from transactions where transaction_id = $1 for update', [locked.transactionId]);
      await kit.deliver();
    });
    assert.deepEqual([kit.toldOf(locked), kit.toldOf(free)], [[], ['transaction']]);
  });

  it('delivers each event once although several relays deliver', async () => {
    const payments = Array.from({ length: 30 }, () => newPayment());
    const events = payments.flatMap((next) => [
      next('TRANSACTION_APPROVED'),
      next('REFUND_SUCCEEDED'),
      next('REFUND_SUCCEEDED'),
    ]);
    await kit.receive(...events);
    const deliverers = [kit.deliverer, kit.anotherDeliverer(), kit.anotherDeliverer()];
    for (let claimed = 1; claimed > 0; ) {
      const counts = await Promise.all(deliverers.map((deliverer) => deliverer.runOnce()));
      await Promise.all(deliverers.map((deliverer) => deliverer.settled()));
      claimed = counts.reduce((sum, count) => sum + count);
    }
    assert.equal(kit.wix.events.length, events.length);
    const counts = new Map(kit.wix.events.map(({ body }) => [body, 0]));
    assert.equal(counts.size, events.length);
    for (const next of payments)
      assert.deepEqual(kit.toldOf({ ...next('REFUND_FAILED') }), ['transaction', 'refund', 'refund']);
  });

  describe('R27 a final event', () => {
    it('supersedes a pending one that is waiting for its next attempt, and goes at once', async () => {
      const next = newPayment();
      const [pending, approved] = [next('TRANSACTION_PENDING'), next('TRANSACTION_APPROVED')];
      kit.wix.answerEvent(({ body }) => (/5009/.test(body) ? { status: 500, headers: { 'retry-after': '3600' } } : {}));
      await kit.receive(pending);
      await kit.deliver();
      await kit.receive(approved);
      await kit.deliver();
      assert.deepEqual(kit.toldOf(pending), ['transaction 5009', 'transaction']);
      assert.deepEqual(await kit.states(pending), ['1:superseded', '2:delivered']);
    });

    for (const [outcome, reply, state] of [
      ['delivered', {}, 'delivered'],
      ['failed', { status: 500 }, 'superseded'],
    ] as const)
      it(`lets the running attempt of a pending one end first: ${outcome}`, async () => {
        const next = newPayment();
        const [pending, declined] = [next('TRANSACTION_PENDING'), next('TRANSACTION_DECLINED')];
        const { opened, open } = gate();
        const { reached, note } = arrived(1);
        kit.wix.answerEvent(async ({ body }) => {
          note();
          if (/5009/.test(body)) await opened;
          return /5009/.test(body) ? reply : {};
        });
        await kit.receive(pending);
        await kit.deliverer.runOnce();
        await reached;
        await kit.receive(declined);
        assert.equal(await kit.deliverer.runOnce(), 0);
        open();
        await kit.deliver();
        await kit.deliver();
        assert.deepEqual(kit.toldOf(pending), ['transaction 5009', 'transaction 3000']);
        assert.deepEqual(await kit.states(pending), [`1:${state}`, '2:delivered']);
      });
  });

  describe('R27 a deliverer that slept', () => {
    const expireLease = async () => {
      await kit.db.query('update transactions set claimed_until = now()');
      assert.equal(await sweep(kit), 1);
    };

    for (const [clock, sleep] of Object.entries({
      'the steady clock': (ms: number) => {
        const { now } = performance;
        performance.now = () => now.call(performance) + ms;
        return () => Object.assign(performance, { now });
      },
      'the wall clock': (ms: number) => {
        const { now } = Date;
        Date.now = () => now() + ms;
        return () => Object.assign(Date, { now });
      },
    })) {
      it(`sends nothing when it wakes before its event call and its lease would not outlive it, by ${clock}`, async () => {
        const event = newPayment()('TRANSACTION_PENDING');
        let wakeUp = () => undefined as unknown;
        kit.wix.answerToken(() => {
          wakeUp = sleep(20_000);
          return undefined;
        });
        await kit.receive(event);
        await kit.deliver();
        wakeUp();
        assert.equal(kit.wix.tokenRequests.length, 1);
        assert.equal(kit.wix.events.length, 0);
        kit.wix.answerToken(() => undefined);
        await expireLease();
        await kit.deliver();
        assert.deepEqual(await kit.states(event), ['1:delivered']);
      });

      it(`asks for no token when it wakes before that call and its lease would not outlive it, by ${clock}`, async () => {
        await kit.receive(newPayment()('TRANSACTION_PENDING'));
        let wakeUp = () => undefined as unknown;
        const slept = kit.anotherDeliverer(undefined, {
          ...kit.db,
          query: async (...statement) => {
            const rows = await kit.db.query<never>(...statement);
            wakeUp = sleep(20_000);
            return rows;
          },
        });
        await slept.runOnce();
        wakeUp();
        await slept.settled();
        assert.equal(kit.wix.tokenRequests.length, 0);
      });
    }

    it('never wakes: a final event that came meanwhile supersedes what it was sending', async () => {
      const next = newPayment();
      const [pending, approved] = [next('TRANSACTION_PENDING'), next('TRANSACTION_APPROVED')];
      const { reached, note } = arrived(1);
      kit.wix.answerEvent(({ body }) => {
        note();
        return /5009/.test(body) ? 'hang' : {};
      });
      await kit.receive(pending);
      const dead = kit.anotherDeliverer();
      await dead.runOnce();
      await reached;
      await kit.receive(approved);
      await dead.stop(0);
      await expireLease();
      await kit.deliver();
      assert.deepEqual(kit.toldOf(pending), ['transaction 5009', 'transaction']);
      assert.deepEqual(await kit.states(pending), ['1:superseded', '2:delivered']);
    });

    it('has the final event told once more when its pending event went out after it', async () => {
      const next = newPayment();
      const [pending, approved, refunded] = [
        next('TRANSACTION_PENDING'),
        next('TRANSACTION_APPROVED'),
        next('REFUND_SUCCEEDED'),
      ];
      const { opened, open } = gate();
      const { reached, note } = arrived(1);
      kit.wix.answerEvent(async ({ body }) => {
        note();
        if (/5009/.test(body)) await opened;
        return {};
      });
      await kit.receive(pending);
      const sleeper = kit.anotherDeliverer();
      await sleeper.runOnce();
      await reached;
      await expireLease();
      await kit.receive(approved, refunded);
      await kit.deliver();
      open();
      await sleeper.settled();
      await kit.deliver();
      // The sleeper's call was the first to arrive and the last to end.
      assert.deepEqual(kit.toldOf(pending), ['transaction 5009', 'transaction', 'refund', 'transaction']);
      assert.deepEqual(await kit.states(pending), ['1:superseded', '2:delivered', '3:delivered']);
      const [row] = await kit.db.query('select done_through, final_told, next_event_id from transactions');
      assert.deepEqual(row, { done_through: 3n, final_told: 'approved', next_event_id: null });
      kit.wix.problems.length = 0;
    });

    it('also when the final event is just being told', async () => {
      const next = newPayment();
      const [pending, approved] = [next('TRANSACTION_PENDING'), next('TRANSACTION_APPROVED')];
      const [first, second] = [gate(), gate()];
      const arrivals = [arrived(1), arrived(2)];
      kit.wix.answerEvent(async ({ body }) => {
        for (const { note } of arrivals) note();
        await (/5009/.test(body) ? first.opened : second.opened);
        return {};
      });
      await kit.receive(pending);
      const sleeper = kit.anotherDeliverer();
      await sleeper.runOnce();
      await arrivals[0]!.reached;
      await expireLease();
      await kit.receive(approved);
      await kit.deliverer.runOnce();
      await arrivals[1]!.reached;
      first.open();
      await sleeper.settled();
      second.open();
      await kit.deliverer.settled();
      await expireLease();
      await kit.deliver();
      assert.deepEqual(kit.toldOf(pending), ['transaction 5009', 'transaction', 'transaction']);
      assert.deepEqual(await kit.states(pending), ['1:superseded', '2:delivered']);
      kit.wix.problems.length = 0;
    });

    it('changes nothing with what it learns of another event', async () => {
      const approved = newPayment()('TRANSACTION_APPROVED');
      const { opened, open } = gate();
      const { reached, note } = arrived(1);
      kit.wix.answerEvent(async () => {
        note();
        if (kit.wix.events.length === 1) await opened;
        return {};
      });
      await kit.receive(approved);
      const sleeper = kit.anotherDeliverer();
      await sleeper.runOnce();
      await reached;
      await expireLease();
      await kit.deliver();
      open();
      await sleeper.settled();
      await kit.deliver();
      assert.deepEqual(kit.toldOf(approved), ['transaction', 'transaction']);
      assert.deepEqual(
        (await kit.attemptsOf(approved)).map(({ number }) => number),
        [1, 2],
      );
      kit.wix.problems.length = 0;
    });
  });
});
