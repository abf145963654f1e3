import { fileURLToPath } from 'node:url';
import { type ConnectRouter, createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import { PaymentsService } from '../proto/gen/payments/v1/payments_service_pb.js';
import { ProcessorService } from '../proto/gen/processor/v1/processor_pb.js';
import { DeliveriesService } from '../proto/gen/relay/v1/deliveries_pb.js';
import { createAuthorizer } from '../proto/runtime/callers.ts';
import { ConfigError } from '../proto/runtime/config.ts';
import { createDatabase, isOutage } from '../proto/runtime/database.ts';
import type { EventPublisher } from '../proto/runtime/event-bus.ts';
import { gather } from '../proto/runtime/gather.ts';
import { createGrpcServer } from '../proto/runtime/grpc-server.ts';
import { createAdminServer, type Service } from '../proto/runtime/lifecycle.ts';
import type { Log } from '../proto/runtime/log.ts';
import { type Loop, startLoop } from '../proto/runtime/loop.ts';
import { migrate } from '../proto/runtime/migrate.ts';
import { onRenewed } from '../proto/runtime/renew.ts';
import { logCalls } from '../proto/runtime/rpc.ts';
import { createRpcHandler, refuse } from '../proto/runtime/rpc-over-http.ts';
import { readTls } from '../proto/runtime/tls.ts';
import { traceCalls } from '../proto/runtime/tracing.ts';
import { byKind, createAdmission } from './admission.ts';
import { createCalls, createTurns } from './calls.ts';
import type { CoreConfig } from './config.ts';
import { createConsole } from './console.ts';
import type { Core } from './context.ts';
import { ensureOwnDatabase, watchDatabase } from './database-identity.ts';
import { watchSilence } from './engine-silence.ts';
import { measure } from './measure.ts';
import { createMerchants } from './merchants.ts';
import { ALLOWED, paymentsService } from './payments-service.ts';
import { publishOutbox, SEND_MS } from './publish-outbox.ts';
import { reconcile } from './reconcile.ts';
import type { Recovered } from './recover/run.ts';
import { endRecovery, type RecoverOptions, recover } from './recover.ts';
import { forwardDeliveries, RELAYED } from './relay.ts';
import { type Result, settleAll, type ToSettle } from './settle.ts';
import { type Beginning, type Begun, beginPayments } from './store/begin-payments.ts';
import { keyIdsInUse } from './store/merchant-accounts.ts';
import { createWatchers } from './watchers.ts';

const SCHEMA = 'core';

/** Open operations that are looked at at once: an engine that hangs must not stop those whose engine call would come back. */
const RECONCILIATIONS_MAX = 50;

/** How old the gauges of the ledger may be. */
const MEASURE_MS = 15_000;

export interface CoreService extends Service {
  /** Mounts the payments service on a carrier of the same process. */
  readonly routes: (router: ConnectRouter) => void;
  /** What every carrier runs around it. */
  readonly interceptors: readonly Interceptor[];
  /** Port of health, metrics and RPCs over HTTP; known once started. */
  httpPort(): number | undefined;
  /** Port of the gRPC server once started; undefined without CORE_TOKENS. */
  grpcPort(): number | undefined;
  /** Migrates, and sees that there is a key for whatever is sealed; `start` does it too. */
  prepareDatabase(): Promise<void>;
  /** Instead of start: brings back what a restored database lacks. */
  recover(options: RecoverOptions): Promise<Recovered>;
  /** Cores look at what is open again, where a recovery did not get to its end. */
  endRecovery(): Promise<number>;
}

/** The payments core: a gRPC service over its ledger, with a loop for what is open and one for what is to be told. */
export function createCore(
  config: CoreConfig,
  deps: { log: Log; processor: Transport; events: EventPublisher; relay?: Transport },
): CoreService {
  const { log } = deps;
  const db = createDatabase({
    url: config.DATABASE_URL,
    schema: SCHEMA,
    poolSize: config.DATABASE_POOL_SIZE - 1,
    prepare: config.DATABASE_PREPARE,
    log,
  });
  const calls = createCalls('calls', config.PROCESSOR_CALLS_MAX, log);
  const reconciliations = createCalls('chases', RECONCILIATIONS_MAX, log);
  const watchers = createWatchers();
  const loops: { publisher?: Loop; reconciler?: Loop; measurer?: Loop } = {};
  const beginnings = gather<Beginning, Begun>({
    what: 'beginnings',
    keyOf: ({ transaction }) => transaction.id,
    write: (rows) => beginPayments(db, rows),
  });
  const settlements = gather<ToSettle, Result>({
    what: 'settlements',
    keyOf: ({ about }) => about.transactionId,
    write: (rows) => settleAll(core, rows),
    // What was begun is finished.
    waitingMax: Number.POSITIVE_INFINITY,
  });
  const relay = deps.relay && createClient(DeliveriesService, deps.relay);
  const core: Core = {
    config,
    db,
    log,
    admission: byKind({
      create: createAdmission(beginnings.room, config.ANSWER_BUDGET_MS, log),
      // Half of the connections that are not health's, so that what was admitted can be finished (R48).
      follow_up: createAdmission(() => Math.ceil((config.DATABASE_POOL_SIZE - 1) / 2), config.ANSWER_BUDGET_MS, log),
    }),
    turns: createTurns(),
    engineSilence: watchSilence(log),
    calls,
    reconciliations,
    watchers,
    processor: createClient(ProcessorService, deps.processor),
    relay,
    merchants: createMerchants({ config, db }),
    beginPayment: beginnings.write,
    settle: settlements.write,
    wakePublisher: () => loops.publisher?.wake(),
    wakeReconcile: () => loops.reconciler?.wake(),
  };
  const routes = (router: ConnectRouter) => {
    router.service(PaymentsService, paymentsService(core));
  };
  // Card data in clear JSON has no place on a wire, so that this method has no path there (R33).
  const routesWithoutCards = (router: ConnectRouter) => {
    const { createTransaction, ...served } = paymentsService(core);
    for (const [name, implementation] of Object.entries(served))
      router.rpc(PaymentsService.method[name as keyof typeof served], implementation as never);
    if (relay) router.service(DeliveriesService, forwardDeliveries(relay));
  };
  const interceptors = [traceCalls, logCalls(log, isOutage)];
  const { CORE_HOST: host, CORE_TOKENS: tokens } = config;
  if (config.CONSOLE && !tokens) throw new ConfigError(['CONSOLE needs CORE_TOKENS: it shows what a token may see']);
  if (tokens?.list.some(({ name, role }) => role !== 'gateway' && (name === 'wix' || name === 'system')))
    throw new ConfigError(['CORE_TOKENS must not name a caller wix or system, the gateway aside: the core keeps both']);
  const authorizer = tokens && createAuthorizer(tokens, { ...ALLOWED, ...RELAYED }, log);
  const tls = readTls('CORE', config);
  const grpc =
    authorizer && createGrpcServer({ host, port: config.CORE_GRPC_PORT, routes, interceptors, authorizer, log, tls });
  const http = authorizer && createRpcHandler({ routes: routesWithoutCards, interceptors, authorizer });
  const showConsole = config.CONSOLE ? createConsole() : undefined;
  let isStopping = false;
  const health = async () => {
    const database = await db.ping();
    // It sheds and is ready all the same: what is admitted is answered (R48).
    const detail = { ...(database && { database }), ...(core.admission.isShedding() && { load: 'shedding' }) };
    return { ready: !database && !isStopping, ...(Object.keys(detail).length > 0 && { detail }) };
  };
  const admin = createAdminServer({
    host,
    port: config.CORE_HTTP_PORT,
    health,
    log,
    tls,
    fallback:
      http &&
      ((request, response) => {
        if (isStopping) refuse(503, 'unavailable')(request, response);
        else if (!showConsole?.(request, response)) http(request, response);
      }),
  });
  // Who watches shows a token that still counts, from then on.
  const noLonger = onRenewed(watchers.endAll);
  let grpcPort: number | undefined;
  let httpPort: number | undefined;

  async function prepareDatabase(): Promise<void> {
    await migrate({
      url: config.DATABASE_URL.reveal(),
      schema: SCHEMA,
      dir: fileURLToPath(new URL('migrations', import.meta.url)),
      log,
    });
    await ensureKeys(core);
  }

  return {
    routes,
    interceptors,
    httpPort: () => httpPort,
    grpcPort: () => grpcPort,
    async start() {
      await prepareDatabase();
      await ensureOwnDatabase(db, log);
      httpPort = await admin.start();
      loops.publisher = startLoop('publish_outbox', () => publishOutbox(core, deps.events), { idleMs: 250, log });
      loops.reconciler = startLoop('reconcile', async () => (await reconcile(core)).claimed, { idleMs: 500, log });
      const noteInUse = watchDatabase(log);
      const look = async () => {
        await measure(db);
        await noteInUse(db);
        return 0;
      };
      loops.measurer = startLoop('measure', look, { idleMs: MEASURE_MS, log });
      grpcPort = await grpc?.start();
      log.info('core.started', { grpcPort, httpPort });
    },
    prepareDatabase,
    recover: (options) => recover(core, options),
    endRecovery: () => endRecovery(core),
    async stop(drainMs = config.DRAIN_MS) {
      isStopping = true;
      const end = performance.now() + drainMs;
      noLonger();
      watchers.endAll();
      await grpc?.stop(drainMs);
      await Promise.all([loops.reconciler?.stop(), loops.measurer?.stop()]);
      const leftMs = Math.max(0, end - performance.now());
      await Promise.all([calls.drain(leftMs), reconciliations.drain(leftMs)]);
      await loops.publisher?.stop();
      // What was just decided is still told, unless that could take longer than an end may (R38); else at the next start.
      if (performance.now() + SEND_MS < end) await publishOutbox(core, deps.events).catch(() => 0);
      await admin.stop();
      await db.close();
      log.info('core.stopped');
    },
  };
}

/** R31: data that cannot be decrypted is found at start, not at the first payment that needs it. */
async function ensureKeys({ config, db }: Core): Promise<void> {
  const inUse = await keyIdsInUse(db);
  const missing = [
    ...inUse.credentials
      .filter((id) => !config.CREDENTIALS_KEY.ids.includes(id))
      .map((id) => `CREDENTIALS_KEY lacks key ${id}`),
    ...inUse.events.filter((id) => !config.EVENTS_KEY.ids.includes(id)).map((id) => `EVENTS_KEY lacks key ${id}`),
  ];
  if (missing.length > 0) throw new Error(`stored data needs keys that are not configured: ${missing.join(', ')}`);
}
