import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';
import { Secret } from '../../proto/runtime/config.ts';
import { closeHttp, listen } from '../../proto/runtime/lifecycle.ts';
import { relayConfig } from '../../webhook-relay/config.ts';
import { createWixClient } from '../../webhook-relay/wix-client.ts';
import { renderEvent } from '../../webhook-relay/wix-event.ts';
import { sample } from '../wix/requests.ts';
import { KEYS, newPayment } from './relay-kit.ts';

// The two calls to Wix, held against the example messages of the contract, to the byte where it gives bytes.

describe('the calls to Wix', () => {
  const tokenRequest = sample('oauth.token.request.json');
  const envelope = sample('submit-event.envelope.json') as {
    method: string;
    url: string;
    headers: Record<string, string>;
    body: { event: { transaction: { wixTransactionId: string; pluginTransactionId: string } } };
  };
  let answer: object;
  let came: { request: IncomingMessage; body: unknown };
  const server = createServer(async (request, response) => {
    came = { request, body: await json(request) };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  let url: string;
  before(async () => {
    url = `http://127.0.0.1:${await listen(server, 0, '127.0.0.1')}`;
  });
  after(() => closeHttp(server, 0));

  const client = (base = url) =>
    createWixClient({
      WIX_API_URL: base,
      WIX_APP_ID: String(tokenRequest.client_id),
      WIX_APP_SECRET: new Secret(String(tokenRequest.client_secret)),
      WIX_USER_AGENT: envelope.headers['User-Agent'] ?? '',
      RELAY_CONCURRENCY: 1,
      NODE_USE_ENV_PROXY: false,
    });

  it('ask for a token as the example asks, and take it from the example’s answer', async () => {
    answer = sample('oauth.token.response.json');
    const { token, answer: heard } = await client().fetchToken();
    const { method, url: path, headers } = came.request;
    assert.deepEqual(
      [method, path, headers['content-type'], came.body],
      ['POST', '/oauth/access', 'application/json', tokenRequest],
    );
    assert.equal(token, sample('oauth.token.response.json').access_token);
    assert.deepEqual([heard.error, heard.text], [null, '']);
  });

  it('keep the path of WIX_API_URL', async () => {
    answer = sample('oauth.token.response.json');
    await client(`${url}/by/way/of/`).fetchToken();
    assert.equal(came.request.url, '/by/way/of/oauth/access');
  });

  it('R38 reject once they are cut off, and are no answer of Wix', async () => {
    const cutOff = client();
    await cutOff.close();
    await assert.rejects(cutOff.fetchToken());
  });

  it('submit an event in the example’s envelope, and take the example’s answer as delivered', async () => {
    answer = sample('submit-event.accepted.response.json');
    const { wixTransactionId: externalId, pluginTransactionId: transactionId } = envelope.body.event.transaction;
    const event = newPayment()('TRANSACTION_APPROVED', { externalId, transactionId });
    const token = String(sample('oauth.token.response.json').access_token);
    const heard = await client().submitEvent(token, renderEvent(event, KEYS));
    assert.deepEqual([heard.httpStatus, heard.error], [200, null]);
    const { method, url: path, headers } = came.request;
    const { origin, pathname } = new URL(envelope.url);
    assert.deepEqual([method, path, came.body], [envelope.method, pathname, envelope.body]);
    for (const [name, value] of Object.entries(envelope.headers))
      assert.equal(headers[name.toLowerCase()], value, name);
    assert.equal(relayConfig.shape.WIX_API_URL.parse(undefined), origin);
  });
});
