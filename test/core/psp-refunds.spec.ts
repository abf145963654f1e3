import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { Initiator, Operation_State as OperationState } from '../../proto/gen/payments/v1/transaction_pb.js';
import { declined } from '../engine/outcomes.ts';
import { createTestCore } from '../support/core.ts';
import { assertFails } from '../support/stage.ts';
import { usePsp } from './psp-kit.ts';

describe('R23 RefundTransaction by the PSP', () => {
  const psp = usePsp();

  it('returns money without merchant credentials, in the name of the caller, and tells Wix', async () => {
    const payment = await psp.pay();
    const requestKey = randomUUID();
    const { transaction, operation, refusal } = await psp.desk.refundTransaction({
      transactionId: payment.id,
      requestKey,
      amount: 1000n,
    });
    assert.equal(refusal, undefined);
    assert.equal(transaction?.refundedAmount, 1000n);
    assert.deepEqual(
      [operation?.state, operation?.caller, operation?.initiator, operation?.externalRefundId],
      [OperationState.APPROVED, 'desk', Initiator.PSP, ''],
    );
    assert.deepEqual(await psp.happened(payment, 1), [['REFUND_SUCCEEDED', 'PSP', true]]);
    assert.equal(psp.charged(payment), 3590n);
  });

  it('returns what remains where no amount is said, beside what Wix refunded', async () => {
    const payment = await psp.pay();
    await psp.test.payments.refundTransaction({
      externalId: payment.externalId,
      externalRefundId: randomUUID(),
      transactionId: payment.id,
      amount: 4000n,
      ...psp.merchant,
    });
    const { operation } = await psp.desk.refundTransaction({
      externalId: payment.externalId,
      requestKey: randomUUID(),
    });
    assert.equal(operation?.amount, 590n);
    assert.equal(psp.charged(payment), 0n);
  });

  it('is one refund for each key of a caller, however often and in whatever amount it is asked', async () => {
    const payment = await psp.pay();
    const requestKey = randomUUID();
    const ask = (amount: bigint) => psp.desk.refundTransaction({ externalId: payment.externalId, requestKey, amount });
    const answers = await Promise.all([ask(1000n), ask(1000n), ask(1000n)]);
    answers.push(await ask(2000n));
    assert.equal(new Set(answers.map(({ operation }) => operation?.id)).size, 1);
    assert.deepEqual(await psp.happened(payment, 1), [['REFUND_SUCCEEDED', 'PSP', true]]);
    assert.equal(psp.charged(payment), 3590n);
  });

  it('takes the same key from two callers, and from Wix, for refunds of their own', async () => {
    const payment = await psp.pay();
    const key = randomUUID();
    const risk = psp.test.as({ name: 'risk', role: 'backoffice' });
    const externalId = payment.externalId;
    const ids = [
      (await psp.desk.refundTransaction({ externalId, requestKey: key, amount: 100n })).operation?.id,
      (await risk.refundTransaction({ externalId, requestKey: key, amount: 100n })).operation?.id,
      (
        await psp.test.payments.refundTransaction({
          ...{ externalId, externalRefundId: key, transactionId: payment.id, amount: 100n },
          ...psp.merchant,
        })
      ).operation?.id,
    ];
    assert.equal(new Set(ids).size, 3);
    assert.equal(psp.charged(payment), 4290n);
  });

  it('R10 derives its id from the caller and the key: a row that was lost cannot return money twice', async () => {
    const payment = await psp.pay();
    const request = { externalId: payment.externalId, requestKey: 'lost', amount: 1000n };
    const first = await psp.desk.refundTransaction(request);
    // As after a fail-over to a replica that had not heard of it.
    await psp.test.db.query('delete from operations where id = $1', [first.operation?.id]);
    await psp.test.db.query('update transactions set refunded_amount = 0 where id = $1', [payment.id]);
    const second = await psp.desk.refundTransaction(request);
    assert.equal(second.operation?.id, first.operation?.id);
    assert.equal(psp.charged(payment), 3590n);
  });

  it('refuses a key that belongs to another payment', async () => {
    const requestKey = randomUUID();
    const [payment, other] = [await psp.pay(), await psp.pay()];
    await psp.desk.refundTransaction({ externalId: payment.externalId, requestKey, amount: 1n });
    await assertFails(
      psp.desk.refundTransaction({ externalId: other.externalId, requestKey, amount: 1n }),
      ...([Code.AlreadyExists, 'REQUEST_KEY_USED'] as const),
    );
    assert.equal(psp.charged(other), 4590n);
  });

  it('refuses more than remains and leaves no record: the same key may ask for less', async () => {
    const payment = await psp.pay();
    const ask = (amount?: bigint) =>
      psp.desk.refundTransaction({
        externalId: payment.externalId,
        requestKey: 'too much',
        ...(amount !== undefined && { amount }),
      });
    await assertFails(ask(4591n), Code.FailedPrecondition, 'AMOUNT');
    assert.equal((await psp.find(payment)).operations.length, 1);
    assert.equal((await ask(4590n)).operation?.state, OperationState.APPROVED);
    await assertFails(
      psp.desk.refundTransaction({ externalId: payment.externalId, requestKey: 'nothing left' }),
      ...([Code.FailedPrecondition, 'NOTHING_LEFT'] as const),
    );
    assert.deepEqual(await psp.happened(payment, 1), [['REFUND_SUCCEEDED', 'PSP', true]]);
  });

  it('never returns more than was captured, however many are asked for at once', async () => {
    const payment = await psp.pay();
    const asked = Array.from({ length: 8 }, (_, i) =>
      psp.desk.refundTransaction({
        externalId: payment.externalId,
        requestKey: `at once ${i} ${payment.id}`,
        amount: 1000n,
      }),
    );
    const done = (await Promise.allSettled(asked)).filter(({ status }) => status === 'fulfilled');
    assert.equal(done.length, 4);
    assert.equal(psp.charged(payment), 590n);
  });

  it('is FAILED_PRECONDITION in any state but captured', async () => {
    const authorized = await psp.pay({ authorizeOnly: true });
    const voided = await psp.pay({ authorizeOnly: true });
    const { externalId, id: transactionId } = voided;
    await psp.test.payments.voidTransaction({
      externalId,
      transactionId,
      callId: randomUUID(),
      amount: 4590n,
      ...psp.merchant,
    });
    const refused = await psp.pay({ number: '4000000000000002' });
    const pending = await psp.pay({ number: '4000000000009235' });
    for (const payment of [authorized, voided, refused, pending])
      await assertFails(
        psp.desk.refundTransaction({ externalId: payment.externalId, requestKey: randomUUID(), amount: 1n }),
        ...([Code.FailedPrecondition, 'NOT_CAPTURED'] as const),
      );
  });

  it('that the processor declines is answered with its refusal, frees its amount, and is not told to Wix', async () => {
    const payment = await psp.pay();
    const request = { externalId: payment.externalId, requestKey: randomUUID(), amount: 4590n };
    psp.test.engine.fault = (method) =>
      method === 'refund' ? declined([Reason.INSUFFICIENT_FUNDS_FOR_REFUND, 'BALANCE', 'Too low']) : undefined;
    const first = await psp.desk.refundTransaction(request);
    assert.equal(first.refusal?.reason, Reason.INSUFFICIENT_FUNDS_FOR_REFUND);
    psp.test.engine.fault = undefined;
    assert.deepEqual(await psp.desk.refundTransaction(request), first);
    assert.deepEqual(await psp.happened(payment, 1), [['REFUND_FAILED', 'PSP', false]]);
    await psp.desk.refundTransaction({ ...request, requestKey: randomUUID() });
    assert.equal(psp.charged(payment), 0n);
  });

  it('is UNAVAILABLE while its outcome is not known; the same key asks the processor, another key waits', async () => {
    const payment = await psp.pay();
    const request = { externalId: payment.externalId, requestKey: randomUUID(), amount: 1000n };
    psp.test.engine.fault = (method) =>
      method === 'refund' ? 'drop answer' : method === 'getOperation' ? 'unavailable' : undefined;
    await assertFails(psp.desk.refundTransaction(request), Code.Unavailable, 'OUTCOME_UNKNOWN');
    await assertFails(
      psp.desk.refundTransaction({ ...request, requestKey: randomUUID() }),
      ...([Code.Aborted, 'REFUND_IN_PROGRESS'] as const),
    );
    psp.test.engine.fault = undefined;
    const again = await psp.desk.refundTransaction(request);
    assert.equal(again.operation?.state, OperationState.APPROVED);
    assert.deepEqual(await psp.happened(payment, 1), [['REFUND_SUCCEEDED', 'PSP', true]]);
    assert.equal(psp.charged(payment), 3590n);
  });

  it('refuses what names no payment, or two, or no key of its own', async () => {
    const [payment, other] = [await psp.pay(), await psp.pay()];
    const { externalId } = payment;
    const requestKey = randomUUID();
    for (const [request, code, reason] of [
      [{ externalId }, Code.InvalidArgument, 'INVALID_ARGUMENT'],
      [{ requestKey }, Code.InvalidArgument, 'INVALID_ARGUMENT'],
      [{ externalId, requestKey, externalRefundId: 'r1' }, Code.InvalidArgument, 'INVALID_ARGUMENT'],
      [{ externalId, requestKey, amount: 0n }, Code.InvalidArgument, 'INVALID_ARGUMENT'],
      [{ externalId, requestKey, amount: -1n }, Code.InvalidArgument, 'INVALID_ARGUMENT'],
      [{ externalId: randomUUID(), requestKey }, Code.NotFound, 'TRANSACTION_NOT_FOUND'],
      [{ transactionId: randomUUID(), requestKey }, Code.NotFound, 'TRANSACTION_NOT_FOUND'],
      [{ externalId, transactionId: other.id, requestKey }, Code.NotFound, 'TRANSACTION_NOT_FOUND'],
    ] as const)
      await assertFails(psp.desk.refundTransaction(request), code, reason);
    assert.equal(psp.charged(payment) + psp.charged(other), 9180n);
  });

  it('refuses at start a caller by a name that the core keeps for itself', async () => {
    for (const name of ['wix', 'system'])
      await assert.rejects(
        createTestCore({ env: { CORE_TOKENS: `${name}:backoffice:${'s'.repeat(32)}` } }),
        /CORE_TOKENS must not name a caller wix or system/,
      );
  });
});
