import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { type Event, type Event_Type, EventSchema } from '../../proto/gen/payments/v1/event_pb.js';
import type { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import { CredentialsOnFileSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { createDatabase } from '../../proto/runtime/database.ts';
import { signMessage } from '../../proto/runtime/event-bus.ts';
import { registry } from '../../proto/runtime/metrics.ts';
import { createKeyRing } from '../../proto/runtime/seal.ts';
import { createReceiver } from '../../webhook-relay/receive.ts';
import { sweep } from '../../webhook-relay/sweep.ts';
import { freshDatabase } from '../support/database.ts';
import { KEYS, KEYS_TEXT, type Kit, messageOf, newPayment, openKit } from './relay-kit.ts';

const NEW_KEY = `k2:${Buffer.alloc(32, 'key 2').toString('base64')}`;

describe('receiving events', () => {
  let kit: Kit;
  before(async () => {
    kit = await openKit(await freshDatabase());
  });
  after(() => kit.close());

  it('R6 makes an event due EVENT_DELAY_MS after its receipt', async () => {
    const event = newPayment()('TRANSACTION_APPROVED');
    const receiver = createReceiver({ db: kit.db, keys: KEYS, log: kit.log, delayMs: 60_000 });
    await receiver.receive([messageOf(event)]);
    const [row] = await kit.db.query<{ ms: number }>(
      `select extract(epoch from next_attempt_at - received_at)::float8 * 1000 as ms
       from transactions join deliveries using (transaction_id) where event_id = $1`,
      [event.id],
    );
    assert.equal(row?.ms, 60_000);
    await kit.deliver();
    assert.deepEqual(kit.toldOf(event), []);
  });

  it('R26 drops an event id seen before, and what lies at or below the cursor', async () => {
    const next = newPayment();
    const [approved, captured] = [next('TRANSACTION_APPROVED'), next('CAPTURE_SUCCEEDED')];
    await kit.receive(approved, captured, approved);
    await kit.receive(captured);
    await kit.deliver();
    await kit.receive(approved, captured, { ...approved, id: randomUUID() });
    await kit.deliver();
    assert.deepEqual(kit.toldOf(approved), ['transaction', 'capture']);
    assert.deepEqual(await kit.states(approved), ['1:delivered', '2:delivered']);
  });

  it('R26 R28 drops a copy of what was told, also while the cursor lies below it and whatever the copy says', async () => {
    const next = newPayment();
    const [refused, pending] = [next('REFUND_FAILED'), next('TRANSACTION_PENDING')];
    await kit.receive(refused, pending);
    await kit.deliver();
    await kit.receive(refused, { ...pending, reason: Reason.PENDING_FRAUDULENT_TRANSACTION });
    await kit.deliver();
    assert.deepEqual(kit.toldOf(pending), ['transaction 5009']);
    assert.deepEqual(await kit.states(pending), ['1:waiting', '2:delivered']);
  });

  it('R30 drops an old batch that a publisher sends again after newer ones', async () => {
    const next = newPayment();
    const events = [next('TRANSACTION_PENDING'), next('TRANSACTION_DECLINED')];
    await kit.receive(events[0]!);
    await kit.deliver();
    await kit.receive(events[1]!);
    await kit.deliver();
    await kit.receive(...events);
    await kit.deliver();
    assert.deepEqual(await kit.states(events[0]!), ['1:delivered', '2:delivered']);
    assert.equal(kit.toldOf(events[0]!).length, 2);
  });

  it('R26 keeps one delivery of an event that two receivers take at once', async () => {
    const events = Array.from({ length: 20 }, () => newPayment()('TRANSACTION_APPROVED'));
    await Promise.all([kit.receive(...events), kit.receive(...events.toReversed()), kit.receive(...events)]);
    for (const event of events) assert.deepEqual(await kit.states(event), ['1:waiting']);
    await kit.deliver();
    for (const event of events) assert.deepEqual(kit.toldOf(event), ['transaction']);
  });

  it('R26 holds the second of two events with one sequence, alerts, and tells Wix of neither', async () => {
    const next = newPayment();
    const approved = next('TRANSACTION_APPROVED');
    await kit.receive(approved, { ...approved, id: randomUUID() }, next('CAPTURE_SUCCEEDED'));
    await kit.deliver();
    assert.deepEqual(await kit.states(approved), ['1:waiting', '1:held', '2:waiting']);
    assert.deepEqual(kit.toldOf(approved), []);
    assert.ok(kit.alerts().includes('event_conflict'));
  });

  it('R26 ends at once what Wix never gets', async () => {
    const next = newPayment();
    const waiting = next('TRANSACTION_AWAITING_BUYER', { forWix: false });
    const approved = next('TRANSACTION_APPROVED');
    await kit.receive(waiting, approved, next('TRANSACTION_EXPIRED', { forWix: false }));
    assert.deepEqual(await kit.states(waiting), ['1:not_for_wix', '2:waiting', '3:not_for_wix']);
    await kit.deliver();
    assert.deepEqual(kit.toldOf(waiting), ['transaction']);
    const [cursor] = await kit.db.query('select done_through from transactions where transaction_id = $1', [
      waiting.transactionId,
    ]);
    assert.deepEqual(cursor, { done_through: 3n });
  });

  it('R26 alerts a gap older than ten minutes, once, and not a younger one', async () => {
    const next = newPayment();
    const [first, second] = [next('TRANSACTION_PENDING'), next('TRANSACTION_APPROVED')];
    await kit.receive(second);
    const gaps = () =>
      kit.log.lines.filter(
        ({ alert, transactionId }) => alert === 'event_gap' && transactionId === first.transactionId,
      );
    await sweep(kit);
    assert.equal(gaps().length, 0);
    const [row] = await kit.db.query<{ ms: number }>(
      `select extract(epoch from gap_alert_at - received_at)::float8 * 1000 as ms
       from transactions join deliveries using (transaction_id) where event_id = $1`,
      [second.id],
    );
    assert.equal(row?.ms, 600_000);
    await kit.db.query(`update transactions set gap_alert_at = now() where transaction_id = $1`, [first.transactionId]);
    await sweep(kit);
    await sweep(kit);
    assert.equal(gaps().length, 1);
    await kit.receive(first);
    const [filled] = await kit.db.query('select gap_alert_at from transactions where transaction_id = $1', [
      first.transactionId,
    ]);
    assert.deepEqual(filled, { gap_alert_at: null });
  });

  describe('that are not what they seem', () => {
    const rejected = () =>
      kit.db.query<{ problem: string; value: Buffer; envelope: { key: string } }>(
        'select problem, value, envelope from rejected_messages order by id',
      );

    it('R39 keeps an unsigned message aside, alerts, and does not count it as received', async () => {
      const next = newPayment();
      const [approved, captured] = [next('TRANSACTION_APPROVED'), next('CAPTURE_SUCCEEDED')];
      const { signature, ...headers } = messageOf(approved).headers;
      const forged = { ...messageOf(approved), headers };
      await kit.receiver.receive([forged, messageOf(captured)]);
      await kit.deliver();
      assert.deepEqual(await kit.states(approved), ['2:waiting']);
      const kept = (await rejected()).at(-1)!;
      assert.deepEqual(new Uint8Array(kept.value), new Uint8Array(forged.value));
      assert.equal(kept.envelope.key, approved.transactionId);
      assert.ok(kit.alerts().includes('message_rejected'));
    });

    it('R39 keeps aside what was changed on its way: key, value, header, or signed by another key', async () => {
      const message = messageOf(newPayment()('TRANSACTION_APPROVED'));
      const before = (await rejected()).length;
      await kit.receiver.receive([
        { ...message, key: randomUUID() },
        { ...message, value: toBinary(EventSchema, newPayment()('TRANSACTION_DECLINED')) },
        { ...message, headers: { ...message.headers, sequence: '2' } },
        messageOf(newPayment()('TRANSACTION_APPROVED'), { keys: createKeyRing(NEW_KEY) }),
        signMessage(KEYS, message.key, message.value, { 'event-id': 'no uuid', sequence: '1', 'event-type': 'T' }),
        signMessage(KEYS, 'no uuid \0', message.value, { ...message.headers, 'event-id': randomUUID() }),
      ]);
      assert.equal((await rejected()).length, before + 6);
      assert.equal((await kit.db.query('select 1 from deliveries where transaction_id = $1', [message.key])).length, 0);
    });
  });

  describe('that are junk', () => {
    const realNow = performance.now.bind(performance);
    let later = 0;
    before(() => {
      performance.now = () => realNow() + later;
    });
    after(() => {
      performance.now = realNow;
    });
    const junk = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ key: `junk ${i}`, value: new Uint8Array(3), headers: {} }));
    const kept = async () => {
      const [row] = await kit.db.query<{ count: bigint }>('select count(*) from rejected_messages');
      return Number(row?.count);
    };
    const counted = async () => {
      const metric = await registry.getSingleMetric('relay_messages_rejected_total')?.get();
      return metric?.values.reduce((sum, { value }) => sum + value, 0) ?? 0;
    };
    /** Of a relay that has just started. */
    const newReceiver = () => createReceiver({ db: kit.db, keys: KEYS, log: kit.log, delayMs: 0 });
    beforeEach(() => kit.db.query('truncate rejected_messages'));

    it('R39 R44 are counted, alerted once an hour with how many there were, and a hundred of an hour are kept', async () => {
      const receiver = newReceiver();
      const [alerts, before] = [kit.alerts().length, await counted()];
      await receiver.receive(junk(250));
      assert.deepEqual(kit.alerts().slice(alerts), ['message_rejected']);
      assert.deepEqual([await kept(), (await counted()) - before], [100, 250]);
      later += 3_600_000;
      await receiver.receive(junk(2));
      assert.deepEqual(kit.alerts().slice(alerts), ['message_rejected', 'message_rejected']);
      assert.equal(kit.log.lines.findLast(({ alert }) => alert === 'message_rejected')?.before, 250);
      assert.equal(await kept(), 102);
    });

    it('R39 do not hide a problem of another kind', async () => {
      const receiver = newReceiver();
      const signed = signMessage(KEYS, 'no uuid', new Uint8Array(3), {});
      await receiver.receive([...junk(101), signed]);
      const rows = await kit.db.query('select 1 from rejected_messages where envelope->>$1 = $2', ['key', 'no uuid']);
      assert.equal(rows.length, 1);
    });

    it('R39 leave the newest thousand, and of each message no more than is needed', async () => {
      await kit.db.query(
        `insert into rejected_messages (problem, envelope, value) select 'old', '{}', '' from generate_series(1, 5000)`,
      );
      const headers = Object.fromEntries(
        Array.from({ length: 500 }, (_, i) => [`h${i}`.repeat(100), 'x'.repeat(9000)]),
      );
      await newReceiver().receive([{ key: 'k\0'.repeat(9000), value: Buffer.alloc(900_000), headers }]);
      assert.equal(await kept(), 1000);
      const [row] = await kit.db.query<{ size: number }>(
        `select octet_length(value) + octet_length(envelope::text) as size from rejected_messages order by id desc limit 1`,
      );
      assert.ok(row && row.size < 40_000, `${row?.size} bytes`);
    });
  });

  describe('that cannot be stored', () => {
    const tooLong: [string, (event: Event) => Event][] = [
      ['a body above 64 KiB', (event) => ({ ...event, externalId: 'x'.repeat(70_000) })],
      ['a merchant that no text holds', (event) => ({ ...event, externalMerchantId: 'a\0b' })],
    ];
    for (const [what, spoil] of tooLong)
      it(`R26 R39 are held and alerted, and everything else goes on: ${what}`, async () => {
        const next = newPayment();
        const [approved, captured, other] = [
          next('TRANSACTION_APPROVED'),
          next('CAPTURE_SUCCEEDED'),
          newPayment()('TRANSACTION_APPROVED'),
        ];
        const alerts = kit.alerts().length;
        await kit.receive(approved);
        await kit.receive(spoil(captured), other);
        await kit.deliver();
        assert.deepEqual(await kit.states(approved), ['1:delivered', '2:held']);
        assert.deepEqual(kit.toldOf(other), ['transaction']);
        assert.deepEqual(kit.alerts().slice(alerts), ['event_unreadable']);
        await kit.receiver.readUnread();
        await kit.receive(captured);
        await kit.deliver();
        assert.deepEqual(await kit.states(approved), ['1:delivered', '2:delivered']);
      });

    it('R43 are given back, not held, while the database is away', async () => {
      const gone = createDatabase({ url: 'postgres://nobody@127.0.0.1:9/none', schema: 'relay', log: kit.log });
      const receiver = createReceiver({ db: gone, keys: KEYS, log: kit.log, delayMs: 0 });
      await assert.rejects(receiver.receive([messageOf(newPayment()('TRANSACTION_APPROVED'))]));
      await gone.close();
    });
  });

  describe('that cannot be read', () => {
    const unreadable: [string, (event: Event) => Uint8Array][] = [
      ['is not an Event', () => Buffer.from([0xff, 0xff, 0xff])],
      ['has a type not known here', (event) => toBinary(EventSchema, { ...event, type: 99 as Event_Type })],
      ['has a reason not known here', (event) => toBinary(EventSchema, { ...event, reason: 3999 as Reason })],
      ['has a mode not known here', (event) => toBinary(EventSchema, { ...event, mode: 7 as Mode })],
      ['has no type', (event) => toBinary(EventSchema, { ...event, type: 0 })],
      ['is not the event that its headers name', (event) => toBinary(EventSchema, { ...event, id: randomUUID() })],
      ['is a decline without a reason', (event) => toBinary(EventSchema, { ...event, type: 3, reason: 0 })],
      [
        'has credentials that are no blob',
        (event) => toBinary(EventSchema, { ...event, sealedCredentialsOnFile: Buffer.from('x') }),
      ],
    ];
    for (const [what, value] of unreadable)
      it(`R26 holds its own payment, counts as received and alerts, when it ${what}`, async () => {
        const next = newPayment();
        const [approved, captured] = [next('TRANSACTION_APPROVED'), next('CAPTURE_SUCCEEDED')];
        const other = newPayment()('TRANSACTION_APPROVED');
        const alerts = kit.alerts().length;
        await kit.receiver.receive([
          messageOf(approved, { value: value(approved) }),
          messageOf(captured),
          messageOf(other),
        ]);
        await kit.deliver();
        assert.deepEqual(await kit.states(approved), ['1:held', '2:waiting']);
        const [cursor] = await kit.db.query('select gap_alert_at from transactions where transaction_id = $1', [
          approved.transactionId,
        ]);
        assert.deepEqual(cursor, { gap_alert_at: null });
        assert.deepEqual(kit.toldOf(other), ['transaction']);
        assert.deepEqual(kit.alerts().slice(alerts), ['event_unreadable']);
      });

    it('R26 is replaced by a copy with the same id', async () => {
      const next = newPayment();
      const [approved, captured] = [next('TRANSACTION_APPROVED'), next('CAPTURE_SUCCEEDED')];
      await kit.receiver.receive([messageOf(approved, { value: Buffer.from('?') }), messageOf(captured)]);
      await kit.receive(approved);
      await kit.deliver();
      assert.deepEqual(await kit.states(approved), ['1:delivered', '2:delivered']);
      assert.deepEqual(kit.toldOf(approved), ['transaction', 'capture']);
    });

    it('R28 is read again at the next start, when its key has come', async () => {
      const [oldRing, bothRing] = [KEYS, createKeyRing(`${KEYS_TEXT},${NEW_KEY}`)];
      const approved = newPayment()('TRANSACTION_APPROVED');
      const credentials = create(CredentialsOnFileSchema, {
        info: { case: 'paymentMethodReference', value: { token: 'hp_pm_77ab' } },
      });
      const sealed = createKeyRing(NEW_KEY).seal(
        toBinary(CredentialsOnFileSchema, credentials),
        approved.transactionId,
      );
      await kit.receive({ ...approved, sealedCredentialsOnFile: sealed });
      assert.deepEqual(await kit.states(approved), ['1:held']);

      await createReceiver({ db: kit.db, keys: oldRing, log: kit.log, delayMs: 0 }).readUnread();
      assert.deepEqual(await kit.states(approved), ['1:held']);
      await createReceiver({ db: kit.db, keys: bothRing, log: kit.log, delayMs: 0 }).readUnread();
      assert.deepEqual(await kit.states(approved), ['1:waiting']);
      await kit.deliver();
      assert.match(kit.wix.events.at(-1)!.body, /hp_pm_77ab/);
    });
  });

  describe('the schema', () => {
    const nonsense: [string, string][] = [
      ['a delivered event without an attempt', `update deliveries set state = 'delivered', finished_at = now()`],
      ['a finished event that is waiting', `update deliveries set finished_at = now()`],
      ['a waiting event without a body', 'update deliveries set body = null'],
      ['an unknown state', `update deliveries set state = 'lost'`],
      ['a kept message beside a body', `update deliveries set message = 'x'`],
      ['a sequence below 1', 'update deliveries set sequence = 0'],
      ['a due time without an event', 'update transactions set next_event_id = null'],
      [
        'a lease on no event',
        'update transactions set next_event_id = null, next_attempt_at = null, claimed_until = now()',
      ],
    ];
    let event: Event;
    beforeEach(async () => {
      event = newPayment()('TRANSACTION_APPROVED');
      await kit.receive(event);
    });
    for (const [what, sql] of nonsense)
      it(`refuses ${what}`, () =>
        assert.rejects(kit.db.query(`${sql} where transaction_id = $1`, [event.transactionId]), { code: '23514' }));

    it('refuses a second event of one sequence that is not held', async () => {
      const copy = `insert into deliveries (event_id, transaction_id, sequence, type, state, body, due_at)
        select gen_random_uuid(), transaction_id, sequence, type, state, body, due_at from deliveries where event_id = $1`;
      await assert.rejects(kit.db.query(copy, [event.id]), { code: '23505' });
    });
  });
});
