import assert from 'node:assert/strict';
import { ensure, ensureSame } from './contract-kit.ts';
import type { Group } from './contract-suite.ts';

// What an engine does with money that it holds or has taken.

/** A number that no double can hold. */
const BEYOND_DOUBLES = 9_007_199_254_740_993n;

export const AMOUNTS: Group = {
  title: 'amounts and currencies',
  promises: [
    {
      title: 'R18 is never another amount: the last minor unit of a huge one counts, or the payment is declined',
      hold: async (kit) => {
        const order = kit.order({ amount: BEYOND_DOUBLES });
        const said = await kit.send(order);
        if (said.kind.case !== 'approved') return ensure(said, 'declined');
        await kit.approve(order);
        await kit.refuse(kit.refund(order, BEYOND_DOUBLES + 1n));
        await kit.approve(kit.refund(order, BEYOND_DOUBLES));
      },
    },
    {
      title: 'R18 is never another currency: minor units of no or three decimals, or the payment is declined',
      hold: async (kit) => {
        for (const currency of kit.means.otherCurrencies) {
          const order = kit.order({ currency, amount: 1_234n });
          const said = await kit.send(order);
          if (said.kind.case !== 'approved') ensure(said, 'declined');
          else {
            await kit.approve(order);
            await kit.approve(kit.refund(order, 1_234n));
          }
        }
      },
    },
    {
      title: 'R18 of a capture, void or refund is in the currency of its payment',
      hold: async (kit) => {
        const currency = kit.means.otherCurrencies[0]!;
        const [held, taken] = [await kit.paid({ authorizeOnly: true }), await kit.paid()];
        for (const order of [kit.capture(held), kit.void(held), kit.refund(taken)]) {
          order.instruction!.currency = currency;
          const said = await kit.send(order).catch(() => undefined);
          assert.notEqual(said?.kind.case, 'approved', `${currency} was moved for a payment in ${kit.means.currency}`);
        }
        await kit.approve(kit.capture(held));
        await kit.approve(kit.refund(taken));
      },
    },
    {
      title: 'R25 moves nothing where there is nothing to move',
      hold: async (kit) => {
        const [held, taken] = [await kit.paid({ authorizeOnly: true }), await kit.paid()];
        for (const order of [
          kit.capture(held, 0n),
          kit.capture(held, -1n),
          kit.refund(taken, 0n),
          kit.refund(taken, -1n),
        ]) {
          const said = await kit.send(order).catch(() => undefined);
          assert.notEqual(said?.kind.case, 'approved', `an amount of ${order.instruction?.amount} was moved`);
        }
        await kit.approve(kit.void(held));
        await kit.refuse(kit.refund(taken, taken.instruction!.amount + 1n));
      },
    },
  ],
};

export const FOLLOW_UPS: Group = {
  title: 'capturing, voiding and refunding',
  promises: [
    {
      title: 'takes part of what is held, once, and releases the rest',
      hold: async (kit) => {
        const payment = await kit.paid({ authorizeOnly: true, amount: 4_590n });
        const capture = kit.capture(payment, 4_000n);
        ensureSame(await kit.approve(capture), await kit.send(capture));
        await kit.refuse(kit.capture(payment, 590n));
        await kit.refuse(kit.void(payment));
        await kit.refuse(kit.refund(payment, 4_001n));
        await kit.approve(kit.refund(payment, 4_000n));
      },
    },
    {
      title: 'never takes more than is held, and then still takes what is',
      hold: async (kit) => {
        const payment = await kit.paid({ authorizeOnly: true, amount: 100n });
        await kit.refuse(kit.capture(payment, 101n));
        await kit.approve(kit.capture(payment, 100n));
      },
    },
    {
      title: 'releases what is held, whole, and then has nothing to take',
      hold: async (kit) => {
        const payment = await kit.paid({ authorizeOnly: true, amount: 100n });
        await kit.refuse(kit.void(payment, 99n));
        await kit.approve(kit.void(payment));
        await kit.refuse(kit.capture(payment));
        await kit.refuse(kit.void(payment));
        await kit.refuse(kit.refund(payment, 1n));
      },
    },
    {
      title: 'returns money in parts, never above what was captured',
      hold: async (kit) => {
        const payment = await kit.paid({ amount: 1_000n });
        const first = kit.refund(payment, 600n);
        ensureSame(await kit.approve(first), await kit.send(first));
        await kit.refuse(kit.refund(payment, 401n));
        await kit.approve(kit.refund(payment, 400n));
        await kit.refuse(kit.refund(payment, 1n));
      },
    },
    {
      title: 'never returns more than was captured when several refunds come at once',
      hold: async (kit) => {
        const payment = await kit.paid({ amount: 1_000n });
        const said = await Promise.all([600n, 600n, 600n].map((amount) => kit.send(kit.refund(payment, amount))));
        assert.equal(said.filter(({ kind }) => kind.case === 'approved').length, 1, 'refunds of 3 x 600 of 1000');
        await kit.approve(kit.refund(payment, 400n));
      },
    },
    {
      title: 'either takes or releases when both come at once',
      hold: async (kit) => {
        const payment = await kit.paid({ authorizeOnly: true, amount: 1_000n });
        const said = await Promise.all([kit.send(kit.capture(payment)), kit.send(kit.void(payment))]);
        const [captured, voided] = said.map(({ kind }) => kind.case === 'approved');
        assert.ok(captured !== voided, captured ? 'it was captured and voided' : 'it was neither captured nor voided');
        const refund = kit.refund(payment);
        await (captured ? kit.approve(refund) : kit.refuse(refund));
      },
    },
    {
      title: 'does nothing for a payment that it does not know',
      hold: async (kit) => {
        const unknown = kit.order();
        for (const order of [kit.capture(unknown), kit.void(unknown), kit.refund(unknown)]) await kit.refuse(order);
        ensure(await kit.ask(unknown), 'not found');
      },
    },
    {
      title:
        'holds on to the money when a capture is declined: the next attempt is another one, and it can be released',
      needs: ['captureDeclined'],
      hold: async (kit) => {
        const payment = await kit.paid({ card: 'captureDeclined', authorizeOnly: true });
        const capture = kit.capture(payment);
        ensureSame(await kit.refuse(capture), await kit.send(capture));
        await kit.refuse(kit.capture(payment));
        await kit.approve(kit.void(payment));
      },
    },
    {
      title: 'says each time that a refund is declined, and returns nothing',
      needs: ['refundDeclined'],
      hold: async (kit) => {
        const payment = await kit.paid({ card: 'refundDeclined' });
        const refund = kit.refund(payment);
        ensureSame(await kit.refuse(refund), await kit.send(refund));
        ensure(await kit.ask(refund), 'declined', 'failed');
      },
    },
  ],
};
