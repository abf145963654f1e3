import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import { Transaction_State as State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { approved, declined, failed } from '../engine/outcomes.ts';
import { assertFails, assertSays, type Kind, useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';

const NO = declined([3000, 'ACQ-05', 'The bank declined']);

describe('a report of the processor', () => {
  const stage = useStage();
  const reportsOf = (payment: Payment) =>
    stage.db.query(
      `select reports.kind, reports.caller, reports.why from reports join operations on operations.id = operation_id
       where operations.transaction_id = $1 order by reports.id`,
      [payment.pluginTransactionId],
    );

  it('that says again what is known changes nothing', async () => {
    const sale = await stage.pay();
    const refused = await stage.pay({ number: '4000000000000002' });
    await stage.report(sale, 'authorize', approved({}));
    await stage.report(sale, 'authorize', approved({ amount: 4590n, currency: 'EUR' }));
    await stage.report(refused, 'authorize', NO);
    assert.deepEqual(await stage.happened(sale), ['transaction_approved']);
    assert.deepEqual(await stage.happened(refused), ['transaction_declined']);
  });

  it('may bring a reference later, and never blanks one', async () => {
    const payment = await stage.pay();
    const before = (await stage.find(payment)).operations[0]?.processorReference;
    await stage.report(payment, 'authorize', approved({ acquirerReference: 'ACQ-REF-1' }));
    const rows = await stage.db.query(`select acquirer_reference, processor_reference from operations where id = $1`, [
      stage.requestId(payment),
    ]);
    assert.deepEqual(rows, [{ acquirer_reference: 'ACQ-REF-1', processor_reference: before }]);
  });

  it('of an operation that nobody knows is NOT_FOUND, and alerts', async () => {
    const requestId = randomUUID();
    await assertFails(
      stage.as('engine', 'engine').reportOutcome({ requestId, outcome: approved({}) }),
      ...([Code.NotFound, 'OPERATION_NOT_FOUND'] as const),
    );
    assert.ok(
      stage.log.lines.some((line) => line.alert === 'report_of_unknown_operation' && line.requestId === requestId),
    );
  });

  describe('R24 that contradicts what is known', () => {
    /** It is refused, kept and alerted once; nothing changes, and Wix hears nothing. */
    const contradicts = async (payment: Payment, kind: Kind, outcome: Parameters<typeof stage.report>[2]) => {
      const { transaction: before } = await stage.find(payment);
      const told = (await stage.happened(payment)).filter((type) => type !== 'contradiction_reported');
      for (let i = 0; i < 2; i += 1)
        await assertFails(stage.report(payment, kind, outcome), Code.FailedPrecondition, 'CONTRADICTION');
      const { transaction: after } = await stage.find(payment);
      const { sequence: _s, updatedAt: _u, ...same } = after!;
      assert.deepEqual({ ...same, sequence: before?.sequence, updatedAt: before?.updatedAt }, before);
      assert.deepEqual(await reportsOf(payment), [{ kind: 'contradiction', caller: 'engine', why: '' }]);
      assert.ok(stage.alerts(payment).includes('contradiction'));
      assert.deepEqual(await stage.happened(payment), [...told, 'contradiction_reported']);
      await stage.settled(payment);
      assert.equal(stage.wix.events(payment.wixTransactionId).length, told.length);
    };

    it('is refused where an approved payment is said to be declined', async () =>
      contradicts(await stage.pay(), 'authorize', NO));

    it('is refused where an approved payment is said to be another amount', async () =>
      contradicts(await stage.pay(), 'authorize', approved({ amount: 4000n })));

    it('is refused and kept when it is said in more words than are kept', async () => {
      const words = declined([3000, '"'.repeat(50), '"\\'.repeat(150)], '"\\'.repeat(100));
      await contradicts(await stage.pay(), 'authorize', words);
    });

    it('is refused where a capture that succeeded is said to have failed', async () => {
      const payment = await stage.pay({ authorizeOnly: true });
      await stage.wix.capture(payment);
      await contradicts(payment, 'capture', failed('LOST', 'No such order'));
    });

    it('is refused where a refund that was declined is said to have succeeded', async () => {
      const payment = await stage.pay();
      stage.once('refund', declined([3025, 'BALANCE', 'Too low']));
      await stage.wix.refund(payment, { amount: 1000 });
      await contradicts(payment, 'refund', approved({}));
    });
  });

  it('R23 of a refund that comes back after its success frees the balance and alerts, with nothing to Wix', async () => {
    const payment = await stage.pay();
    await stage.wix.refund(payment, { amount: 1000 });
    await stage.told(payment, 'refund');
    await stage.report(payment, 'refund', declined([3025, 'BANK_RETURN', 'Returned by the bank']));
    assert.equal((await stage.find(payment)).transaction?.refundedAmount, 0n);
    assert.deepEqual(stage.alerts(payment), ['refund_returned']);
    assert.deepEqual(await stage.happened(payment), ['transaction_approved', 'refund_succeeded', 'refund_returned']);
    await stage.settled(payment);
    assert.equal(stage.wix.events(payment.wixTransactionId).length, 2);
  });

  describe('R24 of an operator, who overrides', () => {
    /** A refund that the processor has not decided. */
    const undecided = async () => {
      const payment = await stage.pay();
      stage.once('refund', { kind: { case: 'pending', value: {} } });
      assert.equal((await stage.wix.refund(payment, { amount: 1000 })).status, 503);
      return payment;
    };

    it('settles what the processor cannot say, and is kept with who and why', async () => {
      stage.always('authorize', 'drop answer');
      stage.always('getOperation', 'unavailable');
      const payment = await stage.pay();
      await stage.report(payment, 'authorize', approved({}), 'seen in the portal');
      await stage.told(payment, 'transaction');
      assert.deepEqual(await reportsOf(payment), [{ kind: 'override', caller: 'ada', why: 'seen in the portal' }]);
      assert.equal((await stage.find(payment)).transaction?.state, State.CAPTURED);
    });

    it('declines a refund only after the processor promised that it never happens', async () => {
      const payment = await undecided();
      const no = () => stage.report(payment, 'refund', failed('OPS', 'By hand'), 'customer withdrew');
      stage.once('cancel', 'unavailable');
      await assertFails(no(), Code.FailedPrecondition, 'CANCEL_NOT_CONFIRMED');
      assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
      await no();
      await stage.told(payment, 'refund', 1013);
      assertSays(await stage.wix.refund(payment, { amount: 4590 }));
    });

    it('declines no refund that the processor has carried out', async () => {
      const { reportTo } = stage.engine;
      stage.engine.reportTo = undefined;
      const payment = await undecided();
      const { operations } = await stage.find(payment);
      stage.engine.settle(operations.at(-1)?.id ?? '', approved({}));
      const no = stage.report(payment, 'refund', failed('OPS', 'By hand'), 'customer withdrew');
      await assertFails(no, Code.FailedPrecondition, 'CANCEL_NOT_CONFIRMED');
      stage.engine.reportTo = reportTo;
      await stage.told(payment, 'refund');
    });

    it('cannot decline what Wix believes approved', async () => {
      const payment = await stage.pay();
      await assertFails(stage.report(payment, 'authorize', NO, 'a mistake'), Code.FailedPrecondition, 'CONTRADICTION');
      assert.deepEqual(await reportsOf(payment), [{ kind: 'contradiction', caller: 'ada', why: 'a mistake' }]);
    });

    it('must be an operator with a reason, and an engine must not', async () => {
      const payment = await stage.pay();
      const request = { requestId: stage.requestId(payment), outcome: approved({}) };
      const [engine, operator] = [stage.as('engine', 'engine'), stage.as('ada', 'operator')];
      const override = { ...request, override: true, overrideReason: 'because' };
      await assertFails(engine.reportOutcome(override), Code.PermissionDenied, 'ROLE_NOT_ALLOWED');
      await assertFails(operator.reportOutcome(request), Code.PermissionDenied, 'ROLE_NOT_ALLOWED');
      await assertFails(
        operator.reportOutcome({ ...override, overrideReason: '' }),
        Code.InvalidArgument,
        'INVALID_ARGUMENT',
      );
    });
  });
});
