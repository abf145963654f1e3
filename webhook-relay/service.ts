import { fileURLToPath } from 'node:url';
import type { ConnectRouter, Transport } from '@connectrpc/connect';
import { DeliveriesService } from '../proto/gen/relay/v1/deliveries_pb.js';
import { authorizeBy, createAuthorizer } from '../proto/runtime/callers.ts';
import { createDatabase, isOutage } from '../proto/runtime/database.ts';
import { createDirectTransport } from '../proto/runtime/direct-transport.ts';
import type { EventReceiver } from '../proto/runtime/event-bus.ts';
import { createAdminServer, type Service } from '../proto/runtime/lifecycle.ts';
import type { Log } from '../proto/runtime/log.ts';
import { type Loop, startLoop } from '../proto/runtime/loop.ts';
import { migrate } from '../proto/runtime/migrate.ts';
import { logCalls } from '../proto/runtime/rpc.ts';
import { createRpcHandler } from '../proto/runtime/rpc-over-http.ts';
import { readTls } from '../proto/runtime/tls.ts';
import type { RelayConfig } from './config.ts';
import { createDeliverer } from './deliver.ts';
import { ALLOWED, deliveriesService } from './deliveries-service.ts';
import { createReceiver } from './receive.ts';
import { keysInUse } from './store.ts';
import { sweep } from './sweep.ts';
import { createWixClient } from './wix-client.ts';

/** The schema that holds all of the relay's tables. */
const SCHEMA = 'relay';
const MIGRATIONS = fileURLToPath(new URL('migrations', import.meta.url));
const SWEEP_MS = 5000;

export interface Relay extends Service {
  /** May be called between start and stop. */
  receive: EventReceiver;
  /** The deliveries service, for a caller of the same process with a token of RELAY_TOKENS; undefined without those. */
  readonly deliveries: Transport | undefined;
  /** Something may be due: look now. */
  wake(): void;
  /** Health, metrics and, with RELAY_TOKENS, the deliveries service; known once started. */
  readonly adminPort: number;
}

/**
 * Tells Wix of every event it is given, in order for each payment and until Wix has heard (R26 to R29). Connects to nothing yet. It is
 * ready while it receives, whoever hands it the events (R45).
 */
export function createRelay(config: RelayConfig, deps: { log: Log; isReceiving?: () => boolean }): Relay {
  const { log, isReceiving = () => true } = deps;
  const {
    EVENTS_KEY: keys,
    EVENT_DELAY_MS: delayMs,
    RELAY_CONCURRENCY: concurrency,
    STUCK_AFTER_MS: stuckAfterMs,
  } = config;
  const db = createDatabase({ url: config.DATABASE_URL, schema: SCHEMA, prepare: config.DATABASE_PREPARE, log });
  const receiver = createReceiver({ db, keys, log, delayMs });
  const deliverer = createDeliverer({ db, keys, wix: createWixClient(config), log, concurrency, stuckAfterMs });
  const health = async () => {
    const database = await db.ping();
    const receiving = isReceiving();
    const detail = { ...(database && { database }), ...(!receiving && { events: 'the consumer does not move' }) };
    const isWell = !database && receiving;
    return { ready: isWell && !stopping.signal.aborted, ...(!isWell && { detail }) };
  };
  const tokens = config.RELAY_TOKENS;
  const deliveries = deliveriesService({ db, keys, log, receiver, wake: deliverer.wake, breaker: deliverer.breaker });
  const authorizer = tokens && createAuthorizer(tokens, ALLOWED, log);
  const routes = (router: ConnectRouter) => void router.service(DeliveriesService, deliveries);
  const interceptors = [logCalls(log, isOutage)];
  const rpc = authorizer && createRpcHandler({ routes, interceptors, authorizer });
  const { RELAY_HOST: host, RELAY_PORT: port } = config;
  const admin = createAdminServer({ host, port, health, log, tls: readTls('RELAY', config), fallback: rpc });
  const stopping = new AbortController();
  let sweeping: Loop | undefined;
  let adminPort = 0;

  async function start(): Promise<void> {
    await migrate({ url: config.DATABASE_URL.reveal(), schema: SCHEMA, dir: MIGRATIONS, log });
    const missing = (await keysInUse(db)).filter((id) => !keys.ids.includes(id));
    if (missing.length > 0) throw new Error(`EVENTS_KEY lacks keys of stored bodies: ${missing.join(', ')}`);
    await receiver.readUnread();
    adminPort = await admin.start();
    deliverer.start();
    sweeping = startLoop('sweep', sweepOnce, { idleMs: SWEEP_MS, log });
  }

  async function sweepOnce(): Promise<number> {
    const freed = await sweep({ db, log });
    if (freed > 0) deliverer.wake();
    return freed;
  }

  async function receive(batch: Parameters<EventReceiver>[0]): Promise<void> {
    await receiver.receive(batch);
    setTimeout(deliverer.wake, delayMs).unref();
  }

  async function stop(drainMs = config.DRAIN_MS): Promise<void> {
    stopping.abort();
    await Promise.all([deliverer.stop(drainMs), sweeping?.stop()]);
    await admin.stop();
    await db.close();
  }

  return {
    start,
    stop,
    receive,
    wake: deliverer.wake,
    deliveries: authorizer && createDirectTransport(routes, [...interceptors, authorizeBy(authorizer)]),
    get adminPort() {
      return adminPort;
    },
  };
}
