import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { AuthorizeRequestSchema } from '../../proto/gen/processor/v1/processor_pb.js';
import { LOSSY, SLOW, useStage } from '../support/stage.ts';

describe('a payment whose outcome is not known', () => {
  const stage = useStage({ env: LOSSY });

  it('R15 is found approved after the answer was lost, and charged once', async () => {
    const payments = await Promise.all([
      stage.pay({ number: '4000000000000119' }),
      stage.pay({ number: '4000000000000119', authorizeOnly: true }),
    ]);
    for (const payment of payments) {
      assert.equal(payment.answer.body?.reasonCode, 5009);
      await stage.told(payment, 'transaction', 5009);
      await stage.told(payment, 'transaction');
      assert.equal(await stage.sends(payment, 'authorize'), 1);
    }
    assert.deepEqual(payments.map(stage.charged), [4590n, 0n]);
  });

  it('R15 is found declined after the answer was lost', async () => {
    stage.once('authorize', 'drop answer');
    const payment = await stage.pay({ number: '4000000000009995' });
    assert.equal(payment.answer.body?.reasonCode, 5009);
    await stage.told(payment, 'transaction', 3012);
  });

  it('R15 that the processor never saw is ended by a tombstone before it is declined 1003, and never sent again', async () => {
    const payment = await stage.pay({ number: '4000000000000259' });
    assert.equal(payment.answer.body?.reasonCode, 5009);
    await stage.told(payment, 'transaction', 1003);
    const [tombstone, ...others] = stage.engine.books.operations(payment.pluginTransactionId);
    assert.deepEqual([tombstone?.kind, others.length], ['tombstone', 0]);

    // The order arrives at last: too late.
    const instruction = {
      requestId: stage.requestId(payment),
      transactionId: payment.pluginTransactionId,
      amount: 4590n,
      currency: 'EUR',
      createdAt: timestampNow(),
    };
    const late = await stage.processor.authorize(create(AuthorizeRequestSchema, { instruction, capture: true }));
    assert.equal(late.outcome?.kind.case, 'failed');
    assert.equal(stage.charged(payment), 0n);
  });

  for (const [what, fault] of [
    ['is not there', 'unavailable'],
    ['refuses the question', new ConnectError('no', Code.PermissionDenied)],
    ['takes it for malformed', new ConnectError('no', Code.InvalidArgument)],
    ['does not know either', { kind: { case: 'unknown', value: {} } }],
  ] as const)
    it(`R15 R18 stays pending while the processor ${what}, and is decided once it can say`, async () => {
      const mute = stage.hold('getOperation', fault);
      stage.once('authorize', 'drop answer');
      const payment = await stage.pay();
      await mute.reached;
      assert.equal((await stage.wix.again(payment)).answer.body?.reasonCode, 5009);
      mute.release();
      await stage.told(payment, 'transaction');
      assert.ok(stage.engine.books.calls(stage.requestId(payment), 'getOperation') >= 2);
    });

  it('is decided by the report of the processor, if that comes first', async () => {
    const mute = stage.hold('getOperation', 'unavailable');
    stage.once('authorize', 'drop answer');
    const payment = await stage.pay();
    await mute.reached;
    await stage.report(payment, 'authorize', { kind: { case: 'approved', value: {} } });
    assert.equal((await stage.wix.again(payment)).answer.body?.reasonCode, undefined);
    mute.release();
    await stage.told(payment, 'transaction');
  });
});

describe('a payment that takes the processor longer than Wix would wait', () => {
  const stage = useStage({ env: SLOW });

  it('R4 is pending 5009 when the budget is over, and approved once the processor has answered', async () => {
    const slow = stage.hold('authorize');
    const payment = await stage.pay();
    assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId, reasonCode: 5009 });
    slow.release();
    await stage.told(payment, 'transaction');
    assert.deepEqual(await stage.happened(payment), ['transaction_pending', 'transaction_approved']);
    assert.equal(stage.charged(payment), 4590n);
  });

  it('R4 is declined if that is what the slow processor says', async () => {
    const slow = stage.hold('authorize');
    const payment = await stage.pay({ number: '4000000000009995' });
    assert.equal(payment.answer.body?.reasonCode, 5009);
    slow.release();
    await stage.told(payment, 'transaction', 3012);
  });
});
