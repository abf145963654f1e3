import assert from 'node:assert/strict';
import { Code, ConnectError } from '@connectrpc/connect';
import { assertSays, useStage } from '../support/stage.ts';

const METHODS = [
  'authorize',
  'capture',
  'void',
  'refund',
  'getOperation',
  'cancel',
  'reverse',
  'verifyAccount',
] as const;

describe('while the engine is down', () => {
  const stage = useStage();
  const allFail = (fault: 'unavailable' | ConnectError) => {
    for (const method of METHODS) stage.always(method, fault);
  };

  it('every call of Wix is answered for what it is, and all comes right when the engine is back', async () => {
    const captured = await stage.pay({ authorizeOnly: true });
    const voided = await stage.pay({ authorizeOnly: true });
    const refunded = await stage.pay();
    allFail('unavailable');
    const [sale, capture, release, refund, connect] = await Promise.all([
      stage.pay(),
      stage.wix.capture(captured),
      stage.wix.void(voided),
      stage.wix.refund(refunded, { amount: 1000 }),
      stage.wix.connect(stage.gatewayUrl),
    ]);
    assertSays(sale.answer, 5009);
    assert.deepEqual(
      [capture, release, refund].map(({ status }) => status),
      [503, 503, 503],
    );
    assertSays(connect.answer, 1002, 'NO_ANSWER');
    stage.heal();
    await stage.told(sale, 'transaction', 1003);
    await stage.told(captured, 'capture');
    await stage.told(voided, 'void');
    await stage.told(refunded, 'refund');
    assert.deepEqual([sale, captured, voided, refunded].map(stage.charged), [0n, 4590n, 0n, 3590n]);
  });

  for (const code of [Code.Unauthenticated, Code.PermissionDenied, Code.InvalidArgument, Code.Unimplemented])
    it(`R18 an engine that refuses calls with ${Code[code]} did nothing for certain: all fail at once, with an alert`, async () => {
      const [held, refunded] = [await stage.pay({ authorizeOnly: true }), await stage.pay()];
      allFail(new ConnectError('no', code));
      const sale = await stage.pay();
      assertSays(sale.answer, 1003, 'PROCESSOR_REFUSED');
      assertSays(await stage.wix.capture(held), 1003, 'PROCESSOR_REFUSED');
      assertSays(await stage.wix.void(held), 1003, 'PROCESSOR_REFUSED');
      assertSays(await stage.wix.refund(refunded), 1013, 'PROCESSOR_REFUSED');
      assertSays((await stage.wix.connect(stage.gatewayUrl)).answer, 1002, 'NO_ANSWER');
      await stage.told(sale, 'transaction', 1003);
      const isToken = code === Code.Unauthenticated;
      const alerts = stage.log.lines.filter(({ alert }) => alert !== undefined);
      const alert = alerts.find((line) => line.code === Code[code]);
      assert.equal(alert?.alert, isToken ? 'token_refused' : 'processor_refuses_calls');
      assert.equal(alert?.setting, isToken ? 'PROCESSOR_TOKEN' : undefined);
    });

  for (const code of [
    Code.Internal,
    Code.DeadlineExceeded,
    Code.ResourceExhausted,
    Code.FailedPrecondition,
    Code.Aborted,
  ])
    it(`R18 an engine that answers ${Code[code]} said nothing: the payment is pending until it is found`, async () => {
      stage.once('authorize', new ConnectError('no', code));
      const payment = await stage.pay();
      assertSays(payment.answer, 5009);
      await stage.told(payment, 'transaction', 1003);
    });
});
