import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import net from 'node:net';
import { Code, createClient } from '@connectrpc/connect';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { createHoldings, createRoom } from '../../proto/runtime/bounds.ts';
import { withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { eventually } from '../support/eventually.ts';
import { type LoneCore, startCore, tokenOf } from './apart.ts';

const SERVICE = '/payments.v1.PaymentsService';
const CONNECTIONS_MAX = 1_000;
const HELD = Buffer.alloc(3_900_000, ' ');
/** More than a caller may hold. */
const HOLDERS = 20;

describe('R33 a flood at the ports of the core', function () {
  this.timeout(60_000);
  let core: LoneCore;
  const closing: (() => void)[] = [];
  before(async () => {
    core = await startCore('http://127.0.0.1:9');
  });
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });
  after(() => core.core.stop(0));

  function openSession(): ClientHttp2Session {
    const session = connect(`http://127.0.0.1:${core.grpcPort}`).on('error', () => undefined);
    closing.push(() => session.destroy());
    return session;
  }

  /** A call that says so much of a message of `HELD` and no more, until it is closed. */
  function begin(session: ClientHttp2Session, path: string, role?: string): ClientHttp2Stream {
    const authorization = role && { authorization: `Bearer ${tokenOf(role)}` };
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', ...authorization };
    return session.request(headers).on('error', () => undefined);
  }
  function hold(call: ClientHttp2Stream): ClientHttp2Stream {
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(HELD.length + 1, 1);
    call.write(prefix);
    call.write(HELD);
    return call.resume();
  }
  const statusOf = async (call: ClientHttp2Stream) => Number((await once(call, 'response'))[0]['grpc-status']);

  function payments(role: string) {
    const transport = createGrpcTransport({
      url: `http://127.0.0.1:${core.grpcPort}`,
      interceptors: [withToken(new Secret(tokenOf(role)))],
      defaultTimeoutMs: 20_000,
    });
    closing.push(() => transport.close());
    return createClient(PaymentsService, transport);
  }

  const httpHead = (role: string, length: number) =>
    `POST ${SERVICE}/ListTransactions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n` +
    `Authorization: Bearer ${tokenOf(role)}\r\nContent-Length: ${length}\r\n\r\n`;
  function openSocket(port: number): net.Socket {
    const socket = net.connect(port, '127.0.0.1').on('error', () => undefined);
    closing.push(() => socket.destroy());
    return socket;
  }

  it('reads no more of a call that it refused: its stream is closed, and the connection lives', async () => {
    const session = openSession();
    for (const [path, role] of [
      [`${SERVICE}/CreateTransaction`, undefined],
      [`${SERVICE}/CreateTransaction`, 'reader'],
    ] as const) {
      const call = hold(begin(session, path, role));
      const closed = once(call, 'close');
      assert.equal(await statusOf(call), role ? Code.PermissionDenied : Code.Unauthenticated);
      await closed;
      assert.equal(call.rstCode, constants.NGHTTP2_NO_ERROR);
    }
    assert.equal(session.destroyed, false);
  });

  it('bounds what a caller holds of memory over all connections, while another is served, and no longer than it holds', async () => {
    const sessions = Array.from({ length: HOLDERS }, openSession);
    const calls = sessions.map((session) => hold(begin(session, `${SERVICE}/ReportOutcome`, 'engine')));
    assert.equal(await Promise.race(calls.map(statusOf)), Code.ResourceExhausted);
    await payments('reader').listTransactions({});
    for (const session of sessions) session.destroy();
    const engine = payments('engine');
    await eventually(() => assert.rejects(engine.reportOutcome({}), { code: Code.InvalidArgument }));
  });

  it('bounds it over HTTP too', async () => {
    const sockets = Array.from({ length: HOLDERS }, () => openSocket(core.httpPort));
    for (const socket of sockets) {
      socket.write(httpHead('reader', HELD.length + 1));
      socket.write(HELD);
    }
    const [answer] = await Promise.race(sockets.map((socket) => once(socket, 'data')));
    assert.match(String(answer), /^HTTP\/1\.1 429 [\s\S]*"resource_exhausted"/);
    const other = openSocket(core.httpPort);
    other.write(`${httpHead('operator', 2)}{}`);
    assert.match(String((await once(other, 'data'))[0]), /^HTTP\/1\.1 200 /);
  });

  it('lets strangers say little where no token is asked for', async () => {
    const call = hold(begin(openSession(), '/grpc.health.v1.Health/Check'));
    const closed = once(call, 'close');
    assert.equal(await statusOf(call), Code.ResourceExhausted);
    await closed;
  });

  it('ends the oldest call of a stranger when there are too many, and answers the newest', async () => {
    const watch = async (session: ClientHttp2Session) => {
      const call = begin(session, '/grpc.health.v1.Health/Watch');
      call.end(Buffer.alloc(5));
      await once(call, 'data');
      return call.resume();
    };
    const [one, two] = [openSession(), openSession()];
    const oldest = await watch(one);
    assert.equal(one.remoteSettings.maxConcurrentStreams, 1_000);
    const ended = new Promise((resolve) => oldest.once('close', resolve));
    await Promise.all(Array.from({ length: 500 }, () => watch(one)));
    await Promise.all(Array.from({ length: 500 }, () => watch(two)));
    await ended;
    assert.equal(oldest.rstCode, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    const check = begin(two, '/grpc.health.v1.Health/Check');
    check.end(Buffer.alloc(5));
    await once(check, 'data');
  });

  it('makes room when there are too many connections, the oldest first, and keeps who has a token', async () => {
    for (const port of ['grpcPort', 'httpPort'] as const) {
      const reader = payments('reader');
      await reader.listTransactions({});
      const asking = openSocket(core.httpPort);
      asking.write(httpHead('reader', 2).replace('\r\n', '\r\nExpect: 100-continue\r\n'));
      assert.match(String((await once(asking, 'data'))[0]), /^HTTP\/1\.1 100 /);
      let closed = 0;
      const open = () =>
        openSocket(core[port])
          .resume()
          .once('close', () => {
            closed += 1;
          });
      const sockets = Array.from({ length: CONNECTIONS_MAX + 100 }, open);
      await eventually(() => assert.ok(closed >= 100), { timeoutMs: 20_000 });
      assert.ok(closed <= 101, `${closed} were closed`);
      assert.equal(sockets.at(-1)?.destroyed, false);
      await reader.listTransactions({});
      asking.write('{}');
      assert.match(String((await once(asking, 'data'))[0]), /^HTTP\/1\.1 200 /);
    }
  });
});

describe('R33 the room for strangers', () => {
  it('closes the oldest that is not kept, or the new one where all are', () => {
    const closed: string[] = [];
    const room = createRoom<string>(2, (member) => closed.push(member));
    for (const member of ['a', 'b', 'c']) room.enter(member, member);
    room.keep('b');
    room.enter('d', 'd');
    assert.deepEqual(closed, ['a', 'c']);
    room.keep('d');
    room.enter('e', 'e');
    assert.deepEqual(closed, ['a', 'c', 'e']);
    room.release('b');
    room.leave('d', 'd');
    room.enter('f', 'f');
    room.enter('g', 'g');
    assert.deepEqual(closed, ['a', 'c', 'e', 'b']);
  });

  it('counts the bytes of each caller for itself, until they are let go', () => {
    const holdingOf = createHoldings();
    const [one, two, other] = [holdingOf('a'), holdingOf('a'), holdingOf('b')];
    const half = 32 * 1024 * 1024;
    one.take(half);
    two.take(half);
    assert.throws(() => two.take(1), { code: Code.ResourceExhausted });
    other.take(half);
    one.end();
    one.end();
    two.take(half - 1);
  });
});
