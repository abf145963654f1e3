import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { Code, createClient } from '@connectrpc/connect';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { isLoopback } from '../../proto/runtime/config.ts';
import { quotes } from '../../proto/runtime/redact.ts';
import {
  ensure,
  ensureSame,
  hasCode,
  isA,
  isOpen,
  type LearnedOutcome,
  say,
  textsOf,
  verifyRequest,
} from './contract-kit.ts';
import type { EnginePromise, Group } from './contract-suite.ts';
import { requestIdOf } from './orders.ts';

// What an engine says, and that it says it for ever.

export const ACCOUNTS: Group = {
  title: 'verifying an account',
  promises: [
    {
      title: 'answers the same account each time, with its reference and its name',
      hold: async ({ engine, means }) => {
        const verify = async () => (await engine.verifyAccount(verifyRequest(means))).result;
        const [first, second] = [await verify(), await verify()];
        assert.ok(first.case === 'account', 'the credentials of the test merchant are refused');
        assert.deepEqual(first, second);
        assert.match(first.value.accountReference, /^.{1,200}$/, 'account_reference has 1..200 characters');
        assert.match(first.value.name, /^.{1,200}$/, 'name has 1..200 characters');
        for (const name of Object.keys(first.value.extraCredentials?.values ?? {}))
          assert.ok(!(name in means.credentials), `extra_credentials overwrite ${name}`);
      },
    },
    {
      title: 'refuses wrong credentials with a reason of the connection group',
      needs: ['wrongCredentials'],
      hold: async ({ engine, means }) => {
        const credentials = { values: means.wrongCredentials ?? {} };
        const { result } = await engine.verifyAccount({ ...verifyRequest(means), credentials });
        assert.ok(result.case === 'refusal', 'wrong credentials are accepted');
        const { reason } = result.value;
        assert.ok((reason >= 2000 && reason < 3000) || reason === 6000, `${reason} is no reason of a connection`);
      },
    },
    {
      title: 'R33 refuses a call without its token, and does nothing',
      needs: ['token'],
      hold: async (kit, { withoutToken }) => {
        const order = kit.order();
        const stranger = createClient(ProcessorService, withoutToken!);
        const refused = hasCode(Code.Unauthenticated, Code.PermissionDenied);
        await assert.rejects(stranger.authorize(order, { timeoutMs: kit.means.deadlineMs }), refused);
        ensure(await kit.ask(order), 'not found');
      },
    },
  ],
};

export const OUTCOMES: Group = {
  title: 'an outcome',
  promises: [
    {
      title:
        'R4 of an ordinary payment comes within the deadline: approved as asked, with a reference, and captured at once',
      hold: async (kit) => {
        const payment = await kit.paid();
        await kit.refuse(kit.void(payment));
        await kit.approve(kit.refund(payment));
      },
    },
    {
      title: 'R4 of an authorize-only payment holds the money and takes none',
      hold: async (kit) => {
        const payment = await kit.paid({ authorizeOnly: true });
        await kit.refuse(kit.refund(payment));
        await kit.approve(kit.void(payment));
      },
    },
    {
      title: 'is declined with a reason that Wix knows, and stays declined',
      needs: ['declined'],
      hold: async (kit) => {
        const order = kit.order({ card: 'declined' });
        ensure(await kit.refuse(order), 'declined');
        await kit.refuse(kit.refund(order));
        ensure(await kit.ask(order), 'declined');
      },
    },
    {
      title: 'R20 never repeats a card number',
      hold: async (kit) => {
        for (const card of ['approved', 'declined', 'pendingThenDeclined'] as const) {
          const number = kit.means.cards[card]?.number;
          if (!number) continue;
          const order = kit.order({ card });
          for (const said of [await kit.send(order), await kit.ask(order)])
            for (const [path, text] of textsOf(said))
              assert.ok(!quotes(text, (digits) => digits.includes(number)), `${path} holds the card number`);
        }
      },
    },
    {
      title: 'that comes late is pending first, learnt by asking, and then approved for good',
      needs: ['pendingThenApproved'],
      hold: async (kit) => {
        const order = kit.order({ card: 'pendingThenApproved' });
        ensure(await kit.send(order), 'pending');
        const decided = await kit.decided(order);
        ensure(decided, 'approved');
        ensureSame(await kit.send(order), decided);
        await kit.approve(kit.refund(order));
      },
    },
    {
      title: 'that comes late may be a decline, for good',
      needs: ['pendingThenDeclined'],
      hold: async (kit) => {
        const order = kit.order({ card: 'pendingThenDeclined' });
        ensure(await kit.send(order), 'pending');
        const decided = await kit.decided(order);
        ensure(decided, 'declined');
        ensureSame(await kit.send(order), decided);
        await kit.refuse(kit.refund(order));
      },
    },
    {
      // Plain http is for an engine on the machine of its caller.
      title: 'that needs the buyer names an https page, the same one when asked again',
      needs: ['buyerAction'],
      hold: async (kit) => {
        const order = kit.order({ card: 'buyerAction' });
        const page = pageOf(await kit.send(order));
        const isSafe = new URL(page).protocol === 'https:' || isLoopback(page);
        assert.ok(page.length <= 2_000 && isSafe, 'the page is no https URL');
        assert.equal(pageOf(await kit.ask(order)), page);
      },
    },
    {
      title: 'never needs a buyer who is not there',
      needs: ['buyerAction'],
      hold: async (kit) => {
        const said = await kit.send(kit.order({ card: 'buyerAction', merchantInitiated: true }));
        assert.notEqual(said.kind.case, 'buyerAction');
      },
    },
    {
      title: 'shows no page where the order has no return_url',
      needs: ['buyerAction'],
      hold: async (kit) => {
        const said = await kit.send(kit.order({ card: 'buyerAction', returnUrl: '' }));
        assert.notEqual(said.kind.case, 'buyerAction');
      },
    },
  ],
};

function pageOf(said: LearnedOutcome): string {
  ensure(said, 'buyerAction');
  return typeof said !== 'string' && said.kind.case === 'buyerAction' ? said.kind.value.url : '';
}

export const REQUEST_IDS: Group = {
  title: 'one request id',
  promises: [
    {
      title: 'R15 is not found before it was sent',
      hold: async (kit) => ensure(await kit.ask(kit.order()), 'not found'),
    },
    {
      title: 'gives one outcome, however often it is sent, and asking tells the same',
      hold: async (kit) => {
        for (const card of ['approved', 'declined'] as const) {
          if (!kit.means.cards[card]) continue;
          const order = kit.order({ card });
          const first = await kit.send(order);
          ensureSame(await kit.send(order), first);
          ensureSame(await kit.ask(order), first);
        }
      },
    },
    {
      title: 'gives one outcome and takes the money once when it is sent many times at once',
      hold: async (kit) => {
        const sale = kit.order({ amount: 1_000n });
        ensure(await kit.sendAtOnce(sale), 'approved');
        await kit.approve(kit.refund(sale, 1_000n));
        await kit.refuse(kit.refund(sale, 1n));
      },
    },
    {
      title: 'captures once when it is sent many times at once',
      hold: async (kit) => {
        const payment = await kit.paid({ authorizeOnly: true, amount: 1_000n });
        const capture = kit.capture(payment, 400n);
        ensureSame(await kit.sendAtOnce(capture), await kit.approve(capture));
        await kit.refuse(kit.refund(payment, 401n));
        await kit.approve(kit.refund(payment, 400n));
      },
    },
    {
      title: 'refunds once when it is sent many times at once',
      hold: async (kit) => {
        const payment = await kit.paid({ amount: 1_000n });
        const refund = kit.refund(payment, 400n);
        ensureSame(await kit.sendAtOnce(refund), await kit.approve(refund));
        await kit.approve(kit.refund(payment, 600n));
        await kit.refuse(kit.refund(payment, 1n));
      },
    },
    {
      title: 'releases once, and says the same each time',
      hold: async (kit) => {
        const release = kit.void(await kit.paid({ authorizeOnly: true }));
        ensureSame(await kit.sendAtOnce(release), await kit.approve(release));
        ensureSame(await kit.ask(release), await kit.approve(release));
      },
    },
    {
      title: 'keeps its outcome when it comes back with another body',
      hold: async (kit) => {
        const order = kit.order({ amount: 100n });
        const first = await kit.approve(order);
        ensureSame(await kit.send(kit.order({ requestId: requestIdOf(order), amount: 999n })), first);
        await kit.refuse(kit.refund(order, 101n));
      },
    },
    {
      title: 'never serves as the id of another kind of operation',
      hold: async (kit) => {
        const payment = await kit.paid({ authorizeOnly: true });
        const capture = kit.capture(payment);
        capture.instruction!.requestId = requestIdOf(payment);
        const said = await kit.send(capture).catch(() => undefined);
        assert.notEqual(said?.kind.case, 'approved', 'a capture was answered with the outcome of its authorize');
        await kit.approve(kit.void(payment));
      },
    },
  ],
};

/** At most this long after it was sent, its caller hangs up. */
const HANG_UP_AFTER_MS = [0, 1, 3, 10, 30];

const hangUps: EnginePromise = {
  title: 'R3 is found or is not, and is never doubled, when its caller hangs up',
  hold: async (kit) => {
    for (const ms of HANG_UP_AFTER_MS) {
      const order = kit.order({ amount: 1_000n });
      const caller = new AbortController();
      const answer = kit.send(order, { signal: caller.signal }).catch(() => undefined);
      await delay(ms);
      caller.abort();
      await answer;
      const said = await kit.send(order);
      // An engine may give up an order whose caller has gone, if it then says so for ever.
      ensure(said, 'approved', 'failed');
      ensureSame(await kit.ask(order), said);
      if (isA(said, 'approved')) await kit.approve(kit.refund(order, 1_000n));
      await kit.refuse(kit.refund(order, 1n));
    }
  },
};

export const LOST_ANSWERS: Group = {
  title: 'an answer that is lost',
  promises: [
    hangUps,
    {
      title: 'R15 is learnt by asking: what was approved behind the silence is told, never declined or forgotten',
      needs: ['answerLost'],
      hold: async (kit) => {
        const order = kit.order({ card: 'answerLost' });
        const said = await kit.send(order, { timeoutMs: kit.means.silenceMs }).catch(() => undefined);
        if (said && !isOpen(said)) ensure(said, 'approved');
        ensure(await kit.decided(order), 'approved');
        await kit.approve(kit.refund(order));
      },
    },
    {
      title: 'R15 of a call that did nothing is ended by Cancel, and nothing happens later',
      needs: ['callLost'],
      hold: async (kit) => {
        const order = kit.order({ card: 'callLost' });
        const said = await kit.send(order, { timeoutMs: kit.means.silenceMs }).catch(() => undefined);
        assert.ok(said === undefined || isOpen(said), `it said ${said && say(said)} where no answer is due`);
        ensure(await kit.cancel(order), 'tombstone', 'ended');
        ensure(await kit.send(order), 'failed');
        await kit.refuse(kit.refund(order));
      },
    },
  ],
};
