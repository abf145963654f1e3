import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { approved } from '../engine/outcomes.ts';
import { launchBrowser } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';
import { useStage } from '../support/stage.ts';

// The console as support and operators use it: in Chromium, against a whole connector. SCREENSHOTS=docs/images writes the pictures of the
// documents anew.

const newToken = () => randomBytes(32).toString('hex');
const [OPERATOR, READER] = [newToken(), newToken()];
const TOKENS = `ann:operator:${OPERATOR},bob:reader:${READER}`;
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PHONE = { width: 375, height: 720 };

describe('the console, in a browser', function () {
  this.timeout(60_000);
  const stage = useStage({ env: { CONSOLE: 'true', CORE_TOKENS: TOKENS, RELAY_TOKENS: TOKENS } });
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let complaints: string[];
  before(async function () {
    browser = await launchBrowser(this, 'The console is');
  });
  after(() => browser?.close());
  beforeEach(() => open());
  afterEach(async () => {
    await context.close();
    // Whatever the policy of the page blocks is said here.
    assert.deepEqual(complaints, []);
  });

  async function open(options: BrowserContextOptions = {}): Promise<void> {
    await context?.close();
    complaints = [];
    context = await browser.newContext({
      viewport: { width: 1280, height: 900 },
      timezoneId: 'Europe/Berlin',
      ...options,
    });
    page = await context.newPage();
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(`${stage.coreUrl}/console`);
  }

  async function signIn(token = OPERATOR): Promise<void> {
    await page.getByLabel('Token').fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Payments', exact: true }).waitFor();
  }
  async function find(id: string): Promise<void> {
    await page.getByLabel('Any id of a payment').fill(id);
    await page.getByRole('button', { name: 'Find' }).click();
  }
  const summary = (text: RegExp) => page.locator('.summary').filter({ hasText: text }).waitFor();
  const heading = (name: string | RegExp) => page.getByRole('heading', { name }).waitFor();
  async function command(name: string | RegExp, button: string, reason = 'asked for by a test'): Promise<void> {
    await page.getByRole('button', { name }).first().click();
    await page.getByLabel('Reason, kept with your name').fill(reason);
    await page.getByRole('button', { name: button, exact: true }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  }
  const picture = async (name: string) => {
    if (process.env.SCREENSHOTS) await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${name}.png`) });
  };

  it('lets nobody in whose token is unknown, and says so', async () => {
    await page.getByLabel('Token').fill('not a token of anybody at all');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').filter({ hasText: 'does not know this token' }).waitFor();
    // Chromium logs each answer that is no success.
    assert.equal(complaints.splice(0).length, 1);
  });

  it('keeps the token in memory alone: not in the address, cookies or storage, and gone after a reload', async () => {
    await signIn();
    assert.ok(!page.url().includes(OPERATOR));
    assert.deepEqual(await context.cookies(), []);
    assert.deepEqual(await page.evaluate('[localStorage.length, sessionStorage.length]'), [0, 0]);
    await page.reload();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
  });

  it('finds payments by any id, state, time and amount', async () => {
    const payment = await stage.pay({ amount: 7_777 });
    const declined = await stage.pay({ number: '4000000000000002' });
    await stage.settled(payment);
    await signIn();
    await picture('console-payments');
    const rows = page.locator('tbody tr');
    const isListed = (id: string) => rows.filter({ hasText: id }).waitFor();
    await page.getByLabel('State').selectOption('DECLINED');
    await page.getByRole('button', { name: 'Search' }).click();
    await rows.filter({ hasText: payment.wixTransactionId }).waitFor({ state: 'detached' });
    await isListed(declined.wixTransactionId);
    await page.getByLabel('State').selectOption('');
    await page.getByLabel('Amount').fill('77.77');
    await page.getByLabel('Currency').fill('eur');
    await page.getByRole('button', { name: 'Search' }).click();
    await rows.filter({ hasText: declined.wixTransactionId }).waitFor({ state: 'detached' });
    await isListed(payment.wixTransactionId);
    await page.getByLabel('Before').fill('2020-01-01T00:00');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByText('No payment fits.').waitFor();
    for (const id of [payment.wixTransactionId, payment.pluginTransactionId, stage.requestId(payment)]) {
      await find(id);
      await heading(new RegExp(payment.wixTransactionId));
    }
  });

  it('shows a payment’s life, and follows it while it is captured', async () => {
    const payment = await stage.pay({ authorizeOnly: true });
    await signIn();
    await find(payment.wixTransactionId);
    await summary(
      /^Authorized on .*: Wix has not asked to capture or void it.* Wix was told of transaction_approved on/,
    );
    await page.getByRole('img', { name: /authorize approved/ }).waitFor();
    await stage.wix.capture(payment);
    await summary(/^Captured on .*Wix was told of capture_succeeded on/);
    await page.getByText('What Wix reads').first().click();
    await page.getByText(`"wixTransactionId": "${payment.wixTransactionId}"`).first().waitFor();
    await page.getByText('What Wix reads').first().click();
    await picture('console-payment');
  });

  it('refunds a payment once, with one key for as long as the question stands', async () => {
    const payment = await stage.pay();
    await signIn();
    await find(payment.wixTransactionId);
    await page.getByRole('button', { name: 'Refund...' }).click();
    await page.getByLabel('Amount in EUR').fill('10.001');
    await page.getByRole('button', { name: 'Refund now' }).click();
    await page.getByRole('alert').filter({ hasText: 'no amount' }).waitFor();
    await page.getByLabel('Amount in EUR').fill('10');
    await page.getByRole('button', { name: 'Refund now' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await summary(/Wix was told of refund_succeeded/);
    assert.equal(stage.charged(payment), 3590n);
  });

  it('shows why Wix does not take an event, and tries it again', async () => {
    const heal = stage.wix.fail({ status: 503, body: 'closed for the night' });
    const payment = await stage.pay();
    await signIn();
    await find(payment.wixTransactionId);
    await summary(/Wix has not taken transaction_approved: HTTP 503/);
    await page.getByText('closed for the night').first().waitFor();
    await page.getByRole('link', { name: 'deliveries' }).click();
    await page.getByLabel('Show').selectOption('waiting');
    await page.locator('tbody tr').filter({ hasText: payment.pluginTransactionId }).waitFor();
    await picture('console-deliveries');
    heal();
    await command(/Try again now/, 'Try again');
    await stage.told(payment, 'transaction');
    await find(payment.wixTransactionId);
    await summary(/Wix was told of transaction_approved/);
  });

  it('parks, skips and pauses with a reason that is kept with the operator’s name', async () => {
    const payment = await stage.pay({ number: '4000000000009235' });
    await signIn();
    await page.getByRole('link', { name: 'deliveries' }).click();
    await command('Pause all deliveries...', 'Pause', 'a quiet night');
    await page.getByText('a quiet night').waitFor();
    await command('Resume all deliveries...', 'Resume');
    await page.getByText('a quiet night').waitFor({ state: 'detached' });
    await stage.told(payment, 'transaction');
    await page.getByRole('link', { name: 'health' }).click();
    await heading('Telling Wix');
    await page.getByText('yes').waitFor();
  });

  it('settles what only an operator can, and shows the report', async () => {
    stage.once('authorize', approved({ amount: 9_999n }));
    const payment = await stage.pay();
    await signIn();
    await find(payment.wixTransactionId);
    await summary(/an operator has to settle it/);
    await page.getByRole('button', { name: 'Settle...' }).first().click();
    await page.getByLabel('Reason, kept with your name').fill('the engine’s people say so');
    // What was mistyped is not taken for what was left out.
    for (const [outcome, field, text, problem] of [
      ['approved', /if approved/, '1O.00', 'This is no amount of the currency.'],
      ['declined', /if declined/, '30l2', 'A reason of Wix has four digits, such as 3012.'],
    ] as const) {
      await page.getByLabel('Outcome').selectOption(outcome);
      await page.getByLabel(field).fill(text);
      await page.getByRole('button', { name: 'Settle now' }).click();
      await page.getByText(problem).waitFor();
    }
    await page.getByLabel('Outcome').selectOption('declined');
    await page.getByLabel('Reason of Wix, if declined').fill('3002');
    await page.getByRole('button', { name: 'Settle now' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await summary(/^Declined on .* with 3002/);
    await page.getByText('override by ann').waitFor();
    await stage.told(payment, 'transaction', 3002);
  });

  it('offers a reader nothing to decide', async () => {
    const payment = await stage.pay();
    await stage.settled(payment);
    await signIn(READER);
    await find(payment.wixTransactionId);
    await summary(/^Captured/);
    assert.equal(await page.getByRole('button', { name: /Refund|Settle|Try again/ }).count(), 0);
    await page.getByRole('link', { name: 'deliveries' }).click();
    await heading('Deliveries');
    assert.equal(await page.getByRole('button', { name: /Pause|Resume/ }).count(), 0);
  });

  it('can be used with the keyboard alone', async () => {
    const payment = await stage.pay();
    await stage.settled(payment);
    const press = (...keys: string[]) =>
      keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
    await page.getByLabel('Token').waitFor();
    await page.keyboard.type(READER);
    await press('Enter');
    await heading('Payments');
    const focused = () =>
      page.evaluate(`document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent`);
    for (let i = 0; i < 12 && (await focused()) !== 'Any id of a payment'; i++) await press('Tab');
    await page.keyboard.type(payment.wixTransactionId);
    await press('Enter');
    await summary(/^Captured/);
    for (let i = 0; i < 40 && (await focused()) !== 'What Wix reads'; i++) await press('Tab');
    await press('Enter');
    await page.getByText(`"pluginTransactionId": "${payment.pluginTransactionId}"`).waitFor();
  });

  for (const [name, options] of Object.entries({
    light: { colorScheme: 'light' },
    dark: { colorScheme: 'dark' },
    phone: { viewport: PHONE },
  } satisfies Record<string, BrowserContextOptions>))
    it(`has no fault that axe finds, and no sideways scroll: ${name}`, async () => {
      const payment = await stage.pay();
      await stage.settled(payment);
      await open(options);
      const isSound = async (view: string) => {
        await page.evaluate(AXE);
        const found = (await page.evaluate('axe.run()')) as { violations: { id: string; nodes: { html: string }[] }[] };
        assert.deepEqual(
          found.violations.map(({ id, nodes }) => [id, nodes[0]?.html]),
          [],
          view,
        );
        const [width, room] = (await page.evaluate('[document.documentElement.scrollWidth, innerWidth]')) as [
          number,
          number,
        ];
        assert.ok(width <= room, `${view}: ${width} > ${room}`);
      };
      await isSound('sign in');
      await signIn();
      await isSound('payments');
      await find(payment.wixTransactionId);
      await summary(/^Captured/);
      await isSound('payment');
      await page.getByRole('button', { name: 'Refund...' }).click();
      await isSound('refund');
      await page.keyboard.press('Escape');
      await page.getByRole('link', { name: 'deliveries' }).click();
      await heading('Deliveries');
      await isSound('deliveries');
      await page.getByRole('link', { name: 'health' }).click();
      await heading('Telling Wix');
      await page.getByText('Attempts at once').waitFor();
      await isSound('health');
    });
});

describe('the console', () => {
  const stage = useStage({ env: { CONSOLE: 'true', CORE_TOKENS: TOKENS, RELAY_TOKENS: TOKENS } });
  const get = (name: string, init?: RequestInit) =>
    fetch(`${stage.coreUrl}/console/${name}`, { redirect: 'manual', ...init });

  it('weighs less than 150 kB in all, and loads nothing from elsewhere', async () => {
    const loaded = new Map<string, string>();
    const load = async (name: string): Promise<void> => {
      if (loaded.has(name)) return;
      const response = await get(name);
      assert.equal(response.status, 200, name);
      const text = await response.text();
      loaded.set(name, text);
      const links = [...text.matchAll(/(?:src|href)="([^"#$]+)"|from '\.\/([^']+)'/g)];
      for (const [, link, module] of links) await load(link ?? module ?? '');
    };
    await load('');
    assert.ok(loaded.size > 8);
    const bytes = [...loaded.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    assert.ok(bytes < 150_000, `${bytes}`);
  });

  it('runs no script but its own, and is framed by nobody', async () => {
    const policy = (await get('')).headers.get('content-security-policy') ?? '';
    for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"])
      assert.ok(policy.includes(part));
    assert.doesNotMatch(await (await get('')).text(), /<script(?! type="module" src)|style=|\son\w+=/);
  });

  it('serves its files alone, to GET and HEAD', async () => {
    for (const name of ['..%2fconfig.ts', '../config.ts', 'console.ts', '%00', 'x'.repeat(5_000)])
      assert.equal((await get(name)).status, 404, name);
    assert.equal((await get('', { method: 'POST' })).status, 405);
    const head = await get('console.js', { method: 'HEAD' });
    assert.deepEqual([head.status, await head.text()], [200, '']);
  });
});

describe('without CONSOLE', () => {
  const stage = useStage({ env: { CORE_TOKENS: TOKENS } });

  it('there is no console', async () => {
    await eventually(async () => assert.equal((await fetch(`${stage.coreUrl}/console/`)).status, 404));
  });
});
