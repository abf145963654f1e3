import assert from 'node:assert/strict';
import path from 'node:path';
import type { OutcomeInit } from '../engine/fault.ts';
import { approved } from '../engine/outcomes.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { paymentRequest } from '../wix/requests.ts';
import type { Merchant } from '../wix/wix.ts';
import { type Matches, type PostgresProxy, startPostgresProxy } from './postgres-proxy.ts';
import { endPrograms, type Program } from './program.ts';
import {
  AMOUNT,
  connectMerchant,
  letLeasesEnd,
  openSurroundings,
  type Surroundings,
  startConnector,
  untilAnswered,
  untilSettled,
} from './surroundings.ts';

// The way of a buyer to a page of the engine and back is a row of arrows too, and at each of them the connector dies.

const PAGE = 'https://pay.harbor.example/3ds/1';
const SHOP = 'https://tidepool-ceramics.example/pay';
const page: OutcomeInit = { kind: { case: 'buyerAction', value: { url: PAGE } } };

const isTx1: Matches = (sql, tx) => sql === 'commit' && tx.some((each) => each.includes('insert into buyer_links'));
const isTx2: Matches = (sql, tx) => sql === 'commit' && tx.some((each) => each.includes('update operations o set'));
const isLook: Matches = (sql) => sql.startsWith('update buyer_links');
const isPublisher: Matches = (sql) => sql.includes('core.publish_outbox');

/** Where the connector is killed. */
interface Arrow {
  reached(): void | Promise<void>;
  leave(): void;
}

describe('a connector that is killed on the way of a buyer', function () {
  this.timeout(60_000);
  let stage: Surroundings;
  let proxy: PostgresProxy;
  let database: string;
  let env: Record<string, string>;
  let connector: Program & { readonly url: string };
  let merchant: Merchant;
  let returnUrl: string | undefined;
  let isSilent = false;
  let questions = 0;

  before(async () => {
    stage = await openSurroundings();
    database = await freshDatabase();
    proxy = await startPostgresProxy(database);
    const own = { PUBLIC_URL: 'https://pay.harbor.example', RECONCILE_GRACE_MS: '2000', ANSWER_BUDGET_MS: '4000' };
    env = { ...stage.env, ...own, DATABASE_URL: proxy.url(database) };
    stage.engine.fault = (method, request) => {
      if (method === 'getOperation') {
        questions += 1;
        return isSilent ? 'ignore' : undefined;
      }
      if (request.$typeName !== 'processor.v1.AuthorizeRequest') return undefined;
      ({ returnUrl } = request);
      return page;
    };
    connector = await startConnector(env);
    merchant = await connectMerchant(stage.wix, connector.url);
  });
  after(async () => {
    await endPrograms();
    await proxy?.stop();
    await stage?.close();
  });

  const comeBack = () =>
    fetch(`${connector.url}/return/${path.basename(returnUrl ?? assert.fail('there is no link'))}`, {
      redirect: 'manual',
    });
  /** As often as a browser, or its buyer, has to. */
  const untilSentOn = () =>
    eventually(
      async () => {
        const { status, headers } = await comeBack();
        assert.equal(status, 303);
        return headers.get('location');
      },
      { timeoutMs: 30_000, every: 100 },
    );
  const atStatement = (matches: Matches, when: 'before' | 'after' = 'before'): Arrow => {
    const gate = proxy.hold(when, matches);
    return { reached: () => assert.ok(gate.held > 0), leave: gate.open };
  };
  const dieAt = async ({ reached, leave }: Arrow, doing: Promise<unknown>) => {
    const ended = doing.catch(() => undefined);
    await eventually(reached);
    await connector.kill();
    await ended;
    leave();
    await letLeasesEnd(database);
    connector = await startConnector(env);
  };
  /** What Wix was told in the end, once each. */
  const told = ({ wixTransactionId }: { wixTransactionId: string }) =>
    stage.wix
      .events(wixTransactionId)
      .filter(({ accepted, body }) => accepted && body.reasonCode !== 5009)
      .map(({ kind, body }) => [kind, body.reasonCode].filter(Boolean).join(' '));

  const onTheWayThere: Record<string, () => Arrow> = {
    'before tx 1 commits': () => atStatement(isTx1),
    'after tx 1, before the call': () => atStatement(isTx1, 'after'),
    'after the engine has shown its page, before tx 2 commits': () => atStatement(isTx2),
  };
  for (const [arrow, arm] of Object.entries(onTheWayThere))
    it(`R14 R36 has a page for the buyer, or the payment ends unpaid, when killed ${arrow}`, async () => {
      const { wix, engine } = stage;
      returnUrl = undefined;
      const request = paymentRequest(merchant);
      const create = () => wix.create(merchant, request);
      await dieAt(arm(), create());
      const payment = await untilAnswered(create, ({ answer }) => answer.status);
      const requestId = [...engine.books.list()].find(
        ({ transactionId }) => transactionId === payment.pluginTransactionId,
      )?.requestId;
      const isShown = payment.answer.body?.redirectUrl === PAGE;
      if (isShown) {
        engine.settle(requestId ?? '', approved({}));
        assert.equal(await untilSentOn(), `${SHOP}/ok?o=81`);
      }
      await untilSettled(wix, database);
      assert.equal(engine.books.charged(payment.pluginTransactionId), isShown ? AMOUNT : 0n);
      assert.equal(told(payment).length, 1);
      assert.equal(told(payment)[0] === 'transaction', isShown);
      if (!isShown && returnUrl) assert.equal(await untilSentOn(), `${SHOP}/failed?o=81`);
    });

  const onTheWayBack: Record<string, () => Arrow> = {
    'before the look at the engine is taken': () => atStatement(isLook),
    'while the engine is asked': () => {
      questions = 0;
      isSilent = true;
      return {
        reached: () => assert.ok(questions > 0),
        leave: () => {
          isSilent = false;
        },
      };
    },
    'after the engine has answered, before tx 2 commits': () => atStatement(isTx2),
    'after tx 2, before its event is published': () => {
      const gate = proxy.hold('before', isPublisher);
      const { events } = stage.wix;
      const before = events().length;
      return {
        reached: async () => {
          assert.equal((await comeBack()).status, 303);
          assert.ok(gate.held > 0 && events().length === before);
        },
        leave: gate.open,
      };
    },
  };
  for (const [arrow, arm] of Object.entries(onTheWayBack))
    it(`R14 R36 sends the buyer to the page that fits, and tells Wix the same once, when killed ${arrow}`, async () => {
      const { wix, engine } = stage;
      const payment = await wix.pay(merchant);
      assert.equal(payment.answer.body?.redirectUrl, PAGE);
      const [entry] = engine.books.operations(payment.pluginTransactionId);
      const arrowAt = arm();
      engine.settle(entry?.requestId ?? '', approved({}));
      await dieAt(arrowAt, comeBack());
      const first = await untilSentOn();
      assert.ok([`${SHOP}/ok?o=81`, `${SHOP}/waiting?o=81`].includes(first ?? ''), String(first));
      await untilSettled(wix, database);
      assert.equal(await untilSentOn(), `${SHOP}/ok?o=81`);
      assert.deepEqual([...new Set(told(payment))], ['transaction']);
      assert.equal(engine.books.charged(payment.pluginTransactionId), AMOUNT);
    });
});
