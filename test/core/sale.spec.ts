import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'mocha';
import { Event_Type as Type } from '../../proto/gen/payments/v1/event_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { Transaction_State as State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { cardPayment, createTestCore, type TestCore } from '../support/core.ts';
import { eventually } from '../support/eventually.ts';

describe('a sale', () => {
  let test: TestCore;
  let merchant: Awaited<ReturnType<TestCore['connect']>>;
  before(async () => {
    test = await createTestCore();
    merchant = await test.connect();
  });
  after(() => test.stop());

  it('is captured once, and its event follows', async () => {
    const request = cardPayment(merchant);
    const { transaction, refusal } = await test.payments.createTransaction(request);
    assert.equal(refusal, undefined);
    assert.equal(transaction?.state, State.CAPTURED);
    assert.equal(transaction.capturedAmount, 4590n);
    assert.equal(test.engine.books.charged(transaction.id), 4590n);
    await eventually(() => assert.equal(test.eventsOf(request.externalId).length, 1));
    assert.equal(test.eventsOf(request.externalId)[0]?.type, Type.TRANSACTION_APPROVED);
  });

  it('is declined with the reason of the processor', async () => {
    const { transaction, refusal } = await test.payments.createTransaction(cardPayment(merchant, '4000000000009995'));
    assert.equal(transaction?.state, State.DECLINED);
    assert.equal(refusal?.reason, Reason.INSUFFICIENT_FUNDS);
  });

  it('is pending while the processor reviews it, then final', async () => {
    const request = cardPayment(merchant, '4000000000009235');
    const { transaction } = await test.payments.createTransaction(request);
    assert.equal(transaction?.reason, Reason.PENDING_FRAUDULENT_TRANSACTION);
    await eventually(() =>
      assert.deepEqual(
        test.eventsOf(request.externalId).map((event) => event.type),
        [Type.TRANSACTION_PENDING, Type.TRANSACTION_APPROVED],
      ),
    );
  });

  it('whose answer is lost is pending 5009 and found approved by reconciliation', async () => {
    const request = cardPayment(merchant, '4000000000000119');
    const { transaction } = await test.payments.createTransaction(request);
    assert.equal(transaction?.reason, Reason.PENDING_GENERAL);
    await eventually(() =>
      assert.deepEqual(
        test.eventsOf(request.externalId).map((event) => event.type),
        [Type.TRANSACTION_PENDING, Type.TRANSACTION_APPROVED],
      ),
    );
  });

  it('that the processor never saw is ended by a tombstone and declined 1003', async () => {
    const request = cardPayment(merchant, '4000000000000259');
    const { transaction } = await test.payments.createTransaction(request);
    assert.equal(transaction?.reason, Reason.PENDING_GENERAL);
    await eventually(() =>
      assert.deepEqual(
        test.eventsOf(request.externalId).map((event) => [event.type, event.reason]),
        [
          [Type.TRANSACTION_PENDING, Reason.PENDING_GENERAL],
          [Type.TRANSACTION_DECLINED, Reason.PROVIDER_TECHNICAL_ERROR],
        ],
      ),
    );
  });

  it('is refunded in parts, never above what was captured', async () => {
    const request = cardPayment(merchant);
    const { transaction } = await test.payments.createTransaction(request);
    const refund = (amount?: bigint) =>
      test.payments.refundTransaction({
        externalId: request.externalId,
        externalRefundId: randomUUID(),
        callId: randomUUID(),
        transactionId: transaction?.id ?? '',
        merchantCredentials: merchant.merchantCredentials,
        ...(amount !== undefined && { amount }),
      });
    assert.equal((await refund(1500n)).refusal, undefined);
    assert.equal((await refund(9000n)).refusal?.reason, Reason.REFUND_NOT_ALLOWED);
    assert.equal((await refund()).operation?.amount, 3090n);
    assert.equal((await refund()).refusal?.reason, Reason.PAYMENT_ALREADY_REFUNDED);
    assert.equal(test.engine.books.charged(transaction?.id ?? ''), 0n);
  });

  it('authorised only is captured in part once, and told so when asked again', async () => {
    const request = cardPayment(merchant, undefined, { authorizeOnly: true });
    const { transaction } = await test.payments.createTransaction(request);
    assert.equal(transaction?.state, State.AUTHORIZED);
    const capture = (amount: bigint) =>
      test.payments.captureTransaction({
        externalId: request.externalId,
        callId: randomUUID(),
        transactionId: transaction.id,
        merchantCredentials: merchant.merchantCredentials,
        amount,
      });
    assert.equal((await capture(5000n)).refusal?.reason, Reason.INVALID_AMOUNT);
    assert.equal((await capture(4000n)).transaction?.capturedAmount, 4000n);
    assert.equal((await capture(4000n)).refusal?.errorCode, 'ALREADY_CAPTURED');
  });
});
