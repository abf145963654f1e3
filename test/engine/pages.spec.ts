import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, createClient, createRouterTransport } from '@connectrpc/connect';
import { PaymentsService, type ReportOutcomeRequest } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { eventually } from '../support/eventually.ts';
import { hasCode } from './contract-kit.ts';
import { authorizeOrder, captureOrder, type PaymentOptions, refundOrder, requestIdOf, subjectOf } from './orders.ts';
import { reasonOf } from './outcomes.ts';
import { CARD, CHALLENGED, choose, look, RETURN_URL, redirect, usePages } from './pages-kit.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;

describe('the pages of the simulated engine', () => {
  const kit = usePages();
  const { authorize, sent, now, charged } = kit;

  describe('deciding', () => {
    const methods: Record<string, PaymentOptions> = {
      'the check of a card': { number: CHALLENGED },
      'a redirect method': redirect('iDeal'),
      'a voucher': redirect('multibanco'),
      'a hosted page': redirect(''),
    };
    const ends: [string, string, number | 'approved', bigint][] = [
      ['the check of a card', 'approve', 'approved', 4_590n],
      ['the check of a card', 'decline', Reason.THREE_D_SECURE_FAILED, 0n],
      ['a redirect method', 'approve', 'approved', 4_590n],
      ['a redirect method', 'decline', Reason.GENERAL_BANK_DECLINE, 0n],
      ['a hosted page', 'approve', 'approved', 4_590n],
      ...Object.keys(methods).map((page): [string, string, number, bigint] => [page, 'cancel', 3030, 0n]),
    ];
    for (const [page, choice, end, money] of ends)
      it(`${page}: ${choice} is ${end}, and the buyer goes back`, async () => {
        const { order, link } = await sent(methods[page]);
        const response = await choose(link, choice, page === 'a hosted page' && choice === 'approve' ? CARD : {});
        assert.deepEqual([response.status, response.headers.get('location')], [303, RETURN_URL]);
        assert.equal(reasonOf(await now(order)), end);
        assert.equal(charged(order), money);
      });

    for (const page of ['the check of a card', 'a redirect method'])
      it(`${page}: later is pending, and approved after a while`, async () => {
        const { order, link } = await sent(methods[page]);
        await choose(link, 'later');
        assert.equal(charged(order), 0n);
        await eventually(async () => assert.equal(reasonOf(await now(order)), 'approved'));
        assert.equal(charged(order), 4_590n);
      });

    it('leaves a buyer who only looks, or closes the page, where the payment was', async () => {
      const { order, link } = await sent();
      assert.equal((await look(link)).status, 200);
      assert.equal((await now(order)).kind.case, 'buyerAction');
      assert.equal((await kit.client.cancel({ subject: subjectOf(order) })).result.case, 'ended');
    });

    it('holds the money of an authorize-only payment, which can be captured and returned', async () => {
      const { order, link } = await sent({ number: CHALLENGED, authorizeOnly: true });
      await choose(link, 'approve');
      assert.equal(charged(order), 0n);
      assert.equal(reasonOf((await kit.client.capture(captureOrder(order))).outcome!), 'approved');
      assert.equal(charged(order), 4_590n);
      assert.equal(reasonOf((await kit.client.refund(refundOrder(order))).outcome!), 'approved');
    });

    it('tells the core what the buyer decided, at once and without being asked', async () => {
      const reports: ReportOutcomeRequest[] = [];
      const core = createRouterTransport(({ rpc }) => {
        rpc(PaymentsService.method.reportOutcome, (request) => {
          reports.push(request);
          return {};
        });
      });
      kit.engine.reportTo = createClient(PaymentsService, core);
      const { order, link } = await sent();
      await choose(link, 'later');
      await eventually(() => assert.equal(reasonOf(reports.at(-1)!.outcome!), 'approved'));
      assert.ok(reports.every(({ requestId }) => requestId === requestIdOf(order)));
    });
  });

  describe('a voucher', () => {
    it('is pending once its buyer has seen it, until it is paid', async () => {
      await kit.restart({ decideMs: 60_000, voucherMs: 180 * DAY_MS });
      const { order, link } = await sent(redirect('boleto'));
      assert.match(await (await look(link)).text(), /<strong>\d{3} \d{3} \d{3}<\/strong>/);
      await choose(link, 'approve');
      const { kind } = await now(order);
      assert.ok(kind.case === 'pending');
      assert.equal(kind.value.reason, Reason.PENDING_GENERAL);
      const days = (Number(kind.value.expiresAt!.seconds) * 1_000 - Date.now()) / DAY_MS;
      assert.ok(days > 179 && days < 181, `it is good for ${days} days`);
      kit.engine.settle(requestIdOf(order), { kind: { case: 'approved', value: {} } });
      assert.equal(charged(order), 4_590n);
    });

    it('is paid soon, runs out soon, or runs out in its time, as its buyer chooses', async () => {
      await kit.restart({ decideMs: 1, voucherMs: 30 });
      for (const [choice, end] of [
        ['approve', 'approved'],
        ['expire', 'expired'],
        ['later', 'expired'],
      ] as const) {
        const { order, link } = await sent(redirect('MULTIBANCO'));
        await choose(link, choice);
        await eventually(async () => assert.equal(reasonOf(await now(order)), end));
      }
    });
  });

  describe('a hosted page', () => {
    const pay = async (fields: Partial<typeof CARD>) => {
      const { order, link } = await sent(redirect(''));
      return { order, link, response: await choose(link, 'approve', { ...CARD, ...fields }) };
    };

    it('decides by the card that is typed, as every payment', async () => {
      const { order } = await pay({ number: '4000-0000-0000-9995' });
      assert.equal(reasonOf(await now(order)), Reason.INSUFFICIENT_FUNDS);
      const reviewed = await pay({ number: '4000000000004954' });
      assert.equal(reasonOf(await now(reviewed.order)), Reason.PENDING_FRAUDULENT_TRANSACTION);
      await eventually(async () => assert.equal(reasonOf(await now(reviewed.order)), Reason.RISK_MANAGEMENT_DECLINED));
    });

    it('remembers what becomes of the card, and no more than its last four digits', async () => {
      const { order } = await pay({ number: '4000000000005126' });
      assert.equal(reasonOf((await kit.client.refund(refundOrder(order))).outcome!), 3025);
      assert.equal(kit.engine.books.find(requestIdOf(order))!.lastFour, '5126');
    });

    it('goes on with the check of a card that needs it, under the same link', async () => {
      const { order, link, response } = await pay({ number: CHALLENGED });
      assert.deepEqual([response.status, response.headers.get('location')], [303, new URL(link).pathname]);
      assert.equal((await now(order)).kind.case, 'buyerAction');
      assert.match(await (await look(link)).text(), /3-D Secure[\s\S]*value="approve"/);
      await choose(link, 'approve');
      const { kind } = await now(order);
      assert.ok(kind.case === 'approved' && kind.value.threeDSecureResult === 'Y');
    });

    it('does not take the second press of its button for an answer to the check that the first one led to', async () => {
      const { order, link } = await sent(redirect(''));
      const press = () => choose(link, 'approve', { ...CARD, number: CHALLENGED, step: 'hosted' });
      for (const { status, headers } of [await press(), await press(), ...(await Promise.all([press(), press()]))])
        assert.deepEqual([status, headers.get('location')], [303, new URL(link).pathname]);
      assert.equal((await now(order)).kind.case, 'buyerAction');
      await choose(link, 'approve', { step: 'challenge' });
      assert.equal(reasonOf(await now(order)), 'approved');
    });

    it('shows again what could not be read, marks it, and repeats nothing that was typed', async () => {
      const secrets = { number: '4242424242424241', expiry: '13/31', cvv: '98', holder: ' ' };
      for (const [name, value] of Object.entries({ ...secrets, expiry: '01/20' })) {
        const { order, response } = await pay({ [name]: value });
        assert.equal(response.status, 422, name);
        const html = await response.text();
        assert.match(html, new RegExp(`id="${name}"[^>]* aria-invalid="true" aria-describedby="${name}-error"`));
        assert.equal(html.match(/aria-invalid="true"/g)?.length, 1);
        assert.ok(!html.includes(' value="4242') && !html.includes('Ines'), html);
        assert.equal((await now(order)).kind.case, 'buyerAction');
      }
      const { link, response } = await pay(secrets);
      assert.equal((await response.text()).match(/aria-invalid="true"/g)?.length, 4);
      assert.equal((await choose(link, 'approve', CARD)).status, 303);
    });
  });

  describe('a link', () => {
    it('has 128 random bits, one for each payment, and stays the same when it is asked for', async () => {
      const links = await Promise.all(Array.from({ length: 20 }, () => sent()));
      assert.equal(new Set(links.map(({ link }) => link)).size, 20);
      for (const { order, link } of links) {
        assert.match(link, /^http:\/\/127\.0\.0\.1:\d+\/pay\/[\w-]{22}$/);
        const { kind } = await now(order);
        assert.ok(kind.case === 'buyerAction' && kind.value.url === link);
      }
    });

    it('R16 is good for one decision: who comes again changes nothing, and goes back all the same', async () => {
      const { order, link } = await sent();
      const answers = await Promise.all(['approve', 'approve', 'cancel'].map((choice) => choose(link, choice)));
      for (const response of answers)
        assert.deepEqual([response.status, response.headers.get('location')], [303, RETURN_URL]);
      const first = await now(order);
      assert.equal((await choose(link, 'decline')).status, 303);
      assert.deepEqual(await now(order), first);
      const page = await (await look(link)).text();
      assert.match(page, /href="https:\/\/connector\.example\/return\/abc"/);
      assert.doesNotMatch(page, /<form/);
      assert.equal(kit.engine.books.operations(order.instruction!.transactionId).length, 1);
    });

    it('leads back when the payment ended meanwhile', async () => {
      const { order, link } = await sent();
      await kit.client.cancel({ subject: subjectOf(order) });
      assert.match(await (await look(link)).text(), /This payment has ended/);
      const response = await choose(link, 'approve');
      assert.deepEqual([response.status, response.headers.get('location')], [303, RETURN_URL]);
      assert.equal((await now(order)).kind.case, 'failed');
      assert.equal(charged(order), 0n);
    });

    it('says what became of the payment to whoever looks again', async () => {
      for (const [choice, text] of [
        ['approve', /is approved/],
        ['cancel', /was not made/],
        ['later', /decided later|is approved/],
      ] as const) {
        const { link } = await sent();
        await choose(link, choice);
        assert.match(await (await look(link)).text(), text);
      }
    });

    it('survives a restart, with what was decided', async () => {
      const data = mkdtempSync(join(tmpdir(), 'engine-'));
      await kit.restart({ data });
      const [open, used] = [await sent(), await sent()];
      await choose(used.link, 'decline');
      await kit.restart({ data });
      const again = ({ link }: { link: string }) => `${kit.engine.pagesUrl}${new URL(link).pathname}`;
      assert.equal((await choose(again(used), 'approve')).status, 303);
      assert.equal((await choose(again(open), 'approve')).status, 303);
      assert.deepEqual([reasonOf(await now(open.order)), charged(used.order)], ['approved', 0n]);
      rmSync(data, { recursive: true });
    });

    it('names the address that buyers know, where that is another one', async () => {
      await kit.restart({ url: 'https://pay.example/' });
      assert.match((await sent()).link, /^https:\/\/pay\.example\/pay\/[\w-]{22}$/);
    });
  });

  describe('a server of its own', () => {
    it('lets Wix frame it, and nothing but its own style into it', async () => {
      const { link } = await sent();
      const response = await look(link);
      const html = await response.text();
      const [, style = ''] = /<style>([\s\S]*?)<\/style>/.exec(html) ?? [];
      const hash = createHash('sha256').update(style).digest('base64');
      const policy = response.headers.get('content-security-policy') ?? '';
      assert.match(policy, /^default-src 'none'; /);
      assert.ok(policy.includes(`style-src 'sha256-${hash}';`), policy);
      assert.match(policy, /frame-ancestors https: /);
      assert.doesNotMatch(policy, /unsafe|script-src/);
      assert.equal(response.headers.get('x-frame-options'), null);
      assert.equal(response.headers.get('cache-control'), 'no-store');
      assert.equal(response.headers.get('referrer-policy'), 'no-referrer');
      assert.doesNotMatch(html, /<script|style=| on\w+=/);
      assert.ok(html.length < 6_000, `${html.length} characters`);
    });

    it('escapes what others wrote', async () => {
      const evil = '"><script>alert(1)</script>\'&';
      const order = authorizeOrder({ ...redirect(evil), returnUrl: 'https://a.example/?a=1&b="><b>' });
      order.instruction!.accountReference = evil;
      const { outcome } = await kit.client.authorize(order);
      assert.ok(outcome?.kind.case === 'buyerAction');
      const html = await (await look(outcome.kind.value.url)).text();
      assert.doesNotMatch(html, /<script/);
      assert.ok(html.includes('&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#39;&amp;'));
      await choose(outcome.kind.value.url, 'cancel');
      assert.doesNotMatch(await (await look(outcome.kind.value.url)).text(), /<b>/);
    });

    it('shows amounts as they are, whatever their currency', async () => {
      for (const [amount, currency, text] of [
        [9_007_199_254_740_993n, 'EUR', 'EUR 90,071,992,547,409.93'],
        [5n, 'EUR', 'EUR 0.05'],
        [1_234n, 'JPY', 'JPY 1,234'],
        [1_234n, 'KWD', 'KWD 1.234'],
      ] as const) {
        const { link } = await sent({ number: CHALLENGED, amount, currency });
        assert.ok((await (await look(link)).text()).replaceAll(/\s/g, ' ').includes(text), text);
      }
    });

    it('refuses a way back that is no web address, and does nothing', async () => {
      for (const returnUrl of ['javascript:alert(1)', '/return', `https://a.example/${'a'.repeat(2_000)}`]) {
        const order = authorizeOrder({ number: CHALLENGED, returnUrl });
        await assert.rejects(kit.client.authorize(order), hasCode(Code.InvalidArgument));
        assert.equal(kit.engine.books.find(requestIdOf(order)), undefined);
      }
    });

    it('answers what is no page, no form or no choice with a page that says so', async () => {
      const { order, link } = await sent();
      const post = (init: RequestInit) => fetch(link, { method: 'POST', redirect: 'manual', ...init });
      const answers: [number, Promise<Response>][] = [
        [404, look(new URL('/', link).href)],
        [404, look(`${link}x`)],
        [404, look(link.replace(/.$/, (last) => (last === 'A' ? 'Q' : 'A')))],
        [404, look(`${link}?a=1`)],
        [405, fetch(link, { method: 'DELETE' })],
        [415, post({ body: '{}', headers: { 'content-type': 'application/json' } })],
        [413, post({ body: new URLSearchParams({ choice: 'a'.repeat(5_000) }) })],
        [400, choose(link, 'expire')],
        [400, choose(link, 'constructor')],
        [400, post({ body: new URLSearchParams() })],
      ];
      for (const [status, answer] of answers) {
        const response = await answer;
        assert.equal(response.status, status);
        assert.match(await response.text(), /^<!doctype html>/);
        assert.match(response.headers.get('content-security-policy') ?? '', /default-src 'none'/);
      }
      assert.equal((await fetch(link, { method: 'HEAD' })).status, 200);
      assert.equal((await now(order)).kind.case, 'buyerAction');
    });

    it('cuts off a form without end, and serves on', async () => {
      const { order, link } = await sent();
      const { port, pathname } = new URL(link);
      const closed = Promise.withResolvers<void>();
      const socket = connect(Number(port), '127.0.0.1', () => {
        socket.write(`POST ${pathname} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n`);
        socket.write('content-type: application/x-www-form-urlencoded\r\n\r\n');
        for (let sent = 0; sent < 8; sent += 1) socket.write(`400\r\n${'a'.repeat(1_024)}\r\n`);
      });
      socket.on('error', () => undefined).on('close', () => closed.resolve());
      socket.resume();
      await closed.promise;
      assert.equal((await look(link)).status, 200);
      assert.equal((await now(order)).kind.case, 'buyerAction');
    });

    it('R34 logs no link, no card and no way back', async () => {
      const { link } = await sent(redirect(''));
      await choose(link, 'approve', { ...CARD, number: '4000000000009995' });
      const logged = JSON.stringify(kit.log.lines);
      assert.match(logged, /engine\.buyer_decided/);
      for (const secret of [link.split('/').at(-1)!, '4000000000009995', 'Ines', '737"', '/return/'])
        assert.ok(!logged.includes(secret), secret);
    });

    it('is not needed: without it, or a way back from it, what needs a page is declined', async () => {
      assert.equal(reasonOf((await authorize({ number: CHALLENGED, returnUrl: '' })).outcome), 3004);
      await kit.pages.stop();
      assert.equal(reasonOf((await authorize()).outcome), Reason.THREE_D_SECURE_FAILED);
      assert.equal(reasonOf((await authorize(redirect('iDeal'))).outcome), Reason.PAYMENT_METHOD_NOT_AVAILABLE);
    });
  });
});
