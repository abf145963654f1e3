import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import {
  actAs,
  callerKey,
  createAuthorizer,
  createCallers,
  type Role,
  requireToken,
  withToken,
} from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createDirectTransport } from '../../proto/runtime/direct-transport.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { errorInfo, logCalls } from '../../proto/runtime/rpc.ts';
import { quietLog } from '../support/log.ts';
import { type Routes, wires } from './carriers.ts';

const secretOf = (name: string) => `${name}-`.padEnd(32, '0123456789');
const callers = createCallers(
  `wix-gateway:gateway:${secretOf('old')},wix-gateway:gateway:${secretOf('new')},desk:reader:${secretOf('desk')}`,
);
const allowed: Record<string, readonly Role[]> = {
  GetTransaction: ['gateway', 'reader'],
  VoidTransaction: ['gateway'],
};
const whoCalls: Routes = (router) =>
  router.service(PaymentsService, {
    getTransaction: (_, { values }) => ({ transaction: { id: values.get(callerKey).name } }),
    voidTransaction: (_, { values }) => ({ transaction: { id: values.get(callerKey).name } }),
    listTransactions: () => ({}),
  });

for (const carrier of wires) {
  describe(`R33 the authorizer over ${carrier.name}`, () => {
    const log = quietLog();
    const closing: (() => Promise<void>)[] = [];
    after(async () => {
      for (const close of closing) await close();
    });

    async function enter(token?: string) {
      const { transport, close } = await carrier.open(whoCalls, {
        client: token === undefined ? [] : [withToken(new Secret(token))],
        server: [logCalls(log)],
        authorizer: createAuthorizer(callers, allowed, log),
      });
      closing.push(close);
      return createClient(PaymentsService, transport);
    }
    const refused = async (call: Promise<unknown>, code: Code, reason: string) => {
      const error = await call.then(
        () => assert.fail('the call was let in'),
        (thrown: unknown) => ConnectError.from(thrown),
      );
      assert.deepEqual([Code[error.code], errorInfo(error)?.reason], [Code[code], reason]);
    };

    it('lets nobody in without a token, or with a wrong one', async () => {
      await refused((await enter()).getTransaction({}), Code.Unauthenticated, 'TOKEN_INVALID');
      await refused((await enter('x'.repeat(32))).getTransaction({}), Code.Unauthenticated, 'TOKEN_INVALID');
      await refused((await enter('')).getTransaction({}), Code.Unauthenticated, 'TOKEN_INVALID');
    });

    it('lets a caller in with the old and the new secret, under its name', async () => {
      for (const secret of ['old', 'new']) {
        const { transaction } = await (await enter(secretOf(secret))).getTransaction({});
        assert.equal(transaction?.id, 'wix-gateway');
      }
    });

    it('lets a role call only its own methods', async () => {
      const desk = await enter(secretOf('desk'));
      assert.equal((await desk.getTransaction({})).transaction?.id, 'desk');
      await refused(desk.voidTransaction({}), Code.PermissionDenied, 'ROLE_NOT_ALLOWED');
      const line = log.lines.find(({ event, caller }) => event === 'door.refused' && caller === 'desk');
      assert.equal(line?.method, 'VoidTransaction');
    });

    it('keeps a method closed that the table does not name', async () => {
      await refused((await enter(secretOf('new'))).listTransactions({}), Code.PermissionDenied, 'ROLE_NOT_ALLOWED');
    });

    it('writes no token into the log', () => {
      assert.doesNotMatch(JSON.stringify(log.lines), /0123456789/);
    });
  });
}

describe('R34 the log of grpc-js', () => {
  it('prints no token that bytes of no header follow', async () => {
    const bearer = `Bearer ${secretOf('desk')}`;
    const interceptors = [requireToken(callers, allowed, quietLog())];
    const server = createGrpcServer({ host: '127.0.0.1', port: 0, routes: whoCalls, interceptors, log: quietLog() });
    const session = connect(`http://127.0.0.1:${await server.start()}`);
    const printed: string[] = [];
    const write = process.stderr.write;
    process.stderr.write = (text) => printed.push(String(text)) > 0;
    try {
      const call = session.request({
        ':method': 'POST',
        ':path': '/payments.v1.PaymentsService/GetTransaction',
        'content-type': 'application/grpc',
        authorization: `${bearer}\u00e9`,
      });
      call.end(Buffer.alloc(5));
      const [headers] = await once(call, 'response');
      assert.equal(headers['grpc-status'], String(Code.Unauthenticated));
    } finally {
      process.stderr.write = write;
      session.destroy();
      await server.stop(0);
    }
    assert.deepEqual(printed, []);
  });
});

describe('R33 within one process', () => {
  it('every call is the one caller that was named', async () => {
    const transport = createDirectTransport(whoCalls, [actAs({ name: 'inside', role: 'gateway' })]);
    const { transaction } = await createClient(PaymentsService, transport).getTransaction({});
    assert.equal(transaction?.id, 'inside');
  });
});

describe('R33 the list of callers', () => {
  it('refuses short secrets, unknown roles, bad names and a secret used twice, and quotes none', () => {
    const long = secretOf('x');
    for (const text of [
      'a:gateway:short-secret',
      `a:root:${long}`,
      `a b:reader:${long}`,
      `a:reader:${long},b:reader:${long}`,
    ])
      assert.throws(
        () => createCallers(text),
        (error: Error) => !error.message.includes(long) && !error.message.includes('short-secret'),
      );
  });
});
