import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import { nextAttempt, type Operation } from '../../core/operation.ts';
import type { CoreService } from '../../core/service.ts';

import { EventSchema } from '../../proto/gen/payments/v1/event_pb.js';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { InstructionSchema, type ListOperationsResponse } from '../../proto/gen/processor/v1/processor_pb.js';
import { actAs } from '../../proto/runtime/callers.ts';
import type { Database } from '../../proto/runtime/database.ts';
import type { BusMessage } from '../../proto/runtime/event-bus.ts';
import { expired } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';
import * as kit from './recover-kit.ts';

describe('a ledger that was restored, in trouble', function () {
  this.timeout(60_000);
  // The engine's money moves for another ledger too.
  const stage = useStage({ judge: async () => undefined });
  let messages: BusMessage[];
  /** Refunded twice, told of pending first, and held. */
  let [sale, late, held]: Payment[] = [];
  let [url, db]: [string, Database] = ['', undefined as never];

  before(async () => {
    const { wix, pay } = stage;
    sale = await pay();
    await wix.refund(sale, { amount: 1000 });
    await wix.refund(sale, { amount: 500 });
    late = await pay({ number: '4000000000009235' });
    await stage.told(late, 'transaction');
    await wix.refund(late, { amount: 700 });
    held = await pay({ authorizeOnly: true });
    for (const payment of [sale, late, held]) await stage.settled(payment);
    messages = await kit.messagesOf(stage);
  });
  beforeEach(async () => {
    ({ url, db } = await kit.restore(stage));
  });
  afterEach(() => db.close());

  const recover = (options?: kit.RecoverIn) => kit.recoverIn(stage, url, { from: messages, ...options });
  const idOf = (payment?: Payment) => payment?.pluginTransactionId ?? '';
  const rowsOf = (of: Database) =>
    of.query(
      `select t.id, t.state, t.captured_amount, t.refunded_amount, t.sequence,
         (select json_agg(kind || ' ' || state || ' ' || amount order by id) from operations where transaction_id = t.id) as operations
       from transactions t order by t.id`,
    );
  const moneyOf = async (of: Database, payment?: Payment) => {
    const [row] = await of.query<{ captured: bigint; refunded: bigint; sequence: bigint }>(
      'select captured_amount as captured, refunded_amount as refunded, sequence from transactions where id = $1',
      [idOf(payment)],
    );
    return row && [row.captured, row.refunded, row.sequence];
  };
  const deskOf = ({ routes, interceptors: around }: CoreService) => {
    const interceptors = [...around, actAs({ name: 'desk', role: 'backoffice' })];
    return createClient(PaymentsService, createRouterTransport(routes, { router: { interceptors } }));
  };

  it('is brought back beside a core that runs, while that asks about all that is open', async () => {
    const core = kit.coreOn(stage, url);
    await core.start();
    const { troubles } = await recover({ pauseMs: 2_000 });
    assert.deepEqual(troubles, new Map());
    await eventually(async () => assert.deepEqual(await rowsOf(db), await rowsOf(stage.db)));
    await core.stop(0);
  });

  it('is brought back after a run that was stopped half-way, though cores ran meanwhile', async () => {
    const broken = kit.coreOn(stage, url);
    const stopped = broken.recover({
      ...{ since: new Date(0), isDry: false, accept: false, onProgress: () => undefined },
      readEvents: () => Promise.reject(new Error('Kafka is gone')),
    });
    await assert.rejects(stopped, /Kafka is gone/);
    await broken.stop(0);
    const core = kit.coreOn(stage, url);
    await core.start();
    // Whatever reconciliation would do, it has done by then: what is due by itself is told.
    const other = await stage.wix.pay(stage.merchant);
    await stage.settled(other);
    await core.stop(0);
    const { troubles } = await recover({ from: await kit.messagesOf(stage) });
    assert.deepEqual(troubles, new Map());
    assert.deepEqual(await rowsOf(db), await rowsOf(stage.db));
  });

  it('is not overwritten where somebody else wrote a payment between the look and the write', async () => {
    await recover();
    const before = await rowsOf(db);
    const copies = ['transactions', 'operations', 'outbox'];
    for (const table of copies) await db.query(`create table kept_${table} as table ${table}`);
    await db.query('truncate transactions, operations, outbox, reports cascade');
    await db.query(
      `create function slowly() returns trigger language plpgsql as 'begin perform pg_sleep(1); return new; end'`,
    );
    await db.query(
      'create trigger slowly before insert on transactions for each row when (new.sequence = 0) execute function slowly()',
    );
    const again = recover();
    await eventually(async () => {
      const waiting = await db.query(
        `select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`,
      );
      assert.ok(waiting.length > 0);
    });
    for (const table of copies)
      await db.query(
        `insert into ${table} ${table === 'outbox' ? 'overriding system value' : ''} table kept_${table} on conflict do nothing`,
      );
    const { troubles } = await again;
    assert.deepEqual(troubles, new Map());
    assert.deepEqual(await rowsOf(db), before);
  });

  it('of which earlier events are missing is left, and whole once they come', async () => {
    const first = messages.findIndex(({ key }) => key === idOf(late));
    const { troubles } = await recover({ from: messages.filter((_, i) => i !== first) });
    assert.deepEqual(troubles, new Map([[idOf(late), 'gap']]));
    assert.deepEqual((await recover()).troubles, new Map());
    assert.deepEqual(await moneyOf(db, late), await moneyOf(stage.db, late));
  });

  it('takes nothing that is not signed, and nothing from the engine before that is said to be meant', async () => {
    const forged = messages.map((message) => {
      const event = fromBinary(EventSchema, message.value);
      return { ...message, value: toBinary(EventSchema, { ...event, capturedAmount: 1n }) };
    });
    const strange = await kit.messagesOf(stage, `other:${randomBytes(32).toString('base64')}`);
    for (const from of [forged, strange]) {
      await assert.rejects(
        recover({ from }),
        /messages are no events of ours, or signed with a key that is not in EVENTS_KEY/,
      );
      assert.deepEqual(await db.query('select from outbox'), []);
    }
    assert.equal((await recover({ from: strange, accept: true })).unsigned, strange.length);
    assert.deepEqual((await moneyOf(db, sale))?.slice(0, 2), [4590n, 1500n]);
  });

  for (const batch of [1, 7])
    it(`names merchants whose account or credentials are not known, and has their payments once they are (${batch} at a time)`, async () => {
      await db.query(
        batch === 1 ? 'truncate merchant_accounts cascade' : `update merchant_credentials set mode = 'live'`,
      );
      const { troubles, payments } = await recover({ batch });
      assert.equal(payments, 0);
      assert.deepEqual(new Set(troubles.values()), new Set(['account']));
      assert.deepEqual(await db.query('select from transactions'), []);
    });

  it('names payments that were told of otherwise since', async () => {
    await recover();
    const [row] = await db.query<{ value: Uint8Array }>(
      'select value from outbox where transaction_id = $1 and sequence = 1',
      [idOf(sale)],
    );
    const event = fromBinary(EventSchema, row?.value ?? new Uint8Array());
    const set = (value: Uint8Array) =>
      db.query('update outbox set value = $2 where transaction_id = $1 and sequence = 1', [idOf(sale), value]);
    // At another time is no other story.
    await set(toBinary(EventSchema, { ...event, recordedAt: { ...event.recordedAt!, nanos: 1 } }));
    assert.deepEqual((await recover()).troubles, new Map());
    await set(toBinary(EventSchema, { ...event, capturedAmount: 1n }));
    assert.deepEqual((await recover()).troubles, new Map([[idOf(sale), 'conflict']]));
  });

  it('names a hold that has expired, where no event tells whether it was approved', async () => {
    const core = kit.coreOn(stage, url, {
      spoil: ({ operations }) => {
        for (const listed of operations)
          if (listed.instruction?.transactionId === idOf(held)) listed.outcome = expired('LAPSED', 'The hold ran out');
      },
    });
    const { troubles } = await core.recover({
      ...{ since: new Date(0), readEvents: undefined, isDry: false, accept: false, onProgress: () => undefined },
    });
    await core.stop(0);
    assert.deepEqual(troubles, new Map([[idOf(held), 'expired']]));
  });

  it('goes on past an engine that does not answer, and names what it could not ask about', async () => {
    const ask = () => new ConnectError('', Code.Unavailable);
    const { troubles, open } = await recover({ lists: false, ask });
    assert.deepEqual([troubles, open], [new Map([[idOf(held), 'not asked']]), 0]);
  });

  const listedOf = ({ operations }: ListOperationsResponse, payment?: Payment) =>
    operations.filter(({ instruction }) => instruction?.transactionId === idOf(payment));
  const odd: Record<string, [spoil: (page: ListOperationsResponse) => void, trouble: string]> = {
    'a payment that is no UUID': [
      (page) => {
        for (const { instruction } of listedOf(page, held)) instruction!.transactionId = 'order-4711';
      },
      'unknown order',
    ],
    'an order that is no UUID': [
      (page) => {
        for (const { instruction } of listedOf(page, held)) instruction!.requestId = 'order-4711';
      },
      'unknown order',
    ],
    'no instruction': [
      (page) => {
        for (const listed of listedOf(page, held)) delete listed.instruction;
      },
      'unknown order',
    ],
    'an empty instruction': [
      (page) => {
        for (const listed of listedOf(page, held)) listed.instruction = create(InstructionSchema, {});
      },
      'unknown order',
    ],
    'no record of ours': [
      (page) => {
        for (const { instruction } of listedOf(page, held)) instruction!.ledgerRecord = new Uint8Array();
      },
      'unknown order',
    ],
    "another order's record": [
      (page) => {
        const [other] = listedOf(page, sale);
        for (const { instruction } of listedOf(page, held))
          instruction!.ledgerRecord = other!.instruction!.ledgerRecord;
      },
      'unknown order',
    ],
    'a time that no database takes': [
      (page) => {
        for (const { instruction } of listedOf(page, held)) instruction!.createdAt!.seconds = 10n ** 13n;
      },
      'misfit',
    ],
  };
  for (const [name, [spoil, trouble]] of Object.entries(odd))
    it(`takes the rest of a list that has ${name}`, async () => {
      const { troubles } = await recover({ from: [], spoil });
      assert.deepEqual([...troubles.values()], [trouble]);
      assert.deepEqual((await moneyOf(db, sale))?.slice(0, 2), [4590n, 1500n]);
      assert.equal(await moneyOf(db, held), undefined);
    });

  it('refuses a list without an end', async () => {
    const spoil = (page: ListOperationsResponse) => {
      page.nextPageToken = '0';
    };
    await assert.rejects(recover({ from: [], spoil }), /the same next_page_token twice/);
  });

  it('books a refund that it refused since, though the engine had done it', async () => {
    await recover();
    await db.query(
      `update operations set state = 'declined', reason = 3022, approved_amount = null, processor_reference = '', asked = false
       where transaction_id = $1 and kind = 'refund' and amount = 1000`,
      [idOf(sale)],
    );
    await db.query('update transactions set refunded_amount = refunded_amount - 1000 where id = $1', [idOf(sale)]);
    const { troubles } = await recover({ from: [] });
    assert.deepEqual([...troubles.values()], ['refused']);
    assert.deepEqual((await moneyOf(db, sale))?.slice(0, 2), [4590n, 4590n - stage.charged(sale!)]);
    assert.deepEqual((await recover({ from: [] })).troubles, new Map());
  });

  it('undoes what the engine approved of a payment that was declined at the door since', async () => {
    await db.query(
      `insert into transactions (id, external_id, payment_method, authorize_only, buyer_absent, state, reason, sequence)
       values ($1, $2, 'creditCard', true, false, 'declined', 3041, 1)`,
      [idOf(held), held?.wixTransactionId],
    );
    const { troubles } = await recover({ from: [] });
    assert.deepEqual(troubles, new Map());
    const operations = await db.query('select kind, state from operations where transaction_id = $1 order by kind', [
      idOf(held),
    ]);
    assert.deepEqual(operations, [
      { kind: 'authorize', state: 'failed' },
      { kind: 'reversal', state: 'running' },
    ]);
  });

  it('waits for the end of what was stopped half-way, whoever tells of what is open, and until that is given up', async () => {
    const core = kit.coreOn(stage, url);
    const readEvents = () => Promise.reject(new Error('Kafka is gone'));
    await assert.rejects(
      core.recover({ since: new Date(0), readEvents, isDry: false, accept: false, onProgress: () => undefined }),
    );
    await core.start();
    const interceptors = [...core.interceptors, actAs({ name: 'engine', role: 'engine' })];
    const engine = createClient(PaymentsService, createRouterTransport(core.routes, { router: { interceptors } }));
    const requestId = stage.requestId(held!);
    await engine.reportOutcome({
      requestId,
      outcome: { kind: { case: 'pending', value: { reason: Reason.PENDING_GENERAL } } },
    });
    const hours = async () =>
      (
        await db.query<{ hours: number }>(
          'select (extract(epoch from due_at - now()) / 3600)::integer as hours from operations where id = $1',
          [requestId],
        )
      )[0]?.hours;
    assert.equal(await hours(), 24);
    await core.endRecovery();
    await eventually(async () => assert.deepEqual((await moneyOf(db, held))?.slice(0, 2), [0n, 0n]));
    await eventually(async () => {
      const open = await db.query('select from operations where due_at is not null');
      assert.deepEqual(open, []);
    });
    await core.stop(0);
  });

  it('numbers a further attempt behind those that it has, though earlier ones are missing', () => {
    const third = [{ kind: 'void', attempt: 3 }] as Operation[];
    assert.deepEqual([nextAttempt('void', third), nextAttempt('capture', third)], [4, 1]);
  });

  it('keeps refunds that were lost beside one that was made since', async () => {
    await recover({ from: messages.filter(({ key }) => key === idOf(sale)).slice(0, 1), lists: false });
    const core = kit.coreOn(stage, url);
    await core.start();
    const answer = await deskOf(core).refundTransaction({
      ...{ externalId: sale?.wixTransactionId ?? '', requestKey: randomUUID(), amount: 200n },
    });
    assert.equal(answer.refusal, undefined);
    await core.stop(0);
    const { troubles } = await recover({ batch: 1 });
    assert.deepEqual(troubles, new Map([[idOf(sale), 'conflict']]));
    assert.deepEqual(await moneyOf(db, sale), [4590n, 1700n, 4n]);
  });
});
