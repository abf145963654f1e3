import { fileURLToPath } from 'node:url';
import { assertDurable, createDatabase, migrate } from '../proto/runtime/database.ts';
import type { EventReceiver } from '../proto/runtime/event-bus.ts';
import { createAdminServer, type Service } from '../proto/runtime/lifecycle.ts';
import type { Log } from '../proto/runtime/log.ts';
import { type Loop, sleep, startLoop } from '../proto/runtime/loop.ts';
import type { RelayConfig } from './config.ts';
import { createDeliverer } from './deliver.ts';
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
  /** Something may be due: look now. */
  wake(): void;
  /** Health and metrics; known once started. */
  readonly adminPort: number;
}

/** Tells Wix of every event it is given, in order for each payment and until Wix has heard (R26 to R29). Connects to nothing yet. */
export function createRelay(config: RelayConfig, { log }: { log: Log }): Relay {
  const { EVENTS_KEY: keys, EVENT_DELAY_MS: delayMs, RELAY_CONCURRENCY: concurrency } = config;
  const url = config.DATABASE_URL.reveal();
  const db = createDatabase({ url, schema: SCHEMA, log });
  const receiver = createReceiver({ db, keys, log, delayMs });
  const deliverer = createDeliverer({ db, keys, wix: createWixClient(config), log, concurrency });
  const health = async () => {
    await db.ping();
    return { ready: !stopping.signal.aborted };
  };
  const admin = createAdminServer({ host: config.RELAY_HOST, port: config.RELAY_PORT, health, log });
  const stopping = new AbortController();
  let sweeping: Loop | undefined;
  let adminPort = 0;

  async function start(): Promise<void> {
    await migrate({ url, schema: SCHEMA, dir: MIGRATIONS, log });
    await assertDurable(db);
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
    void sleep(delayMs, stopping.signal).then(deliverer.wake);
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
    get adminPort() {
      return adminPort;
    },
  };
}
