import assert from 'node:assert/strict';
import { createHash, createPublicKey } from 'node:crypto';
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jwtVerify } from 'jose';
import { closeHttp, listen } from '../../proto/runtime/lifecycle.ts';
import { quietLog } from '../support/log.ts';
import { type JsonObject, parseObject, toJson } from './json.ts';
import type { Forgery } from './keys.ts';
import { approvalOf, submitEvent } from './submit.ts';
import { createWix, type Wix } from './wix.ts';

const FORGERIES: Forgery[] = [
  'no header',
  'no prefix',
  'wrong key',
  'alg none',
  'HS256',
  'PS256',
  'expired',
  'no exp',
  'no hash',
  'other hash',
  'tampered body',
];

describe('the simulated Wix', () => {
  let wix: Wix;
  let url: string;
  let gatewayUrl: string;
  let stopGateway: () => Promise<void>;
  /** What the gateway of the test answers; it verifies nothing. */
  let answer: (path: string, body: JsonObject) => JsonObject | { status: number };
  let received: { path: string; bytes: Buffer; request: IncomingMessage }[];

  before(async () => {
    const server = createServer(async (request, response) => {
      const bytes = Buffer.concat(await request.toArray());
      received.push({ path: request.url ?? '', bytes, request });
      const body = answer(request.url ?? '', parseObject(bytes.toString()) ?? {});
      const status = typeof body.status === 'number' ? body.status : 200;
      response.writeHead(status, { 'content-type': 'application/json' }).end(status === 200 ? toJson(body) : '');
    });
    gatewayUrl = `http://127.0.0.1:${await listen(server, 0, '127.0.0.1')}`;
    stopGateway = () => closeHttp(server, 0);
  });
  after(() => stopGateway());

  beforeEach(async () => {
    received = [];
    answer = (path, body) =>
      path.endsWith('connect-account')
        ? { credentials: { ...(body.credentials as object), grant: 'g' }, accountId: 'a-1', accountName: 'n' }
        : { pluginTransactionId: 'p-1' };
    wix = createWix({ log: quietLog() });
    url = await wix.start();
  });
  afterEach(() => wix.stop());

  describe('calling a gateway', () => {
    it('signs the bytes that it sends, with the key that it publishes', async () => {
      await wix.pay(await wix.connect(gatewayUrl));
      const { bytes, request, path } = received[1]!;
      assert.equal(path, '/wix/v1/create-transaction');
      assert.equal(request.headers['content-type'], 'application/json; charset=utf-8');
      const jwt = /^JWT=(.+)$/.exec(String(request.headers.digest))?.[1] ?? '';
      const { payload } = await jwtVerify(jwt, createPublicKey(wix.publicKeyPem), {
        algorithms: ['RS256'],
        clockTolerance: 1,
      });
      assert.deepEqual(payload.data, { SHA256: createHash('sha256').update(bytes).digest('hex') });
      assert.equal(Number(payload.exp) - Number(payload.iat), 120);
    });

    it('sends back the credentials that it was given, and amounts of any size', async () => {
      const merchant = await wix.connect(gatewayUrl, { credentials: { apiKey: 'k' }, currency: 'JPY' });
      await wix.pay(merchant, { amount: 9_007_199_254_740_993n, currency: 'JPY', number: '4000000000000002' });
      const text = received[1]!.bytes.toString();
      assert.match(text, /"merchantCredentials":\{"apiKey":"k","grant":"g"\}/);
      assert.match(text, /"totalAmount":9007199254740993,"currency":"JPY"/);
      assert.match(text, /"number":"4000000000000002"/);
    });

    it('repeats, captures, voids and refunds by the names that it was told', async () => {
      const payment = await wix.pay(await wix.connect(gatewayUrl), { authorizeOnly: true, amount: 100 });
      await wix.again(payment);
      await wix.capture(payment, 60);
      await wix.void(payment);
      await wix.refund(payment, { amount: 30n });
      const [, create, again, ...others] = received.map(({ path, bytes }) => [path, bytes.toString()]);
      assert.deepEqual(create, again);
      const { wixTransactionId, pluginTransactionId } = payment;
      for (const [i, [name, amount]] of [
        ['captureAmount', 60],
        ['voidAmount', 100],
        ['refundAmount', 30],
      ].entries()) {
        const body = parseObject(others[i]?.[1] ?? '') ?? {};
        assert.deepEqual([body.wixTransactionId, body.pluginTransactionId], [wixTransactionId, pluginTransactionId]);
        assert.equal(body[String(name)], amount);
      }
    });

    for (const forgery of FORGERIES)
      it(`forges: ${forgery}`, async () => {
        await wix.call(gatewayUrl, 'capture', { wixTransactionId: 'w' }, { forgery });
        const { bytes, request } = received[0]!;
        assert.equal(await isAuthentic(request, bytes, wix.publicKeyPem), false);
        await wix.call(gatewayUrl, 'capture', { wixTransactionId: 'w' });
        assert.equal(await isAuthentic(received[1]!.request, received[1]!.bytes, wix.publicKeyPem), true);
      });
  });

  describe('remembering', () => {
    let data: string;
    beforeEach(() => {
      data = mkdtempSync(join(tmpdir(), 'wix-'));
    });
    afterEach(() => rmSync(data, { recursive: true }));

    async function restart(): Promise<void> {
      await wix.stop();
      wix = createWix({ log: quietLog(), data });
      url = await wix.start();
    }

    it('holds every answer and event against the contract', async () => {
      const merchant = await wix.connect(gatewayUrl);
      const payment = await wix.pay(merchant);
      assert.equal(wix.untold.length, 1);
      await submitEvent(wix, url, approvalOf(payment.wixTransactionId));
      assert.deepEqual([wix.violations, wix.untold], [[], []]);
      answer = () => ({ pluginTransactionId: 'p-2', reasonCode: 0 });
      await wix.again(payment);
      assert.match(wix.violations.join('\n'), /no current reason code of create/);
      assert.match(wix.violations.join('\n'), /pluginTransactionId is p-1 and p-2/);
    });

    it('takes a 503 for no answer at all', async () => {
      answer = () => ({ status: 503 });
      await wix.pay({ gatewayUrl, merchantId: 'm', credentials: {}, accountId: 'a', answer: {} as never });
      assert.deepEqual([wix.violations, wix.untold], [[], []]);
    });

    it('finds over a restart what contradicts the time before it, and keeps its key', async () => {
      await restart();
      const before = wix.publicKeyPem;
      const payment = await wix.pay(await wix.connect(gatewayUrl), { amount: 9_007_199_254_740_993n });
      await submitEvent(wix, url, approvalOf(payment.wixTransactionId));
      appendFileSync(join(data, 'history.jsonl'), '{"type":"event","te');
      await restart();
      assert.equal(wix.publicKeyPem, before);
      assert.deepEqual([wix.violations, wix.untold, wix.events().length], [[], [], 1]);
      await submitEvent(wix, url, {
        transaction: { ...approvalOf(payment.wixTransactionId).transaction, reasonCode: 3012 },
      });
      await restart();
      assert.match(wix.violations.join('\n'), /sent again with other bytes/);
    });

    it('keeps no card data', async () => {
      await restart();
      await wix.pay(await wix.connect(gatewayUrl), { number: '4000000000009995', wallet: 'googlePay' });
      await wix.pay(await wix.connect(gatewayUrl), { number: '4000000000009995' });
      const text = readFileSync(join(data, 'history.jsonl'), 'utf8');
      assert.match(text, /"paymentMethodData":\{"googlePay":\{\}\}/);
      assert.doesNotMatch(text, /4000000000009995|"cvv"|cryptogram/);
    });
  });
});

async function isAuthentic(request: IncomingMessage, bytes: Buffer, publicKeyPem: string): Promise<boolean> {
  const jwt = /^JWT=(.+)$/.exec(String(request.headers.digest))?.[1] ?? '';
  const options = { algorithms: ['RS256'], requiredClaims: ['exp'] };
  const verified = await jwtVerify(jwt, createPublicKey(publicKeyPem), options).catch(() => undefined);
  const data = verified?.payload.data as { SHA256?: string } | undefined;
  return data?.SHA256 === createHash('sha256').update(bytes).digest('hex');
}
