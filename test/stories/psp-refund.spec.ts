import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import { declined } from '../engine/outcomes.ts';
import { assertFails, assertSays, useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';

describe('R23 refunds of Wix and of the PSP on one payment', () => {
  const stage = useStage();
  const desk = () => stage.as('desk', 'backoffice');
  const engine = () => stage.as('acquirer', 'engine');

  const refundByDesk = (payment: Payment, amount?: bigint, requestKey: string = randomUUID()) =>
    desk().refundTransaction({
      externalId: payment.wixTransactionId,
      requestKey,
      ...(amount !== undefined && { amount }),
    });

  /** A refund that people made at the engine itself; answers the engine's reference of it. */
  async function refundAtEngine(payment: Payment, amount: bigint): Promise<string> {
    const { outcome } = await stage.processor.refund({
      instruction: { requestId: randomUUID(), transactionId: payment.pluginTransactionId, amount, currency: 'EUR' },
      original: { requestId: stage.requestId(payment) },
    });
    assert.equal(outcome?.kind.case, 'approved');
    return outcome.kind.value.processorReference;
  }
  const report = (payment: Payment, processorReference: string, amount: bigint) =>
    engine().reportRefund({
      key: { case: 'externalId', value: payment.wixTransactionId },
      processorReference,
      amount,
    });

  /** The refunds of which Wix was told: amount, and whether it had asked for it. */
  async function toldRefunds(payment: Payment) {
    await stage.settled(payment);
    const events = stage.wix.events(payment.wixTransactionId).filter(({ kind }) => kind === 'refund');
    return events.map(({ body }) => [body.amount, body.wixRefundId === undefined ? 'psp' : 'wix', body.reasonCode]);
  }

  it('alternate until nothing is left, each told once and under its own id', async () => {
    const payment = await stage.pay();
    assertSays(await stage.wix.refund(payment, { amount: 1000 }));
    const { operation } = await refundByDesk(payment, 1500n);
    assertSays(await stage.wix.refund(payment, { amount: 500 }));
    const reported = await report(payment, await refundAtEngine(payment, 700n), 700n);
    assertSays(await stage.wix.refund(payment, { amount: 891 }), 3025, 'AMOUNT');
    assertSays(await stage.wix.refund(payment, { amount: 890 }));
    assertSays(await stage.wix.refund(payment, { amount: 1 }), 3023, 'NOTHING_LEFT');
    await assertFails(refundByDesk(payment), Code.FailedPrecondition, 'NOTHING_LEFT');

    assert.deepEqual(await toldRefunds(payment), [
      ['1000', 'wix', undefined],
      ['1500', 'psp', undefined],
      ['500', 'wix', undefined],
      ['700', 'psp', undefined],
      ['891', 'wix', 3025],
      ['890', 'wix', undefined],
      ['1', 'wix', 3023],
    ]);
    const byPsp = stage.wix
      .events(payment.wixTransactionId)
      .filter(({ kind, body }) => kind === 'refund' && body.wixRefundId === undefined);
    assert.deepEqual(
      byPsp.map(({ body }) => body),
      [
        { wixTransactionId: payment.wixTransactionId, pluginRefundId: operation?.id, amount: '1500' },
        { wixTransactionId: payment.wixTransactionId, pluginRefundId: reported.operation?.id, amount: '700' },
      ],
    );
    assert.equal(stage.charged(payment), 0n);
  });

  it('never return more than was captured, when both ask at once', async () => {
    const payment = await stage.pay();
    const answers = await Promise.all([
      ...[1, 2, 3].map(async () => (await stage.wix.refund(payment, { amount: 1000 })).body?.reasonCode === undefined),
      ...[1, 2, 3].map(() =>
        refundByDesk(payment, 1000n).then(
          () => true,
          () => false,
        ),
      ),
    ]);
    assert.equal(answers.filter(Boolean).length, 4);
    assert.equal(stage.charged(payment), 590n);
  });

  it('that the processor declines are told to Wix only where Wix asked', async () => {
    const payment = await stage.pay();
    stage.once('refund', declined([3025, 'BALANCE', 'Merchant balance too low']));
    const { refusal } = await refundByDesk(payment, 1000n);
    assert.equal(refusal?.reason, 3025);
    stage.once('refund', declined([3025, 'BALANCE', 'Merchant balance too low']));
    assertSays(await stage.wix.refund(payment, { amount: 1000 }), 3025, 'BALANCE');
    assert.deepEqual(await stage.happened(payment), ['transaction_approved', 'refund_failed', 'refund_failed']);
    assert.deepEqual(await toldRefunds(payment), [['1000', 'wix', 3025]]);
  });

  it('wait for one another while one is not decided', async () => {
    const payment = await stage.pay();
    const key = randomUUID();
    stage.always('refund', 'drop answer');
    stage.always('getOperation', 'unavailable');
    await assertFails(refundByDesk(payment, 1000n, key), Code.Unavailable, 'OUTCOME_UNKNOWN');
    assertSays(await stage.wix.refund(payment, { amount: 100 }), 1013, 'REFUND_IN_PROGRESS');
    await assertFails(report(payment, 'RF-1', 100n), Code.Aborted, 'REFUND_IN_PROGRESS');
    stage.heal();
    const { operation } = await refundByDesk(payment, 1000n, key);
    assert.equal(operation?.amount, 1000n);
    assertSays(await stage.wix.refund(payment, { amount: 100 }));
    assert.deepEqual(await toldRefunds(payment), [
      ['100', 'wix', 1013],
      ['1000', 'psp', undefined],
      ['100', 'wix', undefined],
    ]);
    assert.equal(stage.charged(payment), 3490n);
  });

  it('are told once, when the engine reports a refund that it was ordered to make', async () => {
    const payment = await stage.pay();
    assertSays(await stage.wix.refund(payment, { amount: 1000 }));
    const [, refund] = (await stage.find(payment)).operations;
    const { operation } = await report(payment, refund?.processorReference ?? '', 1000n);
    assert.equal(operation?.id, refund?.id);
    assert.deepEqual(await toldRefunds(payment), [['1000', 'wix', undefined]]);
  });

  it('follow a capture, and contradict what is not captured', async () => {
    const payment = await stage.pay({ authorizeOnly: true });
    await assertFails(refundByDesk(payment, 1n), Code.FailedPrecondition, 'NOT_CAPTURED');
    await assertFails(report(payment, 'RF-2', 1n), Code.FailedPrecondition, 'CONTRADICTION');
    await stage.wix.capture(payment, 3000);
    await assertFails(refundByDesk(payment, 3001n), Code.FailedPrecondition, 'AMOUNT');
    const { operation } = await refundByDesk(payment);
    assert.equal(operation?.approvedAmount, 3000n);
    assert.deepEqual(await toldRefunds(payment), [['3000', 'psp', undefined]]);
  });
});
