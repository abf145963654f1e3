import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createClient, createRouterTransport } from '@connectrpc/connect';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { actAs } from '../../proto/runtime/callers.ts';
import type { Database } from '../../proto/runtime/database.ts';
import type { BusMessage } from '../../proto/runtime/event-bus.ts';
import { failed } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';
import * as kit from './recover-kit.ts';

// A ledger that lost everything but its merchants, brought back from the events and from the engine, beside the one that lost nothing.

describe('a ledger that was restored', function () {
  this.timeout(60_000);
  // The engine's money moves for another ledger too.
  const stage = useStage({ judge: async () => undefined });
  let payments: Record<string, Payment>;
  let messages: BusMessage[];
  const deskKey = randomUUID();

  before(async () => {
    const { wix, pay } = stage;
    const sale = await pay();
    await wix.refund(sale, { amount: 1000 });
    await stage.as('desk', 'backoffice').refundTransaction({
      ...{ externalId: sale.wixTransactionId, requestKey: deskKey, amount: 500n },
    });
    const returned = await pay();
    await wix.refund(returned, { amount: 700 });
    await stage.report(returned, 'refund', failed('RETURNED', 'The account is closed'));
    const captured = await pay({ authorizeOnly: true });
    await wix.capture(captured);
    const voided = await pay({ authorizeOnly: true });
    await wix.void(voided);
    const notVoided = await pay({ authorizeOnly: true, number: '4000000000060014' });
    await wix.void(notVoided);
    const held = await pay({ authorizeOnly: true });
    const declined = await pay({ number: '4000000000009995' });
    const notRefunded = await pay({ number: '4000000000005126' });
    await wix.refund(notRefunded, { amount: 300 });
    const onFile = await pay({ setup: true });
    const reviewed = await pay({ number: '4000000000009235' });
    await stage.told(reviewed, 'transaction');
    stage.always('authorize', 'drop answer');
    stage.always('getOperation', failed('LOST', 'No such order'));
    const late = await pay();
    await stage.told(late, 'transaction', 1003);
    stage.heal();
    await stage.report(late, 'authorize', stage.engine.books.find(stage.requestId(late))?.outcome ?? assert.fail());
    await eventually(async () => assert.equal((await stage.happened(late)).at(-1), 'transaction_reversed'));
    payments = {
      ...{ sale, returned, captured, voided, notVoided, held, declined, notRefunded, onFile, reviewed, late },
    };
    for (const payment of Object.values(payments)) await stage.settled(payment);
    messages = await kit.messagesOf(stage);
  });

  const restore = () => kit.restore(stage);
  const recoverIn = (url: string, options?: kit.RecoverIn) => kit.recoverIn(stage, url, options);

  /** What the rows of payments and their operations say; times, and what only the first sight of an outcome tells, aside. */
  async function ledger(db: Database, without: readonly string[] = []) {
    const left = (row: Record<string, unknown>) =>
      Object.fromEntries(Object.entries(row).filter(([name]) => !without.includes(name)));
    const transactions = await db.query<Record<string, unknown>>(
      `select to_jsonb(t) - array['created_at', 'updated_at', 'redirect_url', 'credentials_on_file'] as row from transactions t order by id`,
    );
    const operations = await db.query<Record<string, unknown>>(
      `select to_jsonb(o) - array['created_at', 'changed_at', 'finished_at', 'due_at', 'asked', 'asks', 'expires_at', 'processed_at'] as row
       from operations o order by id`,
    );
    // What an undone approval amounted to, and whether a refusal was the engine's or ours, no event tells.
    for (const { row } of operations as { row: Record<string, unknown> }[]) {
      if (row.kind === 'reversal') row.approved_amount = null;
      if (row.state === 'failed') row.state = 'declined';
    }
    const rows = (list: Record<string, unknown>[]) => list.map(({ row }) => left(row as Record<string, unknown>));
    return { transactions: rows(transactions), operations: rows(operations) };
  }
  const events = (db: Database) =>
    db.query(
      'select event_id, transaction_id, sequence, type, md5(value) from outbox order by transaction_id, sequence',
    );
  /** What events do not tell. */
  const UNTOLD = [
    ...['requested_last_four', 'set_up_asked', 'card_bin', 'card_last_four', 'call_id', 'why', 'caller', 'key'],
    ...['authorization_code', 'network_transaction_id', 'processor_reference'],
  ];

  it('has every payment, operation and event again, as they were', async () => {
    const { url, db } = await restore();
    const recovered = await recoverIn(url);
    assert.deepEqual(recovered.troubles, new Map());
    assert.deepEqual(await events(db), await events(stage.db));
    assert.deepEqual(await ledger(db), await ledger(stage.db));
    await db.close();
  });

  it('has them from the events alone, where the engine lists nothing', async () => {
    const { url, db } = await restore();
    const recovered = await recoverIn(url, { lists: false });
    assert.deepEqual([recovered.engineLists, recovered.troubles], [false, new Map()]);
    assert.deepEqual(await events(db), await events(stage.db));
    assert.deepEqual(await ledger(db, UNTOLD), await ledger(stage.db, UNTOLD));
    await db.close();
  });

  it('has the money of all payments from the engine alone, where there are no events', async () => {
    const { url, db } = await restore();
    const recovered = await recoverIn(url, { from: [] });
    assert.deepEqual(recovered.troubles, new Map());
    const money = (of: Database) =>
      of.query(
        `select id, state, authorized_amount, captured_amount, refunded_amount from transactions
         where exists (select from operations where transaction_id = transactions.id and kind = 'authorize') and id <> $1 order by id`,
        // Of its refund that came back, the engine itself never heard.
        [payments.returned?.pluginTransactionId],
      );
    const here = await money(db);
    assert.deepEqual(here, await money(stage.db));
    assert.ok(here.length >= 9);
    await db.close();
  });

  it('is the same however often it is brought back, and after half of it', async () => {
    const { url, db } = await restore();
    await recoverIn(url, { from: messages.slice(0, messages.length / 2), lists: false });
    await recoverIn(url);
    const once = [await ledger(db), await events(db)];
    const again = await recoverIn(url);
    assert.deepEqual([again.payments, again.operations, again.events, again.answers], [0, 0, 0, 0]);
    assert.deepEqual([await ledger(db), await events(db)], once);
    assert.deepEqual(await events(db), await events(stage.db));
    await db.close();
  });

  it('says what it would bring back, and stays empty, in a dry run', async () => {
    const { url, db } = await restore();
    const dry = await recoverIn(url, { isDry: true });
    assert.deepEqual(await events(db), []);
    assert.deepEqual(await ledger(db), { transactions: [], operations: [] });
    const real = await recoverIn(url);
    assert.deepEqual([dry.payments, dry.events, dry.messages], [real.payments, real.events, real.messages]);
    assert.deepEqual(dry.troubles, real.troubles);
    await db.close();
  });

  it('refunds a payment that it had lost, and knows a refund of the PSP again by its key', async () => {
    const { url, db } = await restore();
    await recoverIn(url, { lists: false });
    const core = kit.coreOn(stage, url);
    await core.start();
    const interceptors = [...core.interceptors, actAs({ name: 'desk', role: 'backoffice' })];
    const desk = createClient(PaymentsService, createRouterTransport(core.routes, { router: { interceptors } }));
    const { sale } = payments;
    const refund = (requestKey: string, amount: bigint) =>
      desk.refundTransaction({ externalId: sale?.wixTransactionId ?? '', requestKey, amount });
    const charged = stage.charged(sale!);
    const again = await refund(deskKey, 500n);
    assert.deepEqual([again.operation?.amount, again.refusal], [500n, undefined]);
    assert.equal(stage.charged(sale!), charged);
    const another = await refund(randomUUID(), 200n);
    assert.deepEqual([another.operation?.amount, another.refusal], [200n, undefined]);
    assert.equal(stage.charged(sale!), charged - 200n);
    await core.stop(0);
    await db.close();
  });
});
