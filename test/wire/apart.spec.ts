import assert from 'node:assert/strict';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { operationId } from '../../core/ids.ts';
import { PaymentsService, RefundTransactionRequestSchema } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Transaction_State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { approved } from '../engine/outcomes.ts';
import { cardPayment } from '../support/core.ts';
import { eventually } from '../support/eventually.ts';
import { paymentRequest } from '../wix/requests.ts';
import { type Apart, startApart, tokenOf } from './apart.ts';

/** Calls are given up soon, and those of the engine later than Wix's. */
const SOON = { ANSWER_BUDGET_MS: '800', CORE_DEADLINE_MS: '2500', PROCESSOR_TIMEOUT_MS: '3000', DRAIN_MS: '500' };

describe('R1 a gateway whose core is elsewhere', () => {
  let apart: Apart;
  const closing: (() => void)[] = [];
  before(async () => {
    apart = await startApart({ ...SOON, PUBLIC_URL: 'https://pay.harbor.example' });
  });
  afterEach(() => {
    apart.road.open();
    apart.engine.fault = undefined;
    for (const close of closing.splice(0)) close();
  });
  after(() => apart.stop());

  const charged = (payment: { pluginTransactionId: string }) => apart.engine.books.charged(payment.pluginTransactionId);
  const pay = (request = paymentRequest(apart.merchant)) => apart.wix.create(apart.merchant, request);

  /** Wix calls until it has its answer. */
  const payAtLast = (request: ReturnType<typeof paymentRequest>) =>
    eventually(async () => {
      const payment = await pay(request);
      assert.equal(payment.answer.status, 200);
      return payment;
    });

  /** A client of the core itself. */
  function asGateway(carrier: 'gRPC' | 'JSON over HTTP') {
    const interceptors = [withToken(new Secret(tokenOf('gateway')))];
    if (carrier === 'JSON over HTTP') {
      const baseUrl = `http://127.0.0.1:${apart.core.httpPort}`;
      const nodeOptions = { agent: false as const };
      return createClient(
        PaymentsService,
        createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: false, interceptors, nodeOptions }),
      );
    }
    const url = `127.0.0.1:${apart.core.grpcPort}`;
    const transport = createGrpcTransport({ url, interceptors, defaultTimeoutMs: 10_000 });
    closing.push(() => transport.close());
    return createClient(PaymentsService, transport);
  }

  it('charges once over the wire', async () => {
    const payment = await pay();
    assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId });
    assert.equal(charged(payment), 4590n);
  });

  it('answers 503 while the core is dead, and Wix is served once it is back, with nothing restarted here', async () => {
    await apart.core.core.stop();
    const request = paymentRequest(apart.merchant);
    const { answer } = await pay(request);
    assert.deepEqual([answer.status, answer.text], [503, '{}']);
    assert.equal(await ready(), 200);
    await apart.restartCore();
    const payment = await payAtLast(request);
    assert.equal(payment.answer.body?.reasonCode, undefined);
    assert.equal(charged(payment), 4590n);
  });

  it('R36 sends a buyer back to the shop, and has a page while the core is dead and for a link that is none', async () => {
    let token = '';
    apart.engine.fault = (_method, request) => {
      if (request.$typeName !== 'processor.v1.AuthorizeRequest') return undefined;
      token = path.basename(request.returnUrl);
      return { kind: { case: 'buyerAction', value: { url: 'https://pay.harbor.example/3ds/1' } } };
    };
    const { pluginTransactionId } = await pay();
    const [entry] = apart.engine.books.operations(pluginTransactionId);
    apart.engine.settle(entry?.requestId ?? '', approved({}));
    const comeBack = async (by: string) => {
      const response = await fetch(`http://127.0.0.1:${apart.gateway.port}/return/${by}`, { redirect: 'manual' });
      return [response.status, response.headers.get('location')];
    };
    assert.deepEqual(await comeBack('A'.repeat(22)), [404, null]);
    await apart.core.core.stop();
    assert.deepEqual(await comeBack(token), [503, null]);
    await apart.restartCore();
    await eventually(async () =>
      assert.deepEqual(await comeBack(token), [303, 'https://tidepool-ceramics.example/pay/ok?o=81']),
    );
  });

  it('charges once when the core dies between charging and answering', async () => {
    const request = paymentRequest(apart.merchant);
    const id = String(request.wixTransactionId);
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    apart.engine.fault = async (method) => {
      if (method !== 'authorize') return undefined;
      reached.resolve();
      await released.promise;
      return 'drop answer';
    };
    const first = pay(request);
    await reached.promise;
    await apart.core.core.stop(0);
    assert.equal((await first).answer.status, 503);
    released.resolve();
    apart.engine.fault = undefined;
    await apart.restartCore();
    const payment = await payAtLast(request);
    await eventually(async () => {
      const { answer } = await pay(request);
      assert.deepEqual(answer.body, { pluginTransactionId: payment.pluginTransactionId });
    });
    assert.equal(charged(payment), 4590n);
    assert.equal(apart.engine.books.calls(operationId('authorize', id, 'wix', id, 1), 'authorize'), 1);
  });

  it('answers 503 at its deadline while the core is silent, and the repeat is charged once', async () => {
    const request = paymentRequest(apart.merchant);
    apart.road.block();
    const { answer } = await pay(request);
    assert.equal(answer.status, 503);
    apart.road.open();
    const payment = await payAtLast(request);
    assert.equal(payment.answer.body?.reasonCode, undefined);
    assert.equal(charged(payment), 4590n);
  });

  it('R4 hears pending from a core whose engine is slow, and the payment goes on', async () => {
    const released = Promise.withResolvers<void>();
    apart.engine.fault = async (method) => {
      if (method === 'authorize') await released.promise;
      return undefined;
    };
    const request = paymentRequest(apart.merchant);
    const payment = await pay(request);
    assert.equal(payment.answer.body?.reasonCode, 5009);
    released.resolve();
    await eventually(async () => {
      const { answer } = await pay(request);
      assert.deepEqual(answer.body, { pluginTransactionId: payment.pluginTransactionId });
    });
    assert.equal(charged(payment), 4590n);
  });

  it('R3 a caller that hangs up over gRPC changes nothing of a sale', async () => {
    const working = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    apart.engine.fault = async () => {
      working.resolve();
      await released.promise;
      return undefined;
    };
    const { merchantId: externalMerchantId, credentials: values } = apart.merchant;
    const request = cardPayment({ externalMerchantId, merchantCredentials: { values } });
    const caller = new AbortController();
    const call = asGateway('gRPC').createTransaction(request, { signal: caller.signal });
    await working.promise;
    caller.abort();
    await assert.rejects(call, (error) => ConnectError.from(error).code === Code.Canceled);
    released.resolve();
    const key = { case: 'externalId', value: request.externalId } as const;
    const captured = await eventually(async () => {
      const { transaction } = await asGateway('gRPC').getTransaction({ key });
      assert.equal(transaction?.state, Transaction_State.CAPTURED);
      return transaction;
    });
    assert.equal(charged({ pluginTransactionId: captured.id }), 4590n);
  });

  for (const carrier of ['gRPC', 'JSON over HTTP'] as const)
    it(`R3 a caller that hangs up over ${carrier} changes nothing of a refund`, async () => {
      const payment = await pay();
      const working = Promise.withResolvers<void>();
      const released = Promise.withResolvers<void>();
      apart.engine.fault = async (method) => {
        if (method !== 'refund') return undefined;
        working.resolve();
        await released.promise;
        return undefined;
      };
      const caller = new AbortController();
      const request = create(RefundTransactionRequestSchema, {
        externalId: payment.wixTransactionId,
        externalRefundId: crypto.randomUUID(),
        callId: crypto.randomUUID(),
        transactionId: payment.pluginTransactionId,
        amount: 1000n,
        merchantCredentials: { values: apart.merchant.credentials },
      });
      const call = asGateway(carrier).refundTransaction(request, { signal: caller.signal });
      await working.promise;
      caller.abort();
      await assert.rejects(call, (error) => ConnectError.from(error).code === Code.Canceled);
      released.resolve();
      await eventually(() => assert.equal(charged(payment), 3590n));
      const again = await asGateway(carrier).refundTransaction({ ...request, callId: crypto.randomUUID() });
      assert.equal(again.refusal, undefined);
      assert.equal(charged(payment), 3590n);
    });

  async function ready(): Promise<number> {
    return (await fetch(`http://127.0.0.1:${apart.gateway.adminPort}/health/ready`)).status;
  }
});
