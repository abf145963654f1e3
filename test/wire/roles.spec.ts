import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Code, ConnectError, createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { registry } from '../../proto/runtime/metrics.ts';
import { errorInfo } from '../../proto/runtime/rpc.ts';
import { type LoneCore, ROLES, startCore, tokenOf } from './apart.ts';

// Every role, method and carrier, against a real core. What each role may call is read from the manual: the comments of the proto.

const manual = readFileSync(path.join(import.meta.dirname, '../../proto/payments/v1/payments_service.proto'), 'utf8');

/** The roles that the manual names for a method: "Roles: a, b." or "Roles: all but c." */
function rolesOf(method: string): string[] {
  const comment = new RegExp(`((?:^ *//.*\\n)+) *rpc ${method}\\(`, 'm').exec(manual)?.[1] ?? '';
  const [, named = ''] = /Roles: ([^.]+)\./.exec(comment.replaceAll(/\n *\/\//g, '')) ?? [];
  const found = ROLES.filter((role) => new RegExp(`\\b${role}\\b`).test(named));
  return named.startsWith('all but') ? ROLES.filter((role) => !found.includes(role)) : found;
}

const methods = PaymentsService.methods.map(({ name }) => name);

describe('R33 the roles of the manual', () => {
  it('are named for every method, and nobody but the gateway begins, captures or voids a payment', () => {
    for (const method of methods) assert.notDeepEqual(rolesOf(method), [], `${method} has no roles`);
    for (const method of ['CreateTransaction', 'CaptureTransaction', 'VoidTransaction', 'ConnectMerchantAccount'])
      assert.deepEqual(rolesOf(method), ['gateway'], method);
    assert(!rolesOf('ReportOutcome').includes('gateway'));
  });
});

const CARRIERS: Record<string, (core: LoneCore, interceptors: Interceptor[]) => Transport & { close?(): void }> = {
  gRPC: ({ grpcPort }, interceptors) =>
    createGrpcTransport({ url: `127.0.0.1:${grpcPort}`, interceptors, defaultTimeoutMs: 10_000 }),
  'JSON over HTTP': ({ httpPort }, interceptors) =>
    createConnectTransport({ ...http(httpPort), interceptors, useBinaryFormat: false }),
  'gRPC-Web': ({ httpPort }, interceptors) => createGrpcWebTransport({ ...http(httpPort), interceptors }),
};

const http = (port: number) => ({
  baseUrl: `http://127.0.0.1:${port}`,
  httpVersion: '1.1' as const,
  nodeOptions: { agent: false as const },
});

for (const [carrier, connect] of Object.entries(CARRIERS)) {
  describe(`R33 who may call what over ${carrier}`, () => {
    let core: LoneCore;
    before(async () => {
      core = await startCore('127.0.0.1:9');
    });
    after(() => core.core.stop(0));

    /** What the door said to an empty request: undefined if it let it in, whatever became of it then. */
    async function knock(method: string, token: string | undefined): Promise<string | undefined> {
      const transport = connect(core, token === undefined ? [] : [withToken(new Secret(token))]);
      const { localName } = PaymentsService.methods.find(({ name }) => name === method)!;
      const client = createClient(PaymentsService, transport) as unknown as Record<
        string,
        (request: object) => unknown
      >;
      try {
        const answer = client[localName]?.({});
        // Of a stream, the first message is enough.
        if (answer instanceof Promise) await answer;
        else for await (const _ of answer as AsyncIterable<unknown>) break;
        return undefined;
      } catch (thrown) {
        const error = ConnectError.from(thrown);
        if (error.code === Code.Unimplemented) return 'UNIMPLEMENTED';
        const { reason } = errorInfo(error) ?? {};
        return reason === 'TOKEN_INVALID' || reason === 'ROLE_NOT_ALLOWED' ? reason : undefined;
      } finally {
        transport.close?.();
      }
    }

    // Card data in clear JSON has no place on a wire.
    const isServed = (method: string) => carrier === 'gRPC' || method !== 'CreateTransaction';

    for (const method of methods)
      it(`${method} is for ${isServed(method) ? rolesOf(method).join(', ') : 'nobody'}`, async () => {
        const said: Record<string, unknown> = {};
        const expected: Record<string, unknown> = {};
        for (const role of ROLES) {
          said[role] = await knock(method, tokenOf(role));
          expected[role] = rolesOf(method).includes(role) ? undefined : 'ROLE_NOT_ALLOWED';
        }
        for (const token of [undefined, tokenOf('nobody')]) {
          said[String(token)] = await knock(method, token);
          expected[String(token)] = 'TOKEN_INVALID';
        }
        if (!isServed(method)) for (const who of Object.keys(expected)) expected[who] = 'UNIMPLEMENTED';
        assert.deepEqual(said, expected);
      });

    it('counts and logs who was refused, by name, and no token', async () => {
      const refusals = async () => {
        const { values = [] } = (await registry.getSingleMetric('rpc_refusals_total')?.get()) ?? {};
        const ofReader = values.find(({ labels }) => labels.method === 'VoidTransaction' && labels.caller === 'reader');
        return ofReader?.value ?? 0;
      };
      const before = await refusals();
      core.log.lines.length = 0;
      assert.equal(await knock('VoidTransaction', tokenOf('reader')), 'ROLE_NOT_ALLOWED');
      assert.equal((await refusals()) - before, 1);
      const line = core.log.lines.find(({ event }) => event === 'door.refused');
      assert.deepEqual([line?.method, line?.caller, line?.reason], ['VoidTransaction', 'reader', 'ROLE_NOT_ALLOWED']);
      assert.doesNotMatch(JSON.stringify(core.log.lines), /0123456789/);
    });
  });
}
