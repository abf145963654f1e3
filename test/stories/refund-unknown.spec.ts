import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { approved, declined } from '../engine/outcomes.ts';
import { assertSays, SLOW, useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';

const UNDECIDED = { kind: { case: 'pending', value: {} } } as const;

describe('a refund whose outcome is not known', () => {
  const stage = useStage({ env: SLOW });

  /** A refund of 2000 that the processor has not decided. */
  const begin = async (payment: Payment) => {
    const wixRefundId = randomUUID();
    stage.once('refund', UNDECIDED);
    assert.equal((await stage.wix.refund(payment, { wixRefundId, amount: 2000 })).status, 503);
    const { operations } = await stage.find(payment);
    const { id = '' } = operations.at(-1) ?? {};
    return {
      again: () => stage.wix.refund(payment, { wixRefundId, amount: 2000 }),
      end: (outcome: Parameters<typeof stage.engine.settle>[1]) => stage.engine.settle(id, outcome),
    };
  };

  it('R22 is answered after all, if the processor can say when it is asked at once', async () => {
    const payment = await stage.pay();
    stage.once('refund', 'drop answer');
    assertSays(await stage.wix.refund(payment, { amount: 4590 }));
    assert.equal(await stage.sends(payment, 'refund'), 1);
  });

  it('R15 is sent again under the same request id, if the processor has not seen it', async () => {
    const payment = await stage.pay();
    stage.once('refund', 'unavailable');
    assertSays(await stage.wix.refund(payment, { amount: 2000 }));
    assert.equal(await stage.sends(payment, 'refund'), 2);
    assert.equal(stage.charged(payment), 2590n);
  });

  it('is 503, which says nothing of the money, and is told once it is known', async () => {
    const payment = await stage.pay();
    const wixRefundId = randomUUID();
    stage.always('refund', 'drop answer');
    stage.always('getOperation', 'unavailable');
    assert.equal((await stage.wix.refund(payment, { wixRefundId, amount: 2000 })).status, 503);
    assert.equal((await stage.wix.refund(payment, { wixRefundId, amount: 2000 })).status, 503);
    stage.heal();
    const { body } = await stage.told(payment, 'refund');
    const again = await stage.wix.refund(payment, { wixRefundId, amount: 2000 });
    assert.deepEqual(again.body, { pluginRefundId: body.pluginRefundId });
    assert.equal(stage.charged(payment), 2590n);
  });

  it('R4 is 503 when the budget is over, and is told when the processor has answered', async () => {
    const payment = await stage.pay();
    const slow = stage.hold('refund');
    assert.equal((await stage.wix.refund(payment, { amount: 2000 })).status, 503);
    slow.release();
    await stage.told(payment, 'refund');
  });

  it('R22 keeps its amount reserved, and answers another one 1013 REFUND_IN_PROGRESS, with its event', async () => {
    const payment = await stage.pay();
    const first = await begin(payment);
    const { body } = await stage.wix.refund(payment, { amount: 1000 });
    assert.deepEqual([body?.reasonCode, body?.errorCode], [1013, 'REFUND_IN_PROGRESS']);
    const event = await stage.told(payment, 'refund', 1013);
    assert.deepEqual([event.body.pluginRefundId, event.body.amount], [body?.pluginRefundId, '1000']);
    first.end(approved({}));
    assert.equal((await stage.told(payment, 'refund')).body.amount, '2000');
    assertSays(await stage.wix.refund(payment));
    assert.equal(stage.charged(payment), 0n);
  });

  it('R19 R22 is 503 again while it is asked for again, and then what the processor says', async () => {
    const payment = await stage.pay();
    const first = await begin(payment);
    assert.equal((await first.again()).status, 503);
    first.end(declined([3025, 'BALANCE', 'Merchant balance too low']));
    await stage.told(payment, 'refund', 3025);
    assertSays(await first.again(), 3025, 'BALANCE');
    assertSays(await stage.wix.refund(payment, { amount: 4590 }));
  });

  it('R22 asks the processor itself when Wix asks for it again', async () => {
    const { reportTo } = stage.engine;
    stage.engine.reportTo = undefined;
    const payment = await stage.pay();
    const first = await begin(payment);
    first.end(approved({}));
    assertSays(await first.again());
    stage.engine.reportTo = reportTo;
  });
});
