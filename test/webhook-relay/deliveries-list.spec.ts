import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { CredentialsOnFileSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Delivery_State as State } from '../../proto/gen/relay/v1/deliveries_pb.js';
import { type Selection, selectDeliveries } from '../../webhook-relay/store-deliveries.ts';
import { assertFails } from '../support/stage.ts';
import { life, useDeliveries } from './deliveries-kit.ts';
import { KEYS, newPayment } from './relay-kit.ts';

describe('looking at deliveries', () => {
  const kit = useDeliveries();

  describe('listing deliveries', () => {
    const list = async (selection?: Parameters<typeof kit.operator.listDeliveries>[0]['selection']) =>
      (await kit.operator.listDeliveries({ ...(selection && { selection }) })).deliveries.map(({ eventId }) => eventId);

    it('lists them newest first, with what became of them', async () => {
      const [approval, capture] = life();
      await kit.receive(approval);
      await kit.deliver();
      await kit.receive(capture);
      const { deliveries, nextPageToken, paused } = await kit.operator.listDeliveries({});
      assert.deepEqual([nextPageToken, paused], ['', undefined]);
      assert.deepEqual(
        deliveries.map(({ eventId, type, state, attempts, sequence }) => [
          eventId,
          type,
          State[state],
          attempts,
          sequence,
        ]),
        [
          [capture.id, 'CAPTURE_SUCCEEDED', 'WAITING', 0, 2n],
          [approval.id, 'TRANSACTION_APPROVED', 'DELIVERED', 1, 1n],
        ],
      );
      assert.ok(deliveries[0]?.nextAttemptAt && !deliveries[1]?.nextAttemptAt);
      assert.ok(deliveries[1]?.finishedAt && deliveries[1].firstAttemptAt);
    });

    it('lists those of a payment, an event, a type, a state', async () => {
      const [[approval, capture, refund], [other]] = [life(), life()];
      await kit.receive(approval, capture, refund, other);
      await kit.deliver();
      const { transactionId } = approval;
      await kit.db.query(`update deliveries set received_at = received_at + sequence * interval '1 ms'`);
      assert.deepEqual(await list({ transactionId }), [refund.id, capture.id, approval.id]);
      assert.deepEqual(await list({ eventId: capture.id }), [capture.id]);
      assert.deepEqual(await list({ type: 'REFUND_SUCCEEDED' }), [refund.id]);
      assert.deepEqual(await list({ transactionId, states: [State.WAITING] }), []);
      assert.deepEqual(await list({ transactionId, states: [State.WAITING, State.DELIVERED] }), [
        refund.id,
        capture.id,
        approval.id,
      ]);
    });

    it('lists those that are stuck now', async () => {
      const [[approval], [other]] = [life(), life()];
      await kit.receive(approval, other);
      kit.down();
      await kit.deliver();
      await kit.db.query(`update deliveries set first_attempt_at = now() - interval '4 days' where event_id = $1`, [
        approval.id,
      ]);
      await kit.makeDue();
      await kit.deliver();
      assert.deepEqual(await list({ stuck: true }), [approval.id]);
      kit.up();
      await kit.makeDue();
      await kit.deliver();
      assert.deepEqual(await list({ stuck: true }), []);
    });

    it('lists those that were received within a time', async () => {
      const events = [life()[0], life()[0], life()[0]];
      await kit.receive(...events);
      const time = (hour: number) => new Date(Date.UTC(2026, 0, 1, hour));
      for (const [hour, { id }] of events.entries())
        await kit.db.query('update deliveries set received_at = $2 where event_id = $1', [id, time(hour)]);
      const [first, second, third] = events.map(({ id }) => id);
      const receivedFrom = timestampFromDate(time(1));
      const receivedBefore = timestampFromDate(time(2));
      assert.deepEqual(await list({ receivedFrom }), [third, second]);
      assert.deepEqual(await list({ receivedBefore }), [second, first]);
      assert.deepEqual(await list({ receivedFrom, receivedBefore }), [second]);
    });

    it('goes on from page to page, each delivery once, whatever comes meanwhile', async () => {
      const events = Array.from({ length: 7 }, () => life()[0]);
      await kit.receive(...events);
      await kit.db.query(`update deliveries set received_at = date_trunc('second', received_at)`);
      const listed: string[] = [];
      let pageToken = '';
      do {
        const page = await kit.operator.listDeliveries({ pageSize: 3, pageToken });
        assert.ok(page.deliveries.length <= 3);
        listed.push(...page.deliveries.map(({ eventId }) => eventId));
        pageToken = page.nextPageToken;
        await kit.receive(life()[0]);
      } while (pageToken !== '');
      assert.deepEqual(listed.toSorted(), events.map(({ id }) => id).toSorted());
    });

    it('refuses what it cannot answer', async () => {
      for (const request of [
        { pageSize: 201 },
        { pageSize: -1 },
        { pageToken: 'nonsense' },
        { selection: { transactionId: 'no uuid' } },
        { selection: { eventId: 'no uuid' } },
        { selection: { type: "'; drop" } },
        { selection: { states: [State.UNSPECIFIED] } },
        { selection: { states: [99 as State] } },
        { selection: { receivedFrom: { seconds: 2n ** 60n, nanos: 0 } } },
      ])
        await assertFails(kit.operator.listDeliveries(request), Code.InvalidArgument, 'INVALID_ARGUMENT');
    });

    it('reads an index for what is asked of many', async () => {
      await kit.db.query(`
        with payments as (
          insert into transactions (transaction_id) select gen_random_uuid() from generate_series(1, 5000)
          returning transaction_id)
        insert into deliveries (event_id, transaction_id, sequence, type, state, received_at, due_at, finished_at)
        select gen_random_uuid(), transaction_id, n, 'X', 'not_for_wix', now() - random() * interval '9 days', now(), now()
        from payments, generate_series(1, 4) as n`);
      await kit.db.query('analyze deliveries');
      const all: Selection = {
        ...{ eventId: null, transactionId: null, states: [], stuck: false, type: null },
        ...{ receivedFrom: null, receivedBefore: null },
      };
      for (const [selection, index] of [
        [{}, 'deliveries_newest'],
        [{ receivedFrom: new Date(Date.now() - 3_600_000), receivedBefore: new Date() }, 'deliveries_newest'],
        [{ transactionId: randomUUID() }, 'deliveries_order'],
        [{ stuck: true }, 'deliveries_open'],
        [{ states: ['parked', 'held'] }, 'deliveries_open'],
      ] as [Partial<Selection>, string][]) {
        let plan = '';
        const explain = {
          query: async <Row extends object>(sql: string, values?: readonly unknown[]) => {
            plan = JSON.stringify(await kit.db.query(`explain ${sql}`, values));
            return [] as Row[];
          },
        };
        await selectDeliveries(explain, { ...all, ...selection }, null, 51);
        assert.match(plan, new RegExp(`Index Scan.*? (using|on) ${index} `), plan);
        assert.doesNotMatch(plan, /Seq Scan on deliveries/, plan);
      }
    });
  });

  describe('reading a delivery', () => {
    it('shows its body as Wix gets it, and every attempt', async () => {
      const [approval] = life();
      await kit.receive(approval);
      kit.down();
      await kit.deliver();
      kit.up();
      await kit.makeDue();
      await kit.deliver();
      const { delivery, body, attempts, decisions } = await kit.get(approval);
      assert.equal(delivery?.state, State.DELIVERED);
      assert.equal(body, kit.wix.events[0]?.body);
      assert.deepEqual(
        attempts.map(({ number, httpStatus, error, answer }) => [number, httpStatus, error, answer]),
        [
          [1, 503, 'event: status 503', 'down'],
          [2, 200, '', '{}'],
        ],
      );
      assert.ok(attempts[0]?.nextAttemptAt && !attempts[1]?.nextAttemptAt);
      assert.deepEqual(decisions, []);
    });

    it('R31 shows a sealed body without the credentials that it is sealed for', async () => {
      const [approval] = life();
      const credentials = create(CredentialsOnFileSchema, {
        info: { case: 'paymentMethodReference', value: { token: 'secret-token-of-the-buyer' } },
      });
      const sealed = KEYS.seal(toBinary(CredentialsOnFileSchema, credentials), approval.transactionId);
      await kit.receive({ ...approval, sealedCredentialsOnFile: sealed });
      await kit.deliver();
      assert.match(kit.wix.events[0]?.body ?? '', /secret-token/);
      const { body } = await kit.get(approval);
      const { externalId: wixTransactionId, transactionId: pluginTransactionId } = approval;
      assert.deepEqual(JSON.parse(body), { event: { transaction: { wixTransactionId, pluginTransactionId } } });
    });

    it('shows none of an event that Wix never gets', async () => {
      const event = newPayment()('TRANSACTION_EXPIRED', { forWix: false });
      await kit.receive(event);
      const { delivery, body } = await kit.get(event);
      assert.deepEqual([delivery?.state, body], [State.NOT_FOR_WIX, '']);
    });

    it('finds none that is not there', async () => {
      await assertFails(kit.operator.getDelivery({ eventId: randomUUID() }), Code.NotFound, 'DELIVERY_NOT_FOUND');
      await assertFails(kit.operator.getDelivery({ eventId: '7' }), Code.InvalidArgument, 'INVALID_ARGUMENT');
    });
  });
});
