import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { service as healthService } from 'grpc-health-check';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import type { Routes } from './carriers.ts';

describe('a gRPC server', () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function serve(routes: Routes, port = 0) {
    const server = createGrpcServer({ host: '127.0.0.1', port, routes, log: quietLog() });
    const bound = await server.start();
    closing.push(() => server.stop(0));
    return { ...server, port: bound };
  }

  function connect(port: number) {
    const transport = createGrpcTransport({ url: `http://127.0.0.1:${port}`, defaultTimeoutMs: 5000 });
    closing.push(() => transport.close());
    return createClient(PaymentsService, transport);
  }

  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => 'answered',
      (error: unknown) => Code[ConnectError.from(error).code],
    );
  const answering: Routes = (router) => router.service(PaymentsService, { getTransaction: () => ({}) });

  it('is found again by the same client after a restart', async () => {
    const first = await serve(answering);
    const client = connect(first.port);
    await client.getTransaction({});
    await first.stop(1000);
    assert.equal(await codeOf(client.getTransaction({})), 'Unavailable');
    await serve(answering, first.port);
    await eventually(() => client.getTransaction({}));
  });

  it('blames the caller for a message that cannot be read', async () => {
    const { port } = await serve(answering);
    const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    closing.push(() => client.close());
    const as = (bytes: Buffer) => bytes;
    const unreadable = Buffer.from('0a64', 'hex');
    for (const name of ['GetTransaction', 'WatchTransaction']) {
      const path = `/payments.v1.PaymentsService/${name}`;
      const call = client.makeServerStreamRequest(path, as, as, unreadable);
      const code = await new Promise((resolve) =>
        call.on('error', ({ code }: grpc.ServiceError) => resolve(code)).resume(),
      );
      assert.equal(code, Code.InvalidArgument, name);
    }
  });

  it('R38 lets a running call end when it stops, and takes no new one', async () => {
    let answer: () => void = () => undefined;
    let begun: () => void = () => undefined;
    const running = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const server = await serve((router) =>
      router.service(PaymentsService, {
        getTransaction: async () => {
          begun();
          await new Promise<void>((resolve) => {
            answer = resolve;
          });
          return { transaction: { id: 'in flight' } };
        },
      }),
    );
    const call = connect(server.port).getTransaction({});
    await running;
    const stopped = server.stop(10_000);
    assert.equal(await codeOf(connect(server.port).getTransaction({})), 'Unavailable');
    answer();
    assert.equal((await call).transaction?.id, 'in flight');
    await stopped;
  });

  it('R38 cuts off what still runs after the drain time', async () => {
    let begun: () => void = () => undefined;
    const running = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const server = await serve((router) =>
      router.service(PaymentsService, {
        getTransaction: () => {
          begun();
          return new Promise(() => undefined);
        },
      }),
    );
    const call = codeOf(connect(server.port).getTransaction({}));
    await running;
    await server.stop(0);
    assert.match(await call, /Canceled|Unavailable/);
  });

  it('ends a call that was given no deadline at the default one', async () => {
    const server = await serve((router) =>
      router.service(PaymentsService, { getTransaction: () => new Promise(() => undefined) }),
    );
    const transport = createGrpcTransport({ url: `127.0.0.1:${server.port}`, defaultTimeoutMs: 100 });
    closing.push(() => transport.close());
    const call = createClient(PaymentsService, transport).getTransaction({});
    assert.equal(await codeOf(call), 'DeadlineExceeded');
  });

  it('is not asked by a call whose signal was aborted before', async () => {
    const asked: unknown[] = [];
    const server = await serve((router) =>
      router.service(PaymentsService, {
        getTransaction: ({ key }) => {
          asked.push(key.value);
          return {};
        },
      }),
    );
    const client = connect(server.port);
    const get = (value: string, signal?: AbortSignal) =>
      client.getTransaction({ key: { case: 'id', value } }, { ...(signal && { signal }) });
    await get('first');
    assert.equal(await codeOf(get('second', AbortSignal.abort())), 'Canceled');
    await get('third');
    assert.deepEqual(asked, ['first', 'third']);
  });

  it('tells its health to any gRPC client', async () => {
    const server = await serve(answering);
    const Health = grpc.makeGenericClientConstructor(healthService, 'Health');
    const health = new Health(`127.0.0.1:${server.port}`, grpc.credentials.createInsecure());
    closing.push(() => health.close());
    const answer = await new Promise((resolve, reject) =>
      health.check!({ service: 'payments.v1.PaymentsService' }, (error: Error | null, value: unknown) =>
        error ? reject(error) : resolve(value),
      ),
    );
    assert.deepEqual(answer, { status: 'SERVING' });
  });

  it('describes its services to any gRPC client', async () => {
    const server = await serve(answering);
    const file = createRequire(import.meta.url)
      .resolve('@grpc/reflection')
      .replace(/src.index\.js$/, 'proto/grpc/reflection/v1/reflection.proto');
    const { grpc: loaded } = grpc.loadPackageDefinition(loadSync(file)) as unknown as {
      grpc: { reflection: { v1: { ServerReflection: grpc.ServiceClientConstructor } } };
    };
    const client = new loaded.reflection.v1.ServerReflection(
      `127.0.0.1:${server.port}`,
      grpc.credentials.createInsecure(),
    );
    closing.push(() => client.close());
    const stream = client.serverReflectionInfo!() as grpc.ClientDuplexStream<object, object>;
    stream.write({ fileContainingSymbol: 'payments.v1.PaymentsService' });
    stream.write({ listServices: '' });
    stream.end();
    const answers: object[] = [];
    for await (const answer of stream) answers.push(answer);
    const [described, listed] = answers;
    assert.match(JSON.stringify(listed), /payments\.v1\.PaymentsService/);
    assert.match(JSON.stringify(described), /fileDescriptorResponse/);
  });
});
