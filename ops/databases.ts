import path from 'node:path';
import { z } from 'zod';
import { databaseUrl, flag, parseConfig } from '../proto/runtime/config.ts';
import { createDatabase, type Database } from '../proto/runtime/database.ts';
import { runningPostgres } from '../proto/runtime/embedded-postgres.ts';
import { createLog } from '../proto/runtime/log.ts';
import { ensureSafety } from '../proto/runtime/safe-config.ts';

// Where commands find the rows of core and relay.

export const DATABASES_HELP = `Reads DATABASE_URL, and of the webhook-relay RELAY_DATABASE_URL where that is another; without them the database of an
\`npm start\` that runs in this folder, or whose --data DIR is named.`;

const urls = z
  .object({
    DATABASE_URL: databaseUrl().optional(),
    RELAY_DATABASE_URL: databaseUrl().optional(),
    ALLOW_PLAINTEXT: flag(false),
  })
  .superRefine(ensureSafety);

export interface Databases {
  readonly core: Database;
  readonly relay: Database;
  close(): Promise<void>;
}

/** Connects to nothing yet. Throws an Error that says in one line what is missing. */
export function openDatabases(
  command: string,
  options: { data?: string | undefined; statementTimeoutMs?: number },
): Databases {
  const { data, ...more } = options;
  const { DATABASE_URL, RELAY_DATABASE_URL } = parseConfig(urls, process.env);
  const isNamed = data !== undefined || !DATABASE_URL;
  const running = isNamed ? runningPostgres(path.resolve(data ?? '.data', 'postgres'), ['core', 'relay']) : undefined;
  const core = running?.core ?? (data === undefined ? DATABASE_URL?.reveal() : undefined);
  if (!core)
    throw new Error(
      data === undefined
        ? 'set DATABASE_URL, or run it where npm start is running'
        : `no database that this user may use runs in ${data}`,
    );
  const log = createLog(command, 'error');
  const open = (url: string, schema: string) => createDatabase({ url, schema, poolSize: 2, log, ...more });
  const databases = {
    core: open(core, 'core'),
    relay: open(running?.relay ?? RELAY_DATABASE_URL?.reveal() ?? core, 'relay'),
  };
  return {
    ...databases,
    close: async () => {
      await databases.core.close();
      await databases.relay.close();
    },
  };
}
