import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import type { Event } from '../../proto/gen/payments/v1/event_pb.js';
import { CredentialsOnFileSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Decision_Action as Action } from '../../proto/gen/relay/v1/deliveries_pb.js';
import { createKeyRing } from '../../proto/runtime/seal.ts';
import { createReceiver } from '../../webhook-relay/receive.ts';
import { assertFails } from '../support/stage.ts';
import { life, useDeliveries } from './deliveries-kit.ts';
import { KEYS_TEXT, messageOf, newPayment } from './relay-kit.ts';

describe('what is held', () => {
  const kit = useDeliveries();
  const reason = 'the core has said which is right';
  const skip = ({ id }: Event) => kit.operator.skipDelivery({ eventId: id, reason });
  const park = ({ id }: Event) => kit.operator.parkDelivery({ eventId: id, reason });
  const redrive = async (selection: { eventId: string } | { transactionId: string }) => {
    const { freed, stillHeld } = await kit.operator.redriveDeliveries({ selection, reason });
    return { freed, stillHeld };
  };
  const unreadable = (event: Event) => messageOf(event, { value: Buffer.from([0xff]) });

  it('R29 because it cannot be read is given up, with the reason kept, and the later ones of its payment go', async () => {
    const [approval, capture, refund] = life();
    await kit.receive(approval, refund);
    await kit.receiver.receive([unreadable(capture)]);
    await kit.deliver();
    assert.deepEqual(await kit.states(approval), ['1:delivered', '2:held', '3:waiting']);
    await skip(capture);
    await kit.deliver();
    assert.deepEqual(await kit.states(approval), ['1:delivered', '2:skipped', '3:delivered']);
    assert.deepEqual(kit.toldOf(approval), ['transaction', 'refund']);
    assert.deepEqual(
      (await kit.get(capture)).decisions.map((decision) => [Action[decision.action], decision.reason]),
      [['SKIP', reason]],
    );
    await kit.receiver.readUnread();
    assert.deepEqual(await kit.states(approval), ['1:delivered', '2:skipped', '3:delivered']);
  });

  it('R26 an approval that cannot be read and is given up counts as told: what waits for it goes', async () => {
    const [approval, capture] = life();
    await kit.receiver.receive([unreadable(approval), messageOf(capture)]);
    await skip(approval);
    await kit.deliver();
    assert.deepEqual(await kit.states(approval), ['1:skipped', '2:delivered']);
  });

  it('R28 is read again without a restart, once its key is there', async () => {
    const newKey = `k2:${Buffer.alloc(32, 'key 2').toString('base64')}`;
    const approval = newPayment()('TRANSACTION_APPROVED');
    const credentials = create(CredentialsOnFileSchema, {
      info: { case: 'paymentMethodReference', value: { token: 'hp_pm_77ab' } },
    });
    const other = createReceiver({
      db: kit.db,
      keys: createKeyRing(`${KEYS_TEXT},${newKey}`),
      log: kit.log,
      delayMs: 0,
    });
    const sealed = createKeyRing(newKey).seal(toBinary(CredentialsOnFileSchema, credentials), approval.transactionId);
    await kit.receive({ ...approval, sealedCredentialsOnFile: sealed });
    assert.deepEqual(await redrive({ eventId: approval.id }), { freed: 0, stillHeld: 1 });
    assert.equal(kit.alerts().filter((name) => name === 'event_unreadable').length, 2);
    Object.assign(kit.receiver, { readAgain: other.readAgain });
    assert.deepEqual(await redrive({ transactionId: approval.transactionId }), { freed: 1, stillHeld: 0 });
    await kit.deliver();
    assert.match(kit.wix.events.at(-1)?.body ?? '', /hp_pm_77ab/);
  });

  describe('beside another event of its sequence', () => {
    const rivals = () => {
      const [approval, capture] = life();
      return { approval, rival: { ...approval, id: randomUUID(), idWithheld: true }, capture };
    };

    it('R29 is given up, and the other one goes in its place', async () => {
      const { approval, rival, capture } = rivals();
      await kit.receive(approval, rival, capture);
      await skip(rival);
      await kit.deliver();
      assert.deepEqual((await kit.states(approval)).toSorted(), ['1:delivered', '1:skipped', '2:delivered']);
      assert.match(kit.wix.events[0]?.body ?? '', /pluginTransactionId/);
      assert.deepEqual(kit.toldOf(approval), ['transaction', 'capture']);
    });

    it('R29 goes when the other one was given up and it is redriven, and not before', async () => {
      const { approval, rival, capture } = rivals();
      await kit.receive(approval, rival, capture);
      assert.deepEqual(await redrive({ eventId: rival.id }), { freed: 0, stillHeld: 1 });
      await park(approval);
      await skip(approval);
      await kit.receive(rival);
      await kit.deliver();
      assert.deepEqual(kit.toldOf(approval), []);
      assert.deepEqual(await redrive({ eventId: rival.id }), { freed: 1, stillHeld: 0 });
      kit.down();
      await kit.deliver();
      kit.up();
      await kit.makeDue();
      await kit.deliver();
      assert.deepEqual((await kit.states(approval)).toSorted(), ['1:delivered', '1:skipped', '2:delivered']);
      assert.doesNotMatch(kit.wix.events.at(-2)?.body ?? '', /pluginTransactionId/);
    });

    it('R29 both are given up, and the later ones go', async () => {
      const { approval, rival, capture } = rivals();
      await kit.receive(approval, rival, capture);
      await skip(rival);
      await park(approval);
      await skip(approval);
      await kit.deliver();
      assert.deepEqual(kit.toldOf(approval), ['capture']);
    });

    it('R26 is held too where Wix never gets it, and the relay goes on', async () => {
      const [approval, capture] = life();
      const rival = { ...approval, id: randomUUID(), forWix: false };
      const other = newPayment()('TRANSACTION_APPROVED');
      await kit.receive(approval, rival, capture, other);
      await kit.deliver();
      assert.deepEqual((await kit.states(approval)).toSorted(), ['1:held', '1:waiting', '2:waiting']);
      assert.deepEqual(kit.toldOf(other), ['transaction']);
      await kit.receiver.readUnread();
      await skip(rival);
      await kit.deliver();
      assert.deepEqual(kit.toldOf(approval), ['transaction', 'capture']);
    });
  });

  it('R27 as a second final event is never told, and given up it holds up nothing', async () => {
    const next = newPayment();
    const [approval, decline, refund] = [
      next('TRANSACTION_APPROVED'),
      next('TRANSACTION_DECLINED'),
      next('REFUND_SUCCEEDED'),
    ];
    await kit.receive(approval, decline, refund);
    await kit.deliver();
    assert.deepEqual(await redrive({ eventId: decline.id }), { freed: 0, stillHeld: 1 });
    await skip(decline);
    await kit.deliver();
    assert.deepEqual(await kit.states(approval), ['1:delivered', '2:skipped', '3:delivered']);
    assert.deepEqual(kit.toldOf(approval), ['transaction', 'refund']);
  });

  it('is neither parked nor unparked', async () => {
    const approval = newPayment()('TRANSACTION_APPROVED');
    await kit.receiver.receive([unreadable(approval)]);
    await assertFails(park(approval), Code.FailedPrecondition, 'WRONG_STATE');
    await assertFails(
      kit.operator.unparkDelivery({ eventId: approval.id, reason }),
      Code.FailedPrecondition,
      'WRONG_STATE',
    );
  });
});
