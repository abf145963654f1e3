import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readConfig } from '../../conformance/config.ts';
import { runChecks, Unreachable } from '../../conformance/run.ts';
import { createSigner, newPrivateKey } from '../../conformance/signature.ts';

// Whatever a plugin does, the kit comes to its end and blames the plugin, not itself.

const signer = createSigner(newPrivateKey());
const json = { 'Content-Type': 'application/json' };

/** Answers of a plugin in a bad way, one after the other. */
const ANSWERS: readonly ((response: ServerResponse) => unknown)[] = [
  (response) => response.end(),
  (response) => response.writeHead(200, json).end('null'),
  (response) => response.writeHead(200, json).end('[1,2]'),
  (response) => response.writeHead(200, json).end('{"pluginTransactionId":'),
  (response) => response.writeHead(200, json).end(Buffer.from([0x7b, 0xff, 0xfe, 0x7d])),
  (response) => response.writeHead(200, json).end('x'.repeat(3_000_000)),
  (response) => response.writeHead(500).end('<h1>Fatal error</h1>'),
  (response) => response.writeHead(302, { Location: '/elsewhere' }).end(),
  (response) => response.destroy(),
  (response) => response.writeHead(200, { ...json, 'Content-Length': '500' }).end('{}'),
  (response) =>
    response.writeHead(200, json).end('{"pluginTransactionId":{},"reasonCode":[],"credentials":7,"accountId":null}'),
  (response) =>
    response.writeHead(200, json).end('{"pluginTransactionId":"p","redirectUrl":"not a url","credentialsOnFile":[]}'),
  (response) => response.writeHead(200, json).end('{"pluginTransactionId":"p"}'),
  // Never answers.
  () => undefined,
];

const EVENTS = [
  '',
  'null',
  '[]',
  '{"event":null}',
  '{"event":[]}',
  '{"event":{"refund":7}}',
  '{"event":{"transaction":{}}}',
  '\xff{',
];

async function held(answers: typeof ANSWERS) {
  let calls = 0;
  let wixUrl = '';
  const tell = () => {
    const body = EVENTS[calls % EVENTS.length] ?? '';
    const path = calls % 3 === 0 ? '/oauth/access' : '/payments/v1/provider-platform-events';
    fetch(`${wixUrl}${path}`, { method: 'POST', body, headers: { Authorization: 'nonsense' } }).catch(() => undefined);
  };
  const server = createServer((request, response) => {
    response.on('error', () => undefined);
    request.resume();
    tell();
    answers[calls++ % answers.length]?.(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const config = readConfig('', {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    endpoints: { connect: 'a', create: 'b', refund: 'c', capture: 'd', void: 'e' },
    wix: { port: 0 },
    merchant: { credentials: {}, wrongCredentials: {}, refusedCurrency: 'ISK', otherCurrencies: ['JPY'] },
    cards: {
      approved: '4242424242424242',
      declined: { '4000000000000002': 3000 },
      pendingApproved: '4000000000009235',
    },
    capabilities: { authorizeOnly: true, googlePay: true, applePay: true, credentialsOnFile: true, redirect: true },
    limits: {
      answerSeconds: 1,
      eventSeconds: 0.2,
      retrySeconds: 0.2,
      pendingSeconds: 0.2,
      quietSeconds: 0.05,
      parallel: 16,
    },
  });
  const onStart = ({ url }: { url: string }) => {
    wixUrl = url;
  };
  return runChecks({ config, signer, onStart }).finally(() => {
    server.close();
    server.closeAllConnections();
  });
}

describe('the conformance kit with a plugin in a bad way', () => {
  it('tries every check to its end, and never breaks itself', async function () {
    this.timeout(60_000);
    const { results } = await held(ANSWERS);
    const own = results.filter(({ says }) => says.startsWith('the check itself broke'));
    assert.deepEqual(
      own.map(({ check, says }) => [check.id, says]),
      [],
    );
    assert.ok(results.filter(({ verdict }) => verdict === 'failed').length > 100);
  });

  it('finds nothing green but connecting in a plugin that refuses everything, forgeries and nonsense too', async () => {
    const refuse = (response: ServerResponse) =>
      response.writeHead(200, json).end('{"reasonCode":1003,"errorCode":"NO","errorMessage":"No"}');
    const { results, notice } = await held([refuse]);
    const green = results.filter(({ verdict }) => verdict === 'passed').map(({ check }) => check.id);
    assert.deepEqual(
      green.filter((id) => !id.startsWith('connect.')),
      [],
    );
    assert.match(notice, /^The merchant could not be connected: 200 /);
  });

  it('says that a plugin which never answers cannot be tried', async () => {
    await assert.rejects(held(ANSWERS.slice(-1)), Unreachable);
  });
});
