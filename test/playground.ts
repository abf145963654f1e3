import { createServer } from 'node:http';
import { createClient, createRouterTransport } from '@connectrpc/connect';
import { type Connector, createConnector } from '../connector.ts';
import { coreConfig } from '../core/config.ts';
import { gatewayConfig } from '../gateway/config.ts';
import { PaymentsService } from '../proto/gen/payments/v1/payments_service_pb.js';
import { actAs } from '../proto/runtime/callers.ts';
import { DEVELOPMENT_MARK } from '../proto/runtime/config.ts';
import { closeHttp, listen } from '../proto/runtime/lifecycle.ts';
import { createLog, type Log } from '../proto/runtime/log.ts';
import { relayConfig } from '../webhook-relay/config.ts';
import { createEngine, type Engine } from './engine/engine.ts';
import { createPages } from './engine/pages.ts';
import { createWix, type Wix } from './wix/wix.ts';

// The whole product in one process between a simulated Wix and a simulated engine: what `npm start` and `npm run demo` run.

/** 32 bytes that everybody knows, and that real services refuse. */
const key = (id: string, rest: string) => `${id}:${Buffer.from(DEVELOPMENT_MARK + rest).toString('base64')}`;

/** For looking around with any gRPC client while `npm start` runs. */
export const BACKOFFICE_TOKEN = `${DEVELOPMENT_MARK}-backoffice-token`;

/** Of role operator, at the core and at the relay. */
export const OPERATOR_TOKEN = `${DEVELOPMENT_MARK}-operator-token-1`;

const DEVELOPMENT = {
  CREDENTIALS_KEY: key('dev', DEVELOPMENT_MARK),
  EVENTS_KEY: key('dev-events', '-key-for-events-'),
  CORE_TOKENS: `backoffice:backoffice:${BACKOFFICE_TOKEN},operator:operator:${OPERATOR_TOKEN}`,
  RELAY_TOKENS: `operator:operator:${OPERATOR_TOKEN}`,
  CONSOLE: 'true',
  MODE_WHEN_ABSENT: 'sandbox',
  WIX_USER_AGENT: 'playground/0.1.0',
  // Lost answers are found within seconds instead of a minute and a half.
  PROCESSOR_TIMEOUT_MS: '2000',
  RECONCILE_GRACE_MS: '1000',
  GATEWAY_PORT: '8080',
  GATEWAY_ADMIN_PORT: '8081',
  RELAY_PORT: '8082',
  CORE_GRPC_PORT: '50051',
  CORE_HTTP_PORT: '50052',
};

async function freePort(): Promise<string> {
  const server = createServer();
  const port = await listen(server, 0, '127.0.0.1');
  await closeHttp(server, 0);
  return String(port);
}

/** What the user set of these. */
function fromEnvironment(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}

export interface Playground {
  readonly wix: Wix;
  readonly engine: Engine;
  readonly connector: Connector;
  readonly gatewayUrl: string;
  /** Where the engine's pages are. */
  readonly pagesUrl: string;
  /** The configuration of the three services. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** What stands around it is its own. */
const OWN = ['DATABASE_URL', 'WIX_PUBLIC_KEY', 'WIX_APP_ID', 'WIX_APP_SECRET', 'WIX_API_URL'];
const SETTINGS = [gatewayConfig, coreConfig, relayConfig]
  .flatMap(({ shape }) => Object.keys(shape))
  .filter((name) => !OWN.includes(name));

/** Everything that lasts is kept in `data`. */
export async function startPlayground(options: {
  data: string;
  /** Overrides the configuration of development; a port 0 takes a free one. */
  env?: Record<string, string>;
  wixPort?: number;
  /** Of the engine's pages for buyers. */
  pagesPort?: number;
}): Promise<Playground> {
  if (process.env.NODE_ENV === 'production')
    throw new Error('this is for development: NODE_ENV must not be production');
  const { data } = options;
  const log = (service: string): Log => createLog(service, process.env.LOG_LEVEL || 'warn');
  const wix = createWix({ log: log('wix'), data: `${data}/wix` });
  const engine = createEngine({ data: `${data}/engine`, log: log('engine') });
  const pages = createPages({ engine, log: log('engine'), ...(options.pagesPort && { port: options.pagesPort }) });
  const pagesUrl = await pages.start();
  const wixUrl = await wix.start(options.wixPort);
  const env: Record<string, string> = {
    ...DEVELOPMENT,
    DATA_DIR: `${data}/postgres`,
    WIX_PUBLIC_KEY: wix.publicKeyPem,
    WIX_APP_ID: wix.appId,
    WIX_APP_SECRET: wix.appSecret,
    WIX_API_URL: wixUrl,
    ...fromEnvironment(SETTINGS),
    ...options.env,
  };
  // Links for buyers name the port before the gateway listens.
  if (env.GATEWAY_PORT === '0') env.GATEWAY_PORT = await freePort();
  env.PUBLIC_URL ??= `http://127.0.0.1:${env.GATEWAY_PORT}`;
  const processor = createRouterTransport((router) => engine.routes(router));
  const connector = await createConnector(env, { processor, log });
  await connector.start();
  const asEngine = {
    router: { interceptors: [...connector.core.interceptors, actAs({ name: 'engine', role: 'engine' })] },
  };
  engine.reportTo = createClient(PaymentsService, createRouterTransport(connector.core.routes, asEngine));
  engine.start();
  return {
    wix,
    engine,
    connector,
    env,
    pagesUrl,
    gatewayUrl: `http://127.0.0.1:${connector.gateway.port}`,
    stop: async () => {
      await connector.stop();
      await pages.stop();
      await engine.stop();
      await wix.stop();
    },
  };
}
