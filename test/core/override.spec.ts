import assert from 'node:assert/strict';
import { Code } from '@connectrpc/connect';
import { describe, it } from 'mocha';
import { pending } from '../engine/outcomes.ts';
import { assertFails, useStage } from '../support/stage.ts';

describe('R24 an operator who overrides', () => {
  const stage = useStage();
  const undecided = async () => {
    const payment = await stage.pay();
    stage.once('refund', pending(0, ''));
    assert.equal((await stage.wix.refund(payment, { amount: 1000 })).status, 503);
    return payment;
  };

  it('says that a refund expired only after the processor promised that it never happens', async () => {
    const payment = await undecided();
    const expire = () => stage.report(payment, 'refund', { kind: { case: 'expired', value: {} } }, 'too old');
    stage.once('cancel', 'unavailable');
    await assertFails(expire(), Code.FailedPrecondition, 'CANCEL_NOT_CONFIRMED');
    assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
    await expire();
    await stage.told(payment, 'refund', 3022);
  });

  it('says how it ended, and not that it goes on', async () => {
    const payment = await undecided();
    for (const outcome of [pending(0, ''), { kind: { case: 'unknown', value: {} } } as const])
      await assertFails(stage.report(payment, 'refund', outcome, 'no idea'), Code.InvalidArgument, 'INVALID_ARGUMENT');
    assert.deepEqual(await stage.happened(payment), ['transaction_approved']);
  });
});
