import assert from 'node:assert/strict';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import type { Event } from '../../proto/gen/payments/v1/event_pb.js';
import {
  Decision_Action as Action,
  DeliveriesService,
  Delivery_State as State,
} from '../../proto/gen/relay/v1/deliveries_pb.js';
import { parseConfig } from '../../proto/runtime/config.ts';
import { relayConfig } from '../../webhook-relay/config.ts';
import { ALLOWED } from '../../webhook-relay/deliveries-service.ts';
import { createRelay } from '../../webhook-relay/service.ts';
import { sweep } from '../../webhook-relay/sweep.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { assertFails } from '../support/stage.ts';
import { life, useDeliveries } from './deliveries-kit.ts';
import { KEYS_TEXT, messageOf, newPayment, openKit } from './relay-kit.ts';

describe('deciding about deliveries', () => {
  const kit = useDeliveries();
  const REASON = { reason: 'Wix asked for it' };
  const inOrder = (next: ReturnType<typeof newPayment>, ...types: Parameters<typeof next>[0][]) =>
    types.map((type) => next(type));

  describe('parking a delivery', () => {
    const park = ({ id }: Event) => kit.operator.parkDelivery({ eventId: id, ...REASON });
    const skip = ({ id }: Event) => kit.operator.skipDelivery({ eventId: id, ...REASON });
    const unpark = ({ id }: Event) => kit.operator.unparkDelivery({ eventId: id, ...REASON });

    it('R29 stops it and what comes after it of its payment, and nothing else', async () => {
      const [[approval, capture, refund], [other]] = [life(), life()];
      await kit.receive(approval, capture, refund, other);
      const { delivery } = await park(capture);
      assert.equal(delivery?.state, State.PARKED);
      await kit.deliver();
      assert.deepEqual(await kit.states(approval), ['1:delivered', '2:parked', '3:waiting']);
      assert.deepEqual(await kit.states(other), ['1:delivered']);
      const { decisions } = await kit.get(capture);
      assert.deepEqual(
        decisions.map(({ action, caller, reason }) => [Action[action], caller, reason]),
        [['PARK', 'ada', REASON.reason]],
      );
    });

    it('R20 keeps no card number in the words of its operator', async () => {
      const [approval] = life();
      await kit.receive(approval);
      await kit.operator.parkDelivery({ eventId: approval.id, reason: 'card 5105.1051.0510.5100' });
      const { decisions } = await kit.get(approval);
      assert.equal(decisions[0]?.reason, 'card [card number]');
    });

    it('unparked, it goes at once and in its place', async () => {
      const [approval, capture, refund] = life();
      await kit.receive(approval, capture, refund);
      await park(approval);
      await kit.deliver();
      assert.deepEqual(kit.toldOf(approval), []);
      await unpark(approval);
      await kit.deliver();
      assert.deepEqual(kit.toldOf(approval), ['transaction', 'capture', 'refund']);
      assert.deepEqual(
        (await kit.get(approval)).decisions.map(({ action }) => Action[action]),
        ['PARK', 'UNPARK'],
      );
    });

    it('R29 skipped, Wix never hears of it, and what comes after it goes on', async () => {
      const [approval, capture, refund] = life();
      await kit.receive(approval, capture, refund);
      await park(capture);
      await kit.deliver();
      const { delivery } = await skip(capture);
      assert.equal(delivery?.state, State.SKIPPED);
      await kit.deliver();
      assert.deepEqual(kit.toldOf(approval), ['transaction', 'refund']);
      assert.deepEqual(await kit.states(approval), ['1:delivered', '2:skipped', '3:delivered']);
    });

    it('R26 a skipped approval counts as told: no other final event goes, and refunds do', async () => {
      const next = newPayment();
      const [approval, refund, decline] = inOrder(
        next,
        'TRANSACTION_APPROVED',
        'REFUND_SUCCEEDED',
        'TRANSACTION_DECLINED',
      );
      await kit.receive(approval!, refund!);
      await park(approval!);
      await skip(approval!);
      await kit.deliver();
      await kit.receive(decline!);
      await kit.deliver();
      assert.deepEqual(kit.toldOf(approval!), ['refund']);
      assert.deepEqual(await kit.states(approval!), ['1:skipped', '2:delivered', '3:held']);
    });

    it('R27 a parked pending event is not superseded; unparked, it is', async () => {
      const [pending, approval] = inOrder(newPayment(), 'TRANSACTION_PENDING', 'TRANSACTION_APPROVED');
      await kit.receive(pending!);
      await park(pending!);
      await kit.receive(approval!);
      await kit.deliver();
      assert.deepEqual(await kit.states(pending!), ['1:parked', '2:waiting']);
      await unpark(pending!);
      await kit.deliver();
      assert.deepEqual(await kit.states(pending!), ['1:superseded', '2:delivered']);
    });

    it('while its attempt runs: what Wix took is delivered, and what it refused stays parked', async () => {
      for (const [status, state] of [
        [200, 'delivered'],
        [503, 'parked'],
      ] as const) {
        const [approval, capture] = life();
        await kit.receive(approval, capture);
        kit.wix.answerEvent(async ({ kind }) => {
          if (kind === 'transaction') await park(approval);
          return { status };
        });
        await kit.deliver();
        assert.equal((await kit.states(approval))[0], `1:${state}`);
        assert.equal((await kit.get(approval)).attempts.length, 1);
      }
    });

    it('skipped while the attempt of an earlier event runs, it is passed over once that has ended', async () => {
      const another = kit.anotherDeliverer();
      const [approval, capture, refund] = life();
      await kit.receive(approval, capture, refund);
      await park(capture);
      kit.wix.answerEvent(async ({ kind }) => {
        if (kind !== 'transaction') return {};
        await skip(capture);
        assert.equal(await another.runOnce(), 0, 'one event of a payment at a time');
        return {};
      });
      await kit.deliver();
      assert.deepEqual(kit.toldOf(approval), ['transaction', 'refund']);
    });

    it('R28 sends the same bytes after it was parked as before', async () => {
      const [approval] = life();
      await kit.receive(approval);
      kit.down();
      await kit.deliver();
      await park(approval);
      kit.up();
      await unpark(approval);
      await kit.deliver();
      assert.equal(kit.wix.events.length, 2);
      assert.equal(kit.wix.events[0]?.body, kit.wix.events[1]?.body);
    });

    it('refuses what is in no state for it, and decides nothing', async () => {
      const [approval, capture] = life();
      await kit.receive(approval);
      await kit.deliver();
      await kit.receive(capture);
      const wrong = [Code.FailedPrecondition, 'WRONG_STATE'] as const;
      await assertFails(park(approval), ...wrong);
      await assertFails(skip(approval), ...wrong);
      await assertFails(skip(capture), ...wrong);
      await assertFails(unpark(capture), ...wrong);
      await park(capture);
      await assertFails(park(capture), ...wrong);
      await assertFails(park(life()[0]), Code.NotFound, 'DELIVERY_NOT_FOUND');
      assert.equal((await kit.get(capture)).decisions.length, 1);
      assert.equal((await kit.get(approval)).decisions.length, 0);
    });

    it('refuses a decision without a reason', async () => {
      const eventId = life()[0].id;
      for (const reason of ['', ' ', 'x'.repeat(501), 'a\0b']) {
        const selection = { eventId };
        for (const call of [
          kit.operator.parkDelivery({ eventId, reason }),
          kit.operator.skipDelivery({ eventId, reason }),
          kit.operator.unparkDelivery({ eventId, reason }),
          kit.operator.redriveDeliveries({ selection, reason }),
          kit.operator.pauseDeliveries({ reason }),
          kit.operator.resumeDeliveries({ reason }),
        ])
          await assertFails(call, Code.InvalidArgument, 'INVALID_ARGUMENT');
      }
    });
  });

  describe('redriving deliveries', () => {
    const redrive = async (selection: Parameters<typeof kit.operator.redriveDeliveries>[0]['selection']) =>
      (await kit.operator.redriveDeliveries({ ...(selection && { selection }), ...REASON })).payments;
    /** Two payments that wait for their second attempts. */
    const failed = async () => {
      const [[approval, capture], [other]] = [life(), life()];
      await kit.receive(approval, capture, other);
      kit.down();
      await kit.deliver();
      kit.up();
      return { approval, capture, other };
    };

    it('makes one due by its event, or by an event that waits behind it', async () => {
      for (const which of ['approval', 'capture'] as const) {
        const events = await failed();
        assert.equal(await redrive({ eventId: events[which].id }), 1);
        await kit.deliver();
        assert.deepEqual(await kit.states(events.approval), ['1:delivered', '2:delivered']);
        assert.deepEqual(await kit.states(events.other), ['1:waiting']);
      }
    });

    it('makes those of a payment due, and those of a time, once', async () => {
      const { approval, other } = await failed();
      assert.equal(await redrive({ transactionId: other.transactionId }), 1);
      assert.equal(await redrive({ transactionId: other.transactionId }), 0);
      const receivedFrom = timestampFromDate(new Date(Date.now() - 3_600_000));
      assert.equal(await redrive({ receivedBefore: receivedFrom }), 0);
      assert.equal(await redrive({ receivedFrom }), 1);
      await kit.deliver();
      assert.deepEqual(await kit.states(approval), ['1:delivered', '2:delivered']);
      assert.deepEqual(await kit.states(other), ['1:delivered']);
    });

    it('sends nothing again that was delivered, and nothing that is parked', async () => {
      const [[approval], [other]] = [life(), life()];
      await kit.receive(approval, other);
      await kit.operator.parkDelivery({ eventId: other.id, ...REASON });
      await kit.deliver();
      assert.equal(await redrive({ eventId: approval.id }), 0);
      assert.equal(await redrive({ eventId: other.id }), 0);
      assert.equal(await redrive({ states: [State.PARKED] }), 0);
      await kit.deliver();
      assert.equal(kit.wix.events.length, 1);
    });

    it('is recorded with what was chosen, and chooses nothing by leaving all out', async () => {
      const { approval } = await failed();
      await redrive({ eventId: approval.id });
      const rows = await kit.db.query(
        `select action, caller, reason, selection->>'eventId' as "eventId" from decisions`,
      );
      assert.deepEqual(rows, [{ action: 'redrive', caller: 'ada', ...REASON, eventId: approval.id }]);
      await assertFails(redrive(undefined), Code.InvalidArgument, 'INVALID_ARGUMENT');
      await assertFails(redrive({}), Code.InvalidArgument, 'INVALID_ARGUMENT');
    });
  });

  describe('pausing deliveries', () => {
    it('begins no attempt in any relay until they are resumed, and says so', async () => {
      const [approval] = life();
      const { decision } = await kit.operator.pauseDeliveries(REASON);
      assert.deepEqual([decision?.action, decision?.caller, decision?.reason], [Action.PAUSE, 'ada', REASON.reason]);
      await kit.receive(approval);
      const another = kit.anotherDeliverer();
      assert.deepEqual([await kit.deliverer.runOnce(), await another.runOnce()], [0, 0]);
      assert.deepEqual((await kit.operator.listDeliveries({})).paused, decision);
      await sweep({ db: kit.db, log: kit.log });
      await kit.operator.pauseDeliveries(REASON);
      await kit.operator.resumeDeliveries(REASON);
      assert.equal((await kit.operator.listDeliveries({})).paused, undefined);
      await kit.deliver();
      assert.deepEqual(await kit.states(approval), ['1:delivered']);
      await another.stop(0);
    });

    it('lets an attempt that runs end', async () => {
      const [approval, capture] = life();
      await kit.receive(approval, capture);
      kit.wix.answerEvent(async () => {
        await kit.operator.pauseDeliveries(REASON);
        return {};
      });
      await kit.deliver();
      assert.deepEqual(await kit.states(approval), ['1:delivered', '2:waiting']);
    });
  });
});

describe('R33 the relay with its deliveries service', () => {
  const TOKENS = { reader: 'r'.repeat(32), operator: 'o'.repeat(32), backoffice: 'b'.repeat(32) };
  const start = async (tokens: boolean, url: string, wixUrl = 'http://127.0.0.1:9') => {
    const env = {
      ...{ DATABASE_URL: url, EVENTS_KEY: KEYS_TEXT, WIX_API_URL: wixUrl, WIX_APP_ID: 'id', WIX_APP_SECRET: 'secret' },
      ...{ WIX_USER_AGENT: 'psp/1', EVENT_DELAY_MS: '0', RELAY_PORT: '0' },
      ...(tokens && {
        RELAY_TOKENS: Object.entries(TOKENS)
          .map(([role, secret]) => `the-${role}:${role}:${secret}`)
          .join(','),
      }),
    };
    const relay = createRelay(parseConfig(relayConfig, env), { log: quietLog() });
    await relay.start();
    /** As curl does it. */
    const call = async (method: string, body: object, token?: string) => {
      const response = await fetch(`http://127.0.0.1:${relay.adminPort}/relay.v1.DeliveriesService/${method}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    return { relay, call };
  };

  it('serves it beside health and metrics to those whose role may call it', async () => {
    const { relay, call } = await start(true, await freshDatabase());
    try {
      const health = await fetch(`http://127.0.0.1:${relay.adminPort}/health/ready`);
      assert.equal(health.status, 200);
      assert.equal((await call('ListDeliveries', {})).status, 401);
      assert.equal((await call('ListDeliveries', {}, 'x'.repeat(32))).status, 401);
      assert.equal((await call('ListDeliveries', {}, TOKENS.backoffice)).status, 403);
      assert.deepEqual(await call('ListDeliveries', {}, TOKENS.reader), { status: 200, body: {} });
      assert.deepEqual(Object.keys(ALLOWED).sort(), DeliveriesService.methods.map(({ name }) => name).sort());
      const commands = DeliveriesService.methods.map(({ name }) => name).filter((name) => !/^(List|Get)/.test(name));
      assert.equal(commands.length, 6);
      for (const command of commands) assert.equal((await call(command, {}, TOKENS.reader)).status, 403);
      const { body } = await call('PauseDeliveries', { reason: 'maintenance at Wix' }, TOKENS.operator);
      assert.equal((body.decision as { caller: string }).caller, 'the-operator');
    } finally {
      await relay.stop();
    }
  });

  it('stays paused over a restart, and goes on by itself once resumed', async () => {
    const url = await freshDatabase();
    const kit = await openKit(url);
    const first = await start(true, url, kit.wix.url);
    await first.call('PauseDeliveries', { reason: 'maintenance' }, TOKENS.operator);
    await first.relay.stop();
    const second = await start(true, url, kit.wix.url);
    try {
      await second.relay.receive([messageOf(newPayment()('TRANSACTION_APPROVED'))]);
      const { body } = await second.call('ListDeliveries', {}, TOKENS.reader);
      assert.equal((body.paused as { reason: string }).reason, 'maintenance');
      assert.equal(kit.wix.events.length, 0);
      await second.call('ResumeDeliveries', { reason: 'over' }, TOKENS.operator);
      await eventually(() => assert.equal(kit.wix.events.length, 1));
    } finally {
      await second.relay.stop();
      await kit.close();
    }
  });

  it('serves no RPC without RELAY_TOKENS', async () => {
    const { relay, call } = await start(false, await freshDatabase());
    try {
      assert.equal((await call('ListDeliveries', {}, TOKENS.operator)).status, 404);
    } finally {
      await relay.stop();
    }
  });
});
