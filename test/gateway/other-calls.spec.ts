import assert from 'node:assert/strict';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import { bytesOf, exampleJson, startGateway, stopGateways, type TestGateway } from './harness.ts';

// biome-ignore lint/suspicious/noExplicitAny: a body that a test bends out of shape
type Body = any;

describe('connect, refund, capture and void', () => {
  let gateway: TestGateway;
  before(async () => {
    gateway = await startGateway({
      script: {
        connectMerchantAccount: ({ credentials }) => ({
          account: { id: 'acct', name: 'Tidepool' },
          credentials: { values: { grant: 'g', ...credentials?.values } },
        }),
        refundTransaction: ({ refusal }) => ({
          operation: { id: 'refund-1' },
          ...(refusal && {
            refusal: { reason: refusal.reason, errorCode: refusal.errorCode, message: refusal.message },
          }),
        }),
        captureTransaction: () => ({}),
        voidTransaction: () => ({}),
      },
    });
  });
  beforeEach(() => gateway.calls.splice(0));
  after(stopGateways);

  const answerTo = async (call: string, body: unknown) => {
    const answer = await gateway.post(call, body);
    assert.equal(answer.status, 200);
    return answer;
  };
  const refused = async (call: string, body: Body, reasonCode: number, errorCode: string, path: string) => {
    const { json } = await answerTo(call, body);
    assert.deepEqual([json.reasonCode, json.errorCode], [reasonCode, errorCode], json.errorMessage);
    assert.ok(json.errorMessage.startsWith(`${path} `), json.errorMessage);
  };

  describe('connect-account', () => {
    const body = (): Body => exampleJson('connect-account.basic.request.json');

    it('needs a merchant and credentials, and asks the core nothing without them', async () => {
      await refused('connect-account', { ...body(), wixMerchantId: undefined }, 1004, 'MISSING_FIELD', 'wixMerchantId');
      await refused('connect-account', { ...body(), credentials: null }, 1004, 'MISSING_FIELD', 'credentials');
      await refused('connect-account', { ...body(), credentials: { on: true } }, 1007, 'INVALID_FORMAT', 'credentials');
      await refused(
        'connect-account',
        { ...body(), wixMerchantId: 'x'.repeat(201) },
        1007,
        'INVALID_FORMAT',
        'wixMerchantId',
      );
      assert.deepEqual(gateway.calls, []);
    });

    it('does without country, currency and mode', async () => {
      await answerTo('connect-account', { ...body(), country: 5, currency: null, mode: 'undefined' });
      const { country, currency, mode } = gateway.calls[0]!.request;
      assert.deepEqual([country, currency, mode], ['', '', Mode.UNSPECIFIED]);
    });

    it('gives every property back as it came and in its order, and what was added after them', async () => {
      const sent =
        '{"wixMerchantId":"m","credentials":{"z":"1","__proto__":"2","a":"true","constructor":"4","gone":null}}';
      const { text } = await answerTo('connect-account', bytesOf(sent));
      assert.equal(
        text,
        '{"credentials":{"z":"1","__proto__":"2","a":"true","constructor":"4","grant":"g"},"accountId":"acct","accountName":"Tidepool"}',
      );
    });

    it('keeps what came where the core says otherwise', async () => {
      const { json } = await answerTo('connect-account', { ...body(), credentials: { grant: 'mine' } });
      assert.deepEqual(json.credentials, { grant: 'mine' });
      const other = await startGateway({
        script: {
          connectMerchantAccount: () => ({ account: { id: 'a' }, credentials: { values: { api_key: 'theirs' } } }),
        },
      });
      assert.deepEqual((await other.post('connect-account', body())).json.credentials, body().credentials);
    });
  });

  describe('refund-transaction', () => {
    const body = (): Body => exampleJson('refund-transaction.full.request.json');

    it('takes an amount as a digit string, above 2^53, or none', async () => {
      for (const [refundAmount, amount] of [
        ['4590', 4590n],
        ['9007199254740993', 9_007_199_254_740_993n],
        [null, undefined],
      ]) {
        await answerTo('refund-transaction', { ...body(), refundAmount });
        assert.equal(gateway.calls.pop()!.request.amount, amount);
      }
    });

    it('takes reasons that it does not know', async () => {
      for (const reason of ['UNKNOWN', 'NEW', 5, null, 'toString']) {
        await answerTo('refund-transaction', { ...body(), reason });
        assert.equal(gateway.calls.pop()!.request.why, 0);
      }
    });

    it('R22 gives a malformed request with both ids to the core, with whatever could be read', async () => {
      const malformed: [Body, number, string, string][] = [
        [{ refundAmount: '45.90' }, 1007, 'INVALID_FORMAT', 'refundAmount'],
        [{ refundAmount: -1 }, 1007, 'INVALID_FORMAT', 'refundAmount'],
        [{ pluginTransactionId: undefined }, 1004, 'MISSING_FIELD', 'pluginTransactionId'],
        [{ merchantCredentials: undefined }, 1004, 'MISSING_FIELD', 'merchantCredentials'],
        [{ merchantCredentials: { on: true } }, 1007, 'INVALID_FORMAT', 'merchantCredentials'],
      ];
      for (const [change, reasonCode, errorCode, path] of malformed) {
        await refused('refund-transaction', { ...body(), ...change }, reasonCode, errorCode, path);
        const { request } = gateway.calls.pop()!;
        const { wixTransactionId, wixRefundId, pluginTransactionId, merchantCredentials } = body();
        assert.equal(request.externalId, wixTransactionId);
        assert.equal(request.externalRefundId, wixRefundId);
        assert.equal(request.refusal.reason, reasonCode);
        assert.equal(request.transactionId, path === 'pluginTransactionId' ? '' : pluginTransactionId);
        assert.equal(request.amount, path === 'refundAmount' ? undefined : 4590n);
        const credentials = path === 'merchantCredentials' ? undefined : merchantCredentials;
        assert.deepEqual(request.merchantCredentials?.values, credentials);
        assert.equal(request.mode, Mode.SANDBOX);
      }
    });

    it('R22 refuses without the core when one of the ids cannot be read', async () => {
      for (const id of ['wixTransactionId', 'wixRefundId']) {
        await refused('refund-transaction', { ...body(), [id]: undefined }, 1004, 'MISSING_FIELD', id);
        await refused('refund-transaction', { ...body(), [id]: 'x'.repeat(201) }, 1007, 'INVALID_FORMAT', id);
      }
      assert.deepEqual(gateway.calls, []);
    });
  });

  for (const [kind, amount] of [
    ['capture', 'captureAmount'],
    ['void', 'voidAmount'],
  ] as const)
    describe(`${kind}-transaction`, () => {
      const call = `${kind}-transaction`;
      const body = (): Body => exampleJson(`${call}.full.request.json`);

      it('takes its amount as a digit string and above 2^53', async () => {
        await answerTo(call, { ...body(), [amount]: '9007199254740993' });
        assert.equal(gateway.calls[0]!.request.amount, 9_007_199_254_740_993n);
      });

      it('R21 refuses what is malformed without the core', async () => {
        for (const path of ['wixTransactionId', 'pluginTransactionId', amount, 'merchantCredentials'])
          await refused(call, { ...body(), [path]: undefined }, 1004, 'MISSING_FIELD', path);
        for (const path of ['wixTransactionId', 'pluginTransactionId', 'merchantCredentials'])
          await refused(call, { ...body(), [path]: 5 }, 1007, 'INVALID_FORMAT', path);
        for (const value of [1.5, '1.5', -1, true, '', '9223372036854775808'])
          await refused(call, { ...body(), [amount]: value }, 3001, 'AMOUNT', amount);
        assert.deepEqual(gateway.calls, []);
      });
    });
});
