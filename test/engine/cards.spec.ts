import assert from 'node:assert/strict';
import { type Client, Code, createClient, createRouterTransport } from '@connectrpc/connect';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import type { Outcome } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Wallet_AuthenticationMethod } from '../../proto/gen/payments/v1/payment_details_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { hasCode } from './contract-kit.ts';
import { createEngine, type Engine } from './engine.ts';
import { authorizeOrder, captureOrder, refundOrder, requestIdOf, subjectOf, voidOrder } from './orders.ts';
import { reasonOf } from './outcomes.ts';

describe('the simulated engine, driven from outside', () => {
  let engine: Engine;
  let client: Client<typeof ProcessorService>;

  before(() => {
    engine = createEngine({ data: ':memory:', log: quietLog(), pendingMs: 30, silenceMs: 20 });
    client = createClient(ProcessorService, createRouterTransport(engine.routes));
    engine.start();
  });
  after(() => engine.stop());

  const authorize = async (options: Parameters<typeof authorizeOrder>[0]) => {
    const order = authorizeOrder(options);
    return { order, outcome: (await client.authorize(order)).outcome! };
  };
  const get = async (order: Parameters<typeof subjectOf>[0]) =>
    (await client.getOperation({ subject: subjectOf(order) })).result;

  describe('deciding by card number', () => {
    const decisions: Record<string, Reason | 'approved'> = {
      '4242424242424242': 'approved',
      '4111111111111111': 'approved',
      '5555555555554444': 'approved',
      '4000000000000341': 'approved',
      '4000000000005126': 'approved',
      '4000000000000002': 3000,
      '4000000000009995': 3012,
      '4000000000009987': 5000,
      '4000000000000069': 3013,
      '4000000000000127': 3016,
      '4100000000000019': 5001,
      '4000002500003155': 3004,
      '4000000000003220': 3004,
      '4000008400001280': 3004,
      '4000008260003178': 3004,
      '4000000000003055': 'approved',
      '378282246310005': 'approved',
      '4000000000030124': 3012,
      '4000000000060006': 6000,
      '4242424242424241': 3015,
      none: 3015,
    };
    for (const [number, decision] of Object.entries(decisions)) {
      it(`${number}: ${decision}`, async () => {
        const { outcome, order } = await authorize({ number });
        assert.equal(reasonOf(outcome), decision);
        assert.equal(engine.books.charged(order.instruction!.transactionId), decision === 'approved' ? 4_590n : 0n);
      });
    }

    it('keeps 4000000000009235 and 4000000000004954 under review, then approves and declines them', async () => {
      for (const [number, end] of [
        ['4000000000009235', 'approved'],
        ['4000000000004954', 5001],
      ] as const) {
        const { outcome, order } = await authorize({ number });
        assert.equal(reasonOf(outcome), Reason.PENDING_FRAUDULENT_TRANSACTION);
        assert.equal(engine.books.charged(order.instruction!.transactionId), 0n);
        await eventually(async () => assert.equal(reasonOf((await get(order)).value as Outcome), end));
        assert.equal(engine.books.charged(order.instruction!.transactionId), end === 'approved' ? 4_590n : 0n);
      }
    });

    it('never answers 4000000000000119, which it charges, nor 4000000000000259, of which it knows nothing', async () => {
      for (const [number, charged, found] of [
        ['4000000000000119', 4_590n, 'outcome'],
        ['4000000000000259', 0n, 'notFound'],
      ] as const) {
        const order = authorizeOrder({ number });
        await assert.rejects(client.authorize(order), hasCode(Code.Unavailable));
        assert.equal(engine.books.charged(order.instruction!.transactionId), charged);
        assert.equal((await get(order)).case, found);
        assert.equal(engine.books.calls(requestIdOf(order)), 1);
      }
    });

    it('4000000000000341 captures fail, voids do not', async () => {
      const { order } = await authorize({ number: '4000000000000341', authorizeOnly: true });
      assert.equal(reasonOf((await client.capture(captureOrder(order))).outcome!), Reason.GENERAL_ERROR);
      assert.equal(reasonOf((await client.void(voidOrder(order))).outcome!), 'approved');
    });

    it('4000000000060014 voids fail, captures do not', async () => {
      const { order } = await authorize({ number: '4000000000060014', authorizeOnly: true });
      assert.equal(reasonOf((await client.void(voidOrder(order))).outcome!), Reason.GENERAL_ERROR);
      assert.equal(reasonOf((await client.capture(captureOrder(order))).outcome!), 'approved');
    });

    for (const [number, reason] of Object.entries({
      '4000000000005126': 3025,
      '4000000000010134': 1013,
      '4000000000030330': 3033,
    }))
      it(`${number} refunds fail ${reason}`, async () => {
        const { order } = await authorize({ number });
        assert.equal(reasonOf((await client.refund(refundOrder(order))).outcome!), reason);
        assert.equal(engine.books.charged(order.instruction!.transactionId), 4_590n);
      });

    it('4000000000030249 is refunded as a whole, and not in parts: 3024', async () => {
      const { order } = await authorize({ number: '4000000000030249' });
      assert.equal(reasonOf((await client.refund(refundOrder(order, 1n))).outcome!), 3024);
      assert.equal(reasonOf((await client.refund(refundOrder(order))).outcome!), 'approved');
    });

    it('4000000000030124 approves half, where the merchant takes less than was asked', async () => {
      const { order, outcome } = await authorize({ number: '4000000000030124', amount: 1_001n, allowPartial: true });
      assert.equal(outcome.kind.case === 'approved' && outcome.kind.value.amount, 501n);
      assert.equal(engine.books.charged(order.instruction!.transactionId), 501n);
    });

    it('R12 declines what is live, and what needs a page where there is none', async () => {
      const redirect = { method: { case: 'redirect' as const, value: {} } };
      assert.equal(reasonOf((await authorize({ mode: Mode.LIVE })).outcome), Reason.TEST_MODE);
      assert.equal(reasonOf((await authorize({ details: redirect })).outcome), Reason.PAYMENT_METHOD_NOT_AVAILABLE);
    });
  });

  describe('wallets and stored credentials', () => {
    const wallet = (pan: string, authenticationMethod: Wallet_AuthenticationMethod, setupCredentialsOnFile = false) =>
      authorize({
        details: { method: { case: 'wallet', value: { pan, authenticationMethod } }, setupCredentialsOnFile },
      });

    it('shows the card behind a device number, and the card itself when that was used', async () => {
      const device = await wallet('5204731600014792', Wallet_AuthenticationMethod.CRYPTOGRAM_3DS);
      assert.deepEqual(digitsOf(device.outcome), ['510510', '5100']);
      const card = await wallet('4242424242424242', Wallet_AuthenticationMethod.PAN_ONLY);
      assert.deepEqual(digitsOf(card.outcome), ['424242', '4242']);
      assert.equal(reasonOf((await wallet('4000000000000002', Wallet_AuthenticationMethod.PAN_ONLY)).outcome), 3000);
    });

    it('gives out a network id for a card, once it is approved', async () => {
      const card = (number: string) => authorizeOrder({ number }).details!.method;
      const setUp = async (number: string) => {
        const { outcome } = await authorize({ details: { method: card(number), setupCredentialsOnFile: true } });
        return outcome.kind.case === 'approved' ? outcome.kind.value.credentialsOnFile?.info : undefined;
      };
      const info = await setUp('4242424242424242');
      assert.ok(info?.case === 'cardReference' && info.value.networkTransactionId.length > 0);
      assert.equal(await setUp('4000000000000069'), undefined);
    });

    it('gives out tokens for cards where the merchant wants them, and knows them again', async () => {
      const setUp = async (order: ReturnType<typeof authorizeOrder>) => {
        Object.assign(order.instruction!.credentials!.values, { onFile: 'token' });
        const { kind } = (await client.authorize(order)).outcome!;
        const info = kind.case === 'approved' ? kind.value.credentialsOnFile?.info : undefined;
        return info?.case === 'paymentMethodReference' ? info.value.token : info?.case;
      };
      const { method } = authorizeOrder({ number: '4000000000000341' }).details!;
      const token = await setUp(authorizeOrder({ details: { method, setupCredentialsOnFile: true } }));
      assert.match(token ?? '', /^tok_/);
      const details = { method: { case: 'reference' as const, value: { token: token! } } };
      const { order } = await authorize({ details, authorizeOnly: true });
      assert.equal(reasonOf((await client.capture(captureOrder(order))).outcome!), Reason.GENERAL_ERROR);
    });

    it('gives a Mastercard its link id, in the answer and on file', async () => {
      const { method } = authorizeOrder({ number: '5555555555554444' }).details!;
      const { outcome } = await authorize({ details: { method, setupCredentialsOnFile: true } });
      assert.ok(outcome.kind.case === 'approved');
      const { transactionLinkId, credentialsOnFile } = outcome.kind.value;
      assert.match(transactionLinkId, /^[0-9A-F]{22}$/);
      const info = credentialsOnFile?.info;
      assert.equal(info?.case === 'cardReference' && info.value.transactionLinkId, transactionLinkId);
    });

    it('4000000000030439 is set up, and its later charges are revoked: 3043', async () => {
      const number = '4000000000030439';
      const { method } = authorizeOrder({ number }).details!;
      assert.ok(method.case === 'card');
      assert.equal(reasonOf((await authorize({ number })).outcome), 'approved');
      Object.assign(method.value, { networkTransactionId: 'NET1', cvv: '' });
      const later = await authorize({ merchantInitiated: true, details: { method } });
      assert.equal(reasonOf(later.outcome), Reason.BUYER_REVOKED_AUTHORIZATION);
      const { outcome } = await wallet(number, Wallet_AuthenticationMethod.PAN_ONLY, true);
      const info = outcome.kind.case === 'approved' ? outcome.kind.value.credentialsOnFile?.info : undefined;
      assert.ok(info?.case === 'paymentMethodReference');
      const byToken = await authorize({
        details: { method: { case: 'reference', value: { token: info.value.token } } },
      });
      assert.equal(reasonOf(byToken.outcome), Reason.BUYER_REVOKED_AUTHORIZATION);
    });

    it('charges the token that it gave out for a wallet, and no other', async () => {
      const { outcome } = await wallet('4242424242424242', Wallet_AuthenticationMethod.PAN_ONLY, true);
      const onFile = outcome.kind.case === 'approved' ? outcome.kind.value.credentialsOnFile : undefined;
      assert.ok(onFile?.info.case === 'paymentMethodReference');
      const { token } = onFile.info.value;
      const charge = (value: string) =>
        authorize({ details: { method: { case: 'reference', value: { token: value } } } });
      assert.equal(reasonOf((await charge(token)).outcome), 'approved');
      assert.equal(reasonOf((await charge('tok_other')).outcome), Reason.BUYER_REVOKED_AUTHORIZATION);
      assert.equal(reasonOf((await charge('')).outcome), Reason.BUYER_REVOKED_AUTHORIZATION);
    });
  });

  describe('connecting', () => {
    const verify = async (values: Record<string, string>, request: { mode?: Mode; currency?: string } = {}) => {
      const { result } = await client.verifyAccount({ externalMerchantId: 'm-1', credentials: { values }, ...request });
      return result.case === 'account' ? result.value : result.value?.reason;
    };

    it('R12 refuses a key by what it says, live mode, and a currency that the account does not take', async () => {
      assert.equal(await verify({ apiKey: 'closed' }), 2000);
      assert.equal(await verify({ apiKey: 'invalid' }), 2002);
      assert.equal(await verify({ apiKey: 'inactive' }), 2007);
      assert.equal(await verify({ apiKey: 'broken' }), 6000);
      assert.equal(await verify({ api_key: 'blocked' }), 2001);
      assert.equal(await verify({ apiKey: 'k' }, { mode: Mode.LIVE }), 2008);
      assert.equal(await verify({ apiKey: 'k', currencies: 'EUR, usd' }, { currency: 'JPY' }), 2009);
    });

    it('takes the account reference that is given, or derives it from the merchant', async () => {
      const account = async (values: Record<string, string>) => {
        const answer = await verify(values, { currency: 'EUR' });
        assert.ok(typeof answer === 'object');
        return [answer.accountReference, answer.currencies];
      };
      assert.deepEqual(await account({ account_ref: 'HP-7', currencies: 'EUR, usd' }), ['HP-7', ['EUR', 'USD']]);
      assert.deepEqual(await account({ apiKey: 'a' }), await account({ apiKey: 'b' }));
      assert.match(String((await account({}))[0]), /^acct_[0-9a-f]{16}$/);
    });
  });
});

function digitsOf({ kind }: Outcome): string[] {
  const card = kind.case === 'approved' ? kind.value.cardDetails : undefined;
  return [card?.bin ?? '', card?.lastFour ?? ''];
}
