import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError, createRouterTransport, type Interceptor } from '@connectrpc/connect';
import { coreConfig } from '../../core/config.ts';
import type { Recovered } from '../../core/recover/run.ts';
import { type CoreService, createCore } from '../../core/service.ts';
import type { ListOperationsResponse } from '../../proto/gen/processor/v1/processor_pb.js';
import { parseConfig } from '../../proto/runtime/config.ts';
import { createDatabase, type Database } from '../../proto/runtime/database.ts';
import { type BusMessage, signMessage } from '../../proto/runtime/event-bus.ts';
import { createKeyRing } from '../../proto/runtime/seal.ts';
import { KEYS, QUICK } from '../support/core.ts';
import { freshDatabase } from '../support/database.ts';
import { quietLog } from '../support/log.ts';
import type { Stage } from '../support/stage.ts';

// A ledger that lost everything but its merchants, beside the stage's, which lost nothing.

export interface EngineTells {
  /** It offers ListOperations. */
  readonly lists?: boolean;
  /** Makes of its list what it likes. */
  readonly spoil?: (page: ListOperationsResponse) => void;
  /** Before each call of another method; an error is its answer. */
  readonly ask?: (method: string) => ConnectError | undefined;
}

export interface RecoverIn extends EngineTells {
  readonly from?: readonly BusMessage[];
  readonly isDry?: boolean;
  readonly accept?: boolean;
  /** Messages at once, as they come from Kafka. */
  readonly batch?: number;
  /** Before the topic is read. */
  readonly pauseMs?: number;
}

/** All that was published so far, signed. */
export async function messagesOf(stage: Stage, ring = KEYS.EVENTS_KEY): Promise<BusMessage[]> {
  const keys = createKeyRing(ring);
  const rows = await stage.db.query<{ value: Uint8Array; key: string; type: string }>(
    'select value, transaction_id as key, type from outbox order by id',
  );
  return rows.map(({ key, value, type }) => signMessage(keys, key, value, { 'event-type': type }));
}

export async function restore(stage: Stage): Promise<{ url: string; db: Database }> {
  const url = await freshDatabase();
  const db = createDatabase({ url, schema: 'core', poolSize: 2, log: quietLog() });
  for (const table of ['merchant_accounts', 'merchant_credentials']) {
    const [row] = await stage.db.query<{ rows: string }>(
      `select coalesce(json_agg(it), '[]')::text as rows from ${table} as it`,
    );
    await db.query(
      `insert into ${table} overriding system value select * from json_populate_recordset(null::${table}, $1)`,
      [row?.rows],
    );
  }
  return { url, db };
}

/** A core of the restored ledger, with the stage's engine. */
export function coreOn(stage: Stage, url: string, { lists = true, spoil, ask }: EngineTells = {}): CoreService {
  const speak: Interceptor = (next) => async (request) => {
    const { name } = request.method;
    if (name === 'ListOperations' && !lists) throw new ConnectError('', Code.Unimplemented);
    const problem = name === 'ListOperations' ? undefined : ask?.(name);
    if (problem) throw problem;
    const response = await next(request);
    if (name === 'ListOperations' && !response.stream) spoil?.(response.message as ListOperationsResponse);
    return response;
  };
  return createCore(parseConfig(coreConfig, { DATABASE_URL: url, ...KEYS, ...QUICK }), {
    log: quietLog(),
    processor: createRouterTransport((router) => stage.engine.routes(router), { router: { interceptors: [speak] } }),
    events: { publish: () => Promise.reject(new Error('nothing is published')) },
  });
}

export async function recoverIn(stage: Stage, url: string, options: RecoverIn = {}): Promise<Recovered> {
  const { isDry = false, accept = false, batch = 7, pauseMs = 0, from = await messagesOf(stage), ...tells } = options;
  const core = coreOn(stage, url, tells);
  try {
    return await core.recover({
      since: new Date(Date.now() - 3_600_000),
      isDry,
      accept,
      readEvents: async (take) => {
        await delay(pauseMs);
        for (let i = 0; i < from.length; i += batch) await take(from.slice(i, i + batch));
      },
      onProgress: () => undefined,
    });
  } finally {
    await core.stop(0);
  }
}
