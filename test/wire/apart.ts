import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { createClient, type Interceptor } from '@connectrpc/connect';
import { coreConfig } from '../../core/config.ts';
import { type CoreService, createCore } from '../../core/service.ts';
import { gatewayConfig } from '../../gateway/config.ts';
import { createGateway, type Gateway } from '../../gateway/service.ts';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import { parseConfig, Secret } from '../../proto/runtime/config.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { listen } from '../../proto/runtime/lifecycle.ts';
import { createEngine, type Engine } from '../engine/engine.ts';
import { cardPayment, KEYS, QUICK } from '../support/core.ts';
import { freshDatabase } from '../support/database.ts';
import { quietLog } from '../support/log.ts';
import { createWix, type Merchant, type Wix } from '../wix/wix.ts';

// Gateway, core and engine with real sockets between them. No event leaves the core: these tests are about the way in.

export const ROLES = ['gateway', 'engine', 'backoffice', 'reader', 'operator'] as const;

/** The token of the caller whose name and role are the same. */
export const tokenOf = (role: string): string => `${role}-`.padEnd(40, '0123456789');

export const CORE_TOKENS = ROLES.map((role) => `${role}:${role}:${tokenOf(role)}`).join();

export interface LoneCore {
  readonly core: CoreService;
  readonly log: ReturnType<typeof quietLog>;
  readonly grpcPort: number;
  readonly httpPort: number;
}

/** A core on ports of its own, that tells nobody of its events. Its database, if not given, is a new one. */
export async function startCore(engineUrl: string, env: Record<string, string> = {}): Promise<LoneCore> {
  const log = quietLog();
  const url = env.DATABASE_URL ?? (await freshDatabase());
  const config = parseConfig(coreConfig, { DATABASE_URL: url, CORE_TOKENS, ...KEYS, ...QUICK, ...env });
  const processor = createGrpcTransport({ url: engineUrl, defaultTimeoutMs: config.PROCESSOR_TIMEOUT_MS });
  const core = createCore(config, { log, processor, events: { publish: async () => undefined } });
  await core.start();
  const stop = async (drainMs?: number) => {
    await core.stop(drainMs);
    processor.close();
  };
  const { httpPort } = log.lines.find(({ event }) => event === 'core.started') ?? {};
  return { core: { ...core, stop }, log, grpcPort: core.grpcPort() ?? 0, httpPort: Number(httpPort) };
}

/** The simulated engine behind a gRPC server. */
export async function startEngine(): Promise<{ engine: Engine; url: string; stop(): Promise<void> }> {
  const log = quietLog();
  const engine = createEngine({ data: ':memory:', log, pendingMs: 200 });
  const server = createGrpcServer({ host: '127.0.0.1', port: 0, routes: engine.routes, log });
  engine.start();
  const stop = async () => {
    await server.stop(0);
    await engine.stop();
  };
  return { engine, url: `http://127.0.0.1:${await server.start()}`, stop };
}

/** Charges a new buyer as the gateway does, and returns the payment's external id. */
export async function payOverGrpc({ grpcPort }: LoneCore, amount: bigint): Promise<string> {
  const transport = createGrpcTransport({
    url: `127.0.0.1:${grpcPort}`,
    interceptors: [withToken(new Secret(tokenOf('gateway')))],
    defaultTimeoutMs: 10_000,
  });
  const payments = createClient(PaymentsService, transport);
  const externalMerchantId = randomUUID();
  const values = { api_key: 'test' };
  const { credentials } = await payments.connectMerchantAccount({
    externalMerchantId,
    credentials: { values },
    mode: Mode.SANDBOX,
  });
  const merchant = { externalMerchantId, merchantCredentials: { values: credentials?.values ?? values } };
  const { transaction } = await payments.createTransaction(cardPayment(merchant, '4242424242424242', { amount }));
  transport.close();
  return transaction?.externalId ?? '';
}

export interface Apart {
  readonly wix: Wix;
  readonly engine: Engine;
  readonly gateway: Gateway;
  readonly merchant: Merchant;
  readonly log: ReturnType<typeof quietLog>;
  core: LoneCore;
  readonly road: Road;
  /** Starts the core again where it was; its database is as it left it. */
  restartCore(): Promise<void>;
  stop(): Promise<void>;
}

/** All three, with a road between gateway and core that can be blocked, and a merchant that is connected. */
export async function startApart(env: Record<string, string>): Promise<Apart> {
  const { engine, url: engineUrl, stop: stopEngine } = await startEngine();
  const databaseUrl = await freshDatabase();
  const core = await startCore(engineUrl, { ...env, DATABASE_URL: databaseUrl });
  const road = await openRoad(core.grpcPort);
  const wix = createWix({ log: quietLog() });
  const log = quietLog();
  const config = parseConfig(gatewayConfig, {
    GATEWAY_PORT: '0',
    GATEWAY_ADMIN_PORT: '0',
    WIX_PUBLIC_KEY: wix.publicKeyPem,
    ...env,
  });
  const interceptors: Interceptor[] = [withToken(new Secret(tokenOf('gateway')))];
  const transport = createGrpcTransport({
    url: `http://127.0.0.1:${road.port}`,
    interceptors,
    defaultTimeoutMs: config.CORE_DEADLINE_MS,
  });
  const gateway = createGateway(config, { payments: createClient(PaymentsService, transport), log });
  await gateway.start();
  const apart: Apart = {
    ...{ wix, engine, gateway, log, core, road },
    merchant: await wix.connect(`http://127.0.0.1:${gateway.port}`),
    restartCore: async () => {
      const CORE_GRPC_PORT = String(core.grpcPort);
      apart.core = await startCore(engineUrl, { ...env, DATABASE_URL: databaseUrl, CORE_GRPC_PORT });
    },
    stop: async () => {
      road.open();
      await gateway.stop();
      transport.close();
      await apart.core.core.stop(0);
      await road.stop();
      await stopEngine();
    },
  };
  return apart;
}

/** A way over which nothing gets, as long as it is blocked: what is on it waits, and neither side is told. */
export interface Road {
  readonly port: number;
  block(): void;
  open(): void;
  stop(): Promise<void>;
}

async function openRoad(target: number): Promise<Road> {
  const sockets = new Set<net.Socket>();
  let isBlocked = false;
  const join = (from: net.Socket, to: net.Socket) => {
    sockets.add(from);
    from.on('data', (bytes) => to.write(bytes));
    from.on('error', () => undefined);
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
    if (isBlocked) from.pause();
  };
  const server = net.createServer((near) => {
    const far = net.connect(target, '127.0.0.1');
    join(near, far);
    join(far, near);
  });
  const port = await listen(server, 0, '127.0.0.1');
  return {
    port,
    block: () => {
      isBlocked = true;
      for (const socket of sockets) socket.pause();
    },
    open: () => {
      isBlocked = false;
      for (const socket of sockets) socket.resume();
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await once(server.close(), 'close');
    },
  };
}
