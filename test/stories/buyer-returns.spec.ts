import assert from 'node:assert/strict';
import path from 'node:path';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import type { OutcomeInit } from '../engine/fault.ts';
import { approved, declined, pending } from '../engine/outcomes.ts';
import { assertSays, type Returned, type Stage, useStage } from '../support/stage.ts';
import type { JsonObject } from '../wix/json.ts';
import type { PaymentOptions } from '../wix/requests.ts';
import type { Payment } from '../wix/wix.ts';

const PAGE = 'https://pay.harbor.example/3ds/1';
const page = (more: object = {}): OutcomeInit => ({ kind: { case: 'buyerAction', value: { url: PAGE, ...more } } });
const CANCELLED = declined([Reason.BUYER_CANCELED, 'CANCEL', 'The buyer cancelled']);
const SHOP = 'https://tidepool-ceramics.example/pay';
const [OK, FAILED, GAVE_UP, WAITING] = ['ok', 'failed', 'canceled', 'waiting'].map((end) => `${SHOP}/${end}?o=81`);

/** The engine reports nothing by itself, and nobody asks it but for a buyer. */
const SILENT = { RECONCILE_GRACE_MS: '600000', BUYER_TIMEOUT_MS: '60000' };

const withUrls = (returnUrls: JsonObject | undefined): PaymentOptions => ({
  change: (body) => Object.assign(body.order as JsonObject, { returnUrls }),
});

async function payOnPage(stage: Stage, options?: PaymentOptions, more?: object): Promise<Payment> {
  stage.once('authorize', page(more));
  const payment = await stage.pay(options);
  assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId, redirectUrl: PAGE });
  return payment;
}

function assertSentTo({ status, location, headers, text }: Returned, url: string | undefined): void {
  assert.deepEqual({ status, location, text }, { status: 303, location: url, text: '' });
  assert.equal(headers.get('cache-control'), 'no-store');
  assert.equal(headers.get('referrer-policy'), 'no-referrer');
}

/** As when so much time has passed that the engine may be asked again. */
async function laterOn(stage: Stage): Promise<void> {
  await stage.db.query(`update buyer_links set looked_at = looked_at - interval '6 seconds'`);
}

describe('R36 a buyer who comes back from the page', () => {
  const stage = useStage({ env: SILENT });
  before(() => {
    stage.engine.reportTo = undefined;
  });

  for (const [what, outcome, reasonCode, url] of [
    ['approved', approved({}), undefined, OK],
    ['declined', declined([Reason.THREE_D_SECURE_FAILED, '3DS_N', 'Not authenticated']), 3004, FAILED],
    ['cancelled there', CANCELLED, 3030, GAVE_UP],
    ['pending', pending(Reason.PENDING_FRAUDULENT_TRANSACTION, ''), 5005, WAITING],
  ] as const)
    it(`is sent to the shop's page for a payment that is ${what}, and Wix hears it by an event`, async () => {
      const payment = await payOnPage(stage);
      stage.engine.settle(stage.requestId(payment), outcome);
      assertSentTo(await stage.comeBack(payment), url);
      const { body } = await stage.told(payment, 'transaction', reasonCode);
      assert.equal(body.pluginTransactionId, payment.pluginTransactionId);
      if (reasonCode === 5005) {
        stage.engine.settle(stage.requestId(payment), approved({}));
        await stage.report(payment, 'authorize', approved({}));
        await stage.told(payment, 'transaction');
      }
    });

  it('authorized only, goes to the page of success, and stays there whatever becomes of the payment', async () => {
    const payment = await payOnPage(stage, { authorizeOnly: true });
    stage.engine.settle(stage.requestId(payment), approved({}));
    assertSentTo(await stage.comeBack(payment), OK);
    await stage.told(payment, 'transaction');
    assertSays(await stage.wix.void(payment));
    assertSentTo(await stage.comeBack(payment), OK);
  });

  it('before the engine knows leaves it pending 5009, hears so from the shop, and a replay names the page no more', async () => {
    const payment = await payOnPage(stage);
    assert.equal((await stage.wix.again(payment)).answer.text, payment.answer.text);
    assertSentTo(await stage.comeBack(payment), WAITING);
    await stage.told(payment, 'transaction', 5009);
    const { pluginTransactionId } = payment;
    assert.deepEqual((await stage.wix.again(payment)).answer.body, { pluginTransactionId, reasonCode: 5009 });
    stage.engine.settle(stage.requestId(payment), approved({}));
    await laterOn(stage);
    assertSentTo(await stage.comeBack(payment), OK);
    await stage.told(payment, 'transaction');
    assert.deepEqual(await stage.happened(payment), [
      'transaction_awaiting_buyer',
      'transaction_pending',
      'transaction_approved',
    ]);
    assert.equal(stage.charged(payment), 4590n);
  });

  it('twice within five seconds has the engine asked once, and again after that', async () => {
    const payment = await payOnPage(stage);
    const asked = stage.hold('getOperation');
    const first = stage.comeBack(payment);
    await asked.reached;
    const others = Array.from({ length: 20 }, () => stage.comeBack(payment));
    asked.release();
    for (const returned of await Promise.all([first, ...others])) assertSentTo(returned, WAITING);
    assert.equal(asked.calls(), 1);
    const again = stage.hold('getOperation', CANCELLED);
    again.release();
    assertSentTo(await stage.comeBack(payment), WAITING);
    await laterOn(stage);
    stage.engine.settle(stage.requestId(payment), CANCELLED);
    assertSentTo(await stage.comeBack(payment), GAVE_UP);
    await stage.told(payment, 'transaction', 3030);
  });

  it('is not asked about once the outcome is known, whoever told it', async () => {
    const payment = await payOnPage(stage);
    stage.engine.settle(stage.requestId(payment), approved({}));
    await stage.report(payment, 'authorize', approved({}));
    const asked = stage.hold('getOperation');
    assertSentTo(await stage.comeBack(payment), OK);
    assertSentTo(await stage.comeBack(payment), OK);
    assert.equal(asked.calls(), 0);
  });

  it('late, when the buyer counts as one who left, is told so by the shop, and nothing changes', async () => {
    const payment = await payOnPage(stage, {}, { expiresAt: timestampFromMs(Date.now() + 50) });
    await stage.told(payment, 'transaction', 3030);
    assertSentTo(await stage.comeBack(payment), GAVE_UP);
    assert.deepEqual(await stage.happened(payment), ['transaction_awaiting_buyer', 'transaction_declined']);
  });

  for (const [what, outcome, reasonCode, url] of [
    ['is still ended by it when the engine has not decided', undefined, 3030, WAITING],
    ['is approved when the engine has, and the cancel comes to nothing', approved({}), undefined, OK],
  ] as const)
    it(`while the cancel runs ${what}`, async () => {
      const cancel = stage.hold('cancel');
      const payment = await payOnPage(stage, {}, { expiresAt: timestampFromMs(Date.now() + 50) });
      await cancel.reached;
      if (outcome) stage.engine.settle(stage.requestId(payment), outcome);
      assertSentTo(await stage.comeBack(payment), url);
      cancel.release();
      await stage.told(payment, 'transaction', reasonCode);
      assert.equal(stage.engine.books.find(stage.requestId(payment))?.ended, outcome === undefined);
    });

  for (const [what, paidInMs, reasonCode] of [
    ['is pending after the page, and paid days later', 5 * 24 * 3_600_000, undefined],
    ['is pending after the page, and declined 3035 when nobody pays in time', 300, 3035],
  ] as const)
    it(`from a voucher ${what}`, async () => {
      const payment = await payOnPage(stage, { redirectMethod: 'alipay' });
      const expiresAt = timestampFromMs(Date.now() + paidInMs);
      const value = { reason: Reason.PENDING_GENERAL, expiresAt };
      stage.engine.settle(stage.requestId(payment), { kind: { case: 'pending', value } });
      assertSentTo(await stage.comeBack(payment), WAITING);
      await stage.told(payment, 'transaction', 5009);
      if (reasonCode === undefined) {
        stage.engine.settle(stage.requestId(payment), approved({}));
        await stage.report(payment, 'authorize', approved({}));
      }
      await stage.told(payment, 'transaction', reasonCode);
      assertSentTo(await stage.comeBack(payment), reasonCode ? FAILED : OK);
    });

  it('to a payment that only an operator may settle has nothing asked', async () => {
    const payment = await payOnPage(stage);
    await stage.report(payment, 'authorize', approved({ amount: 9999n }));
    await stage.told(payment, 'transaction', 5009);
    const asked = stage.hold('getOperation');
    assertSentTo(await stage.comeBack(payment), WAITING);
    assert.equal(asked.calls(), 0);
    stage.engine.settle(stage.requestId(payment), CANCELLED);
    await stage.report(payment, 'authorize', CANCELLED, 'the books show nothing');
    await stage.told(payment, 'transaction', 3030);
  });

  it('may come by the link as long as the payment is not decided, and not for ever after that', async () => {
    const payment = await payOnPage(stage);
    await stage.db.query(`update buyer_links set expires_at = now() - interval '1 second'`);
    assertSentTo(await stage.comeBack(payment), WAITING);
    stage.engine.settle(stage.requestId(payment), approved({}));
    await stage.report(payment, 'authorize', approved({}));
    const { status, location, text } = await stage.comeBack(payment);
    assert.deepEqual({ status, location }, { status: 404, location: null });
    assert.match(text, /This link has ended/);
    assert.doesNotMatch(text, new RegExp(`${payment.pluginTransactionId}|tidepool`));
  });

  it('by a link that nobody was given learns nothing', async () => {
    const payment = await payOnPage(stage);
    const { status, location } = await stage.comeBack(payment, 'A'.repeat(22));
    assert.deepEqual({ status, location }, { status: 404, location: null });
    stage.engine.settle(stage.requestId(payment), CANCELLED);
    assertSentTo(await stage.comeBack(payment), GAVE_UP);
  });
});

describe('the pages of the shop', () => {
  const stage = useStage({ env: SILENT });
  before(() => {
    stage.engine.reportTo = undefined;
  });

  const { A, B } = { A: 'https://shop.example/a', B: 'https://shop.example/b' };
  for (const [what, urls, outcome, url] of [
    ['the one for errors, if there is none for a buyer who cancels', { errorUrl: A, successUrl: B }, CANCELLED, A],
    ['the one for success, if there is none for what is pending', { errorUrl: A, successUrl: B }, undefined, B],
    ['none for success, if a payment was declined', { successUrl: B }, CANCELLED, null],
    ['none for errors, if a payment was approved', { errorUrl: A, cancelUrl: A }, approved({}), null],
    ['none, if Wix gave none', undefined, approved({}), null],
    ['none that is not https', { successUrl: 'http://shop.example/a' }, approved({}), null],
    ['none that is a script', { successUrl: 'javascript:alert(1)' }, approved({}), null],
    ['none that is too long', { successUrl: `${B}?${'x'.repeat(4096)}` }, approved({}), null],
    ['one on this machine', { successUrl: 'http://127.0.0.1:9/ok' }, approved({}), 'http://127.0.0.1:9/ok'],
    [
      'one with a line end, without it',
      { successUrl: `${B}?a=1\r\nSet-Cookie: b=1` },
      approved({}),
      `${B}?a=1Set-Cookie:%20b=1`,
    ],
  ] as const)
    it(`R36 a buyer is sent to ${what}`, async () => {
      const payment = await payOnPage(stage, withUrls(urls));
      if (outcome) stage.engine.settle(stage.requestId(payment), outcome);
      const returned = await stage.comeBack(payment);
      if (url) assertSentTo(returned, url);
      else {
        assert.deepEqual([returned.status, returned.location], [200, null]);
        assert.match(returned.text, /You can close this page/);
      }
      if (outcome) return;
      stage.engine.settle(stage.requestId(payment), CANCELLED);
      await stage.report(payment, 'authorize', CANCELLED);
    });
});

describe('R36 a buyer who comes back while the engine', () => {
  const stage = useStage({ env: { ...SILENT, PROCESSOR_TIMEOUT_MS: '300' } });
  before(() => {
    stage.engine.reportTo = undefined;
  });

  it('is silent hears that it is pending, and is decided when the engine speaks', async () => {
    const payment = await payOnPage(stage);
    stage.once('getOperation', 'ignore');
    assertSentTo(await stage.comeBack(payment), WAITING);
    await stage.told(payment, 'transaction', 5009);
    stage.engine.settle(stage.requestId(payment), approved({}));
    await laterOn(stage);
    assertSentTo(await stage.comeBack(payment), OK);
    await stage.told(payment, 'transaction');
  });

  it('does not know the payment hears that it is pending: nobody is declined for that', async () => {
    stage.once('authorize', 'unavailable');
    const payment = await stage.pay();
    assertSays(payment.answer, 5009);
    assertSentTo(await stage.comeBack(payment), WAITING);
    assert.deepEqual(await stage.happened(payment), ['transaction_pending']);
    await stage.report(payment, 'authorize', CANCELLED);
    await stage.told(payment, 'transaction', 3030);
  });
});

describe('R36 the link', () => {
  const stage = useStage({ env: SILENT });

  it('is given to the engine for every buyer who is there, another each time', async () => {
    const payments = [await stage.pay(), await stage.pay(), await stage.pay({ wallet: 'googlePay', offSession: true })];
    const links = payments.map(stage.returnUrl);
    for (const link of links) assert.match(link, /^https:\/\/pay\.harbor\.example\/return\/[\w-]{22}$/);
    assert.equal(new Set(links).size, 3);
  });

  it('is given for nobody who is not there', async () => {
    const payments = [await stage.pay({ moto: true }), await stage.pay({ offSession: true })];
    assert.deepEqual(payments.map(stage.returnUrl), ['', '']);
  });

  it('R35 is in no table, event or log line, nor are the pages of the shop but in its own row, which may be deleted', async () => {
    const payment = await payOnPage(stage);
    const token = path.basename(stage.returnUrl(payment));
    stage.engine.settle(stage.requestId(payment), approved({}));
    await stage.told(payment, 'transaction');
    assertSentTo(await stage.comeBack(payment), OK);
    await stage.settled(payment);
    const tables = await stage.db.query<{ name: string }>(
      `select schemaname || '.' || tablename as name from pg_tables where schemaname in ('core', 'relay')`,
    );
    const textOf = async (name: string) =>
      JSON.stringify(await stage.db.query(`select row(t.*)::text as row from ${name} as t`)).replaceAll(
        /\\\\x([0-9a-f]+)/g,
        (_, bytes) => Buffer.from(bytes, 'hex').toString('latin1'),
      );
    for (const { name } of tables) {
      const text = await textOf(name);
      assert.ok(!text.includes(token), name);
      assert.equal(text.includes('tidepool-ceramics.example/pay'), name === 'core.buyer_links', name);
    }
    const lines = JSON.stringify(stage.log.lines);
    assert.ok(lines.includes('buyer.returned') && !lines.includes(token) && !lines.includes('tidepool'));
    await stage.db.query('delete from buyer_links');
    assert.equal((await stage.comeBack(payment)).status, 404);
  });
});

describe('R36 without a public URL', () => {
  const stage = useStage({ env: { ...SILENT, PUBLIC_URL: '' } });

  it('the engine is told that it may show no page, and nothing is kept for one', async () => {
    const payment = await stage.pay();
    assert.equal(stage.returnUrl(payment), '');
    assert.deepEqual(await stage.db.query('select operation_id from buyer_links'), []);
    assert.equal((await stage.comeBack(payment, 'A'.repeat(22))).status, 404);
  });
});
