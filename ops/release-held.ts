import { ConnectError, createClient } from '@connectrpc/connect';
import { z } from 'zod';
import { createRelayTransport } from '../core/relay.ts';
import { DeliveriesService, Delivery_State as State } from '../proto/gen/relay/v1/deliveries_pb.js';
import { flag, parseConfig, token, url } from '../proto/runtime/config.ts';
import { ensureSafety } from '../proto/runtime/safe-config.ts';
import { readTls, tlsEntries } from '../proto/runtime/tls.ts';
import { printable, runCommand } from './command.ts';
import { readReason } from './duty.ts';

const HELP = `Reads held deliveries again, with the keys and the version of now: those that nothing speaks against any more are told to Wix. Lists what stays held.

  npm run release-held -- --reason TEXT [--transaction ID] [--dry-run]

  --reason TEXT       why; kept in relay.decisions with the name of your token
  --transaction ID    of one payment alone, by our id
  --dry-run           lists what is held, and changes nothing
  --help

Needs RELAY_URL (http://127.0.0.1:8082; the core's HTTP port will do) and OPERATOR_TOKEN, a token of role operator in RELAY_TOKENS. Exit code 1 if anything
stays held: docs/OPERATIONS.md, event_conflict and event_unreadable, says what to do about each.
`;

const config = z
  .object({
    RELAY_URL: url('http:', 'https:').prefault('http://127.0.0.1:8082'),
    OPERATOR_TOKEN: token(),
    ...tlsEntries('RELAY'),
    ALLOW_PLAINTEXT: flag(false),
  })
  .superRefine(ensureSafety);

const SHOWN = 50;

if (import.meta.main)
  await runCommand({
    name: 'release-held',
    help: HELP,
    options: { reason: { type: 'string' }, transaction: { type: 'string' }, 'dry-run': { type: 'boolean' } },
    async run({ reason: given, transaction: transactionId = '', 'dry-run': isDry }) {
      const reason = isDry ? '' : readReason(given);
      const { RELAY_URL, OPERATOR_TOKEN, ...rest } = parseConfig(config, process.env);
      const relay = createClient(
        DeliveriesService,
        createRelayTransport({ url: RELAY_URL, tls: readTls('RELAY', rest) }),
      );
      const call = { headers: { authorization: `Bearer ${OPERATOR_TOKEN.reveal()}` } };
      const selection = { states: [State.HELD], transactionId };
      const say = (text: string) => process.stdout.write(`${printable(text)}\n`);
      try {
        if (!isDry) {
          const { freed, stillHeld } = await relay.redriveDeliveries({ selection, reason }, call);
          say(`${freed} are held no longer, ${stillHeld} stay held`);
        }
        const { deliveries, nextPageToken } = await relay.listDeliveries({ selection, pageSize: SHOWN }, call);
        for (const { eventId, transactionId: payment, sequence, type } of deliveries)
          say(`held: event ${eventId}, ${sequence} ${type} of payment ${payment}`);
        if (nextPageToken) say('and more');
        if (isDry && deliveries.length === 0) say('nothing is held');
        return isDry || deliveries.length === 0 ? 0 : 1;
      } catch (error) {
        throw error instanceof ConnectError ? new Error(`the webhook-relay: ${error.rawMessage}`) : error;
      }
    },
  });
