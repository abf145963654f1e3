import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import {
  PaymentDetailsSchema,
  WalletSchema,
  type Wallet_Type as WalletType,
} from '../../proto/gen/payments/v1/payment_details_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { RefusalSchema } from '../../proto/gen/payments/v1/transaction_pb.js';
import { cardPayment, createTestCore, type TestCore } from '../support/core.ts';
import { assertFails } from '../support/stage.ts';

describe('a request that no gateway of ours would send', () => {
  let test: TestCore;
  let merchant: Awaited<ReturnType<TestCore['connect']>>;
  before(async () => {
    test = await createTestCore();
    merchant = await test.connect();
  });
  after(() => test.stop());

  const good = { errorCode: 'MISSING_FIELD', message: 'amount is missing' };
  for (const [what, refusal] of Object.entries({
    'a reason that nobody knows': { ...good, reason: 99_999 as Reason },
    'a reason that is none against it': { ...good, reason: Reason.PENDING_GENERAL },
    'a reason of connections': { ...good, reason: Reason.MERCHANT_ACCOUNT_IS_NOT_ACTIVE },
    'a card number as its code': { ...good, reason: Reason.INVALID_VALUE, errorCode: '4242424242424242' },
    'a card number in its text': { ...good, reason: Reason.INVALID_VALUE, message: 'No 4242 4242 4242 4242' },
  }))
    it(`R20 is INVALID_ARGUMENT, and not kept, where it refuses with ${what}`, async () => {
      const request = cardPayment(merchant);
      request.refusal = create(RefusalSchema, refusal);
      await assertFails(test.payments.createTransaction(request), Code.InvalidArgument, 'INVALID_ARGUMENT');
      const { externalId, callId } = request;
      const refund = { externalId, externalRefundId: randomUUID(), callId, ...merchant, refusal };
      await assertFails(test.payments.refundTransaction(refund), Code.InvalidArgument, 'INVALID_ARGUMENT');
      const reader = test.as({ name: 'desk', role: 'reader' });
      const found = reader.getTransaction({ key: { case: 'externalId', value: externalId } });
      await assertFails(found, Code.NotFound, 'TRANSACTION_NOT_FOUND');
      assert.deepEqual(
        test.log.lines.filter(({ level }) => level === 'error'),
        [],
      );
    });

  it('is recorded with a wallet of a type that nobody knows', async () => {
    const request = cardPayment(merchant);
    request.paymentMethod = '';
    const value = create(WalletSchema, { type: 99 as WalletType });
    request.details = create(PaymentDetailsSchema, { method: { case: 'wallet', value } });
    const { transaction } = await test.payments.createTransaction(request);
    assert.equal(transaction?.paymentMethod, '');
  });

  it('R20 is refused without a quote of what stands in the place of its currency', async () => {
    const { merchantCredentials: credentials, externalMerchantId } = merchant;
    const { refusal } = await test.payments.connectMerchantAccount({
      ...{ externalMerchantId, credentials, currency: '4242424242424242' },
    });
    assert.equal(refusal?.reason, Reason.MERCHANT_ACCOUNT_DOES_NOT_MATCH_CURRENCY);
    assert.equal(refusal?.message, 'The currency is not enabled for this account');
  });
});
