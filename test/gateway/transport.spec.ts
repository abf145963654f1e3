import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { eventually } from '../support/eventually.ts';
import {
  bytesOf,
  connect,
  digestOf,
  exampleJson,
  headOf,
  type Script,
  startGateway,
  stopGateways,
  type TestGateway,
} from './harness.ts';

const MIB = 1024 * 1024;
const script: Script = { connectMerchantAccount: () => ({ account: { id: 'acct', name: 'Tidepool' } }) };
const body = bytesOf(exampleJson('connect-account.basic.request.json'));
const bodyOf = (bytes: number) =>
  bytesOf(JSON.stringify({ wixMerchantId: 'm', credentials: {}, pad: 'x'.repeat(bytes - 48) }).padEnd(bytes, ' '));

describe('the HTTP side of the gateway', () => {
  let gateway: TestGateway;
  before(async () => {
    gateway = await startGateway({ script });
  });
  beforeEach(() => gateway.calls.splice(0));
  after(stopGateways);

  const isWell = async () => {
    const answer = await gateway.post('connect-account', body);
    assert.equal(answer.status, 200);
    const ready = await fetch(`http://127.0.0.1:${gateway.adminPort}/health/ready`);
    assert.equal(ready.status, 200);
  };

  it('answers JSON in UTF-8', async () => {
    const answer = await gateway.post('connect-account', body);
    assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8');
  });

  it('answers other methods 405 and other paths 404', async () => {
    for (const call of ['connect', 'create', 'refund', 'capture', 'void']) {
      const path = `${gateway.url}/wix/v1/${call}-${call === 'connect' ? 'account' : 'transaction'}`;
      for (const method of ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD']) {
        const response = await fetch(path, { method });
        assert.equal(response.status, 405, `${method} ${path}`);
        assert.equal(response.headers.get('allow'), 'POST');
      }
    }
    for (const path of ['/', '/wix/v1/', '/wix/v1/create-transaction/', '/wix/v1/sale', '/metrics', '/health/ready'])
      assert.equal((await fetch(gateway.url + path, { method: 'POST' })).status, 404, path);
  });

  it('answers garbage in the place of a path or a host like any other call, or 400, and logs no error', async () => {
    gateway.log.lines.splice(0);
    for (const [target, host, status] of [
      ['http://[', 'a', 400],
      ['http://%ff@a/', 'a', 400],
      ['http://a\\b@[/wix/v1/connect-account', '[', 400],
      ['//[', '[', 404],
      ['*', '[', 404],
      ['/wix/v1/%ff%', '[::1', 404],
      ['/wix/v1/sale', '', 404],
      ['/wix/v1/connect-account', '[', 401],
      ['/wix/v1/connect-account?%=%ff[', 'a b@c:99999999', 401],
      ['http://a/wix/v1/connect-account', '[', 401],
    ] as const) {
      const { send, closed } = connect(gateway.port);
      send(`POST ${target} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`);
      assert.match(await closed, new RegExp(`^HTTP/1\\.1 ${status} `), `${target} ${host}`);
    }
    assert.ok(gateway.log.lines.every(({ level }) => level === 'warn'));
  });

  it('R7 answers 415 to an encoded body and to other media types, and does not read them', async () => {
    const encoded = await gateway.post('connect-account', gzipSync(body), { 'content-encoding': 'gzip' });
    assert.equal(encoded.status, 415);
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'application/json5',
      'application/hal+json',
      'json',
    ])
      assert.equal((await gateway.post('connect-account', body, { 'content-type': type })).status, 415, type);
    const { send, closed } = connect(gateway.port);
    send(headOf('connect-account', { 'Content-Type': 'text/plain', Digest: digestOf(body), 'Content-Length': '99' }));
    assert.match(await closed, /^HTTP\/1\.1 415 /);
    assert.deepEqual(gateway.calls, []);
  });

  it('takes application/json whatever its parameters and its case', async () => {
    for (const type of [
      'application/json',
      'Application/JSON',
      'application/json;charset=UTF-8',
      'application/json; x="y"',
    ])
      assert.equal((await gateway.post('connect-account', body, { 'content-type': type })).status, 200, type);
  });

  it('R7 takes a body whose encoding is said to be identity', async () => {
    for (const encoding of ['identity', 'Identity'])
      assert.equal((await gateway.post('connect-account', body, { 'content-encoding': encoding })).status, 200);
  });

  it('R7 answers 400 to a signed body that is no JSON object, and quotes nothing of it', async () => {
    const secret = '4111111111111111';
    const deep = `${'['.repeat(400_000)}${']'.repeat(400_000)}`;
    const notUtf8 = Buffer.concat([bytesOf('{"wixMerchantId":"'), Buffer.from([0xff]), bytesOf('"}')]);
    for (const raw of ['', 'null', '[]', '[{}]', '"{}"', '1', `{"number":"${secret}"`, `{${secret}}`, deep, notUtf8]) {
      const answer = await gateway.post('create-transaction', raw);
      assert.equal(answer.status, 400);
      assert.equal(answer.text, '{}');
    }
    assert.deepEqual(gateway.calls, []);
    assert.ok(!JSON.stringify(gateway.log.lines).includes(secret));
  });

  it('R7 takes a body of 1 MiB and answers 413 to more, declared or in chunks', async () => {
    assert.equal((await gateway.post('connect-account', bodyOf(MIB))).status, 200);
    gateway.calls.splice(0);

    const declared = connect(gateway.port);
    declared.send(headOf('connect-account', { Digest: digestOf(body), 'Content-Length': String(MIB + 1) }));
    assert.match(await declared.closed, /^HTTP\/1\.1 413 /);

    const chunked = connect(gateway.port);
    chunked.send(headOf('connect-account', { Digest: digestOf(body), 'Transfer-Encoding': 'chunked' }));
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    for (let sent = 0; sent <= MIB; sent += 0x10000) chunked.send(chunk);
    assert.match(await chunked.closed, /^HTTP\/1\.1 413 /);
    assert.deepEqual(gateway.calls, []);
    await isWell();
  });

  it('takes a chunked body', async () => {
    const { send, closed } = connect(gateway.port);
    send(headOf('connect-account', { Digest: digestOf(body), 'Transfer-Encoding': 'chunked', Connection: 'close' }));
    for (const byte of body) send(`1\r\n${String.fromCharCode(byte)}\r\n`);
    send('0\r\n\r\n');
    assert.match(await closed, /^HTTP\/1\.1 200 /);
  });

  it('R7 bounds the bytes of all bodies being read, and gives them back', async () => {
    const bounded = await startGateway({ script, limits: { bodyBytesMax: 100_000 } });
    const head = headOf('connect-account', { Digest: digestOf(body), 'Content-Length': '90000' });
    const halves = [connect(bounded.port), connect(bounded.port)];
    for (const { send } of halves) send(head + 'x'.repeat(60_000));
    // Which of the two came second is the kernel's affair.
    assert.match(await Promise.race(halves.map(({ closed }) => closed)), /^HTTP\/1\.1 503 /);
    for (const { socket } of halves) socket.destroy();
    await eventually(async () => {
      const answer = await bounded.post('connect-account', bodyOf(95_000));
      assert.equal(answer.status, 200);
    });
  });

  it('R7 lets nobody fill the memory with one recorded signature: who else is signed is answered', async () => {
    const head = headOf('connect-account', { Digest: digestOf(body), 'Content-Length': String(MIB) });
    const almost = 'x'.repeat(MIB - 1);
    let refused = 0;
    const slow = Array.from({ length: 64 }, () => {
      const opened = connect(gateway.port);
      opened.send(head + almost);
      void opened.closed.then((text) => {
        refused += Number(text.startsWith('HTTP/1.1 503 '));
      });
      return opened;
    });
    await eventually(() => assert.equal(refused, 62));
    assert.equal((await gateway.post('connect-account', bodyOf(MIB))).status, 200);
    for (const { socket } of slow) socket.destroy();
  });

  it('R7 lets nobody take all connections with one recorded signature', async () => {
    const half = `${headOf('connect-account', { Digest: digestOf(body), 'Content-Length': String(body.length) })}{`;
    let refused = 0;
    const slow = Array.from({ length: 80 }, () => {
      const opened = connect(gateway.port);
      opened.send(half);
      void opened.closed.then((text) => {
        refused += Number(text.startsWith('HTTP/1.1 503 '));
      });
      return opened;
    });
    await eventually(() => assert.equal(refused, 16));
    for (const { socket } of slow) socket.destroy();
    await eventually(async () => assert.equal((await gateway.post('connect-account', body)).status, 200));
  });

  it('R7 answers 400 to more values, or deeper nested ones, than any order has, and takes what a large one has', async () => {
    const order = (items: string) => `{"wixMerchantId":"m","credentials":{},"items":${items}}`;
    const many = (count: number, item: string) => `[${Array(count).fill(item).join(',')}]`;
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    const text = JSON.stringify('[{,}]\\"'.repeat(60_000));
    for (const items of [many(300_000, '{}'), many(60_000, '1'), many(120_000, '""'), nested(64), nested(400_000)])
      assert.equal((await gateway.post('connect-account', order(items))).status, 400);
    assert.deepEqual(gateway.calls, []);
    for (const items of [many(5_000, '{"a":1,"b":"x","c":[2]}'), nested(63), text])
      assert.equal((await gateway.post('connect-account', order(items))).status, 200);
  });

  it('refuses headers of more than 16 KiB', async () => {
    const { send, closed } = connect(gateway.port);
    send(headOf('connect-account', { Digest: `JWT=${'x'.repeat(17_000)}`, 'Content-Length': '2' }));
    assert.match(await closed, /^HTTP\/1\.1 431 /);
  });

  it('R7 cuts off clients whose headers do not come, or too slowly', async () => {
    const impatient = await startGateway({ script, limits: { headersTimeout: 150, requestTimeout: 60_000 } });
    const head = headOf('connect-account', { Digest: digestOf(body), 'Content-Length': String(body.length) });
    const silent = connect(impatient.port);
    const slow = connect(impatient.port);
    const halfOpen = connect(impatient.port);
    const trickle = setInterval(() => slow.send('x'), 20);
    slow.send(head.slice(0, 30));
    halfOpen.send(head.slice(0, 100));
    await Promise.all([silent, slow, halfOpen].map(({ closed }) => closed));
    clearInterval(trickle);
    assert.equal((await impatient.post('connect-account', body)).status, 200);
  });

  it('R7 cuts off clients whose bodies stop halfway', async () => {
    const impatient = await startGateway({ script, limits: { headersTimeout: 150, requestTimeout: 300 } });
    const head = headOf('connect-account', { Digest: digestOf(body), 'Content-Length': String(body.length) });
    const half = connect(impatient.port);
    half.send(head + Buffer.from(body.subarray(0, 10)).toString());
    await half.closed;
    assert.deepEqual(impatient.calls, []);
    assert.equal((await impatient.post('connect-account', body)).status, 200);
  });

  it('R7 stays well under thousands of requests of rubbish, and asks the core nothing', async () => {
    const rubbish = (i: number): Promise<unknown> => {
      const { send, closed, socket } = connect(gateway.port);
      const noise = randomBytes(1 + (i % 300));
      if (i % 4 === 0) send(noise);
      if (i % 4 === 1)
        send(headOf('create-transaction', { 'Content-Length': '9999999999' }) + noise.toString('latin1'));
      if (i % 4 === 2) send(headOf('refund-transaction', { Digest: `JWT=${noise.toString('base64url')}` }));
      if (i % 4 === 3)
        send(headOf('void-transaction', { Digest: digestOf(noise).slice(0, -2), 'Content-Length': '7' }));
      if (i % 4 === 0) socket.end();
      return closed;
    };
    for (let round = 0; round < 60; round++)
      await Promise.all(Array.from({ length: 50 }, (_, i) => rubbish(round * 50 + i)));
    assert.deepEqual(gateway.calls, []);
    await isWell();
  });

  it('logs one line for each call: ids, code, status and duration, and nothing of the body', async () => {
    gateway.log.lines.splice(0);
    const create = exampleJson('create-transaction.card-decline.request.json');
    gateway.script = {
      createTransaction: () => ({
        transaction: { id: 'plugin-1', state: 10 },
        refusal: { reason: 3012, errorCode: 'ACQ-51', message: 'Not sufficient funds' },
      }),
    };
    await gateway.post('create-transaction', create);
    const lines = gateway.log.lines.filter((line) => line.event === 'wix.create_transaction');
    assert.equal(lines.length, 1);
    const { wixTransactionId, wixMerchantId, pluginTransactionId, reasonCode, httpStatus, durationMs } = lines[0]!;
    assert.deepEqual(
      { wixTransactionId, wixMerchantId, pluginTransactionId, reasonCode, httpStatus },
      {
        wixTransactionId: create.wixTransactionId,
        wixMerchantId: create.wixMerchantId,
        pluginTransactionId: 'plugin-1',
        reasonCode: 3012,
        httpStatus: 200,
      },
    );
    assert.equal(typeof durationMs, 'number');
    create.wixTransactionId = { number: create.paymentMethodData.card.number };
    await gateway.post('create-transaction', create);
    const printed = JSON.stringify(gateway.log.lines);
    for (const secret of [create.paymentMethodData.card.number, create.merchantCredentials.api_key, 'Carvalho'])
      assert.ok(!printed.includes(secret));
    gateway.script = script;
  });
});
