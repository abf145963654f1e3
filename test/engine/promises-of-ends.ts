import assert from 'node:assert/strict';
import { ensure, ensureSame, isA, type Kit, type Order, say } from './contract-kit.ts';
import type { EnginePromise, Group } from './contract-suite.ts';

// How an engine ends what is not approved yet (Cancel) and undoes what is (Reverse): two calls, never mixed.

/** A tombstone has to hold for every kind of operation: the core cancels a capture or refund that got lost like an authorize. */
function tombstone(kind: string, prepare: (kit: Kit) => Promise<Order>): EnginePromise {
  return {
    title: `R15 leaves a tombstone for ${kind} that was never seen: a late send fails, for ever`,
    hold: async (kit) => {
      const order = await prepare(kit);
      ensure(await kit.cancel(order), 'tombstone');
      ensure(await kit.ask(order), 'failed');
      ensure(await kit.send(order), 'failed');
      ensure(await kit.sendAtOnce(order), 'failed');
      ensure(await kit.cancel(order), 'tombstone', 'ended');
    },
  };
}

/** Cancel and the order itself reach the engine together; either may win, and both then say so. */
function race(kind: string, prepare: (kit: Kit) => Promise<Order>): EnginePromise {
  return {
    title: `R15 that races ${kind}: one of them wins, and both say so for ever`,
    hold: async (kit) => {
      for (const isCancelFirst of [true, false, true, false]) {
        const order = await prepare(kit);
        const early = isCancelFirst ? kit.cancel(order) : undefined;
        const sending = kit.send(order);
        const [end, sent] = await Promise.all([early ?? kit.cancel(order), sending]);
        const due = typeof end === 'string' ? 'failed' : 'approved';
        assert.ok(isA(sent, due), `Cancel said ${say(end)}, and the order ${say(sent)}`);
        for (const said of [await kit.ask(order), await kit.send(order)]) ensure(said, due);
      }
    },
  };
}

const held = (kit: Kit) => kit.paid({ authorizeOnly: true });

export const CANCELLING: Group = {
  title: 'Cancel',
  promises: [
    tombstone('an authorize', async (kit) => kit.order()),
    tombstone('a capture', async (kit) => kit.capture(await held(kit))),
    tombstone('a void', async (kit) => kit.void(await held(kit))),
    tombstone('a refund', async (kit) => kit.refund(await kit.paid())),
    {
      title: 'R15 of a lost capture, void or refund leaves the payment as it was: a new request id does what it asks',
      hold: async (kit) => {
        const [capturable, voidable, refundable] = [await held(kit), await held(kit), await kit.paid()];
        for (const order of [kit.capture(capturable), kit.void(voidable), kit.refund(refundable)])
          ensure(await kit.cancel(order), 'tombstone', 'ended');
        for (const order of [kit.capture(capturable), kit.void(voidable), kit.refund(refundable)])
          await kit.approve(order);
      },
    },
    {
      title: 'R15 ends what is pending: it is never approved later, while another one is',
      needs: ['pendingThenApproved'],
      hold: async (kit) => {
        const [order, other] = [kit.order({ card: 'pendingThenApproved' }), kit.order({ card: 'pendingThenApproved' })];
        for (const each of [order, other]) ensure(await kit.send(each), 'pending');
        const end = await kit.cancel(order);
        // An engine that cannot promise the end yet says pending, and is asked again.
        ensure(end, 'ended', 'tombstone', 'pending');
        ensure(await kit.decided(other), 'approved');
        if (typeof end !== 'string') return;
        ensure(await kit.ask(order), 'failed', 'declined', 'expired');
        ensure(await kit.cancel(order), 'ended', 'tombstone', 'failed', 'declined', 'expired');
        await kit.refuse(kit.refund(order));
      },
    },
    {
      title: 'R16 ends what waits for its buyer',
      needs: ['buyerAction'],
      hold: async (kit) => {
        const order = kit.order({ card: 'buyerAction' });
        ensure(await kit.send(order), 'buyerAction');
        ensure(await kit.cancel(order), 'ended', 'tombstone', 'pending');
      },
    },
    {
      title: 'R17 of an approved payment answers its outcome and undoes nothing',
      hold: async (kit) => {
        const [payment, sale] = [await held(kit), await kit.paid()];
        for (const order of [payment, sale]) {
          const said = await kit.cancel(order);
          ensure(said, 'approved');
          ensureSame(said, await kit.send(order));
        }
        await kit.approve(kit.capture(payment));
        for (const order of [payment, sale]) await kit.approve(kit.refund(order));
      },
    },
    {
      title: 'R17 of an approved capture, void or refund answers its outcome and undoes nothing',
      hold: async (kit) => {
        const [captured, voided, refunded] = [await held(kit), await held(kit), await kit.paid()];
        for (const order of [kit.capture(captured), kit.void(voided), kit.refund(refunded)]) {
          await kit.approve(order);
          ensure(await kit.cancel(order), 'approved');
          ensure(await kit.ask(order), 'approved');
        }
        await kit.approve(kit.refund(captured));
        await kit.refuse(kit.capture(voided));
        await kit.refuse(kit.refund(refunded, 1n));
      },
    },
    {
      title: 'R15 of a declined payment answers its decline',
      needs: ['declined'],
      hold: async (kit) => {
        const order = kit.order({ card: 'declined' });
        const declined = await kit.send(order);
        const said = await kit.cancel(order);
        ensure(said, 'declined');
        ensureSame(said, declined);
      },
    },
    race('an authorize', async (kit) => kit.order()),
    race('a capture', async (kit) => kit.capture(await held(kit))),
    race('a refund', async (kit) => kit.refund(await kit.paid())),
  ],
};

export const REVERSING: Group = {
  title: 'Reverse',
  promises: [
    {
      title: 'R17 releases what was authorised, once, and says the same each time',
      hold: async (kit) => {
        const payment = await held(kit);
        await reversedOnce(kit, payment);
        await kit.refuse(kit.capture(payment));
        await kit.refuse(kit.void(payment));
      },
    },
    {
      title: 'R17 returns what was taken, once, and says the same each time',
      hold: async (kit) => {
        const [sale, captured] = [await kit.paid(), await held(kit)];
        await kit.approve(kit.capture(captured));
        for (const payment of [sale, captured]) {
          await reversedOnce(kit, payment);
          await kit.refuse(kit.refund(payment, 1n));
        }
      },
    },
    {
      title: 'R17 after a refund returns the rest, and nothing is left',
      hold: async (kit) => {
        const payment = await kit.paid({ amount: 1_000n });
        await kit.approve(kit.refund(payment, 400n));
        ensure(await kit.reverse(payment), 'approved');
        await kit.refuse(kit.refund(payment, 1n));
      },
    },
    {
      title: 'R17 leaves the outcome of the payment as it was told',
      hold: async (kit) => {
        const payment = await held(kit);
        const approved = await kit.send(payment);
        await kit.reverse(payment);
        for (const said of [await kit.send(payment), await kit.ask(payment)]) {
          ensure(said, 'approved');
          ensureSame(said, approved);
        }
      },
    },
    {
      title: 'does not claim to have undone what was never approved',
      hold: async (kit) => {
        const isUndone = async (order: Order) =>
          (await kit.reverse(order).catch(() => undefined))?.kind.case === 'approved';
        assert.ok(!(await isUndone(kit.order())), 'an authorize that was never seen is called undone');
        if (!kit.means.cards.declined) return;
        const declined = kit.order({ card: 'declined' });
        await kit.send(declined);
        assert.ok(!(await isUndone(declined)), 'a declined authorize is called undone');
      },
    },
  ],
};

async function reversedOnce(kit: Kit, payment: Order): Promise<void> {
  const first = await kit.reverse(payment);
  ensure(first, 'approved');
  for (const said of await Promise.all([1, 2, 3].map(() => kit.reverse(payment)))) ensureSame(said, first);
}
