import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Method } from '../engine/fault.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import type { Answer } from '../wix/client.ts';
import { paymentRequest } from '../wix/requests.ts';
import type { Merchant, Payment } from '../wix/wix.ts';
import { type Matches, type PostgresProxy, startPostgresProxy } from './postgres-proxy.ts';
import { endPrograms, type Program } from './program.ts';
import {
  AMOUNT,
  ask,
  connectMerchant,
  letLeasesEnd,
  openSurroundings,
  type Surroundings,
  startConnector,
  untilAnswered,
  untilSettled,
} from './surroundings.ts';

// The life of a payment is a row of arrows (DESIGN 4), and at each of them the connector dies: a sale, a capture, a void and a refund
// stand there at once. It starts again on the same data, and Wix repeats its calls.

const REFUND = 1000n;
const KINDS = 4;
/** Outcomes, and attempts, are written in so many txs at once: while these are held, the others wait in memory. */
const LANES = 2;

/** Where the connector is killed: `reached` throws until all four stand there. */
interface Arrow {
  reached(): void | Promise<void>;
  leave(): void;
}

const isTx1: Matches = (sql, tx) => sql === 'commit' && tx.some((each) => each.includes('insert into operations'));
const isTx2: Matches = (sql, tx) => sql === 'commit' && tx.some((each) => each.includes('update operations o set'));
const isPublisher: Matches = (sql) => sql.includes('core.publish_outbox');
const isPublished: Matches = (sql) => sql.startsWith('update outbox');
const isPublishedTx: Matches = (sql, tx) => sql === 'commit' && tx.some((each) => each.startsWith('update outbox'));
const isClaim: Matches = (sql) => sql.includes('due as materialized');
const isAttempt: Matches = (sql, tx) => sql === 'commit' && tx.some((each) => each.includes('insert into attempts'));
const isOrder = (method: Method) => ['authorize', 'capture', 'void', 'refund'].includes(method);

describe('a connector that is killed', function () {
  this.timeout(60_000);
  let stage: Surroundings;
  let proxy: PostgresProxy;
  let database: string;
  let env: Record<string, string>;
  let connector: Program;
  let merchant: Merchant;
  /** What is captured, voided and refunded at each arrow. */
  let payments: Payment[][];

  before(async () => {
    stage = await openSurroundings();
    database = await freshDatabase();
    proxy = await startPostgresProxy(database);
    // So many payments at once are more than can be done in a short budget.
    env = { ...stage.env, DATABASE_URL: proxy.url(database), ANSWER_BUDGET_MS: '8000' };
    const started = await startConnector(env);
    connector = started;
    merchant = await connectMerchant(stage.wix, started.url);
    const pay = (authorizeOnly: boolean) => stage.wix.pay(merchant, { authorizeOnly });
    payments = await Promise.all(Object.keys(arrows).map(() => Promise.all([true, true, false].map(pay))));
    await untilSettled(stage.wix, database);
  });
  after(async () => {
    await endPrograms();
    await proxy?.stop();
    await stage?.close();
  });

  const atStatement = (when: 'before' | 'after', matches: Matches, held = KINDS): Arrow => {
    const gate = proxy.hold(when, matches);
    return { reached: () => assert.equal(gate.held, held), leave: gate.open };
  };
  const inCall = (fault: 'ignore' | 'hang'): Arrow => {
    const seen = new Set<string>();
    stage.engine.fault = (method, _request, requestId) => {
      if (!isOrder(method)) return undefined;
      seen.add(requestId);
      return fault;
    };
    const isDone = (requestId: string) => stage.engine.books.find(requestId) !== undefined;
    return {
      reached: () => {
        assert.equal(seen.size, KINDS);
        assert.ok([...seen].every((requestId) => isDone(requestId) === (fault === 'hang')));
      },
      leave: () => {
        stage.engine.fault = undefined;
      },
    };
  };
  /** The publisher waits until it has all four events, and publishes them in one batch. */
  const inOneBatch = (when: 'before' | 'after', matches: Matches): Arrow => {
    const publisher = proxy.hold('before', isPublisher);
    const claims = proxy.hold('before', isClaim);
    const gate = proxy.hold(when, matches);
    return {
      reached: async () => {
        await finds(UNPUBLISHED).then(publisher.open, () => undefined);
        assert.equal(gate.held, 1);
      },
      leave: () => [publisher, claims, gate].forEach((each) => void each.open()),
    };
  };
  const finds = async (sql: string) => assert.deepEqual(await ask(database, sql), [{ count: KINDS }]);

  const UNPUBLISHED = 'select count(*)::integer from core.outbox where published_at is null';
  const CLAIMED = `select count(*)::integer from relay.transactions where claimed_until is not null`;

  const arrows: Record<string, () => Arrow> = {
    'before tx 1 commits': () => atStatement('before', isTx1),
    'after tx 1, before the call': () => atStatement('after', isTx1),
    'during the call, before the engine does anything': () => inCall('ignore'),
    'during the call, after the engine has done it': () => inCall('hang'),
    'after the answer, before tx 2 commits': () => atStatement('before', isTx2, LANES),
    'after tx 2, before its event is published': () => {
      const gate = proxy.hold('before', isPublisher);
      return { reached: () => finds(UNPUBLISHED), leave: gate.open };
    },
    'when the relay has the event and the outbox does not say so': () => inOneBatch('before', isPublished),
    'after its event is published, before it is claimed': () => inOneBatch('after', isPublishedTx),
    'after the claim, before the event is posted': () => {
      const leave = stage.wix.fail({ at: 'token', hang: true });
      return { reached: () => finds(CLAIMED), leave };
    },
    'after the post, before its row commits': () => atStatement('before', isAttempt, LANES),
  };
  /** Where an authorize was recorded and never came to the engine: its card is gone with the process. */
  const neverCharged = ['after tx 1, before the call', 'during the call, before the engine does anything'];

  for (const [arrow, arm] of Object.entries(arrows))
    it(`R14 moves money once and tells of it when killed ${arrow}`, async () => {
      const { wix, engine } = stage;
      const [captured, voided, refunded] = payments.pop() as [Payment, Payment, Payment];
      const sale = paymentRequest(merchant);
      const wixRefundId = randomUUID();
      const create = () => wix.create(merchant, sale);
      const others: (() => Promise<Answer>)[] = [
        () => wix.capture(captured),
        () => wix.void(voided),
        () => wix.refund(refunded, { wixRefundId, amount: REFUND }),
      ];
      const { reached, leave } = arm();
      const calls = [create, ...others].map((call) => call().catch(() => undefined));
      await eventually(reached);
      await connector.kill();
      await Promise.all(calls);
      leave();

      await letLeasesEnd(database);
      connector = await startConnector(env);
      const [paid] = await Promise.all([
        untilAnswered(create, ({ answer }) => answer.status),
        ...others.map((call) => untilAnswered(call, ({ status }) => status)),
      ]);
      await untilSettled(wix, database);

      const charged = (payment: { pluginTransactionId: string }) => engine.books.charged(payment.pluginTransactionId);
      const told = ({ wixTransactionId }: { wixTransactionId: string }) => {
        const accepted = wix.events(wixTransactionId).filter((event) => event.accepted);
        const distinct = new Set(accepted.map(({ kind, body }) => [kind, body.reasonCode].filter(Boolean).join(' ')));
        if (!arrow.startsWith('after the post'))
          assert.equal(accepted.length, distinct.size, 'an event was told twice');
        return [...distinct];
      };
      const isCharged = !neverCharged.includes(arrow);
      assert.equal(charged(paid), isCharged ? AMOUNT : 0n);
      assert.equal(charged(captured), AMOUNT);
      assert.equal(charged(voided), 0n);
      assert.equal(charged(refunded), AMOUNT - REFUND);
      assert.deepEqual(
        told(paid).filter((event) => event !== 'transaction 5009'),
        [isCharged ? 'transaction' : 'transaction 1003'],
      );
      assert.deepEqual(told(captured), ['transaction', 'capture']);
      assert.deepEqual(told(voided), ['transaction', 'void']);
      assert.deepEqual(told(refunded), ['transaction', 'refund']);
    });
});
