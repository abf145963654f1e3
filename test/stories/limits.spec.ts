import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { asAdmin, asDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { assertSays, LOSSY, type Stage, useStage } from '../support/stage.ts';

describe('the limits of the core', () => {
  describe('R20 when all calls to the engine that it may make are running', () => {
    const stage = useStage({ env: { PROCESSOR_CALLS_MAX: '2' } });

    it('a new id gets 503 and leaves nothing behind, a known one is answered, and all goes on afterwards', async () => {
      const known = await stage.pay();
      const running = stage.hold('authorize');
      const busy = [stage.pay(), stage.pay()];
      await eventually(() => assert.equal(running.calls(), 2));
      const refused = await stage.pay();
      assert.equal(refused.answer.status, 503);
      assert.equal((await stage.wix.refund(known)).status, 503);
      assert.equal((await stage.wix.again(known)).answer.text, known.answer.text);
      const declined = await stage.pay({ currency: 'XCG' });
      assertSays(declined.answer, 3003, 'CURRENCY');
      assert.deepEqual(await rowsOf(stage, refused.wixTransactionId), []);
      assert.equal((await stage.find(known)).operations.length, 1);
      running.release();
      for (const payment of await Promise.all(busy)) assertSays(payment.answer);
      assertSays((await stage.wix.again(refused)).answer);
      assertSays(await stage.wix.refund(known));
    });
  });

  describe('R43 while the database is down', () => {
    const stage = useStage({ env: LOSSY });

    it('every call of Wix is 503, nothing is charged, and all is well when it is back', async () => {
      const known = await stage.pay();
      // A delivery that is cut off waits for the end of its lease.
      await stage.settled(known);
      await stopDatabase(stage);
      const wixTransactionId = randomUUID();
      const calls = await Promise.all([
        stage.pay({ wixTransactionId }).then(({ answer }) => answer),
        stage.wix.again(known).then(({ answer }) => answer),
        stage.wix.refund(known),
        stage.wix.capture(known),
        stage.wix.connect(stage.gatewayUrl).then(({ answer }) => answer),
      ]);
      assert.deepEqual(
        calls.map(({ status }) => status),
        Array(5).fill(503),
      );
      await startDatabase(stage);
      const payment = await stage.pay({ wixTransactionId });
      assertSays(payment.answer);
      assert.equal(await stage.sends(payment, 'authorize'), 1);
      assertSays(await stage.wix.refund(known));
      await stage.told(payment, 'transaction');
    });

    it('R15 an outcome that could not be written is found again when it is back', async () => {
      const working = stage.hold('authorize');
      const paid = stage.pay();
      await working.reached;
      await stopDatabase(stage);
      working.release();
      const payment = await paid;
      assert.equal(payment.answer.status, 503);
      await startDatabase(stage);
      await stage.told(payment, 'transaction');
      const again = await stage.wix.again(payment);
      assertSays(again.answer);
      assert.equal(stage.charged(again), 4590n);
      assert.equal(await stage.sends(again, 'authorize'), 1);
      // R47: an outage is none of the alerts about a tx 2 that fails.
      assert.deepEqual(
        stage.log.lines.filter(({ alert }) => alert === 'outcome_not_recorded'),
        [],
      );
    });
  });
});

describe('R1 when the time to answer is over before anything could be written', () => {
  const stage = useStage({ env: { ANSWER_BUDGET_MS: '500' } });
  /** Locks the payments until the budget of a call that came meanwhile is over. */
  const whileLocked = (mode: string, call: () => ReturnType<Stage['pay']>) =>
    asDatabase(stage.url, async (client) => {
      await client.query(`begin; lock table core.transactions in ${mode} mode`);
      const begun = performance.now();
      const payment = call();
      await eventually(() => assert.ok(performance.now() - begun > 600));
      await client.query('rollback');
      return payment;
    });

  it('an order whose intent stands is never sent: it failed with 1003, with its event', async () => {
    await asDatabase(stage.url, (client) =>
      client.query(
        `create function core.slowly() returns trigger language plpgsql as $$ begin perform pg_sleep(0.7); return new; end $$;
         create trigger slowly before insert on core.transactions for each row execute function core.slowly()`,
      ),
    );
    const payment = await stage.pay();
    await asDatabase(stage.url, (client) => client.query('drop function core.slowly cascade'));
    assertSays(payment.answer, 1003, 'NOT_SENT');
    await stage.told(payment, 'transaction', 1003);
    assert.equal(await stage.sends(payment, 'authorize'), 0);
  });

  for (const mode of ['share row exclusive', 'access exclusive'])
    it(`R48 a call that waits for a lock (${mode}) gets 503 and leaves nothing behind, and may come again`, async () => {
      const payment = await whileLocked(mode, () => stage.pay());
      assert.equal(payment.answer.status, 503);
      assert.deepEqual(await rowsOf(stage, payment.wixTransactionId), []);
      assertSays((await stage.wix.again(payment)).answer);
    });
});

const rowsOf = (stage: Stage, wixTransactionId: string) =>
  stage.db.query('select id from transactions where external_id = $1', [wixTransactionId]);

const nameOf = ({ url }: Stage) => new URL(url).pathname.slice(1);

/** Ends all connections to the stage's own database, and lets nobody in. */
function stopDatabase(stage: Stage): Promise<unknown> {
  return asAdmin(async (client) => {
    await client.query(`alter database ${nameOf(stage)} allow_connections false`);
    await client.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [nameOf(stage)]);
  });
}

function startDatabase(stage: Stage): Promise<unknown> {
  return asAdmin((client) => client.query(`alter database ${nameOf(stage)} allow_connections true`));
}
