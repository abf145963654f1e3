import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code, ConnectError } from '@connectrpc/connect';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import {
  Operation_State as OperationState,
  Transaction_State as State,
  type Transaction,
} from '../../proto/gen/payments/v1/transaction_pb.js';
import { approved, declined } from '../engine/outcomes.ts';
import { assertFails } from '../support/stage.ts';
import { usePsp } from './psp-kit.ts';

describe('R23 ReportRefund', () => {
  const psp = usePsp();
  const refunded = async (payment: Transaction) => (await psp.find(payment)).transaction?.refundedAmount;
  const report = (payment: Transaction, processorReference: string, amount = 1000n, by = psp.engine) =>
    by.reportRefund({ key: { case: 'id', value: payment.id }, processorReference, amount });
  const alertsOf = (payment: Transaction) =>
    psp.test.log.lines
      .filter(({ alert, transactionId }) => alert && transactionId === payment.id)
      .map(({ alert }) => alert);
  const contradictions = (payment: Transaction) =>
    psp.test.db.query<{ caller: string; said: string }>(
      `select reports.caller, said from reports left join operations on operations.id = operation_id
       where reports.kind = 'contradiction' and coalesce(reports.transaction_id, operations.transaction_id) = $1`,
      [payment.id],
    );

  it('books a refund that happened at the processor, asks it nothing, and tells Wix', async () => {
    const payment = await psp.pay();
    const { transaction, operation } = await report(payment, 'RF-1');
    assert.equal(transaction?.refundedAmount, 1000n);
    assert.deepEqual(
      [operation?.state, operation?.approvedAmount, operation?.caller, operation?.processorReference],
      [OperationState.APPROVED, 1000n, 'acquirer', 'RF-1'],
    );
    assert.deepEqual(await psp.happened(payment, 1), [['REFUND_SUCCEEDED', 'PSP', true]]);
    const [, event] = psp.test.eventsOf(payment.externalId);
    assert.deepEqual(
      [event?.operationAmount, event?.refundedAmount, event?.processorReference, event?.operationId],
      [1000n, 1000n, 'RF-1', operation?.id],
    );
    assert.equal(psp.test.engine.books.calls(operation?.id ?? ''), 0);
  });

  it('is one refund for each reference of an account, whoever reports it and however often', async () => {
    const payment = await psp.pay();
    const answers = await Promise.all([
      report(payment, 'RF-2'),
      report(payment, 'RF-2'),
      report(payment, 'RF-2', 1000n, psp.desk),
    ]);
    assert.equal(new Set(answers.map(({ operation }) => operation?.id)).size, 1);
    assert.equal(await refunded(payment), 1000n);
    assert.deepEqual(await psp.happened(payment, 1), [['REFUND_SUCCEEDED', 'PSP', true]]);
  });

  it('takes the same reference for refunds of two accounts', async () => {
    const other = await psp.test.connect();
    const [payment, foreign] = [await psp.pay(), await psp.pay({ of: other })];
    await report(payment, 'RF-3');
    await report(foreign, 'RF-3');
    assert.deepEqual([await refunded(payment), await refunded(foreign)], [1000n, 1000n]);
  });

  it('knows a refund that the core ordered itself by the reference that came with its outcome', async () => {
    const payment = await psp.pay();
    const { operation } = await psp.desk.refundTransaction({
      externalId: payment.externalId,
      requestKey: randomUUID(),
      amount: 1000n,
    });
    assert.ok(operation?.processorReference);
    const reported = await report(payment, operation.processorReference);
    assert.equal(reported.operation?.id, operation.id);
    assert.equal(await refunded(payment), 1000n);
    assert.deepEqual(await psp.happened(payment, 1), [['REFUND_SUCCEEDED', 'PSP', true]]);
  });

  it('is accepted above what remains, marked by the totals, and alerted', async () => {
    const payment = await psp.pay();
    await report(payment, 'RF-4', 4000n);
    assert.deepEqual(alertsOf(payment), []);
    const { transaction } = await report(payment, 'RF-5', 4000n);
    assert.deepEqual([transaction?.capturedAmount, transaction?.refundedAmount], [4590n, 8000n]);
    assert.deepEqual(alertsOf(payment), ['refund_above_remaining']);
    assert.equal((await psp.happened(payment, 2)).length, 2);
    await assertFails(
      psp.desk.refundTransaction({ externalId: payment.externalId, requestKey: randomUUID(), amount: 1n }),
      ...([Code.FailedPrecondition, 'NOTHING_LEFT'] as const),
    );
  });

  it('is ABORTED while a refund of the payment runs or is unknown, and accepted after', async () => {
    const payment = await psp.pay();
    const request = { externalId: payment.externalId, requestKey: randomUUID(), amount: 1000n };
    const running = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    psp.test.engine.fault = async (method) => {
      if (method !== 'refund') return 'unavailable';
      reached.resolve();
      await running.promise;
      return 'drop answer';
    };
    const refund = psp.desk.refundTransaction(request).catch(() => 'unknown');
    await reached.promise;
    await assertFails(report(payment, 'RF-6'), Code.Aborted, 'REFUND_IN_PROGRESS');
    running.resolve();
    assert.equal(await refund, 'unknown');
    await assertFails(report(payment, 'RF-6'), Code.Aborted, 'REFUND_IN_PROGRESS');
    psp.test.engine.fault = undefined;
    const { operation } = await psp.desk.refundTransaction(request);
    // It was that one after all.
    assert.equal((await report(payment, operation?.processorReference ?? '')).operation?.id, operation?.id);
    await report(payment, 'RF-6');
    assert.equal(await refunded(payment), 2000n);
  });

  it('may come back later, as any refund may: its balance is free again', async () => {
    const payment = await psp.pay();
    const { operation } = await report(payment, 'RF-7');
    await psp.engine.reportOutcome({
      requestId: operation?.id ?? '',
      outcome: declined([Reason.INSUFFICIENT_FUNDS_FOR_REFUND, 'RETURNED', 'Returned by the bank']),
    });
    assert.equal(await refunded(payment), 0n);
    assert.deepEqual((await psp.happened(payment, 2)).at(-1), ['REFUND_RETURNED', 'PSP', false]);
    await psp.engine.reportOutcome({ requestId: operation?.id ?? '', outcome: approved({}) }).catch(() => undefined);
    assert.equal(await refunded(payment), 0n);
  });

  it('R24 is a contradiction in any state but captured: kept once, alerted, and nothing changes', async () => {
    const authorized = await psp.pay({ authorizeOnly: true });
    const refused = await psp.pay({ number: '4000000000000002' });
    // Declined before its account was known: it has no operation that the report could be about.
    const stranger = await psp.pay({ of: { ...psp.merchant, externalMerchantId: randomUUID() } });
    for (const payment of [authorized, refused, stranger]) {
      for (let i = 0; i < 2; i += 1)
        await assertFails(report(payment, `RF-8 ${payment.id}`), Code.FailedPrecondition, 'CONTRADICTION');
      assert.deepEqual(await contradictions(payment), [
        { caller: 'acquirer', said: `{"refunded":"1000","processorReference":"RF-8 ${payment.id}"}` },
      ]);
      const { transaction } = await psp.find(payment);
      assert.deepEqual([transaction?.state, transaction?.refundedAmount], [payment.state, 0n]);
      assert.deepEqual(
        (await psp.happened(payment, 1)).map(([type, , forWix]) => [type, forWix]),
        [['CONTRADICTION_REPORTED', false]],
      );
      assert.ok(alertsOf(payment).includes('contradiction'));
    }
  });

  it('R24 is a contradiction if its reference belongs to another payment, or to another amount', async () => {
    const [payment, other] = [await psp.pay(), await psp.pay()];
    await report(payment, 'RF-9');
    await assertFails(report(other, 'RF-9'), Code.FailedPrecondition, 'CONTRADICTION');
    await assertFails(report(payment, 'RF-9', 999n), Code.FailedPrecondition, 'CONTRADICTION');
    assert.deepEqual([await refunded(payment), await refunded(other)], [1000n, 0n]);
  });

  it('belongs to one payment, when two are reported with one reference at once', async () => {
    const payments = [await psp.pay(), await psp.pay()];
    const reports = await Promise.allSettled(payments.map((payment) => report(payment, 'RF-11')));
    const refused = reports.flatMap((report) =>
      report.status === 'rejected' ? [ConnectError.from(report.reason)] : [],
    );
    assert.deepEqual(
      refused.map(({ code }) => Code[code]),
      ['FailedPrecondition'],
    );
    const amounts = await Promise.all(payments.map(refunded));
    assert.deepEqual(amounts.sort(), [0n, 1000n]);
  });

  it('tells references apart that look like numbers of cards, and knows them again', async () => {
    const payment = await psp.pay();
    for (const reference of ['5105105105105100', '5105105105105100', '5555555555554444'])
      await report(payment, reference);
    assert.equal(await refunded(payment), 2000n);
  });

  it('refuses what is no refund', async () => {
    const payment = await psp.pay();
    const key = { case: 'id' as const, value: payment.id };
    for (const request of [
      { key, processorReference: '', amount: 1n },
      { key, processorReference: 'RF-10', amount: 0n },
      { key, processorReference: 'RF-10', amount: -1n },
      { key, processorReference: 'RF-\0', amount: 1n },
      { key, processorReference: 'RF-10', amount: 1n, processedAt: { seconds: 2n ** 60n, nanos: 0 } },
      { processorReference: 'RF-10', amount: 1n },
    ])
      await assertFails(psp.engine.reportRefund(request), Code.InvalidArgument, 'INVALID_ARGUMENT');
    await assertFails(
      psp.engine.reportRefund({ key: { case: 'id', value: randomUUID() }, processorReference: 'RF-10', amount: 1n }),
      ...([Code.NotFound, 'TRANSACTION_NOT_FOUND'] as const),
    );
    assert.equal((await psp.find(payment)).transaction?.state, State.CAPTURED);
  });
});
