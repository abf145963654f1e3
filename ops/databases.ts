import path from 'node:path';
import { z } from 'zod';
import { databaseUrl, flag, parseConfig, text } from '../proto/runtime/config.ts';
import { createDatabase, type Database } from '../proto/runtime/database.ts';
import { runningPostgres } from '../proto/runtime/embedded-postgres.ts';
import { createLog } from '../proto/runtime/log.ts';
import { ensureSafety } from '../proto/runtime/safe-config.ts';

// Where commands find the rows of core and relay.

export const DATABASES_HELP = `Reads DATABASE_URL (and of the webhook-relay RELAY_DATABASE_URL where that is another), or DATA_DIR of a connector that runs; without them the
database of an \`npm start\` that runs in this folder, or whose --data DIR is named.`;

const urls = z
  .object({
    DATABASE_URL: databaseUrl().optional(),
    RELAY_DATABASE_URL: databaseUrl().optional(),
    DATA_DIR: text().optional(),
    ALLOW_PLAINTEXT: flag(false),
  })
  .superRefine(ensureSafety);

export interface Databases {
  readonly core: Database;
  readonly relay: Database;
  close(): Promise<void>;
}

const ROLES = ['core', 'relay'];

/** Connects to nothing yet. Throws an Error that says in one line what is missing. */
export function openDatabases(
  command: string,
  options: { data?: string | undefined; statementTimeoutMs?: number },
): Databases {
  const { data, ...more } = options;
  const { DATABASE_URL, RELAY_DATABASE_URL, DATA_DIR } = parseConfig(urls, process.env);
  const url = data === undefined ? DATABASE_URL?.reveal() : undefined;
  // An npm start has its PostgreSQL in a folder of its data, a connector in DATA_DIR itself.
  const folders =
    data !== undefined || !DATA_DIR ? [path.join(data ?? '.data', 'postgres'), data ?? '.data'] : [DATA_DIR];
  const running = url ? undefined : folders.map((folder) => runningPostgres(path.resolve(folder), ROLES)).find(Boolean);
  const core = url ?? running?.core;
  if (!core)
    throw new Error(
      data === undefined && !DATA_DIR
        ? 'set DATABASE_URL, or run it where npm start is running'
        : `no PostgreSQL that this user may use runs in ${data ?? DATA_DIR}: start what uses it`,
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
