import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import path from 'node:path';
import { promisify } from 'node:util';
import { fromJsonString } from '@bufbuild/protobuf';
import { Code, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { describe, it } from 'mocha';
import {
  ExplainTransactionResponseSchema,
  PaymentsService,
  Report_Kind,
} from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Operation_Kind as Kind } from '../../proto/gen/payments/v1/transaction_pb.js';
import { DeliveriesService, Delivery_State as State } from '../../proto/gen/relay/v1/deliveries_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { approved, declined } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { assertFails, LOSSY, useStage } from '../support/stage.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const newToken = () => randomBytes(32).toString('hex');
const [operator, reader, stranger] = [newToken(), newToken(), newToken()];
const BOTH = `ann:operator:${operator},bob:reader:${reader}`;

describe('who asks what about a payment', () => {
  const stage = useStage({
    env: { ...LOSSY, CORE_TOKENS: `${BOTH},eve:reader:${stranger}`, RELAY_TOKENS: BOTH },
  });
  const at = (token: string) =>
    createConnectTransport({
      ...{ baseUrl: stage.coreUrl, httpVersion: '1.1', nodeOptions: { agent: false } },
      interceptors: [withToken(new Secret(token))],
    });
  const explain = (id: string, token = reader) => createClient(PaymentsService, at(token)).explainTransaction({ id });
  const deliveries = (token: string) => createClient(DeliveriesService, at(token));
  const command = (...args: string[]) =>
    promisify(execFile)(process.execPath, [path.join(ROOT, 'ops/explain.ts'), ...args], {
      env: { DATABASE_URL: stage.url, PATH: process.env.PATH, TZ: 'UTC' },
    });

  it('hears the same by any id of it: ours, Wix’s, a refund’s, or a request id', async () => {
    const payment = await stage.pay();
    const wixRefundId = randomUUID();
    await stage.wix.refund(payment, { wixRefundId, amount: 1000 });
    await stage.settled(payment);
    const { pluginTransactionId, wixTransactionId } = payment;
    for (const id of [wixTransactionId, pluginTransactionId, wixRefundId, stage.requestId(payment)]) {
      const { transaction, operations, events, summary, relayProblem } = await explain(id);
      assert.equal(transaction?.id, pluginTransactionId, id);
      assert.deepEqual(
        operations.map(({ operation }) => operation && Kind[operation.kind]),
        ['AUTHORIZE', 'REFUND'],
      );
      assert.equal(relayProblem, '');
      assert.ok(events.every(({ delivery }) => delivery?.delivery?.state === State.DELIVERED));
      assert.ok(events.every(({ delivery }) => delivery?.body.includes(wixTransactionId)));
      assert.match(summary, /^Captured on [^ ]+\. Wix was told of refund_succeeded on [^ ]+\.$/);
    }
  });

  it('hears of one that is not known that it is not, and of no id that it is missing', async () => {
    await assertFails(explain(randomUUID()), Code.NotFound, 'TRANSACTION_NOT_FOUND');
    for (const id of ['', 'x'.repeat(201), 'nul \0'])
      await assertFails(explain(id), Code.InvalidArgument, 'INVALID_ARGUMENT');
  });

  it('hears why it is undecided, and when the engine is asked next', async () => {
    stage.always('getOperation', 'drop answer');
    stage.once('authorize', 'drop answer');
    const payment = await stage.pay();
    await eventually(async () => {
      const { summary, operations } = await explain(payment.wixTransactionId);
      assert.match(
        summary,
        /^Pending since [^ ]+: the engine's answer was lost, asked \d+ times, next at [^ ]+\. Wix was told of transaction_pending/,
      );
      assert.ok(operations[0]?.asks && operations[0].nextAt);
    });
    stage.heal();
    await stage.told(payment, 'transaction');
  });

  it('hears of the whole of many events that Wix has been told', async () => {
    const payment = await stage.pay();
    for (let i = 0; i < 55; i++) await stage.wix.refund(payment, { amount: 1 });
    await stage.settled(payment);
    const { summary, events } = await explain(payment.wixTransactionId);
    assert.match(summary, /Wix was told of refund_succeeded on/);
    assert.ok(events.every(({ delivery }) => delivery?.delivery?.state === State.DELIVERED));
    assert.equal(events.filter(({ delivery }) => delivery?.attempts.length === 1).length, 50);
  });

  it('hears what Wix said to an event that it does not take', async () => {
    const heal = stage.wix.fail({ status: 500, body: 'out of order' });
    const payment = await stage.pay();
    await eventually(async () => {
      const { summary, events } = await explain(payment.wixTransactionId);
      assert.match(
        summary,
        /Wix has not taken transaction_approved: HTTP 500, .*, tried (once|\d times), next at [^ ]+\.$/,
      );
      assert.equal(events[0]?.delivery?.attempts[0]?.answer, 'out of order');
    });
    heal();
    const { payments } = await deliveries(operator).redriveDeliveries({
      selection: { transactionId: payment.pluginTransactionId },
      reason: 'Wix is well again',
    });
    assert.ok(payments <= 1);
    await stage.told(payment, 'transaction');
    const { decisions = [] } = (await explain(payment.wixTransactionId)).events[0]?.delivery ?? {};
    assert.deepEqual(decisions, []);
  });

  it('hears what only an operator can settle, and what an operator decided', async () => {
    stage.once('authorize', approved({ amount: 9_999n }));
    const payment = await stage.pay();
    assert.match((await explain(payment.wixTransactionId)).summary, /an operator has to settle it/);
    await stage.report(payment, 'authorize', declined([3002, 'NO', 'No']), 'the engine’s people say so');
    const { reports } = await explain(payment.wixTransactionId);
    assert.deepEqual(
      reports.map(({ kind, reason }) => [Report_Kind[kind], reason]),
      [['OVERRIDE', 'the engine’s people say so']],
    );
    await stage.told(payment, 'transaction', 3002);
  });

  describe('at the core’s own port', () => {
    it('R33 sees deliveries with a token that the relay knows, decides as an operator, and under that name', async () => {
      const payment = await stage.pay();
      await stage.settled(payment);
      const selection = { transactionId: payment.pluginTransactionId };
      const seen = await deliveries(reader).listDeliveries({ selection });
      assert.equal(seen.deliveries.length, 1);
      const reason = 'a test';
      await assertFails(deliveries(reader).pauseDeliveries({ reason }), Code.PermissionDenied, 'ROLE_NOT_ALLOWED');
      const { decision } = await deliveries(operator).pauseDeliveries({ reason });
      assert.equal(decision?.caller, 'ann');
      await deliveries(operator).resumeDeliveries({ reason });
    });

    it('R33 sees none of them with a token that the relay does not know, and the payment all the same', async () => {
      const payment = await stage.pay();
      await stage.settled(payment);
      await assertFails(deliveries(stranger).listDeliveries({}), Code.Unauthenticated, 'TOKEN_INVALID');
      const { relayProblem, transaction, events } = await explain(payment.wixTransactionId, stranger);
      assert.equal(relayProblem, 'the webhook-relay does not let this token look');
      assert.equal(transaction?.id, payment.pluginTransactionId);
      assert.ok(events.every(({ delivery }) => delivery === undefined));
    });

    it('R33 is told by the relay what is wrong with a call', () =>
      assertFails(deliveries(operator).getDelivery({ eventId: 'none' }), Code.InvalidArgument, 'INVALID_ARGUMENT'));
  });

  describe('in a terminal', () => {
    it('reads the whole life on one screen, without colours where there is no terminal', async () => {
      const payment = await stage.pay();
      await stage.wix.refund(payment, { amount: 1000 });
      await stage.settled(payment);
      const { stdout } = await command(payment.wixTransactionId);
      for (const part of [
        /^Captured on \d\d:\d\d:\d\d \(\d+ s ago\)\. Wix was told of refund_succeeded on/,
        `payment  ${payment.pluginTransactionId}`,
        'captured 45.90 EUR, refunded 10.00 EUR',
        `request id ${stage.requestId(payment)}, by wix`,
        /attempt 1 .*: HTTP 200 in \d+ ms/,
        '{"event":{"refund":{',
      ])
        assert.ok(typeof part === 'string' ? stdout.includes(part) : part.test(stdout), `${part}\n${stdout}`);
      assert.ok(!stdout.includes('\x1b'));
    });

    it('reads no escape sequence, end of line or other direction that somebody sent', async () => {
      const heal = stage.wix.fail({ status: 500, body: '\x1b[2J\x1b]52;c;cm0=\x07gone\r\n  9 refund_succeeded\u202e' });
      const payment = await stage.pay();
      await eventually(async () => {
        const { stdout } = await command(payment.wixTransactionId);
        assert.ok(stdout.includes('\\u001b[2J'), stdout);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them is to be there.
        assert.doesNotMatch(stdout, /[\x00-\x09\x0b-\x1f\u202e]|^ {2}9 refund/m);
      });
      heal();
    });

    it('reads it as data with --json', async () => {
      const payment = await stage.pay();
      await stage.settled(payment);
      const { stdout } = await command(payment.wixTransactionId, '--json');
      const { transaction } = fromJsonString(ExplainTransactionResponseSchema, stdout);
      assert.equal(transaction?.externalId, payment.wixTransactionId);
    });

    it('is told in one line what is wrong', async () => {
      for (const [args, code, line] of [
        [[], 2, /^explain: an argument is missing \(see explain --help\)\n$/],
        [['unheard-of'], 1, /^explain: no payment, refund or request has the id unheard-of\n$/],
        [
          ['x', '--data', '/nowhere'],
          1,
          /^explain: no PostgreSQL that this user may use runs in \/nowhere: start what uses it\n$/,
        ],
      ] as const)
        await assert.rejects(command(...args), (error: { code: number; stderr: string }) => {
          assert.deepEqual([error.code, line.test(error.stderr)], [code, true], error.stderr);
          return true;
        });
    });
  });
});
