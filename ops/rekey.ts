import { fromBinary } from '@bufbuild/protobuf';
import { z } from 'zod';
import { credentialsLookup } from '../core/merchant-credentials.ts';
import { keyIdsInUse } from '../core/store/merchant-accounts.ts';
import { CredentialsSchema } from '../proto/gen/payments/v1/merchant_account_pb.js';
import { keyRing, parseConfig } from '../proto/runtime/config.ts';
import type { Database } from '../proto/runtime/database.ts';
import type { KeyRing } from '../proto/runtime/seal.ts';
import { keysInUse } from '../webhook-relay/store.ts';
import { createProgress, runCommand } from './command.ts';
import { DATABASES_HELP, openDatabases } from './databases.ts';
import { DUTY_HELP, DUTY_OPTIONS, recorded } from './duty.ts';
import * as store from './store-rekey.ts';

const HELP = `Seals everything that is stored with the first key of CREDENTIALS_KEY and of EVENTS_KEY, and says which keys nothing stored needs any more.

  npm run rekey [-- --dry-run]

${DUTY_HELP}
Needs both keys as core and relay have them, the old ones still in. Services may run meanwhile, if all of them know the new key (docs/ROTATION.md).
It may be killed and run again. Events on the topic stay sealed as they were published: an old EVENTS_KEY is needed for as long as the topic
keeps them (KAFKA_RETENTION_MS), and for republishing.
${DATABASES_HELP}
`;

const BATCH = 200;
const keys = z.object({ CREDENTIALS_KEY: keyRing(), EVENTS_KEY: keyRing() });

interface Counts {
  credentials: number;
  payments: number;
  deliveries: number;
}

/** Throws an Error that names the row. */
function open(ring: KeyRing, sealed: Uint8Array, owner: string): Uint8Array {
  try {
    return ring.unseal(sealed, owner);
  } catch (error) {
    throw new Error(`what is stored of ${owner} cannot be opened: ${(error as Error).message}`);
  }
}

/** Merchants' credentials, and by what they are found. */
async function rekeyCredentials(db: Database, ring: KeyRing, seen: () => void): Promise<number> {
  const [first = ''] = ring.ids;
  let done = 0;
  for (let after = 0n; ; ) {
    const batch = await store.staleCredentials(db, first, after, BATCH);
    for (const row of batch) {
      const plain = open(ring, row.sealed, row.accountId);
      const lookup = credentialsLookup(ring, fromBinary(CredentialsSchema, plain));
      if (await store.writeCredentials(db, row, { sealed: ring.seal(plain, row.accountId), lookup, keyId: first }))
        done += 1;
      after = row.id;
      seen();
    }
    if (batch.length < BATCH) return done;
  }
}

/** Rows of one key after another; a row that somebody else has written meanwhile is met again, or has ended. */
async function rekeyRows(
  ring: KeyRing,
  stale: readonly string[],
  read: (key: string) => Promise<store.SealedRow[]>,
  write: (row: store.SealedRow, sealed: Uint8Array, keyId: string) => Promise<boolean>,
  seen: () => void,
): Promise<number> {
  const [first = ''] = ring.ids;
  let done = 0;
  for (const key of stale)
    for (let batch = await read(key); batch.length > 0; batch = await read(key))
      for (const row of batch) {
        if (await write(row, ring.seal(open(ring, row.sealed, row.id), row.id), first)) done += 1;
        seen();
      }
  return done;
}

const staleOf = (inUse: readonly string[], ring: KeyRing) => inUse.filter((id) => id !== ring.ids[0]);

/** Keys that are needed, though they are not there. */
function ensureKnown(setting: string, inUse: readonly string[], ring: KeyRing): void {
  const missing = inUse.filter((id) => !ring.ids.includes(id));
  if (missing.length > 0) throw new Error(`${setting} lacks ${missing.join(', ')}, with which stored data is sealed`);
}

if (import.meta.main)
  await runCommand({
    name: 'rekey',
    help: HELP,
    options: DUTY_OPTIONS,
    async run({ 'dry-run': isDry, as, data }) {
      const { CREDENTIALS_KEY, EVENTS_KEY } = parseConfig(keys, process.env);
      const databases = openDatabases('rekey', { data });
      const { core, relay } = databases;
      const progress = createProgress();
      try {
        const look = async () => ({ ...(await keyIdsInUse(core)), bodies: await keysInUse(relay) });
        const before = await look();
        ensureKnown('CREDENTIALS_KEY', before.credentials, CREDENTIALS_KEY);
        ensureKnown('EVENTS_KEY', [...before.events, ...before.bodies], EVENTS_KEY);
        const say = (text: string) => process.stdout.write(`${text}\n`);
        if (isDry) {
          const stale = {
            credentials: staleOf(before.credentials, CREDENTIALS_KEY),
            payments: staleOf(before.events, EVENTS_KEY),
            deliveries: staleOf(before.bodies, EVENTS_KEY),
          };
          for (const [what, ids] of Object.entries(stale)) {
            const first = (what === 'credentials' ? CREDENTIALS_KEY : EVENTS_KEY).ids[0];
            say(
              ids.length > 0
                ? `${what}: would seal with ${first} what is sealed with ${ids.join(', ')}`
                : `${what}: nothing is sealed with another key than ${first}`,
            );
          }
          return 0;
        }
        const asked = { credentialsKeys: CREDENTIALS_KEY.ids, eventsKeys: EVENTS_KEY.ids };
        const done = await recorded(core, { command: 'rekey', as, asked }, async (): Promise<Counts> => {
          let rows = 0;
          const seen = () => progress.show(`${++rows} rows looked at`);
          return {
            credentials: await rekeyCredentials(core, CREDENTIALS_KEY, seen),
            payments: await rekeyRows(
              EVENTS_KEY,
              staleOf(before.events, EVENTS_KEY),
              (key) => store.stalePayments(core, key, BATCH),
              (...row) => store.writePayment(core, ...row),
              seen,
            ),
            deliveries: await rekeyRows(
              EVENTS_KEY,
              staleOf(before.bodies, EVENTS_KEY),
              (key) => store.staleBodies(relay, key, BATCH),
              (...row) => store.writeBody(relay, ...row),
              seen,
            ),
          };
        });
        progress.end();
        say(`sealed anew: ${done.credentials} credentials, ${done.payments} payments, ${done.deliveries} deliveries`);
        const after = await look();
        for (const [setting, ring, inUse] of [
          ['CREDENTIALS_KEY', CREDENTIALS_KEY, after.credentials],
          ['EVENTS_KEY', EVENTS_KEY, [...after.events, ...after.bodies]],
        ] as const)
          for (const id of ring.ids.slice(1))
            say(
              `${setting} ${id}: ${inUse.includes(id) ? 'still needed; is a service running that seals with it?' : setting === 'EVENTS_KEY' ? 'nothing stored needs it; remove it when the topic keeps nothing of its time' : 'nothing stored needs it; it may be removed'}`,
            );
        return 0;
      } finally {
        await databases.close();
      }
    },
  });
