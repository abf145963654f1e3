import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { serveControl } from '../control.ts';
import { type Playground, startPlayground } from '../playground.ts';
import { launchBrowser } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';

// The page of `npm start`, as a PSP's engineer uses it. SCREENSHOTS=docs/images writes the picture of the documents anew.

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const FREE = { GATEWAY_PORT: '0', GATEWAY_ADMIN_PORT: '0', RELAY_PORT: '0', CORE_GRPC_PORT: '0', CORE_HTTP_PORT: '0' };

describe('the workbench', function () {
  this.timeout(60_000);
  let data: string;
  let playground: Playground;
  let control: Awaited<ReturnType<typeof serveControl>>;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let complaints: string[];
  before(async function () {
    browser = await launchBrowser(this, 'The workbench is');
    data = mkdtempSync(path.join(tmpdir(), 'workbench-'));
    // PostgreSQL does not run as root.
    chmodSync(data, 0o755);
    playground = await startPlayground({ data, env: FREE, wixPort: 0, pagesPort: 0 });
    control = await serveControl(playground, 0);
  });
  after(async () => {
    await browser?.close();
    await control?.stop();
    await playground?.stop();
    if (data) rmSync(data, { recursive: true, force: true });
  });
  beforeEach(() => open());
  afterEach(async () => {
    await context.close();
    assert.deepEqual(complaints, []);
    assert.deepEqual(playground.wix.violations, []);
  });

  const url = () => `http://127.0.0.1:${control.port}/workbench/`;
  async function open(options: BrowserContextOptions = {}): Promise<void> {
    await context?.close();
    complaints = [];
    context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
    page = await context.newPage();
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(url());
  }

  const press = (name: string) => page.getByRole('button', { name, exact: true }).click();
  async function connect(): Promise<void> {
    await press('Connect');
    await page.getByRole('combobox', { name: 'Merchant' }).waitFor();
  }
  async function pay(means: string, change?: () => Promise<void>): Promise<void> {
    await page.locator('.mean').filter({ hasText: means }).first().click();
    await change?.();
    await press('Pay');
  }
  const chosen = () => page.locator('.payments .chosen');
  const stands = (text: string) => chosen().getByText(text, { exact: true }).waitFor();
  const message = (what: string) => page.locator('.wire li').filter({ hasText: what }).first();

  it('connects a merchant, takes a payment, and shows every message with the contract’s verdict', async () => {
    await connect();
    await pay('4242424242424242');
    await stands('captured');
    await message('event: transaction').getByText('as the contract says').waitFor();
    await message('create').locator('summary').click();
    const text = await message('create').locator('pre').first().textContent();
    assert.match(text ?? '', /"wixTransactionId": "/);
    // How was paid, never with what.
    assert.doesNotMatch(text ?? '', /4242424242424242/);
    await page.getByLabel('raw').check();
    assert.doesNotMatch((await message('create').locator('pre').first().textContent()) ?? '', /\n/);
  });

  it('sends the buyer to the engine’s page, and has them back on the shop’s', async () => {
    await connect();
    await pay('4000000000003220');
    await page.getByRole('link', { name: 'The buyer goes to the engine' }).click();
    await press('Confirm the payment');
    await page.getByText('Thank you: the shop has your order.').waitFor();
    await stands('captured');
    if (process.env.SCREENSHOTS) {
      await message('create').locator('summary').click();
      await page.screenshot({ path: path.join(process.env.SCREENSHOTS, 'workbench.png') });
    }
    await pay('4000000000003220');
    await page.getByRole('link', { name: 'The buyer goes to the engine' }).click();
    await press('Cancel');
    await page.getByText('The buyer gave up').waitFor();
    await stands('declined 3030');
  });

  it('captures, voids and refunds, and repeats calls that change nothing', async () => {
    await connect();
    await pay('4242424242424242', () => page.getByLabel('authorize only').check());
    await stands('authorized');
    await press('Capture');
    await stands('captured');
    await chosen().getByLabel('Amount').fill('10');
    await press('Refund');
    await chosen().getByText('refunded 10.00 EUR').waitFor();
    await press('Repeat the refund');
    await press('Repeat the create');
    await eventually(async () =>
      assert.equal(await page.locator('.wire li').filter({ hasText: 'Wix ->refund' }).count(), 2),
    );
    await chosen().getByText('refunded 10.00 EUR').waitFor();
    await pay('4242424242424242');
    await stands('authorized');
    await press('Void');
    await stands('voided');
  });

  it('lets Wix be down, and shows that it is told afterwards', async () => {
    await connect();
    await page.getByLabel('Wix, when it is told').selectOption('answers 500');
    await pay('4242424242424242');
    await message('event: transaction').getByText('not taken').waitFor();
    await page.getByText('1 outcomes to be told').waitFor();
    await page.getByLabel('Wix, when it is told').selectOption('none');
    await stands('captured');
    await page.getByText('0 outcomes to be told').waitFor();
  });

  it('lets the engine lose its answers, and shows that the outcome is found', async () => {
    await connect();
    await page.getByRole('combobox', { name: 'The engine' }).selectOption('loses its answers');
    await pay('4242424242424242');
    await stands('pending 5009');
    await page.getByRole('combobox', { name: 'The engine' }).selectOption('none');
    await stands('captured');
  });

  it('says what is wrong with what was typed', async () => {
    await page.getByLabel('apiKey that the merchant types in').fill('invalid');
    await press('Connect');
    await page.getByRole('alert').filter({ hasText: '2002' }).waitFor();
    await page.getByLabel('apiKey that the merchant types in').fill('test');
    await connect();
    await pay('4242424242424242', () => page.getByLabel('Amount').first().fill('1.234'));
    await page.getByRole('alert').filter({ hasText: 'no amount of the currency' }).waitFor();
  });

  it('can be used with the keyboard alone', async () => {
    await page.getByRole('button', { name: 'Connect' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('combobox', { name: 'Merchant' }).waitFor();
    await page.locator('input[name=amount]').focus();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await stands('captured');
  });

  for (const [name, options] of Object.entries({
    light: { colorScheme: 'light' },
    dark: { colorScheme: 'dark' },
    phone: { viewport: { width: 375, height: 720 } },
  } satisfies Record<string, BrowserContextOptions>))
    it(`has no fault that axe finds, and no sideways scroll: ${name}`, async () => {
      await open(options);
      await connect();
      await pay('4242424242424242');
      await stands('captured');
      await message('create').locator('summary').click();
      await page.evaluate(AXE);
      const found = (await page.evaluate('axe.run()')) as { violations: { id: string; nodes: { html: string }[] }[] };
      assert.deepEqual(
        found.violations.map(({ id, nodes }) => [id, nodes[0]?.html]),
        [],
      );
      const [width, room] = (await page.evaluate('[document.documentElement.scrollWidth, innerWidth]')) as number[];
      assert.ok((width ?? 0) <= (room ?? 0), `${width} > ${room}`);
    });

  it('is driven by no other page: not from another origin, under another name, or without JSON', async () => {
    const post = (name: string, headers: Record<string, string>, body = '{"apiKey":"test"}') =>
      fetch(`${url()}${name}`, { method: 'POST', body, headers }).then(({ status }) => status);
    const json = { 'content-type': 'application/json' };
    assert.equal(await post('connect', { ...json, origin: 'https://elsewhere.example' }), 403);
    assert.equal(await post('../demo', { origin: 'https://elsewhere.example' }), 403);
    const odd = http.get({ host: '127.0.0.1', port: new URL(url()).port, path: '//' });
    const [response] = (await once(odd, 'response')) as [http.IncomingMessage];
    assert.equal(response.resume().statusCode, 404);
    assert.equal(await post('connect', { 'content-type': 'text/plain' }), 404);
    assert.equal(await post('connect', json, '{"apiKey":"test","more":1}'), 400);
    assert.equal(await post('connect', json, 'no JSON'), 400);
    assert.equal(await post('connect', json, `{"apiKey":"${'x'.repeat(100_000)}"}`), 413);
    assert.equal(await post('nonsense', json, '{}'), 404);
    assert.equal(await post('capture', json, '{"payment":"none","amount":"1"}'), 400);
  });
});
