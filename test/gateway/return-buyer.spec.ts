import assert from 'node:assert/strict';
import { Code, ConnectError } from '@connectrpc/connect';
import { rpcError } from '../../proto/runtime/rpc.ts';
import { eventually } from '../support/eventually.ts';
import { type CreateReader, put, startCreateReader } from './creates.ts';
import { connect, type Script, startGateway, stopGateways, type TestGateway } from './harness.ts';

const TOKEN = 'Tm90LWEtc2VjcmV0LWF0YQ';
const SHOP = 'https://shop.example/pay/ok?o=81';
const sendsOn: Script = { returnBuyer: () => ({ url: SHOP, transactionId: 'ours' }) };

/** What a browser gets, over a connection of its own that stays open as long as the gateway likes. */
async function get(gateway: TestGateway, path: string, method = 'GET'): Promise<string> {
  const { send, closed } = connect(gateway.port);
  send(`${method} ${path} HTTP/1.1\r\nHost: pay.harbor.example\r\nConnection: keep-alive\r\n\r\n`);
  return closed;
}

const statusOf = (answer: string) => Number(answer.slice('HTTP/1.1 '.length).split(' ')[0]);

function assertPage(answer: string, status: number, title: RegExp): void {
  assert.equal(statusOf(answer), status, answer);
  for (const header of [
    /^content-type: text\/html; charset=utf-8\r$/im,
    /^cache-control: no-store\r$/im,
    /^referrer-policy: no-referrer\r$/im,
    /^content-security-policy: default-src 'none'/im,
  ])
    assert.match(answer, header);
  assert.match(answer, title);
  assert.doesNotMatch(answer, /^(location|x-frame-options):|\{\}/im);
}

describe('R36 GET /return/<token>', () => {
  afterEach(stopGateways);

  it('sends the browser on with 303, kept by no cache and told to no other page, and R7 closes the connection', async () => {
    const gateway = await startGateway({ script: sendsOn });
    const answer = await get(gateway, `/return/${TOKEN}`);
    assert.equal(statusOf(answer), 303);
    for (const header of [
      `location: ${SHOP}`,
      'cache-control: no-store',
      'referrer-policy: no-referrer',
      'connection: close',
    ])
      assert.ok(answer.toLowerCase().includes(`\r\n${header}\r\n`), `${header} is not in ${answer}`);
    assert.ok(answer.endsWith('\r\n\r\n'), 'it has a body');
    assert.deepEqual(
      gateway.calls.map(({ method, request }) => [method, request.token]),
      [['returnBuyer', TOKEN]],
    );
  });

  it('takes what an engine adds behind the link for nothing', async () => {
    const gateway = await startGateway({ script: sendsOn });
    assert.equal(statusOf(await get(gateway, `/return/${TOKEN}?status=ok#top`)), 303);
    assert.equal(gateway.calls[0]!.request.token, TOKEN);
  });

  it('shows a page where Wix gave none for what became of the payment', async () => {
    const gateway = await startGateway({ script: { returnBuyer: () => ({ transactionId: 'ours' }) } });
    assertPage(await get(gateway, `/return/${TOKEN}`), 200, /You can close this page/);
  });

  for (const path of [
    '',
    'x',
    TOKEN.slice(1),
    `${TOKEN}x`,
    `${TOKEN}/`,
    `${TOKEN}/x`,
    `..%2f${TOKEN}`,
    `${TOKEN.slice(1)}%00`,
  ])
    it(`answers a page with 404 to a link that cannot be: ${path || 'nothing'}, and asks nobody`, async () => {
      const gateway = await startGateway({ script: sendsOn });
      assertPage(await get(gateway, `/return/${path}`), 404, /This link has ended/);
      assert.deepEqual(gateway.calls, []);
    });

  it('answers the same page to a link that the core does not know, and asks it once', async () => {
    const script: Script = {
      returnBuyer: () => {
        throw rpcError(Code.NotFound, 'LINK_NOT_FOUND', 'there is no such link');
      },
    };
    const gateway = await startGateway({ script });
    assertPage(await get(gateway, `/return/${TOKEN}`), 404, /This link has ended/);
    assert.equal(gateway.calls.length, 1);
    assert.ok(!gateway.log.lines.some(({ level }) => level === 'error'));
  });

  it('answers a page with 503 while the core cannot be reached, which works when it is loaded again', async () => {
    const gateway = await startGateway();
    const answer = await get(gateway, `/return/${TOKEN}`);
    assertPage(answer, 503, /Load this page again/);
    assert.match(answer, /^retry-after: 1\r$/im);
    gateway.script = sendsOn;
    assert.equal(statusOf(await get(gateway, `/return/${TOKEN}`)), 303);
  });

  it('answers a page with 503 when there is too much to do, and asks no second time', async () => {
    const script: Script = {
      returnBuyer: () => {
        throw rpcError(Code.Unavailable, 'OVERLOADED', 'there is too much to do', { scope: 'all' });
      },
    };
    const gateway = await startGateway({ script });
    assertPage(await get(gateway, `/return/${TOKEN}`), 503, /Load this page again/);
    assert.equal(gateway.calls.length, 1);
  });

  for (const method of ['POST', 'PUT', 'OPTIONS'])
    it(`answers a page with 405 to ${method}, and asks nobody`, async () => {
      const gateway = await startGateway({ script: sendsOn });
      const answer = await get(gateway, `/return/${TOKEN}`, method);
      assertPage(answer, 405, /cannot be used that way/);
      assert.match(answer, /^allow: GET\r$/im);
      assert.deepEqual(gateway.calls, []);
    });

  it('does not let a HEAD of something that only looks change a payment', async () => {
    const gateway = await startGateway({ script: sendsOn });
    assert.equal(statusOf(await get(gateway, `/return/${TOKEN}`, 'HEAD')), 405);
    assert.deepEqual(gateway.calls, []);
  });

  it('has two hundred wait for the core at most, and a page with 503 for the next one', async () => {
    const release = Promise.withResolvers<void>();
    const script: Script = {
      returnBuyer: async () => {
        await release.promise;
        return { url: SHOP };
      },
    };
    const gateway = await startGateway({ script });
    const waiting = Array.from({ length: 200 }, () => get(gateway, `/return/${TOKEN}`));
    await eventually(() => assert.equal(gateway.calls.length, 200));
    assertPage(await get(gateway, `/return/${TOKEN}`), 503, /Load this page again/);
    release.resolve();
    for (const answer of await Promise.all(waiting)) assert.equal(statusOf(answer), 303);
    assert.equal(statusOf(await get(gateway, `/return/${TOKEN}`)), 303);
  });

  it('is one line in the log, with the payment and without the link', async () => {
    const gateway = await startGateway({ script: sendsOn });
    await get(gateway, `/return/${TOKEN}`);
    gateway.script = {
      returnBuyer: () => {
        throw new ConnectError('no answer', Code.Internal);
      },
    };
    await get(gateway, `/return/${TOKEN}`);
    const lines = gateway.log.lines.filter(({ event }) => event === 'browser.return_buyer');
    assert.deepEqual(
      lines.map(({ level, httpStatus, pluginTransactionId }) => [level, httpStatus, pluginTransactionId]),
      [
        ['info', 303, 'ours'],
        ['warn', 503, undefined],
      ],
    );
    const all = JSON.stringify(gateway.log.lines);
    assert.ok(!all.includes(TOKEN) && !all.includes('shop.example'));
  });
});

describe('R36 the pages of the shop that Wix names', () => {
  let creates: CreateReader;
  before(async () => {
    creates = await startCreateReader();
  });
  after(stopGateways);

  const asked = async (returnUrls: unknown) => {
    const { returnUrls: read } = await creates.accepted(put('order.returnUrls', returnUrls));
    if (!read) return undefined;
    const { $typeName: _, ...urls } = read;
    return urls;
  };
  const NONE = { successUrl: '', errorUrl: '', cancelUrl: '', pendingUrl: '' };

  it('reach the core as they came, each that is there', async () => {
    const urls = { successUrl: SHOP, errorUrl: `${SHOP}&e=1`, cancelUrl: `${SHOP}&c=1`, pendingUrl: `${SHOP}&p=1` };
    assert.deepEqual(await asked(urls), urls);
    assert.deepEqual(await asked({ successUrl: SHOP, cancelUrl: null }), { ...NONE, successUrl: SHOP });
    const longest = `https://shop.example/${'x'.repeat(4096 - 'https://shop.example/'.length)}`;
    assert.deepEqual(await asked({ errorUrl: longest }), { ...NONE, errorUrl: longest });
  });

  it('count as absent where no browser may be sent there, and decline nothing', async () => {
    const tooLong = `https://shop.example/${'x'.repeat(4096)}`;
    for (const url of [
      'http://shop.example/',
      '/pay/ok',
      'javascript:alert(1)',
      'data:text/html,x',
      '',
      7,
      {},
      tooLong,
    ])
      assert.deepEqual(await asked({ successUrl: url, errorUrl: SHOP }), { ...NONE, errorUrl: SHOP });
    assert.equal(await asked('x'), undefined);
    assert.equal(await asked(null), undefined);
  });

  it('may lie on this machine in plain http', async () => {
    for (const url of ['http://127.0.0.1:8099/ok', 'http://localhost/ok', 'http://[::1]:1/ok'])
      assert.deepEqual(await asked({ successUrl: url }), { ...NONE, successUrl: url });
  });
});
