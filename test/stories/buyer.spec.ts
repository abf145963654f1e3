import assert from 'node:assert/strict';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import type { OutcomeInit } from '../engine/fault.ts';
import { approved, declined, pending } from '../engine/outcomes.ts';
import { assertSays, useStage } from '../support/stage.ts';
import type { PaymentOptions } from '../wix/requests.ts';

const URL = 'https://pay.harbor.example/3ds/1';
const page = (more: object = {}): OutcomeInit => ({ kind: { case: 'buyerAction', value: { url: URL, ...more } } });

describe('a payment whose buyer must act on a page', () => {
  const stage = useStage({ env: { BUYER_TIMEOUT_MS: '60000' } });
  const payOnPage = async (options?: PaymentOptions, more?: object) => {
    stage.once('authorize', page(more));
    const payment = await stage.pay(options);
    assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId, redirectUrl: URL });
    return payment;
  };

  it('is told nothing of while the buyer acts, and the outcome after that', async () => {
    const [good, bad, left] = [await payOnPage(), await payOnPage(), await payOnPage()];
    assert.deepEqual(await stage.happened(good), ['transaction_awaiting_buyer']);
    stage.engine.settle(stage.requestId(good), approved({}));
    stage.engine.settle(stage.requestId(bad), declined([Reason.THREE_D_SECURE_FAILED, '3DS_N', 'Not authenticated']));
    stage.engine.settle(stage.requestId(left), declined([Reason.BUYER_CANCELED, 'CANCEL', 'Buyer closed the page']));
    await stage.told(good, 'transaction');
    await stage.told(bad, 'transaction', 3004);
    await stage.told(left, 'transaction', 3030);
    assert.deepEqual([good, bad, left].map(stage.charged), [4590n, 0n, 0n]);
  });

  it('may be pending after it, and is decided then', async () => {
    const payment = await payOnPage();
    stage.engine.settle(stage.requestId(payment), pending(Reason.PENDING_FRAUDULENT_TRANSACTION, ''));
    await stage.told(payment, 'transaction', 5005);
    stage.engine.settle(stage.requestId(payment), approved({}));
    await stage.told(payment, 'transaction');
  });

  it('authorized only, is authorized after it, and 1006 to a capture before', async () => {
    const payment = await payOnPage({ authorizeOnly: true });
    assertSays(await stage.wix.capture(payment), 1006, 'NOT_AUTHORIZED');
    stage.engine.settle(stage.requestId(payment), approved({}));
    await stage.told(payment, 'transaction');
    assertSays(await stage.wix.capture(payment));
  });

  it('R16 is cancelled when the page expires, and declined 3030 only then', async () => {
    const payment = await payOnPage({}, { expiresAt: timestampFromMs(Date.now() + 100) });
    const { body } = await stage.told(payment, 'transaction', 3030);
    assert.equal(body.pluginTransactionId, payment.pluginTransactionId);
    assert.equal((await stage.wix.again(payment)).answer.body?.reasonCode, 3030);
    assert.equal(stage.engine.books.find(stage.requestId(payment))?.ended, true);
  });

  it('R16 is approved when the buyer finishes while it is being cancelled', async () => {
    const { reportTo } = stage.engine;
    stage.engine.reportTo = undefined;
    const cancel = stage.hold('cancel');
    const payment = await payOnPage({}, { expiresAt: timestampFromMs(Date.now() + 100) });
    await cancel.reached;
    stage.engine.settle(stage.requestId(payment), approved({}));
    cancel.release();
    await stage.told(payment, 'transaction');
    stage.engine.reportTo = reportTo;
    assert.equal(stage.charged(payment), 4590n);
  });

  for (const [what, options] of [
    ['a mail order', { moto: true }],
    ['a charge of a stored card', { offSession: true }],
    ['a later charge by a redirect method', { redirectMethod: 'sepa', offSession: true }],
    ['a later charge by a method that Wix did not name', { redirectMethod: '', offSession: true }],
  ] as const)
    it(`R16 is cancelled and declined 3004 if it is ${what}, for no buyer is there`, async () => {
      stage.once('authorize', page());
      const payment = await stage.pay(options);
      assertSays(payment.answer, 3004, 'BUYER_ABSENT');
      await stage.told(payment, 'transaction', 3004);
      assert.equal(stage.engine.books.find(stage.requestId(payment))?.ended, true);
    });

  it('goes to the page with a wallet, whatever Wix says of the session', async () => {
    const payment = await payOnPage({ wallet: 'googlePay', offSession: true });
    stage.engine.settle(
      stage.requestId(payment),
      approved({ cardDetails: { bin: '411111', lastFour: '1111' } as never }),
    );
    const { body } = await stage.told(payment, 'transaction');
    assert.deepEqual(body.cardDetails, { bin: '411111', lastFour: '1111' });
  });

  it('cannot be sent to it once it is pending: cancelled, and declined 3004', async () => {
    stage.once('authorize', pending(Reason.PENDING_GENERAL, ''));
    const payment = await stage.pay();
    await stage.report(payment, 'authorize', page());
    await stage.told(payment, 'transaction', 3004);
  });

  it('R18 is unknown if the page is none that Wix may open', async () => {
    stage.once('authorize', page({ url: 'javascript:alert(1)' }));
    const payment = await stage.pay();
    assert.equal(payment.answer.body?.reasonCode, 5009);
    assert.ok(stage.alerts(payment).includes('processor_answer_unreadable'));
    stage.engine.settle(stage.requestId(payment), approved({}));
    await stage.told(payment, 'transaction');
  });
});

describe('a buyer who never comes back', () => {
  const stage = useStage({ env: { BUYER_TIMEOUT_MS: '1000' } });

  it('R16 has left after the time that the core gives, if the processor named none', async () => {
    stage.once('authorize', page());
    const payment = await stage.pay();
    await stage.told(payment, 'transaction', 3030);
    assert.deepEqual(await stage.happened(payment), ['transaction_awaiting_buyer', 'transaction_declined']);
  });
});
