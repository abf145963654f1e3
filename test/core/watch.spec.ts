import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { PaymentsService, type WatchTransactionResponse } from '../../proto/gen/payments/v1/payments_service_pb.js';
import {
  Operation_Kind as Kind,
  Operation_State as OperationState,
  Transaction_State as State,
} from '../../proto/gen/payments/v1/transaction_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { approved } from '../engine/outcomes.ts';
import { cardPayment, createTestCore, type TestCore } from '../support/core.ts';
import { eventually } from '../support/eventually.ts';
import { assertFails } from '../support/stage.ts';

const TOKEN = 'a-reader-secret-of-the-watchers!';
const UNDECIDED = '4000000000009235';

describe('WatchTransaction', () => {
  let test: TestCore;
  let merchant: Awaited<ReturnType<TestCore['connect']>>;
  const closing: (() => void)[] = [];
  before(async () => {
    test = await createTestCore({ env: { CORE_TOKENS: `desk:reader:${TOKEN}` } });
    merchant = await test.connect();
  });
  afterEach(() => {
    test.engine.fault = undefined;
  });
  after(async () => {
    for (const close of closing) close();
    await test.stop();
  });

  const pay = async (number?: string, more?: Parameters<typeof cardPayment>[2]) =>
    (await test.payments.createTransaction(cardPayment(merchant, number, more))).transaction!;
  const reader = () => test.as({ name: 'desk', role: 'reader' });

  /** What a watcher has seen so far, in words, and how it ended. */
  function follow(watcher: Client<typeof PaymentsService>, externalId: string, signal?: AbortSignal) {
    const seen: string[] = [];
    const options = signal ? { signal } : {};
    const run = async () => {
      for await (const now of watcher.watchTransaction({ key: { case: 'externalId', value: externalId } }, options))
        seen.push(inWords(now));
    };
    return { seen, ended: run() };
  }
  const inWords = ({ transaction, operations }: WatchTransactionResponse) =>
    [
      State[transaction?.state ?? 0],
      ...operations.map(({ kind, state }) => `${Kind[kind]} ${OperationState[state]}`.toLowerCase()),
    ].join(', ');

  const carriers: Readonly<Record<string, () => Client<typeof PaymentsService>>> = {
    'in one process': reader,
    'over HTTP': () => connect(createConnectTransport(overHttp())),
    'over gRPC': () => {
      const url = `127.0.0.1:${test.core.grpcPort()}`;
      const transport = createGrpcTransport({ url, interceptors: token(), defaultTimeoutMs: 5_000 });
      closing.push(transport.close);
      return connect(transport);
    },
  };
  const connect = (transport: Transport) => createClient(PaymentsService, transport);
  const token = () => [withToken(new Secret(TOKEN))];
  const overHttp = () => ({
    baseUrl: `http://127.0.0.1:${test.log.lines.find(({ event }) => event === 'core.started')?.httpPort}`,
    httpVersion: '1.1' as const,
    interceptors: token(),
    nodeOptions: { agent: false as const },
  });

  for (const [way, open] of Object.entries(carriers)) {
    it(`tells the present state first, then every change, and ends when the payment is decided, ${way}`, async () => {
      const { id, externalId } = await pay(UNDECIDED);
      const { seen, ended } = follow(open(), externalId);
      await eventually(() => assert.ok(seen.length > 0));
      await ended;
      assert.ok(['PENDING, authorize waiting', 'CAPTURED, authorize approved'].includes(seen[0] ?? ''));
      assert.equal(seen.at(-1), 'CAPTURED, authorize approved');
      assert.equal(new Set(seen).size, seen.length, 'nothing is told twice');
      assert.ok(id);
    });

    it(`is not found where there is no such payment, ${way}`, () =>
      assertFails(follow(open(), randomUUID()).ended, Code.NotFound, 'TRANSACTION_NOT_FOUND'));
  }

  it('ends at once for a payment that rests: approved, declined or voided', async () => {
    for (const number of ['4242424242424242', '4000000000000002']) {
      const { seen, ended } = follow(reader(), (await pay(number)).externalId);
      await ended;
      assert.equal(seen.length, 1);
    }
  });

  it('follows an authorization to its capture', async () => {
    const { id: transactionId, externalId } = await pay(undefined, { authorizeOnly: true });
    const { seen, ended } = follow(reader(), externalId);
    await eventually(() => assert.deepEqual(seen, ['AUTHORIZED, authorize approved']));
    await test.payments.captureTransaction({
      externalId,
      transactionId,
      callId: randomUUID(),
      amount: 4000n,
      ...merchant,
    });
    await ended;
    assert.equal(seen.at(-1), 'CAPTURED, authorize approved, capture approved');
  });

  it('follows a captured payment while a refund of it is open', async () => {
    const { id: transactionId, externalId } = await pay();
    test.engine.fault = (method) =>
      method === 'refund' ? 'ignore' : method === 'getOperation' ? 'unavailable' : undefined;
    await test.payments
      .refundTransaction({ externalId, externalRefundId: randomUUID(), transactionId, ...merchant })
      .catch(() => undefined);
    const { seen, ended } = follow(reader(), externalId);
    await eventually(() => assert.ok(seen.length > 0));
    const [, refund] = (await reader().getTransaction({ key: { case: 'externalId', value: externalId } })).operations;
    await test
      .as({ name: 'engine', role: 'engine' })
      .reportOutcome({ requestId: refund?.id ?? '', outcome: approved({}) });
    await ended;
    assert.equal(seen.at(-1), 'CAPTURED, authorize approved, refund approved');
  });

  it('ends when its caller goes, and gives its place to others', async () => {
    const { externalId } = await pay(undefined, { authorizeOnly: true });
    const caller = new AbortController();
    const { signal } = caller;
    const reader = (i = 0) => test.as({ name: `desk-${i}`, role: 'reader' });
    const watchers = Array.from({ length: 50 }, (_, i) => follow(reader(i), externalId, signal));
    await eventually(() => assert.ok(watchers.every(({ seen }) => seen.length === 1)));
    // The others take the first answer and ask for no more.
    for (let i = 0; i < 50; i += 1) {
      const request = { key: { case: 'externalId' as const, value: externalId } };
      const { value } = await reader(i).watchTransaction(request, { signal })[Symbol.asyncIterator]().next();
      assert.equal(value.transaction?.externalId, externalId);
    }
    await assertFails(follow(reader(), externalId).ended, Code.ResourceExhausted, 'TOO_MANY_WATCHERS');
    caller.abort();
    const ends = await Promise.allSettled(watchers.map(({ ended }) => ended));
    for (const end of ends)
      assert.ok(end.status === 'rejected' && ConnectError.from(end.reason).code === Code.Canceled);
    const next = new AbortController();
    const others = Array.from({ length: 100 }, (_, i) => follow(reader(i), externalId, next.signal));
    await eventually(() => assert.ok(others.every(({ seen }) => seen.length === 1)));
    next.abort();
    await Promise.allSettled(others.map(({ ended }) => ended));
  });

  it('is ended by a core that stops, which does not wait for it', async () => {
    const other = await createTestCore({ env: { CORE_TOKENS: `desk:reader:${TOKEN}` } });
    const of = await other.connect();
    const { transaction } = await other.payments.createTransaction(cardPayment(of, undefined, { authorizeOnly: true }));
    const url = `127.0.0.1:${other.core.grpcPort()}`;
    const transport = createGrpcTransport({ url, interceptors: token(), defaultTimeoutMs: 5_000 });
    const { seen, ended } = follow(connect(transport), transaction?.externalId ?? '');
    await eventually(() => assert.equal(seen.length, 1));
    const ending = assertFails(ended, Code.Unavailable, 'STOPPING');
    await other.stop();
    await ending;
    transport.close();
  });
});
