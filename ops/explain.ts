import { randomBytes } from 'node:crypto';
import { toJsonString } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { z } from 'zod';
import { explainTransaction } from '../core/explain.ts';
import { ExplainTransactionResponseSchema } from '../proto/gen/payments/v1/payments_service_pb.js';
import { DeliveriesService } from '../proto/gen/relay/v1/deliveries_pb.js';
import { keyRing, parseConfig } from '../proto/runtime/config.ts';
import { createDirectTransport } from '../proto/runtime/direct-transport.ts';
import { createLog } from '../proto/runtime/log.ts';
import { createKeyRing } from '../proto/runtime/seal.ts';
import { deliveriesService } from '../webhook-relay/deliveries-service.ts';
import { runCommand } from './command.ts';
import { DATABASES_HELP, openDatabases } from './databases.ts';
import { explainText } from './explain-text.ts';

const HELP = `Tells the whole life of one payment: why it stands where it stands, its operations, what the engine said, what Wix was answered and told.

  npm run explain -- ID [--json] [--data DIR]

  ID           of the payment: Wix's wixTransactionId, ours (pluginTransactionId), a wixRefundId, or a request id of the engine
  --json       as data: payments.v1.ExplainTransactionResponse
  --data DIR   of an npm start (./.data)
  --help

${DATABASES_HELP}
It reads alone. Times are in the time zone of this terminal (TZ). With EVENTS_KEY events that are sealed are shown too, without what they are
sealed for.
`;

/** Without the key what is sealed stays closed. */
function eventsKey() {
  const { EVENTS_KEY } = parseConfig(z.object({ EVENTS_KEY: keyRing().optional() }), process.env);
  return EVENTS_KEY ?? createKeyRing(`none:${randomBytes(32).toString('base64')}`);
}

/** The relay's service on its rows, for looking alone. */
function relayOf(db: ReturnType<typeof openDatabases>['relay']) {
  const log = createLog('explain', 'error');
  const service = deliveriesService({
    ...{ db, log, keys: eventsKey(), wake: () => undefined, breaker: () => ({ open: false, slots: 0 }) },
    receiver: { readAgain: () => Promise.reject(new Error('explain changes nothing')) },
  });
  return createClient(
    DeliveriesService,
    createDirectTransport((router) => void router.service(DeliveriesService, service), []),
  );
}

if (import.meta.main)
  await runCommand({
    name: 'explain',
    help: HELP,
    options: { json: { type: 'boolean' }, data: { type: 'string' } },
    positionals: [1, 1],
    async run({ json, data }, [id = '']) {
      const databases = openDatabases('explain', { data });
      try {
        const problem = await databases.core.ping();
        if (problem !== undefined && problem !== 'read-only') throw new Error(`the core's database: ${problem}`);
        const relayProblem = await databases.relay.ping();
        const isThere = relayProblem === undefined || relayProblem === 'read-only';
        const relay = isThere ? relayOf(databases.relay) : `the webhook-relay's database: ${relayProblem}`;
        const explained = await explainTransaction({ db: databases.core, relay }, { id });
        const text = json
          ? `${toJsonString(ExplainTransactionResponseSchema, explained, { prettySpaces: 2, alwaysEmitImplicit: true })}\n`
          : explainText(explained);
        process.stdout.write(text);
        return 0;
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        throw new Error(
          error.code === Code.NotFound ? `no payment, refund or request has the id ${id}` : error.rawMessage,
        );
      } finally {
        await databases.close();
      }
    },
  });
