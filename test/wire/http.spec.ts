import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { createClient } from '@connectrpc/connect';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { connect } from '../gateway/harness.ts';
import { type Certificate, createAuthority } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { type LoneCore, payOverGrpc, startCore, startEngine, tokenOf } from './apart.ts';

const run = promisify(execFile);
const BEYOND_DOUBLE = 9_007_199_254_740_993n;
const SERVICE = '/payments.v1.PaymentsService';

describe('the HTTP port of the core', () => {
  let core: LoneCore;
  let engine: Awaited<ReturnType<typeof startEngine>>;
  let externalId: string;

  before(async () => {
    engine = await startEngine();
    core = await startCore(engine.url);
    externalId = await payOverGrpc(core, BEYOND_DOUBLE);
  });
  after(async () => {
    await core.core.stop(0);
    await engine.stop();
  });

  const post = async (method: string, body: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`http://127.0.0.1:${core.httpPort}${SERVICE}/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${tokenOf('reader')}`, ...headers },
      body,
    });
    const text = await response.text();
    return { status: response.status, json: text === '' ? undefined : JSON.parse(text) };
  };

  it('answers curl in JSON, with every digit of an amount', async () => {
    const { stdout } = await run('curl', [
      ...['--silent', '--show-error', '--fail-with-body', '-H', `Authorization: Bearer ${tokenOf('reader')}`],
      ...['-H', 'Content-Type: application/json', '--json', JSON.stringify({ externalId })],
      `http://127.0.0.1:${core.httpPort}${SERVICE}/GetTransaction`,
    ]);
    const { transaction } = JSON.parse(stdout);
    assert.equal(transaction.externalId, externalId);
    assert.equal(transaction.capturedAmount, String(BEYOND_DOUBLE));
    assert.equal(transaction.state, 'STATE_CAPTURED');
  });

  it('says in JSON why it does not answer, with the reason', async () => {
    const { status, json } = await post('GetTransaction', '{"externalId":"nobody knows me"}');
    assert.deepEqual([status, json.code], [404, 'not_found']);
    assert.equal(json.details[0].type, 'google.rpc.ErrorInfo');
  });

  it('R33 lets nobody in without a token, nor beyond its role', async () => {
    const nobody = await post('GetTransaction', '{}', { authorization: '' });
    assert.deepEqual([nobody.status, nobody.json.code], [401, 'unauthenticated']);
    const reader = await post('VoidTransaction', '{}');
    assert.deepEqual([reader.status, reader.json.code], [403, 'permission_denied']);
  });

  it('R33 has no path for CreateTransaction, and reads no card that is sent there', async () => {
    const asGateway = { authorization: `Bearer ${tokenOf('gateway')}` };
    for (const path of ['CreateTransaction', 'CreateTransaction?x', 'createTransaction', '%43reateTransaction'])
      assert.equal((await post(path, '{"externalId":"x"}', asGateway)).status, 404, path);
    // The answer comes although the body never does.
    const { send, closed } = connect(core.httpPort);
    send(
      `POST ${SERVICE}/CreateTransaction HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
        `Authorization: ${asGateway.authorization}\r\nContent-Length: 1000\r\n\r\n{"details":`,
    );
    assert.match(await closed, /^HTTP\/1\.1 404 [\s\S]*"unimplemented"/);
  });

  it('answers 400 to garbage in the place of a URL or a host, and logs no error', async () => {
    core.log.lines.splice(0);
    for (const [target, host] of [
      [`${SERVICE}/GetTransaction`, 'Host: ['],
      [`${SERVICE}/GetTransaction`, 'Host: [::1'],
      [`${SERVICE}/GetTransaction`, 'Host: '],
      [`${SERVICE}/GetTransaction`, 'Host: a b'],
      [`${SERVICE}/GetTransaction`, 'Host: a:99999999'],
      [`${SERVICE}/CreateTransaction`, 'Host: ['],
      ['/', 'Host: a%'],
      ['http://[', 'Host: a'],
      ['//[', 'Host: a'],
      [`${SERVICE}/GetTransaction`, 'X-Host: none'],
    ])
      for (const version of ['1.1', '1.0']) {
        const { send, closed } = connect(core.httpPort);
        const more = `Content-Type: application/json\r\nAuthorization: Bearer ${tokenOf('reader')}\r\nContent-Length: 2`;
        send(`POST ${target} HTTP/${version}\r\n${host}\r\n${more}\r\n\r\n{}`);
        assert.match(await closed, /^HTTP\/1\.1 400 /, `${target} ${host}`);
      }
    assert.deepEqual(core.log.lines, []);
    assert.equal((await post('ListTransactions', '{}')).status, 200);
  });

  it('logs no error when a caller hangs up within a message', async () => {
    core.log.lines.splice(0);
    for (const type of ['connect+json', 'json']) {
      const { socket, send } = connect(core.httpPort);
      const more = `Content-Type: application/${type}\r\nAuthorization: Bearer ${tokenOf('reader')}\r\nContent-Length: 9`;
      send(
        `POST ${SERVICE}/${type === 'json' ? 'Get' : 'Watch'}Transaction HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n${more}\r\n\r\n`,
      );
      await once(socket, 'data');
      send('\0');
      socket.resetAndDestroy();
    }
    await eventually(() => assert.ok(core.log.lines.some(({ code }) => code === 'Canceled')));
    assert.deepEqual(
      core.log.lines.filter(({ level }) => level === 'error'),
      [],
    );
  });

  it('blames the caller for a message that cannot be read, and logs no error', async () => {
    core.log.lines.splice(0);
    const unreadable = Buffer.from('0a64', 'hex');
    const framed = Buffer.concat([Buffer.from([0, 0, 0, 0, unreadable.length]), unreadable]);
    const send = async (method: string, type: string, body: Buffer) => {
      const authorization = `Bearer ${tokenOf('gateway')}`;
      const headers = { 'content-type': `application/${type}`, authorization };
      const url = `http://127.0.0.1:${core.httpPort}${SERVICE}/${method}`;
      const response = await fetch(url, { method: 'POST', headers, body: new Uint8Array(body) });
      return `${response.status} ${await response.text()}`;
    };
    for (const method of ['GetTransaction', 'VoidTransaction'])
      assert.match(await send(method, 'proto', unreadable), /^400 \{"code":"invalid_argument"/);
    assert.match(await send('GetTransaction', 'json', unreadable), /^400 \{"code":"invalid_argument"/);
    assert.match(await send('WatchTransaction', 'connect+proto', framed), /"code":"invalid_argument"/);
    const errors = core.log.lines.filter(({ level }) => level === 'error');
    assert.deepEqual(errors, []);
  });

  it('R33 serves health and metrics to anybody, and nothing else', async () => {
    for (const [path, status] of [
      ['/health/live', 200],
      ['/health/ready', 200],
      ['/metrics', 200],
      ['/', 404],
      [`${SERVICE}/GetTransaction`, 405],
    ] as const)
      assert.equal((await fetch(`http://127.0.0.1:${core.httpPort}${path}`)).status, status, path);
  });

  it('R38 lets a call end when it stops, and takes no new one', async () => {
    const stopping = await startCore(engine.url, { PROCESSOR_TIMEOUT_MS: '20000', ANSWER_BUDGET_MS: '20000' });
    const working = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    engine.engine.fault = async () => {
      working.resolve();
      await released.promise;
      return undefined;
    };
    const connectAccount = () =>
      fetch(`http://127.0.0.1:${stopping.httpPort}${SERVICE}/ConnectMerchantAccount`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${tokenOf('gateway')}` },
        body: JSON.stringify({
          externalMerchantId: 'm',
          credentials: { values: { apiKey: 'x' } },
          mode: 'MODE_SANDBOX',
        }),
      });
    const inFlight = connectAccount();
    await working.promise;
    const stopped = stopping.core.stop(10_000);
    assert.equal((await connectAccount()).status, 503);
    released.resolve();
    engine.engine.fault = undefined;
    const answer = (await (await inFlight).json()) as { account?: object };
    assert.ok(answer.account);
    await stopped;
  });

  it('R33 serves no RPC when no caller is configured', async () => {
    const closed = await startCore(engine.url, { CORE_TOKENS: '' });
    const url = `http://127.0.0.1:${closed.httpPort}`;
    assert.equal((await fetch(`${url}${SERVICE}/GetTransaction`, { method: 'POST' })).status, 404);
    assert.equal((await fetch(`${url}/health/live`)).status, 200);
    await closed.core.stop(0);
  });
});

describe('R33 the HTTP port of a core with TLS', () => {
  const authority = createAuthority('our authority');
  const own = authority.issue('core');
  let folder: string;
  let core: LoneCore;

  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'core-tls-'));
    const file = (name: string, text: string) => {
      writeFileSync(path.join(folder, name), text);
      return path.join(folder, name);
    };
    core = await startCore('127.0.0.1:9', {
      CORE_TLS_CA_FILE: file('ca.pem', authority.cert),
      CORE_TLS_CERT_FILE: file('cert.pem', own.cert),
      CORE_TLS_KEY_FILE: file('key.pem', own.key),
    });
  });
  after(async () => {
    await core.core.stop(0);
    rmSync(folder, { recursive: true });
  });

  /** The status of an answer. */
  const ask = (path: string, client?: Certificate, method = 'POST') =>
    new Promise<number | undefined>((resolve, reject) => {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${tokenOf('reader')}` };
      const options = { port: core.httpPort, host: 'localhost', path, method, headers, ca: authority.cert, ...client };
      const call = request({ ...options, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      call.on('error', reject).end(method === 'POST' ? '{}' : undefined);
    });

  it('answers an RPC only to a client that shows a certificate of the authority', async () => {
    const list = `${SERVICE}/ListTransactions`;
    assert.equal(await ask(list, authority.issue('back office')), 200);
    assert.equal(await ask(list), 401);
    assert.equal(await ask(list, createAuthority('another').issue('back office')), 401);
    assert.equal(await ask(list, authority.issue('back office', { expired: true })), 401);
  });

  it('tells its health to anybody', async () => {
    assert.equal(await ask('/health/ready', undefined, 'GET'), 200);
    assert.equal(await ask('/metrics', undefined, 'GET'), 200);
  });

  it('answers gRPC over the same certificate', async () => {
    const { cert, key } = authority.issue('gateway');
    const transport = createGrpcTransport({
      url: `https://localhost:${core.grpcPort}`,
      tls: { ca: authority.cert, cert, key: new Secret(key) },
      interceptors: [withToken(new Secret(tokenOf('reader')))],
      defaultTimeoutMs: 5000,
    });
    const { transactions } = await createClient(PaymentsService, transport).listTransactions({});
    transport.close();
    assert.deepEqual(transactions, []);
  });
});
