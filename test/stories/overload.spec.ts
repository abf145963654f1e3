import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { asDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { assertSays, type Stage, useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';

describe('R48 when more payments are offered than can be done', function () {
  this.timeout(60_000);
  const stage = useStage({ env: { DATABASE_POOL_SIZE: '4', ANSWER_BUDGET_MS: '3000' } });

  // The capacity is made small: so many new payments a second, and no more, can be written.
  const PER_SECOND = 10;
  const AT_ONCE = 2;
  before(() =>
    asDatabase(stage.url, (client) =>
      client.query(
        `create function core.slowly() returns trigger language plpgsql as
           $$ begin perform pg_sleep(${AT_ONCE / PER_SECOND}); return new; end $$;
         create trigger slowly before insert on core.transactions for each row execute function core.slowly()`,
      ),
    ),
  );

  /** Offers payments in even steps, whatever becomes of them; and what follows a payment among them. */
  const offer = async (perSecond: number, seconds: number, alsoAt?: { step: number; call: () => void }) => {
    const begun = performance.now();
    const payments: Promise<Payment>[] = [];
    for (let i = 0; i < perSecond * seconds; i++) {
      const early = (i * 1000) / perSecond;
      await eventually(() => assert.ok(performance.now() - begun >= early), { every: 1 });
      if (alsoAt?.step === i) alsoAt.call();
      payments.push(stage.pay());
    }
    return Promise.all(payments);
  };

  /** Payments a second by as many buyers as can be served at once. */
  const atEase = async () => {
    const begun = performance.now();
    const buyer = async () => {
      for (let i = 0; i < PER_SECOND; i++) assertSays((await stage.pay()).answer);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, buyer));
    return (AT_ONCE * PER_SECOND * 1000) / (performance.now() - begun);
  };

  const approvedOf = (payments: readonly Payment[]) =>
    payments.filter(({ answer }) => answer.status === 200 && answer.body?.reasonCode === undefined);

  it('does as many as it can, refuses the others before anything is recorded, and what follows a payment goes first', async () => {
    const capacity = await atEase();
    const known = await stage.pay();
    const before = await rowsOf(stage);
    const follow = Promise.withResolvers<unknown>();
    const seconds = 5;
    const refund = () => follow.resolve(stage.wix.refund(known, { wixRefundId: randomUUID(), amount: 1000 }));
    const payments = await offer(8 * PER_SECOND, seconds, { step: 8 * PER_SECOND, call: refund });
    const approved = approvedOf(payments);
    const refused = payments.filter(({ answer }) => answer.status === 503);
    assert.equal(approved.length + refused.length, payments.length, 'answered otherwise');
    const least = (capacity * seconds) / 2;
    assert.ok(approved.length > least, `${approved.length} were done in ${seconds} s of at least ${least}`);
    assert.equal(((await follow.promise) as { status: number }).status, 200);
    const recorded = (await rowsOf(stage)).filter((id) => !before.includes(id));
    assert.deepEqual(new Set(recorded), new Set(approved.map(({ wixTransactionId }) => wixTransactionId)));
    assert.ok(refused.every(({ answer }) => answer.headers.get('retry-after') === '1'));
    await eventually(async () => assertSays((await stage.pay()).answer));
  });

  it('is ready all the while, says that it sheds, and answers a refused one when it comes again', async () => {
    const payments = await offer(10 * PER_SECOND, 1);
    const [refused] = payments.filter(({ answer }) => answer.status === 503);
    assert.ok(refused);
    const port = stage.log.lines.find(({ event }) => event === 'core.started')?.httpPort;
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    assert.match(metrics, /^calls_shed_total\{priority="new"\} [1-9]/m);
    const health = await fetch(`http://127.0.0.1:${port}/health/ready`);
    assert.deepEqual([health.status, await health.json()], [200, { ready: true, detail: { load: 'shedding' } }]);
    await eventually(async () => assertSays((await stage.wix.again(refused)).answer));
  });
});

async function rowsOf({ db }: Stage): Promise<string[]> {
  const rows = await db.query<{ id: string }>('select external_id as id from core.transactions');
  return rows.map(({ id }) => id);
}

describe('R48 when all calls to the engine that may run are of one merchant', () => {
  const stage = useStage({ env: { PROCESSOR_CALLS_MAX: '10' } });

  it('others are served all the same', async () => {
    const [busy, other] = [await stage.connect(), await stage.connect()];
    const released = Promise.withResolvers<undefined>();
    let waiting = 0;
    // The engine is slow for one merchant alone.
    stage.engine.fault = (method, request) => {
      const isBusy = 'instruction' in request && request.instruction?.accountReference === busy.credentials.account_ref;
      if (method !== 'authorize' || !isBusy) return undefined;
      waiting += 1;
      return released.promise;
    };
    const slow = Array.from({ length: 30 }, () => stage.wix.pay(busy));
    await eventually(() => assert.ok(waiting > 1));
    for (let i = 0; i < 5; i++) assertSays((await stage.wix.pay(other)).answer);
    released.resolve(undefined);
    const statuses = (await Promise.all(slow)).map(({ answer }) => answer.status);
    assert.ok(statuses.includes(503));
    assert.ok(statuses.filter((status) => status === 200).length >= 5, `${statuses}`);
  });
});

describe('R48 while very many wait for one payment', () => {
  const stage = useStage({ env: { DATABASE_POOL_SIZE: '4' } });

  /** How many statements of the core wait for a lock. */
  const lockWaits = async ({ db }: Stage) => {
    const [row] = await db.query<{ waits: number }>(
      `select count(*)::integer as waits from pg_stat_activity
       where datname = current_database() and application_name = 'core' and wait_event_type = 'Lock'`,
    );
    return row?.waits ?? 0;
  };

  it('none of them holds a connection, and others are served', async () => {
    const payment = await stage.pay({ authorizeOnly: true });
    const engine = stage.hold('capture');
    const captures = Array.from({ length: 200 }, () => stage.wix.capture(payment));
    await engine.reached;
    const waits: number[] = [];
    for (let i = 0; i < 20; i++) {
      waits.push(await lockWaits(stage));
      if (i % 5 === 0) assertSays((await stage.pay()).answer);
    }
    engine.release();
    const answers = await Promise.all(captures);
    assert.ok(Math.max(...waits) <= 1, `${waits} waited for a lock`);
    assert.equal(answers.filter(({ body, status }) => status === 200 && body?.reasonCode === undefined).length, 1);
    assert.equal(await stage.sends(payment, 'capture'), 1);
    await stage.told(payment, 'capture');
  });
});
