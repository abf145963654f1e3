import assert from 'node:assert/strict';
import path from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { ReturnUrlsSchema } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Transaction_State as State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { createEngine, type Engine } from '../engine/engine.ts';
import type { FaultHook, OutcomeInit } from '../engine/fault.ts';
import { approved } from '../engine/outcomes.ts';
import { cardPayment, createTestCore, type TestCore } from '../support/core.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { assertFails } from '../support/stage.ts';

const SHOP = {
  successUrl: 'https://shop.example/ok',
  errorUrl: 'https://shop.example/failed',
  cancelUrl: 'https://shop.example/canceled',
  pendingUrl: 'https://shop.example/waiting',
};
const PAGE: OutcomeInit = { kind: { case: 'buyerAction', value: { url: 'https://pay.harbor.example/3ds/1' } } };
const ENV = {
  PUBLIC_URL: 'https://pay.harbor.example',
  // Nobody asks the engine but for a buyer.
  RECONCILE_GRACE_MS: '600000',
  BUYER_TIMEOUT_MS: '60000',
  ANSWER_BUDGET_MS: '8000',
  PROCESSOR_TIMEOUT_MS: '20000',
};

const onPage = (merchant: Parameters<typeof cardPayment>[0], returnUrls: MessageInitShape<typeof ReturnUrlsSchema>) =>
  cardPayment(merchant, undefined, { returnUrls });

describe('R36 a core, when a buyer comes back', () => {
  let engine: Engine;
  let core: TestCore;
  let other: TestCore;
  /** Tokens by request id, and what the engine is told to do. */
  const tokens = new Map<string, string>();
  let fault: FaultHook | undefined;

  before(async () => {
    engine = createEngine({ data: ':memory:', log: quietLog() });
    engine.fault = (method, request, requestId) => {
      if (request.$typeName === 'processor.v1.AuthorizeRequest')
        tokens.set(requestId, path.basename(request.returnUrl));
      return fault?.(method, request, requestId);
    };
    const url = await freshDatabase();
    core = await createTestCore({ env: ENV, engine, url });
    other = await createTestCore({ env: ENV, engine, url });
  });
  afterEach(() => {
    fault = undefined;
  });
  after(async () => {
    await other.stop();
    await core.stop();
  });

  async function payOnPage(returnUrls: MessageInitShape<typeof ReturnUrlsSchema> = SHOP) {
    fault = (method) => (method === 'authorize' ? PAGE : undefined);
    const merchant = await core.connect();
    const request = onPage(merchant, returnUrls);
    const { transaction } = await core.payments.createTransaction(request);
    assert.equal(transaction?.state, State.AWAITING_BUYER);
    fault = undefined;
    const [operation] = await core.db.query<{ id: string }>('select id from operations where transaction_id = $1', [
      transaction.id,
    ]);
    const requestId = operation?.id ?? '';
    return { merchant, request, transaction, requestId, token: tokens.get(requestId) ?? '' };
  }

  const stateOf = async (value: string) =>
    (await core.payments.getTransaction({ key: { case: 'id', value } })).transaction?.state;

  it('has the engine asked once, whichever cores the same buyer comes to', async () => {
    const { token, transaction } = await payOnPage();
    const released = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    let calls = 0;
    fault = async (method) => {
      if (method !== 'getOperation') return undefined;
      calls += 1;
      reached.resolve();
      await released.promise;
      return approved({});
    };
    const first = core.payments.returnBuyer({ token });
    await reached.promise;
    const others = Array.from({ length: 10 }, (_, i) => (i % 2 ? core : other).payments.returnBuyer({ token }));
    released.resolve();
    for (const { url, transactionId } of await Promise.all([first, ...others]))
      assert.deepEqual([url, transactionId], [SHOP.successUrl, transaction.id]);
    assert.equal(calls, 1);
  });

  it('looks itself when a core that wanted to look did not', async () => {
    const { token, requestId } = await payOnPage();
    engine.settle(requestId, approved({}));
    await core.db.query(`update buyer_links set looked_at = clock_timestamp() - interval '4.7 seconds'`);
    assert.equal((await core.payments.returnBuyer({ token })).url, SHOP.successUrl);
  });

  it('waits for the answer to the call itself while that is still to come', async () => {
    const released = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<string>();
    let calls = 0;
    fault = async (method, _request, requestId) => {
      if (method === 'getOperation') calls += 1;
      if (method !== 'authorize') return undefined;
      reached.resolve(requestId);
      await released.promise;
      return approved({});
    };
    const request = onPage(await core.connect(), SHOP);
    const paying = core.payments.createTransaction(request);
    const token = tokens.get(await reached.promise) ?? '';
    const returning = core.payments.returnBuyer({ token });
    released.resolve();
    assert.equal((await returning).url, SHOP.successUrl);
    assert.equal((await paying).transaction?.state, State.CAPTURED);
    assert.equal(calls, 0);
  });

  it('R3 goes on when the buyer is answered before the engine is, and takes what it says', async () => {
    const { token, transaction } = await payOnPage();
    const released = Promise.withResolvers<void>();
    fault = async (method) => {
      if (method !== 'getOperation') return undefined;
      await released.promise;
      return approved({});
    };
    // The core answers a second before its caller gives up (R4).
    const { url } = await core.payments.returnBuyer({ token }, { timeoutMs: 1_300 });
    assert.equal(url, SHOP.pendingUrl);
    assert.equal(await stateOf(transaction.id), State.AWAITING_BUYER);
    released.resolve();
    await eventually(async () => assert.equal(await stateOf(transaction.id), State.CAPTURED));
  });

  it('answers for payments that were recorded together, each with its own link', async () => {
    fault = (method) => (method === 'authorize' ? PAGE : undefined);
    const merchant = await core.connect();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => {
        const request = onPage(merchant, { pendingUrl: `https://shop.example/${i}` });
        return core.payments.createTransaction(request);
      }),
    );
    fault = undefined;
    for (const [i, { transaction }] of answers.entries()) {
      const rows = await core.db.query<{ id: string }>('select id from operations where transaction_id = $1', [
        transaction?.id,
      ]);
      const token = tokens.get(rows[0]?.id ?? '') ?? '';
      const { url, transactionId } = await core.payments.returnBuyer({ token });
      assert.deepEqual([url, transactionId], [`https://shop.example/${i}`, transaction?.id]);
    }
  });

  it('keeps one link for a payment, however often its create comes, and none for one that is refused', async () => {
    const { request, token, transaction, merchant } = await payOnPage();
    const again = await core.payments.createTransaction({ ...request, returnUrls: create(ReturnUrlsSchema) });
    assert.equal(again.transaction?.redirectUrl, transaction.redirectUrl);
    assert.equal((await core.payments.returnBuyer({ token })).url, SHOP.pendingUrl);
    const refused = await core.payments.createTransaction({ ...cardPayment(merchant), amount: 0n });
    const rows = await core.db.query<{ id: string }>(
      `select transaction_id as id from buyer_links join operations on operations.id = operation_id
       where transaction_id = any ($1::uuid[])`,
      [[transaction.id, refused.transaction?.id]],
    );
    assert.deepEqual(rows, [{ id: transaction.id }]);
  });

  it('errs for a token that cannot be, and for one that nobody was given', async () => {
    for (const token of ['', 'x', 'A'.repeat(21), 'A'.repeat(23), `${'A'.repeat(21)}=`, `${'A'.repeat(21)}\0`])
      await assertFails(core.payments.returnBuyer({ token }), Code.InvalidArgument, 'INVALID_ARGUMENT');
    await assertFails(core.payments.returnBuyer({ token: 'A'.repeat(22) }), Code.NotFound, 'LINK_NOT_FOUND');
  });

  it('takes no create that names a page to which no browser may be sent', async () => {
    const merchant = await core.connect();
    for (const errorUrl of [
      'http://shop.example/',
      'javascript:alert(1)',
      '/failed',
      `https://shop.example/${'x'.repeat(4096)}`,
    ]) {
      const creating = core.payments.createTransaction(onPage(merchant, { errorUrl }));
      await assertFails(creating, Code.InvalidArgument, 'INVALID_ARGUMENT');
    }
  });
});

describe('R20 R36 a core whose engine calls are all in flight', () => {
  it('lets a buyer who comes back ask again, and takes no look for it', async () => {
    const core = await createTestCore({ env: { ...ENV, PROCESSOR_CALLS_MAX: '2' } });
    const tokens: string[] = [];
    const released = Promise.withResolvers<void>();
    let isHeld = false;
    core.engine.fault = async (_method, request) => {
      if (request.$typeName !== 'processor.v1.AuthorizeRequest') return undefined;
      tokens.push(path.basename(request.returnUrl));
      if (isHeld) await released.promise;
      return PAGE;
    };
    const merchants = await Promise.all([core.connect(), core.connect(), core.connect()]);
    const [first, ...others] = merchants.map((merchant) => onPage(merchant, SHOP));
    await core.payments.createTransaction(first!);
    isHeld = true;
    const running = others.map((request) => core.payments.createTransaction(request));
    await eventually(() => assert.equal(tokens.length, 3));
    const [token = ''] = tokens;
    await assertFails(core.payments.returnBuyer({ token }), Code.Unavailable, 'OVERLOADED');
    released.resolve();
    await Promise.all(running);
    assert.equal((await core.payments.returnBuyer({ token })).url, SHOP.pendingUrl);
    await core.stop();
  });
});
