import assert from 'node:assert/strict';
import { once } from 'node:events';
import * as http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { Code, createClient } from '@connectrpc/connect';
import { watchSilence } from '../../core/engine-silence.ts';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import type { Tls } from '../../proto/runtime/tls.ts';
import { createAuthority } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';

// The road to another process, where it is bad: whoever calls is answered as soon as the road allows, and nothing is done twice.

const closing: (() => unknown)[] = [];
after(async () => {
  for (const close of closing.toReversed()) await close();
});

async function listen(server: net.Server | http2.Http2Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

const authority = createAuthority('our authority');
const certificate = authority.issue('engine');
/** Of a peer that speaks TLS and then nothing. */
const silent = {
  secureContext: tls.createSecureContext({ cert: certificate.cert, key: certificate.key }),
  ALPNProtocols: ['h2'],
};

/** With TLS if it is told whom to believe. */
function clientOf(port: number, defaultTimeoutMs = 30_000, believing?: Tls) {
  const url = `${believing ? 'https' : 'http'}://127.0.0.1:${port}`;
  const transport = createGrpcTransport({ url, tls: believing, defaultTimeoutMs });
  closing.push(() => transport.close());
  return createClient(ProcessorService, transport);
}

/** A real engine's port. */
async function startEngine(ownTls?: Tls): Promise<number> {
  const routes: Parameters<typeof createGrpcServer>[0]['routes'] = (router) =>
    router.service(ProcessorService, { getOperation: () => ({ result: { case: 'notFound', value: {} } }) });
  const server = createGrpcServer({ host: '127.0.0.1', port: 0, routes, log: quietLog(), tls: ownTls });
  closing.push(() => server.stop(0));
  return server.start();
}

/** A balancer in front of it, which can hang: it takes connections and passes nothing on. */
async function startBalancer(target: number, hang: (socket: net.Socket) => void = (socket) => void socket.resume()) {
  const state = { hangs: false, accepted: 0, open: 0 };
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    state.accepted += 1;
    state.open += 1;
    sockets.add(socket);
    socket
      .on('error', () => undefined)
      .on('close', () => {
        state.open -= 1;
        sockets.delete(socket);
      });
    if (state.hangs) return hang(socket);
    const upstream = net.connect(target, '127.0.0.1');
    upstream.on('error', () => undefined).on('close', () => socket.destroy());
    socket.on('close', () => upstream.destroy());
    socket.pipe(upstream).pipe(socket);
  });
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
  });
  return Object.assign(state, { port: await listen(server) });
}

describe('the road to another process', function () {
  this.timeout(60_000);

  it('R49 is tried anew when a peer takes the connection and says nothing, and is good again soon after the peer is', async () => {
    const balancer = await startBalancer(await startEngine());
    balancer.hangs = true;
    const client = clientOf(balancer.port, 60_000);
    // It was never sent, and is not held for as long as its own time-out allows.
    await assert.rejects(client.getOperation({}), { code: Code.Unavailable });
    assert.ok(balancer.accepted >= 1);
    balancer.hangs = false;
    const found = await eventually(() => client.getOperation({}), { timeoutMs: 20_000 });
    assert.equal(found.result.case, 'notFound');
  });

  for (const [when, isSilent] of [
    ['within the TLS handshake', (socket: net.Socket) => void socket.resume()],
    ['after it', (socket: net.Socket) => void new tls.TLSSocket(socket, { ...silent, isServer: true }).resume()],
  ] as const)
    it(`R49 is tried anew when a peer falls silent ${when}, and is good again soon after the peer is`, async () => {
      const secure = await startEngine({ ca: undefined, cert: certificate.cert, key: new Secret(certificate.key) });
      const balancer = await startBalancer(secure, isSilent);
      balancer.hangs = true;
      const client = clientOf(balancer.port, 60_000, { ca: authority.cert, cert: undefined, key: undefined });
      await assert.rejects(client.getOperation({}), { code: Code.Unavailable });
      assert.ok(balancer.accepted >= 1);
      balancer.hangs = false;
      const found = await eventually(() => client.getOperation({}), { timeoutMs: 20_000 });
      assert.equal(found.result.case, 'notFound');
    });

  it('R49 is left by a connection that rests, before a balancer drops it without a word', async () => {
    const balancer = await startBalancer(await startEngine());
    const client = clientOf(balancer.port);
    await client.getOperation({});
    assert.equal(balancer.open, 1);
    await eventually(() => assert.equal(balancer.open, 0), { timeoutMs: 40_000 });
    assert.equal((await client.getOperation({})).result.case, 'notFound');
    assert.equal(balancer.accepted, 2);
  });

  it('R49 alerts once when nothing has been answered for a minute, and again only after an answer, or an hour', () => {
    const log = quietLog();
    let now = 0;
    const silence = watchSilence(log, () => now);
    const noteUntil = (end: number) => {
      for (; now <= end; now += 10_000) silence.note({ method: 'authorize' });
    };
    const alerts = () => log.lines.filter(({ alert }) => alert === 'processor_silent').length;
    noteUntil(50_000);
    assert.equal(alerts(), 0);
    noteUntil(3_600_000);
    assert.equal(alerts(), 1);
    noteUntil(3_700_000);
    assert.equal(alerts(), 2);
    silence.end();
    noteUntil(now + 40_000);
    assert.equal(alerts(), 2);
    noteUntil(now + 40_000);
    assert.equal(alerts(), 3);
  });
});

/** An engine that speaks gRPC by hand, so that its connection can end in every way. Counts what it did, by the caller's key. */
async function startRawEngine(
  handle: (stream: http2.ServerHttp2Stream, answer: () => void, key: string, nth: number) => void,
) {
  const done = new Map<string, number>();
  let streams = 0;
  const server = http2.createServer();
  server.on('sessionError', () => undefined);
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    const key = String(headers['x-key']);
    const answer = () => {
      if (stream.destroyed) return;
      done.set(key, (done.get(key) ?? 0) + 1);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.alloc(5));
    };
    streams += 1;
    handle(stream, answer, key, streams);
  });
  return { done, port: await listen(server) };
}

/** So many calls, some at a time, each with a key of its own. Answers the keys of those that had no answer. */
async function callMany(port: number, count: number, atOnce = 8): Promise<string[]> {
  const client = clientOf(port);
  const keys = Array.from({ length: count }, (_, i) => String(i));
  const failed: string[] = [];
  const rest = [...keys];
  const caller = async () => {
    for (let key = rest.shift(); key !== undefined; key = rest.shift())
      await client.getOperation({}, { headers: { 'x-key': key } }).catch(() => failed.push(key));
  };
  await Promise.all(Array.from({ length: atOnce }, caller));
  return failed;
}

describe('a call', function () {
  this.timeout(30_000);

  it('R49 that the engine refuses unprocessed is sent again, and done once', async () => {
    const refused = new Set<string>();
    const engine = await startRawEngine((stream, answer, key) => {
      if (Number(key) % 5 > 0 || refused.has(key)) return answer();
      refused.add(key);
      stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    });
    assert.deepEqual(await callMany(engine.port, 60), []);
    assert.equal(refused.size, 12);
    assert.equal(engine.done.size, 60);
    assert.ok([...engine.done.values()].every((times) => times === 1));
  });

  it('R49 that is refused unprocessed twice is given up: who refuses all the time is not asked all the time', async () => {
    let came = 0;
    const engine = await startRawEngine((stream) => {
      came += 1;
      stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    });
    await assert.rejects(clientOf(engine.port).getOperation({}), { code: Code.Unavailable });
    assert.equal(came, 2);
  });

  it('R49 above the last one that a GOAWAY names is sent again on another connection, and done once', async () => {
    const engine = await startRawEngine((stream, answer, _, nth) => {
      const { session } = stream;
      // An engine that rolls its connections: what came with this call, and later, was not processed.
      if (nth % 15 === 0 && session) session.goaway(http2.constants.NGHTTP2_NO_ERROR, (stream.id ?? 2) - 2);
      else if (session && !session.closed) setImmediate(answer);
    });
    assert.deepEqual(await callMany(engine.port, 60), []);
    assert.equal(engine.done.size, 60);
    assert.ok([...engine.done.values()].every((times) => times === 1));
  });

  it('R18 that may have been processed is never sent again', async () => {
    let came = 0;
    const engine = await startRawEngine((stream, answer, _, nth) => {
      came += 1;
      if (nth % 3 === 1) stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
      else if (nth % 3 === 2) stream.session?.destroy();
      else answer();
    });
    const failed = await callMany(engine.port, 30, 1);
    assert.equal(came, 30);
    assert.equal(failed.length, 20);
  });
});
