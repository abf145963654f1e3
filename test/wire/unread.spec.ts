import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import net from 'node:net';
import { Code, createClient } from '@connectrpc/connect';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { type LoneCore, startCore, tokenOf } from './apart.ts';

const HOLDERS = 300;
const BODY = Buffer.alloc(3_900_000, ' ');
const PATH = '/payments.v1.PaymentsService/GetTransaction';

describe('R33 who has no token', () => {
  let core: LoneCore;
  before(async () => {
    core = await startCore('http://127.0.0.1:9');
  });
  after(() => core.core.stop(0));

  /** What the process holds of others' bytes, in MB, while the work is done; the holders' own body is one buffer. */
  async function held(work: () => Promise<void>): Promise<number> {
    const bytes = () => process.memoryUsage().arrayBuffers;
    const atFirst = bytes();
    await work();
    return (bytes() - atFirst) / 1e6;
  }

  it('is answered from the headers over HTTP: 300 bodies that never end fill no memory, and who has one is served', async () => {
    const sockets: net.Socket[] = [];
    const mb = await held(async () => {
      const hold = async () => {
        const socket = net.connect(core.httpPort, '127.0.0.1');
        sockets.push(socket);
        socket.on('error', () => undefined);
        const head = `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length + 1}\r\n\r\n`;
        socket.write(head);
        const closed = new Promise((resolve) => socket.once('close', resolve));
        const [answer] = await once(socket, 'data');
        assert.match(String(answer), /^HTTP\/1\.1 401 /);
        socket.write(BODY);
        await closed;
      };
      await Promise.all(Array.from({ length: HOLDERS }, hold));
      const response = await fetch(`http://127.0.0.1:${core.httpPort}/payments.v1.PaymentsService/ListTransactions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${tokenOf('reader')}` },
        body: '{}',
      });
      assert.equal(response.status, 200);
    });
    assert.ok(mb < 100, `${mb} MB`);
  });

  it('is answered from the headers over gRPC: 300 messages that never end fill no memory, and who has one is served', async () => {
    const sessions: ClientHttp2Session[] = [];
    const transport = createGrpcTransport({
      url: `http://127.0.0.1:${core.grpcPort}`,
      interceptors: [withToken(new Secret(tokenOf('reader')))],
      defaultTimeoutMs: 20_000,
    });
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(BODY.length + 1, 1);
    const mb = await held(async () => {
      const hold = async () => {
        const session = connectHttp2(`http://127.0.0.1:${core.grpcPort}`);
        sessions.push(session.on('error', () => undefined));
        const call = session.request({ ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc' });
        call.on('error', () => undefined);
        const answered = once(call, 'response');
        call.write(frame);
        call.write(BODY);
        const [headers] = await answered;
        assert.equal(headers['grpc-status'], String(Code.Unauthenticated));
      };
      await Promise.all(Array.from({ length: HOLDERS }, hold));
      await createClient(PaymentsService, transport).listTransactions({});
    });
    for (const session of sessions) session.destroy();
    transport.close();
    assert.ok(mb < 100, `${mb} MB`);
  });
});
