import { createClient, type Interceptor } from '@connectrpc/connect';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { createCallers, requireToken, withToken } from '../../proto/runtime/callers.ts';
import { type Env, inBrackets, parseConfig, secretNames } from '../../proto/runtime/config.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { runMain, type Service } from '../../proto/runtime/lifecycle.ts';
import { createLog } from '../../proto/runtime/log.ts';
import { sleep } from '../../proto/runtime/loop.ts';
import { logCalls } from '../../proto/runtime/rpc.ts';
import { readTls } from '../../proto/runtime/tls.ts';
import { engineConfig } from './config.ts';
import { createEngine } from './engine.ts';
import { createPages } from './pages.ts';

const HELP = `The simulated engine: processor.v1 over gRPC, with books of its own and pages for buyers. It moves no money.

  ENGINE_TOKEN       what callers must send as bearer token, 32 characters or more (obligatory)
  ENGINE_HOST        address to listen on (127.0.0.1)
  ENGINE_PORT        port to listen on (50061)
  ENGINE_DATA        folder of the books (./.data/engine)
  ENGINE_PENDING_MS  how long a payment stays under review, and a voucher unpaid (1500)
  ENGINE_ANSWER_MS   how long each answer takes: 0, where a real engine needs some 300
  ENGINE_HTTP_HOST   address of the pages for buyers (127.0.0.1)
  ENGINE_HTTP_PORT   port of the pages (50062)
  ENGINE_HTTP_URL    as buyers reach them, https://host, where that is not this machine
  ENGINE_VOUCHER_MS  how long a voucher is good: three days unless it is set, at most 180 (259200000)
  CORE_URL           where late outcomes are reported, for example 127.0.0.1:50051
  CORE_TOKEN         token for the core, of the role engine
  ENGINE_TLS_CERT, ENGINE_TLS_KEY, ENGINE_TLS_CA
                     own certificate, its key, and who signs the callers that are let in (PEM, or files in ..._FILE)
  CORE_TLS_CA, CORE_TLS_CERT, CORE_TLS_KEY
                     with a CORE_URL of https://: whose core is believed, and the engine's certificate for it
  ALLOW_PLAINTEXT    true accepts an ENGINE_HOST or CORE_URL beyond this machine without TLS
  LOG_LEVEL          info

What was really charged: node test/engine/list-books.ts --data DIR
`;

const late =
  (ms: number): Interceptor =>
  (next) =>
  async (request) => {
    if (ms > 0) await sleep(ms);
    return next(request);
  };

/** The engine as a program of its own: what a PSP runs in the engine's place. */
function createEngineService(env: Env): Service {
  const config = parseConfig(engineConfig, env);
  const log = createLog('engine', config.LOG_LEVEL);
  const core =
    config.CORE_URL && config.CORE_TOKEN
      ? createGrpcTransport({
          url: config.CORE_URL,
          tls: readTls('CORE', config),
          interceptors: [withToken(config.CORE_TOKEN)],
          defaultTimeoutMs: 10_000,
        })
      : undefined;
  const engine = createEngine({
    data: config.ENGINE_DATA,
    log,
    pendingMs: config.ENGINE_PENDING_MS,
    ...(core && { reportTo: createClient(PaymentsService, core) }),
  });
  const pages = createPages({
    engine,
    log,
    host: config.ENGINE_HTTP_HOST,
    port: config.ENGINE_HTTP_PORT,
    url: config.ENGINE_HTTP_URL,
    decideMs: config.ENGINE_PENDING_MS,
    voucherMs: config.ENGINE_VOUCHER_MS,
  });
  const callers = createCallers(`core:gateway:${config.ENGINE_TOKEN.reveal()}`);
  const allowed = Object.fromEntries(ProcessorService.methods.map(({ name }) => [name, ['gateway'] as const]));
  const server = createGrpcServer({
    host: config.ENGINE_HOST,
    port: config.ENGINE_PORT,
    routes: engine.routes,
    tls: readTls('ENGINE', config),
    interceptors: [logCalls(log), requireToken(callers, allowed, log), late(config.ENGINE_ANSWER_MS)],
    log,
  });
  return {
    start: async () => {
      engine.start();
      const pagesUrl = await pages.start();
      const listening = await server.start();
      process.stdout.write(
        `The simulated engine listens on ${inBrackets(config.ENGINE_HOST)}:${listening}; its books are in ${config.ENGINE_DATA}, its pages at ${pagesUrl}\n`,
      );
    },
    stop: async () => {
      await server.stop(1_000);
      await pages.stop();
      core?.close();
      await engine.stop();
    },
  };
}

if (process.argv.includes('--help')) process.stdout.write(HELP);
else runMain('engine', async (env) => createEngineService(env), secretNames(engineConfig));
