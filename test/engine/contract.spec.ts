import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { createCallers, requireToken, withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { quietLog } from '../support/log.ts';
import { SIMULATED_MEANS } from './contract-means.ts';
import { describeProcessor } from './contract-suite.ts';
import { createEngine } from './engine.ts';
import { createPages } from './pages.ts';

const TOKEN = 'a-token-of-the-tests-that-is-long-enough';

describe('held to its contract over gRPC', () => {
  const channels: ReturnType<typeof createGrpcTransport>[] = [];
  let stop: () => Promise<void>;

  before(async () => {
    const log = quietLog();
    const engine = createEngine({ data: ':memory:', log, pendingMs: 300 });
    // Buyers reach them behind somebody's TLS.
    const pages = createPages({ engine, log, url: 'https://pay.example' });
    await pages.start();
    const allowed = Object.fromEntries(ProcessorService.methods.map(({ name }) => [name, ['gateway'] as const]));
    const interceptors = [requireToken(createCallers(`core:gateway:${TOKEN}`), allowed, log)];
    const server = createGrpcServer({ host: '127.0.0.1', port: 0, routes: engine.routes, interceptors, log });
    const url = `127.0.0.1:${await server.start()}`;
    for (const client of [[withToken(new Secret(TOKEN))], []])
      channels.push(createGrpcTransport({ url, interceptors: client, defaultTimeoutMs: 5_000 }));
    engine.start();
    stop = async () => {
      for (const channel of channels) channel.close();
      await server.stop(100);
      await pages.stop();
      await engine.stop();
    };
  });
  after(() => stop());

  describeProcessor('the simulated engine', () => ({
    transport: channels[0]!,
    withoutToken: channels[1]!,
    means: {
      ...SIMULATED_MEANS,
      silenceMs: 300,
    },
  }));
});
