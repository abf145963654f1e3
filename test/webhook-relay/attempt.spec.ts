import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import { CredentialsOnFileSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { freshDatabase } from '../support/database.ts';
import { APP_SECRET, KEYS, type Kit, newPayment, openKit } from './relay-kit.ts';
import type { Reply } from './scripted-wix.ts';

describe('an attempt that Wix does not take', () => {
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

  /** The first attempt of what is due; one that gets no answer is not waited for as long as a real one. */
  const attemptOnce = async (reply: Reply) => {
    const deliverer = reply === 'hang' || reply === 'half' ? kit.anotherDeliverer(1000) : kit.deliverer;
    await deliverer.runOnce();
    await deliverer.settled();
  };

  const json = { 'content-type': 'application/json; charset=utf-8' };
  const location = '/payments/v1/provider-platform-events';
  const failures: [what: string, reply: Reply, httpStatus: number | null, error: RegExp][] = [
    ...[201, 302, 400, 401, 403, 404, 409, 429, 500, 503].map((status): (typeof failures)[number] => [
      `status ${status}`,
      { status, headers: { location } },
      status,
      new RegExp(`^event: status ${status}$`),
    ]),
    ['status 204', { status: 204, body: '' }, 204, /^event: status 204$/],
    ['HTML', { headers: { 'content-type': 'text/html' }, body: '<html>ok</html>' }, 200, /^event: not JSON/],
    ['JSON that says it is text', { headers: { 'content-type': 'text/plain' } }, 200, /^event: not JSON/],
    ['broken JSON', { body: '{' }, 200, /^event: not JSON/],
    ['an empty body', { body: '' }, 200, /^event: not JSON/],
    ['JSON above 64 KiB', { body: `{}${' '.repeat(65_536)}` }, 200, /^event: not JSON/],
    ...['null', '[]', '"x"', '7', 'true', '{"message":"no"}', '{"details":{}}', '{"message":null}'].map(
      (body): (typeof failures)[number] => [
        `R53 ${body}`,
        { body },
        200,
        /^event: an answer that does not take the event$/,
      ],
    ),
    ['a reset connection', 'reset', null, /^event: (UND_ERR_SOCKET|ECONNRESET)$/],
    ['no answer within the time-out', 'hang', null, /^event: TimeoutError$/],
    ['half an answer within the time-out', 'half', 200, /^event: TimeoutError$/],
  ];
  for (const [what, reply, httpStatus, error] of failures)
    it(`R29 ${what} is a failure, and the event goes again with a fresh token and the same bytes`, async () => {
      const event = newPayment()('TRANSACTION_DECLINED', { errorCode: 'ACQ-51', errorMessage: 'Not sufficient funds' });
      kit.wix.answerEvent(() => reply);
      await kit.receive(event);
      await attemptOnce(reply);
      assert.deepEqual(await kit.states(event), ['1:waiting']);
      kit.wix.answerEvent(() => ({ headers: json }));
      await kit.makeDue();
      await kit.deliver();
      assert.deepEqual(await kit.states(event), ['1:delivered']);
      const [first, second, ...more] = await kit.attemptsOf(event);
      assert.match(first?.error ?? '', error);
      assert.deepEqual([first?.http_status, first?.retry_ms], [httpStatus, 2000]);
      assert.deepEqual([second?.number, second?.http_status, second?.error, more], [2, 200, null, []]);
      assert.equal(kit.wix.tokenRequests.length, 2);
      assert.equal(kit.wix.events.length, 2);
      assert.equal(kit.wix.events[0]?.body, kit.wix.events[1]?.body);
    });

  it('R53 an object with other members takes the event', async () => {
    const event = newPayment()('TRANSACTION_APPROVED');
    kit.wix.answerEvent(() => ({ body: '{"eventId":"1","messageId":"2"}' }));
    await kit.receive(event);
    await kit.deliver();
    assert.deepEqual(await kit.states(event), ['1:delivered']);
  });

  const tokenFailures: [what: string, reply: Reply][] = [
    ['status 403', { status: 403 }],
    ['a redirect', { status: 307, headers: { location: '/oauth/access' } }],
    ['HTML', { headers: { 'content-type': 'text/html' }, body: '{"access_token":"secret-token"}' }],
    ['no token', { body: '{"access_token":null}' }],
    ['a token that no header can carry', { body: '{"access_token":"secret-token\\r\\n"}' }],
    ['a reset connection', 'reset'],
    ['no answer within the time-out', 'hang'],
  ];
  for (const [what, reply] of tokenFailures)
    it(`R29 ${what} in answer to the token request is a failure, and no event is sent`, async () => {
      const event = newPayment()('TRANSACTION_APPROVED');
      kit.wix.answerToken(() => reply);
      await kit.receive(event);
      await attemptOnce(reply);
      assert.equal(kit.wix.events.length, 0);
      const [attempt] = await kit.attemptsOf(event);
      assert.match(attempt?.error ?? '', /^token: /);
      assert.doesNotMatch(JSON.stringify([attempt, kit.log.lines]), /secret-token/);
    });

  it('R29 does not follow a redirect', async () => {
    kit.wix.answerEvent(() => ({ status: 302, headers: { location: '/elsewhere' } }));
    await kit.receive(newPayment()('TRANSACTION_APPROVED'));
    await kit.deliver();
    assert.equal(kit.wix.events.length, 1);
  });

  it('R29 honours Retry-After in seconds and as a date, up to six hours', async () => {
    const waits: [header: string, ms: number][] = [
      ['120', 120_000],
      ['Tue, 24 Nov 2026 10:10:00 GMT', 600_000],
      ['999999', 21_600_000],
      ['0', 2000],
      ['soon', 2000],
    ];
    for (const [header, ms] of waits) {
      const event = newPayment()('TRANSACTION_APPROVED');
      const headers = { 'retry-after': header, date: 'Tue, 24 Nov 2026 10:00:00 GMT' };
      kit.wix.answerEvent(() => ({ status: 429, headers }));
      await kit.receive(event);
      await kit.deliver();
      assert.equal((await kit.attemptsOf(event))[0]?.retry_ms, ms, header);
    }
  });

  it('R20 R29 keeps 2 KiB of the answer, without card numbers and without what was sent as a secret', async () => {
    const event = newPayment()('TRANSACTION_APPROVED');
    kit.wix.answerEvent(({ headers }) => ({
      status: 400,
      body: `4111 1111 1111 1111 ${headers.authorization} \0 ${'é'.repeat(9000)}`,
    }));
    await kit.receive(event);
    await kit.deliver();
    const [{ answer } = { answer: '' }] = await kit.attemptsOf(event);
    assert.equal(answer.length, 2048);
    assert.ok(answer.startsWith('[card number] [redacted]  é'), answer.slice(0, 60));
    kit.wix.answerToken(() => ({ status: 400, body: `bad secret ${APP_SECRET}` }));
    await kit.makeDue();
    await kit.deliver();
    assert.equal((await kit.attemptsOf(event))[1]?.answer, 'bad secret [redacted]');
    assert.doesNotMatch(JSON.stringify(kit.log.lines), new RegExp(APP_SECRET));
  });

  it('R29 is stuck after three days: one alert, then an attempt every six hours until it is delivered', async () => {
    const event = newPayment()('TRANSACTION_APPROVED');
    kit.wix.answerEvent(() => ({ status: 500 }));
    await kit.receive(event);
    await kit.deliver();
    const alerts = () => kit.alerts().filter((name) => name === 'delivery_stuck').length;
    const age = (text: string) => kit.db.query(`update deliveries set first_attempt_at = now() - $1::interval`, [text]);
    await age('2 days 23 hours');
    await kit.makeDue();
    await kit.deliver();
    assert.equal(alerts(), 0);
    await age('3 days');
    for (let i = 0; i < 3; i++) {
      await kit.makeDue();
      await kit.deliver();
    }
    assert.equal(alerts(), 1);
    assert.equal((await kit.attemptsOf(event)).at(-1)?.retry_ms, 6 * 3600 * 1000);
    kit.wix.answerEvent(() => ({}));
    await kit.makeDue();
    await kit.deliver();
    assert.deepEqual(await kit.states(event), ['1:delivered']);
  });

  it('U7 is stuck sooner where that is set', async () => {
    const event = newPayment()('TRANSACTION_APPROVED');
    kit.wix.answerEvent(() => ({ status: 500 }));
    await kit.receive(event);
    await kit.deliver();
    await kit.db.query(`update deliveries set first_attempt_at = now() - interval '2 hours'`);
    await kit.makeDue();
    const impatient = kit.anotherDeliverer(undefined, undefined, 3_600_000);
    await impatient.runOnce();
    await impatient.settled();
    assert.equal((await kit.attemptsOf(event)).at(-1)?.retry_ms, 6 * 3600 * 1000);
    assert.ok(kit.alerts().includes('delivery_stuck'));
  });

  it('one that fails holds up no other payment', async () => {
    const [bad, good] = [newPayment()('TRANSACTION_APPROVED'), newPayment()];
    kit.wix.answerEvent(({ wixTransactionId }) => (wixTransactionId === bad.externalId ? { status: 400 } : {}));
    const approved = good('TRANSACTION_APPROVED');
    await kit.receive(bad, approved, good('CAPTURE_SUCCEEDED'));
    await kit.deliver();
    assert.deepEqual(kit.toldOf(approved), ['transaction', 'capture']);
  });

  it('R29 probes one payment at a time once ten payments failed, then makes everything due and doubles', async () => {
    const events = Array.from({ length: 30 }, () => newPayment()('TRANSACTION_APPROVED'));
    kit.wix.answerEvent(() => ({ status: 503, headers: { 'retry-after': '3600' } }));
    await kit.receive(...events);
    const round = async () => {
      const claimed = await kit.deliverer.runOnce();
      await kit.deliverer.settled();
      return claimed;
    };
    assert.deepEqual([await round(), await round(), await round(), await round()], [8, 8, 1, 1]);
    assert.deepEqual(kit.alerts(), ['wix_unreachable']);
    const due = async () => {
      const [row] = await kit.db.query<{ due: number }>(
        'select count(*)::integer as due from transactions where next_attempt_at <= now()',
      );
      return row!.due;
    };
    assert.equal(await due(), 12);
    kit.wix.answerEvent(() => ({}));
    assert.equal(await round(), 1);
    assert.equal(await due(), 29);
    await kit.db.query(`update transactions set next_attempt_at = now() - interval '1 hour' where retrying`);
    assert.deepEqual([await round(), await round(), await round(), await round()], [1, 2, 4, 8]);
    await kit.deliver();
    assert.equal(await due(), 0);
    const told = (from: number, to: number) =>
      kit.wix.events.slice(from, to).map(({ wixTransactionId }) => wixTransactionId);
    const retried = new Set(told(0, 18));
    // Eight of the twelve that were never tried go alone, the other four among the eight that go at once.
    assert.deepEqual(
      told(18, 26).filter((id) => retried.has(id)),
      [],
      'first attempts go before retries',
    );
    assert.equal(new Set(told(0, 34)).size, 30, 'first attempts go before retries');
  });

  it('R28 seals a body with credentials on file at rest, tells it as it is, and leaves no trace of it in answers and logs', async () => {
    const next = newPayment();
    const first = next('TRANSACTION_APPROVED');
    const credentials = create(CredentialsOnFileSchema, {
      info: { case: 'paymentMethodReference', value: { token: 'hp_pm_77ab' } },
    });
    const event = {
      ...first,
      sealedCredentialsOnFile: KEYS.seal(toBinary(CredentialsOnFileSchema, credentials), first.transactionId),
    };
    kit.wix.answerEvent(({ body }) => (kit.wix.events.length < 3 ? { status: 400, body } : {}));
    await kit.receive(event);
    for (let i = 0; i < 3; i++) {
      await kit.makeDue();
      await kit.deliver();
    }
    assert.equal(new Set(kit.wix.events.map(({ body }) => body)).size, 1);
    assert.match(kit.wix.events[0]!.body, /"token":"hp_pm_77ab"/);
    const rows = await kit.db.query<{ body: Buffer; sealed_with: string }>('select body, sealed_with from deliveries');
    assert.equal(rows[0]?.sealed_with, 'k1');
    assert.ok(!rows[0]?.body.toString('latin1').includes('hp_pm_77ab'));
    assert.doesNotMatch(JSON.stringify([await kit.attemptsOf(event), kit.log.lines]), /hp_pm_77ab/);
  });
});
