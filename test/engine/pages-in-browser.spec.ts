import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Browser, BrowserContext, FrameLocator, Page } from 'playwright-core';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { launchBrowser } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';
import type { PaymentOptions } from './orders.ts';
import { reasonOf } from './outcomes.ts';
import { CARD, CHALLENGED, redirect, usePages } from './pages-kit.ts';

// The pages as buyers meet them: in Chromium, without scripts. SCREENSHOTS=docs/images writes the pictures of the documents anew.

const PHONE = { width: 360, height: 640 };
const SMALLEST_TOUCH = 44;

describe('the pages of the simulated engine, in a browser', function () {
  this.timeout(60_000);
  const kit = usePages();
  const { now, charged } = kit;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let shop: Awaited<ReturnType<typeof startShop>>;
  let complaints: string[];

  before(async function () {
    browser = await launchBrowser(this, 'The pages are');
  });
  after(() => browser?.close());

  beforeEach(async () => {
    shop = await startShop();
    await open();
  });
  afterEach(async () => {
    await context.close();
    await shop.stop();
    // Whatever the policy of a page blocks is said here.
    assert.deepEqual(complaints, []);
  });

  async function open(viewport = { width: 800, height: 720 }): Promise<void> {
    await context?.close();
    complaints = [];
    context = await browser.newContext({ javaScriptEnabled: false, viewport });
    page = await context.newPage();
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  }

  const sent = (options: PaymentOptions = { number: CHALLENGED }) =>
    kit.sent({ ...options, returnUrl: `${shop.url}/return/1` });
  const press = (name: string, place: Page | FrameLocator = page) => place.getByRole('button', { name }).click();
  const isBack = () => page.waitForURL(`${shop.other}/thanks`);

  for (const [button, end] of [
    ['Confirm the payment', 'approved'],
    ['Decline', Reason.THREE_D_SECURE_FAILED],
    ['Cancel', Reason.BUYER_CANCELED],
  ] as const)
    it(`sends the buyer on to the shop after "${button}", over both ways that lead there: ${end}`, async () => {
      const { order, link } = await sent();
      await page.goto(link);
      await press(button);
      await isBack();
      assert.deepEqual(shop.visits, ['/return/1', '/thanks']);
      assert.equal(reasonOf(await now(order)), end);
    });

  it('decides later', async () => {
    const { order, link } = await sent(redirect('iDeal'));
    await page.goto(link);
    await press('Decide later');
    await isBack();
    await eventually(async () => assert.equal(reasonOf(await now(order)), 'approved'));
  });

  it('decides nothing when the page is closed, or loaded again', async () => {
    const { order, link } = await sent();
    await page.goto(link);
    await page.reload();
    await page.close();
    assert.equal((await now(order)).kind.case, 'buyerAction');
  });

  it('R16 decides once, also for a buyer who goes back and presses again', async () => {
    const { order, link } = await sent();
    await page.goto(link);
    await press('Confirm the payment');
    await isBack();
    await page.goBack();
    await page.getByRole('link', { name: 'Back to the shop' }).click();
    await isBack();
    assert.equal(charged(order), 4_590n);
  });

  it('is served by the keyboard alone', async () => {
    const { order, link } = await sent(redirect(''));
    await page.goto(link);
    for (const text of Object.values(CARD)) {
      await page.keyboard.press('Tab');
      await page.keyboard.type(text);
    }
    await page.keyboard.press('Tab');
    await page.keyboard.press('Space');
    await isBack();
    assert.equal(reasonOf(await now(order)), 'approved');
    const other = await sent();
    await page.goto(other.link);
    for (const _ of Array(4)) await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await isBack();
    assert.equal(reasonOf(await now(other.order)), Reason.BUYER_CANCELED);
  });

  it('names each field and what is wrong with it, for those who cannot see it', async () => {
    const { link } = await sent(redirect(''));
    await page.goto(link);
    await page.getByLabel('Card number').fill('1234');
    await page.getByLabel('Expiry date').fill('09/31');
    await page.getByLabel('Security code').fill('737');
    await page.getByLabel('Name on the card').fill('Ines Carvalho');
    await page.getByRole('button', { name: 'Pay' }).click();
    assert.match(await page.title(), /^Error: /);
    assert.match((await page.getByRole('alert').textContent()) ?? '', /could not be read/);
    const number = page.getByRole('textbox', { name: 'Card number' });
    assert.equal(await number.getAttribute('aria-invalid'), 'true');
    const note = page.locator(`#${await number.getAttribute('aria-describedby')}`);
    assert.match((await note.textContent()) ?? '', /as it is on the card/);
    assert.equal(await number.inputValue(), '');
    // What a browser says of an answer that is an error is no complaint of the policy.
    complaints = complaints.filter((text) => !text.includes('422'));
  });

  it('can be cancelled with nothing typed', async () => {
    const { order, link } = await sent(redirect(''));
    await page.goto(link);
    await press('Cancel');
    await isBack();
    assert.equal(reasonOf(await now(order)), Reason.BUYER_CANCELED);
  });

  for (const [what, options, buttons] of [
    ['the check of a card', { number: CHALLENGED }, ['Confirm the payment']],
    ['a voucher', redirect('multibanco'), ['Done: it will be paid soon']],
  ] as const)
    it(`works in a frame of the shop: ${what}`, async () => {
      const { order, link } = await sent(options);
      shop.framed = link;
      await page.goto(`${shop.other}/checkout`);
      for (const button of buttons) await press(button, page.frameLocator('iframe'));
      await eventually(() => assert.deepEqual(shop.visits, ['/checkout', '/return/1', '/thanks']));
      await eventually(async () => assert.equal(reasonOf(await now(order)), 'approved'));
      assert.equal(page.url(), `${shop.other}/checkout`);
    });

  it('fits a phone: nothing to scroll sideways, and buttons for a thumb', async () => {
    await open(PHONE);
    const long = 'a'.repeat(80);
    for (const options of [
      { number: CHALLENGED },
      redirect(''),
      redirect(long),
      { number: CHALLENGED, amount: 9_007_199_254_740_993n },
    ]) {
      const { link } = await sent(options);
      await page.goto(link);
      const { width } = (await page.locator('html').boundingBox())!;
      assert.equal(width, PHONE.width);
      for (const each of await page.locator('button, input:not([type=hidden]), h1, dd').all()) {
        const box = (await each.boundingBox())!;
        assert.ok(box.x >= 0 && box.x + box.width <= PHONE.width, `${await each.textContent()} is not within`);
      }
      for (const each of await page.locator('button, input:not([type=hidden])').all())
        assert.ok((await each.boundingBox())!.height >= SMALLEST_TOUCH);
    }
  });

  it('goes on from the card form to the check of the card', async () => {
    const { order, link } = await sent(redirect(''));
    await page.goto(link);
    await page.getByLabel('Card number').fill(CHALLENGED);
    await page.getByLabel('Expiry date').fill(CARD.expiry);
    await page.getByLabel('Security code').fill(CARD.cvv);
    await page.getByLabel('Name on the card').fill(CARD.holder);
    await press('Pay');
    await press('Confirm the payment');
    await isBack();
    assert.equal(reasonOf(await now(order)), 'approved');
  });

  it('looks as the documents show it', async () => {
    await open({ width: 400, height: 560 });
    for (const [name, options] of [
      ['challenge', { number: CHALLENGED }],
      ['card-form', redirect('')],
    ] as const) {
      const { link } = await sent(options);
      await page.goto(link);
      const picture = process.env.SCREENSHOTS ? { path: join(process.env.SCREENSHOTS, `${name}.png`) } : {};
      const png = await page.screenshot({ ...picture, fullPage: true });
      assert.ok(png.length < 60_000, `${png.length} bytes`);
    }
  });
});

/** The shop, at two addresses as in life: its connector sends the browser on from one to the other. */
async function startShop() {
  const visits: string[] = [];
  const shop = { visits, framed: '', url: '', other: '', stop: async () => undefined as unknown };
  const serve = (answer: Parameters<typeof createServer>[1]) => {
    const server: Server = createServer((request, response) => {
      if (request.url === '/favicon.ico') return void response.writeHead(204).end();
      visits.push(request.url ?? '');
      response.setHeader('content-type', 'text/html; charset=utf-8');
      answer?.(request, response as never);
    });
    return new Promise<{ server: Server; url: string }>((resolve) =>
      server.listen(0, '127.0.0.1', () =>
        resolve({ server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }),
      ),
    );
  };
  const connector = await serve((_, response) => {
    response.writeHead(303, { location: `${shop.other}/thanks`, 'referrer-policy': 'no-referrer' }).end();
  });
  const site = await serve(({ url }, response) => {
    const html = url === '/checkout' ? `<iframe src="${shop.framed}" title="Payment" height="600"></iframe>` : 'Thanks';
    response.end(`<!doctype html><title>Shop</title>${html}`);
  });
  const stop = async () => {
    for (const { server } of [connector, site]) {
      server.close();
      server.closeAllConnections();
    }
  };
  return Object.assign(shop, { url: connector.url, other: site.url.replace('127.0.0.1', 'localhost'), stop });
}
