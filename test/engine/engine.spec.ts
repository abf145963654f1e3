import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import type { Outcome } from '../../proto/gen/payments/v1/outcome_pb.js';
import { PaymentsService, type ReportOutcomeRequest } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { hasCode } from './contract-kit.ts';
import { createEngine, type Engine } from './engine.ts';
import { authorizeOrder, captureOrder, refundOrder, requestIdOf, subjectOf } from './orders.ts';
import { reasonOf } from './outcomes.ts';

describe('the simulated engine, within a test', () => {
  let engine: Engine;
  let client: Client<typeof ProcessorService>;

  function restart(options: Partial<Parameters<typeof createEngine>[0]> = {}): void {
    engine = createEngine({ data: ':memory:', log: quietLog(), pendingMs: 30, silenceMs: 20, ...options });
    client = createClient(ProcessorService, createRouterTransport(engine.routes));
    engine.start();
  }
  beforeEach(() => restart());
  afterEach(() => engine.stop());

  const authorize = async (options: Parameters<typeof authorizeOrder>[0]) => {
    const order = authorizeOrder(options);
    return { order, outcome: (await client.authorize(order)).outcome! };
  };
  const get = async (order: Parameters<typeof subjectOf>[0]) =>
    (await client.getOperation({ subject: subjectOf(order) })).result;

  describe('told by a test', () => {
    it('can lose the answer after charging, or refuse before', async () => {
      for (const [fault, charged] of [
        ['drop answer', 100n],
        ['hang', 100n],
        ['unavailable', 0n],
        ['ignore', 0n],
      ] as const) {
        engine.fault = (method) => (method === 'authorize' ? fault : undefined);
        const order = authorizeOrder({ amount: 100n });
        await assert.rejects(client.authorize(order), hasCode(Code.Unavailable));
        assert.equal(engine.books.charged(order.instruction!.transactionId), charged, fault);
        assert.equal((await get(order)).case, charged ? 'outcome' : 'notFound', fault);
      }
    });

    it('stays silent until its caller gives up, and ends silent calls when it stops', async () => {
      await engine.stop();
      restart({ silenceMs: undefined as never });
      engine.fault = () => 'hang';
      await assert.rejects(client.authorize(authorizeOrder(), { timeoutMs: 20 }), hasCode(Code.DeadlineExceeded));
      const silent = assert.rejects(client.authorize(authorizeOrder()), hasCode(Code.Unavailable));
      await eventually(() => assert.equal(engine.books.list().length, 2));
      await engine.stop();
      await silent;
    });

    it('answers any error, doing nothing', async () => {
      engine.fault = () => new ConnectError('no', Code.PermissionDenied);
      await assert.rejects(client.authorize(authorizeOrder()), hasCode(Code.PermissionDenied));
      assert.deepEqual(engine.books.list(), []);
    });

    it('waits for the test before it does anything', async () => {
      const { promise: gate, resolve: open } = Promise.withResolvers<undefined>();
      engine.fault = (method) => (method === 'authorize' ? gate : undefined);
      const order = authorizeOrder();
      const answer = client.authorize(order);
      await eventually(() => assert.equal(engine.books.calls(requestIdOf(order)), 1));
      assert.equal((await get(order)).case, 'notFound');
      assert.equal((await client.cancel({ subject: subjectOf(order) })).result.case, 'ended');
      open(undefined);
      assert.equal((await answer).outcome?.kind.case, 'failed');
    });

    it('moves the money that it is told to, and says so ever after', async () => {
      engine.fault = () => ({ kind: { case: 'approved', value: { amount: 50n } } });
      const { order } = await authorize({ amount: 100n });
      engine.fault = undefined;
      assert.equal(engine.books.charged(order.instruction!.transactionId), 50n);
      const again = (await client.authorize(order)).outcome;
      assert.deepEqual(again, (await get(order)).value);
      assert.equal(again?.kind.case === 'approved' && again.kind.value.amount, 50n);
    });

    it('shows a buyer a page, and ends it as the test says', async () => {
      engine.fault = () => ({ kind: { case: 'buyerAction', value: { url: 'https://pay.example/1' } } });
      const { order, outcome } = await authorize({ authorizeOnly: true });
      engine.fault = undefined;
      assert.equal(outcome.kind.case, 'buyerAction');
      engine.settle(requestIdOf(order), { kind: { case: 'approved', value: {} } });
      assert.equal(reasonOf((await get(order)).value as Outcome), 'approved');
      assert.throws(() => engine.settle(requestIdOf(order), { kind: { case: 'failed', value: {} } }));
      assert.equal(reasonOf((await client.capture(captureOrder(order))).outcome!), 'approved');
    });
  });

  describe('keeping its books', () => {
    it('counts money once, whatever is sent again', async () => {
      const { order } = await authorize({ authorizeOnly: true, amount: 1_000n });
      const { transactionId } = order.instruction!;
      assert.deepEqual(engine.books.totals(), [{ currency: 'EUR', operations: 1, held: 1_000n, taken: 0n }]);
      const capture = captureOrder(order, 800n);
      await client.capture(capture);
      await client.capture(capture);
      await client.refund(refundOrder(order, 300n));
      assert.equal(engine.books.charged(transactionId), 500n);
      assert.deepEqual(engine.books.totals(), [{ currency: 'EUR', operations: 3, held: 0n, taken: 500n }]);
      assert.deepEqual(
        engine.books.operations(transactionId).map(({ kind, taken }) => [kind, taken]),
        [
          ['authorize', 0n],
          ['capture', 800n],
          ['refund', -300n],
        ],
      );
      assert.equal(engine.books.calls(requestIdOf(capture)), 2);
      await client.reverse({ subject: subjectOf(order) });
      assert.equal(engine.books.charged(transactionId), 0n);
    });

    it('decides after a restart what was under review before', async () => {
      const data = mkdtempSync(join(tmpdir(), 'engine-'));
      await engine.stop();
      restart({ data });
      const { order } = await authorize({ number: '4000000000009235' });
      await engine.stop();
      restart({ data });
      await eventually(async () => assert.equal(reasonOf((await get(order)).value as Outcome), 'approved'));
      assert.equal(engine.books.charged(order.instruction!.transactionId), 4_590n);
      rmSync(data, { recursive: true });
    });

    it('holds amounts above 2^53 exactly', async () => {
      const amount = 9_007_199_254_740_993n;
      const { order } = await authorize({ amount });
      assert.equal(engine.books.charged(order.instruction!.transactionId), amount);
    });
  });

  describe('reporting what comes late', () => {
    it('reports an outcome that was pending, again until the core has it, and nothing else', async () => {
      const reports: ReportOutcomeRequest[] = [];
      let failures = 2;
      const core = createRouterTransport(({ rpc }) => {
        rpc(PaymentsService.method.reportOutcome, (request) => {
          if (failures-- > 0) throw new ConnectError('later', Code.Unavailable);
          reports.push(request);
          return {};
        });
      });
      engine.reportTo = createClient(PaymentsService, core);
      await authorize({});
      const { order } = await authorize({ number: '4000000000004954' });
      engine.fault = (method) => (method === 'authorize' ? { kind: { case: 'pending', value: {} } } : undefined);
      const cancelled = await authorize({});
      await client.cancel({ subject: subjectOf(cancelled.order) });
      await eventually(() => assert.equal(reports.length, 1));
      assert.equal(reports[0]?.requestId, requestIdOf(order));
      assert.equal(reasonOf(reports[0]!.outcome!), 5001);
      await eventually(() => assert.deepEqual(engine.books.unreported(), []));
      assert.equal(reports.length, 1);
    });
  });
});
