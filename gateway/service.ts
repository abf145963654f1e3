import { createServer, type IncomingMessage } from 'node:http';
import { boundConnections, peerOf } from '../proto/runtime/bounds.ts';
import { closeHttp, createAdminServer, listenToMany, type Service } from '../proto/runtime/lifecycle.ts';
import type { Log } from '../proto/runtime/log.ts';
import { createApp } from './app.ts';
import type { GatewayConfig } from './config.ts';
import { createCallCore, type PaymentsClient } from './core.ts';
import { createBodyReader } from './read-body.ts';
import { createThrottle } from './throttle.ts';
import { createSignatureVerifier } from './verify-wix-signature.ts';

/** Wix sends a few kilobytes at once; whoever takes longer is cut off (R7). All but the last two are Node's own: milliseconds, bytes. */
const LIMITS = {
  /** From a connection's first byte, or from its opening, to the end of the headers. */
  headersTimeout: 5_000,
  /** To the end of the body. */
  requestTimeout: 10_000,
  /** Of connections that were signed: no other is kept. A proxy in front keeps its own for about a minute. */
  keepAliveTimeout: 75_000,
  maxHeaderSize: 16 * 1024,
  maxConnections: 2_000,
  /** Of all bodies being read. */
  bodyBytesMax: 64 * 1024 * 1024,
};
export type Limits = typeof LIMITS;

/** Ports are known once start() has resolved. */
export interface Gateway extends Service {
  readonly port: number;
  readonly adminPort: number;
}

/** The gateway on its two ports: Wix's calls, and health and metrics. It is ready while it listens, whatever the core does (R45). */
export function createGateway(
  config: GatewayConfig,
  deps: { payments: PaymentsClient; log: Log; now?: () => Date; limits?: Partial<Limits> },
): Gateway {
  const { payments, log, now } = deps;
  const { maxConnections, bodyBytesMax, ...limits } = { ...LIMITS, ...deps.limits };
  const throttle = createThrottle();
  const handle = createApp({
    verify: createSignatureVerifier(config.WIX_PUBLIC_KEY, now),
    readBody: createBodyReader(bodyBytesMax),
    throttle,
    callCore: createCallCore(payments, {
      deadlineMs: config.CORE_DEADLINE_MS,
      budgetMs: config.ANSWER_BUDGET_MS,
      throttle,
      log,
    }),
    log,
  });
  const connectionsCheckingInterval = Math.min(1_000, limits.headersTimeout);
  const server = createServer({ ...limits, connectionsCheckingInterval }, handle);
  // Who has begun a request is signed, or is closed with its answer (R7). Wix sends its headers as it connects.
  const connections = boundConnections(server, maxConnections);
  for (const event of ['request', 'checkContinue', 'checkExpectation'])
    server.on(event, ({ socket }: IncomingMessage) => connections.keep(peerOf(socket)));
  // A body that waits for "100 Continue" is asked for only when it is to be read. Node itself would keep who expects anything else.
  server.on('checkContinue', handle);
  server.on('checkExpectation', handle);

  const admin = createAdminServer({
    host: config.GATEWAY_HOST,
    port: config.GATEWAY_ADMIN_PORT,
    health: async () => ({ ready: server.listening }),
    log,
  });
  const gateway = {
    port: 0,
    adminPort: 0,
    async start() {
      gateway.adminPort = await admin.start();
      gateway.port = await listenToMany(server, config.GATEWAY_PORT, config.GATEWAY_HOST);
      log.info('gateway.listening', { port: gateway.port, adminPort: gateway.adminPort });
    },
    async stop(drainMs = config.DRAIN_MS) {
      await closeHttp(server, drainMs);
      await admin.stop();
    },
  };
  return gateway;
}
