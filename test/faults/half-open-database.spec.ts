import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import type { Answer } from '../wix/client.ts';
import { connectRequest, paymentRequest } from '../wix/requests.ts';
import { type PostgresProxy, startPostgresProxy } from './postgres-proxy.ts';
import { endPrograms, freePort } from './program.ts';
import {
  AMOUNT,
  connectMerchant,
  disagreements,
  openSurroundings,
  type Surroundings,
  startConnector,
  untilAnswered,
  untilSettled,
} from './surroundings.ts';

const DEADLINE_MS = 10_000;
/** For a slow machine. */
const SLACK_MS = 1_000;

describe('a database that says nothing more', function () {
  this.timeout(60_000);
  let stage: Surroundings;
  let proxy: PostgresProxy;

  before(async () => {
    stage = await openSurroundings();
  });
  after(async () => {
    await endPrograms();
    await proxy?.stop();
    await stage?.close();
  });

  it('R43 is answered with 503 within the deadline, and all goes on without a restart once it is back', async () => {
    const { wix, engine } = stage;
    const database = await freshDatabase();
    proxy = await startPostgresProxy(database);
    const adminPort = await freePort();
    const budgets = { CORE_DEADLINE_MS: String(DEADLINE_MS), ANSWER_BUDGET_MS: '8000' };
    const env = { ...stage.env, ...budgets, CORE_HTTP_PORT: adminPort, DATABASE_URL: proxy.url(database) };
    const connector = await startConnector(env);
    const health = async (name: string) => (await fetch(`http://127.0.0.1:${adminPort}/health/${name}`)).status;
    const merchant = await connectMerchant(wix, connector.url);
    const [captured, voided, refunded] = await Promise.all([
      wix.pay(merchant, { authorizeOnly: true }),
      wix.pay(merchant, { authorizeOnly: true }),
      wix.pay(merchant),
    ]);
    await untilSettled(wix, database);

    const inFlight = paymentRequest(merchant);
    const answer = Promise.withResolvers<undefined>();
    const asked = Promise.withResolvers<void>();
    engine.fault = (method) => {
      if (method !== 'authorize') return undefined;
      asked.resolve();
      return answer.promise;
    };
    const sale = paymentRequest(merchant);
    const refund = { wixRefundId: randomUUID(), amount: 1000 };
    const connect = connectRequest();
    const create = async (request: typeof sale) => (await wix.create(merchant, request)).answer;
    const first = create(inFlight);
    await asked.promise;

    proxy.goDark();
    answer.resolve(undefined);
    const calls: (() => Promise<Answer>)[] = [
      () => create(sale),
      () => wix.capture(captured),
      () => wix.void(voided),
      () => wix.refund(refunded, refund),
      () => wix.call(connector.url, 'connect', connect),
    ];
    const answers = await Promise.all([first, ...calls.map((call) => call())]);
    assert.deepEqual(
      answers.map(({ status, durationMs }) => [status, durationMs < DEADLINE_MS + SLACK_MS]),
      answers.map(() => [503, true]),
      JSON.stringify(answers),
    );
    assert.deepEqual([await health('live'), await health('ready')], [200, 503]);

    proxy.lightUp();
    await eventually(async () => assert.equal(await health('ready'), 200));
    await Promise.all([() => create(inFlight), ...calls].map((call) => untilAnswered(call, ({ status }) => status)));
    await untilSettled(wix, database, 30_000);
    const again = await Promise.all([wix.create(merchant, inFlight), wix.create(merchant, sale)]);
    assert.deepEqual(disagreements(wix, engine.books, [captured, voided, refunded, ...again]), []);
    const charged = [captured, voided, refunded, ...again].map((payment) =>
      engine.books.charged(payment.pluginTransactionId),
    );
    assert.deepEqual(charged, [AMOUNT, 0n, AMOUNT - 1000n, AMOUNT, AMOUNT]);
    assert.deepEqual(
      connector.lines.filter(({ alert }) => alert === 'uncaught_exception'),
      [],
    );
  });
});
