import { createServer } from 'node:http';
import { closeHttp, createAdminServer, listen, type Service } from '../proto/runtime/lifecycle.ts';
import type { Log } from '../proto/runtime/log.ts';
import { createApp } from './app.ts';
import type { GatewayConfig } from './config.ts';
import { createAskCore, type PaymentsClient } from './core.ts';
import { createBodyReader } from './read-body.ts';
import { createSignatureVerifier } from './verify-wix-signature.ts';

export interface Limits {
  /** From a connection's first byte, or from its opening, to the end of the headers. */
  readonly headersTimeoutMs: number;
  /** To the end of the body. */
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly connectionsMax: number;
  /** Of all bodies being read. */
  readonly bodyBytesMax: number;
}

/** Wix sends a few kilobytes at once; whoever takes longer is cut off (R7). A proxy in front keeps connections for about a minute. */
const LIMITS: Limits = {
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  keepAliveTimeoutMs: 75_000,
  connectionsMax: 2_000,
  bodyBytesMax: 64 * 1024 * 1024,
};

const HEADERS_BYTES_MAX = 16 * 1024;

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
  const limits = { ...LIMITS, ...deps.limits };
  const app = createApp({
    verify: createSignatureVerifier(config.WIX_PUBLIC_KEY, now),
    readBody: createBodyReader(limits.bodyBytesMax),
    ask: createAskCore(payments, { deadlineMs: config.CORE_DEADLINE_MS, budgetMs: config.ANSWER_BUDGET_MS, log }),
    log,
  });
  const handle = app.callback();
  const server = createServer(
    {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
      maxHeaderSize: HEADERS_BYTES_MAX,
      keepAlive: true,
    },
    handle,
  );
  // A body that waits for "100 Continue" is asked for only when it is to be read.
  server.on('checkContinue', handle);
  server.maxConnections = limits.connectionsMax;

  const admin = createAdminServer({
    host: config.GATEWAY_HOST,
    port: config.GATEWAY_ADMIN_PORT,
    health: async () => ({ ready: server.listening }),
    log,
  });
  let ports = { port: 0, adminPort: 0 };
  let stopped: Promise<void> | undefined;

  async function start(): Promise<void> {
    const adminPort = await admin.start();
    const port = await listen(server, config.GATEWAY_PORT, config.GATEWAY_HOST);
    ports = { port, adminPort };
    log.info('gateway.listening', { port, adminPort });
  }

  async function stop(drainMs: number): Promise<void> {
    await closeHttp(server, drainMs);
    await admin.stop();
  }

  return {
    start,
    stop: (drainMs = config.DRAIN_MS) => (stopped ??= stop(drainMs)),
    get port() {
      return ports.port;
    },
    get adminPort() {
      return ports.adminPort;
    },
  };
}
