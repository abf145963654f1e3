import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code, ConnectError } from '@connectrpc/connect';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { approved } from '../engine/outcomes.ts';
import { assertSays, LOSSY, useStage } from '../support/stage.ts';

describe('connecting a merchant', () => {
  const stage = useStage({ env: LOSSY });
  const connect = (options: Parameters<typeof stage.wix.connect>[1]) => stage.wix.connect(stage.gatewayUrl, options);

  it('answers the account, and the credentials as they came', async () => {
    const credentials = { api_key: 'test', account_ref: 'HP-1', capture_later: 'true', statement_days: '14' };
    const { answer, accountId } = await connect({ credentials });
    assert.deepEqual(answer.body, { credentials, accountId, accountName: 'Simulated account HP-1' });
    assert.ok(accountId.length > 0);
  });

  it('takes credentials of 100 entries and 32 KiB', async () => {
    const credentials = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`key-${i + 100}`, 'x'.repeat(320)]));
    assert.ok((await connect({ credentials })).accountId);
  });

  it('takes a merchant who says neither country, currency nor mode', async () => {
    const body = { wixMerchantId: randomUUID(), credentials: { api_key: 'test' } };
    const answer = await stage.wix.call(stage.gatewayUrl, 'connect', body);
    assert.ok(answer.body?.accountId);
  });

  it('R11 keeps the account id when the merchant connects again, with other credentials too', async () => {
    const merchantId = randomUUID();
    const first = await connect({ merchantId, credentials: { api_key: 'one', account_ref: 'HP-2' } });
    const again = await connect({ merchantId, credentials: { api_key: 'one', account_ref: 'HP-2' } });
    const renewed = await connect({ merchantId, credentials: { api_key: 'two', account_ref: 'HP-2' } });
    assert.deepEqual([again.accountId, renewed.accountId], [first.accountId, first.accountId]);
  });

  it('R11 gives another account of the merchant, and the same one of another merchant, ids of their own', async () => {
    const merchantId = randomUUID();
    const accounts = await Promise.all([
      connect({ merchantId, credentials: { api_key: 'test', account_ref: 'HP-3' } }),
      connect({ merchantId, credentials: { api_key: 'test', account_ref: 'HP-4' } }),
      connect({ credentials: { api_key: 'test', account_ref: 'HP-3' } }),
    ]);
    assert.equal(new Set(accounts.map(({ accountId }) => accountId)).size, 3);
  });

  it('R11 adds what the processor adds, never overwrites, and demands all of it in payments', async () => {
    const credentials = { api_key: 'test', account_ref: 'HP-5' };
    stage.verdict = () => ({
      result: {
        case: 'account',
        value: {
          accountReference: 'HP-5',
          name: 'Tidepool',
          extraCredentials: { values: { grant: 'g1', api_key: 'x' } },
        },
      },
    });
    const merchant = await connect({ credentials });
    assert.deepEqual(merchant.credentials, { ...credentials, grant: 'g1' });
    stage.heal();
    assert.equal((await stage.wix.pay(merchant)).answer.body?.reasonCode, undefined);
    const without = await stage.wix.pay({ ...merchant, credentials });
    assert.equal(without.answer.body?.reasonCode, 3041);
  });

  for (const [what, extra] of [
    ['more than 100', Object.fromEntries(Array.from({ length: 99 }, (_, i) => [`extra${i}`, 'x']))],
    ['more than 32 KiB', { grant: 'é'.repeat(16_384) }],
    ['a NUL', { grant: 'g\0' }],
  ] as [string, Record<string, string>][])
    it(`R8 answers 1002 and alerts where the processor’s additions make credentials of ${what}, which no payment may carry`, async () => {
      stage.verdict = () => ({
        result: {
          case: 'account',
          value: { accountReference: 'HP-6', name: 'T', extraCredentials: { values: extra } },
        },
      });
      const merchantId = randomUUID();
      const { answer } = await connect({ merchantId });
      assert.deepEqual([answer.body?.reasonCode, answer.body?.errorCode], [1002, 'NO_ANSWER']);
      assert.ok(stage.log.lines.some(({ alert, method }) => alert && method === 'verify_account'));
      const rows = await stage.db.query('select id from merchant_accounts where external_merchant_id = $1', [
        merchantId,
      ]);
      assert.deepEqual(rows, []);
    });

  it('R12 is found in its mode, however many versions it has in another', async () => {
    const [merchantId, credentials] = [randomUUID(), { api_key: 'test', account_ref: 'HP-7' }];
    stage.verdict = () => ({ result: { case: 'account', value: { accountReference: 'HP-7', name: 'T' } } });
    const live = await connect({ merchantId, credentials, mode: 'live' });
    // A merchant who changes between two accounts of one engine adds a version each time.
    for (let i = 0; i < 25; i += 1) {
      await connect({ merchantId, credentials, mode: 'sandbox' });
      await connect({ merchantId, credentials: { ...credentials, account_ref: 'HP-8' }, mode: 'sandbox' });
    }
    stage.once('authorize', approved({}));
    assertSays((await stage.wix.pay(live, { mode: 'live' })).answer);
    assertSays((await stage.wix.pay(live, { mode: 'sandbox' })).answer);
  });

  for (const [what, options, reasonCode, errorCode] of [
    ['wrong credentials', { credentials: { api_key: 'invalid' } }, 2002, 'CREDENTIALS'],
    ['a blocked account', { credentials: { api_key: 'blocked' } }, 2001, 'BLOCKED'],
    ['R12 live mode at the simulated engine', { mode: 'live' }, 2008, 'SIMULATED'],
    [
      'a currency that the account does not take',
      { credentials: { api_key: 'test', currencies: 'EUR' }, currency: 'ISK' },
      2009,
      'CURRENCY',
    ],
    ['a currency that Wix does not know', { currency: 'XCG' }, 2009, 'CURRENCY'],
    ['what no currency can be', { currency: 'x'.repeat(2000) }, 2009, 'CURRENCY'],
  ] as const)
    it(`refuses ${what} with ${reasonCode}`, async () => {
      const { answer } = await connect(options);
      assert.equal(answer.body?.reasonCode, reasonCode);
      assert.equal(answer.body?.errorCode, errorCode);
      assert.equal(answer.body?.accountId, undefined);
    });

  it('R18 tells a reason of the processor that is none of connecting as 6000, with its number', async () => {
    stage.verdict = () => ({
      result: { case: 'refusal', value: { reason: Reason.INSUFFICIENT_FUNDS, errorCode: '', message: 'No' } },
    });
    const { answer } = await connect({});
    assert.deepEqual(answer.body, { reasonCode: 6000, errorCode: '3012', errorMessage: 'No' });
  });

  it('R8 answers 1002 when the processor gives no answer, whatever the cause, and keeps nothing', async () => {
    const merchantId = randomUUID();
    for (const fault of ['unavailable', 'ignore', new ConnectError('no', Code.PermissionDenied)] as const) {
      stage.once('verifyAccount', fault);
      assert.equal((await connect({ merchantId })).answer.body?.reasonCode, 1002);
    }
    const rows = await stage.db.query('select id from merchant_accounts where external_merchant_id = $1', [merchantId]);
    assert.equal(rows.length, 0);
  });
});
