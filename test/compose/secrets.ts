import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

const HELP = `Draws the keys, tokens and passwords of docker-compose.yml by lot, one file each. What is there already stays as it is.

  npm run secrets [-- --dir ./secrets]

Three files come from your Wix app's dashboard, and are for you to write:
  wix_public_key.txt  wix_app_id.txt  wix_app_secret.txt
`;

const FROM_WIX = ['wix_public_key', 'wix_app_id', 'wix_app_secret'];

/** Writes what is missing; returns the files that nobody but you can write. */
export function writeSecrets(dir: string): string[] {
  const fileOf = (name: string) => path.join(dir, `${name}.txt`);
  const drawn = (name: string, draw: () => string): string => {
    if (existsSync(fileOf(name))) return readFileSync(fileOf(name), 'utf8').trim();
    const value = draw();
    writeFileSync(fileOf(name), `${value}\n`);
    // The users of the containers read it; on this machine the folder keeps everybody else out.
    chmodSync(fileOf(name), 0o644);
    return value;
  };
  const token = () => randomBytes(32).toString('hex');
  const key = () => `k1:${randomBytes(32).toString('base64')}`;
  const databaseUrl = (role: string) => () => `postgres://${role}:${token()}@postgres:5432/payments`;

  mkdirSync(dir, { recursive: true });
  chmodSync(dir, 0o700);
  drawn('postgres_password', token);
  drawn('core_database_url', databaseUrl('core'));
  drawn('relay_database_url', databaseUrl('relay'));
  drawn('credentials_key', key);
  drawn('events_key', key);
  drawn('processor_token', token);
  const callers = (tokens: Record<string, string>) =>
    Object.entries(tokens)
      .map(([role, name]) => `${role}:${role}:${drawn(name, token)}`)
      .join(',');
  const people = { reader: 'reader_token', operator: 'operator_token' };
  drawn('core_tokens', () => callers({ gateway: 'gateway_core_token', engine: 'engine_core_token', ...people }));
  drawn('relay_tokens', () => callers(people));
  return FROM_WIX.map(fileOf).filter((file) => !existsSync(file));
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { dir: { type: 'string', default: './secrets' }, help: { type: 'boolean', default: false } },
  });
  if (values.help) process.stdout.write(HELP);
  else {
    const missing = writeSecrets(values.dir);
    process.stdout.write(`The secrets of docker-compose.yml are in ${values.dir}.\n`);
    for (const file of missing) process.stdout.write(`Still to be written, from your Wix app: ${file}\n`);
  }
}
