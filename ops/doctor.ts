import path from 'node:path';
import type { z } from 'zod';
import { connectorConfig } from '../connector.ts';
import { standaloneConfig as coreConfig } from '../core/config.ts';
import { keyIdsInUse } from '../core/store/merchant-accounts.ts';
import { standaloneConfig as gatewayConfig } from '../gateway/config.ts';
import { ConfigError, type Env, parseConfig, refuseDevelopmentSecrets, type Secret } from '../proto/runtime/config.ts';
import { runningPostgres } from '../proto/runtime/embedded-postgres.ts';
import { readTls } from '../proto/runtime/tls.ts';
import { standaloneConfig as relayConfig } from '../webhook-relay/config.ts';
import { keysInUse } from '../webhook-relay/store.ts';
import { colour, printable, runCommand, UsageError } from './command.ts';
import { type Check, type Finding, fail, ok, runChecks, skip } from './doctor/check.ts';
import { aboutIdentity, aboutKeys, schemaCheck, serverCheck } from './doctor/databases.ts';
import {
  engineCheck,
  kafkaCheck,
  ownCertificateCheck,
  publicUrlCheck,
  remoteCertificateCheck,
  wixCheck,
} from './doctor/peers.ts';

const HELP = `Looks whether gateway, core and webhook-relay can do their work with this environment: before go-live, and at night.

  npm run doctor [-- --for connector|gateway,core,webhook-relay] [--url https://pay.your-psp.com] [--json]

  --for    which services; by default those that this environment configures
  --url    where Wix reaches the gateway: it must refuse an unsigned call (by default PUBLIC_URL)
  --json   one object: { "ok": ..., "checks": [{ "name", "findings": [{ "level", "text", "remedy" }] }] }
  --help

It changes nothing: it reads the databases and the topic, asks the engine for an operation that cannot be there, and takes a token of Wix that is
used for nothing. One line for each finding: ok, warn, FAIL or skip, with what to do. Exit code 1 if anything is FAIL.
`;

const SERVICES = ['gateway', 'core', 'webhook-relay'] as const;
type Service = (typeof SERVICES)[number];
type Settings = Record<string, unknown>;

/** As the README says. */
const RELAY_CONNECTIONS = 10;

/** A setting that no other service has. */
const MARKS: Readonly<Record<Service, string>> = {
  gateway: 'WIX_PUBLIC_KEY',
  core: 'CREDENTIALS_KEY',
  'webhook-relay': 'WIX_APP_ID',
};
const SCHEMAS: Readonly<Record<Service | 'connector', z.ZodObject>> = {
  gateway: gatewayConfig,
  core: coreConfig,
  'webhook-relay': relayConfig,
  connector: connectorConfig,
};

/** The services that are looked at, and whether they are one process. */
function chooseServices(env: Env, named: string | undefined): (Service | 'connector')[] {
  const isSet = (name: string) => Boolean(env[name] || env[`${name}_FILE`]);
  const names = named?.split(',').map((name) => name.trim()) ?? SERVICES.filter((name) => isSet(MARKS[name]));
  const unknown = names.find((name) => !(name in SCHEMAS));
  if (unknown !== undefined) throw new UsageError(`${unknown} is no service: connector, ${SERVICES.join(', ')}`);
  // All three in one environment without a broker can only be one process.
  if (named === undefined && names.length === 3 && !isSet('KAFKA_BROKERS')) return ['connector'];
  return names as (Service | 'connector')[];
}

function readSettings(service: Service | 'connector', env: Env): { config?: Settings; findings: Finding[] } {
  try {
    const config = parseConfig(SCHEMAS[service], env);
    refuseDevelopmentSecrets(SCHEMAS[service], env);
    return { config, findings: [ok('complete and consistent')] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { findings: error.problems.map((problem) => fail(problem, 'see Configuration in the README')) };
  }
}

/** What can be looked at with the settings of a service, or of all three. */
function checksOf(service: Service | 'connector', config: Settings): Check[] {
  const has = (one: Service) => service === one || service === 'connector';
  const checks: Check[] = [];
  const urlOf = (role: 'core' | 'relay') => {
    const dir = config.DATA_DIR as string | undefined;
    return dir
      ? runningPostgres(path.resolve(dir), ['core', 'relay'])?.[role]
      : (config.DATABASE_URL as Secret).reveal();
  };
  const addSchema = (
    name: 'core' | 'webhook-relay',
    schema: 'core' | 'relay',
    keys: Parameters<typeof schemaCheck>[0]['keys'],
  ) => {
    const url = urlOf(schema);
    const prepare = config.DATABASE_PREPARE as boolean;
    if (url) checks.push(schemaCheck({ service: name, schema, url, prepare, keys }));
    else
      checks.push({
        name: `${name}: schema`,
        run: async () => [skip('the embedded database does not run: start the connector, and look again')],
      });
  };
  const server = has('core') ? urlOf('core') : has('webhook-relay') ? urlOf('relay') : undefined;
  const connections =
    (has('core') ? (config.DATABASE_POOL_SIZE as number) : 0) + (has('webhook-relay') ? RELAY_CONNECTIONS : 0);
  if (server) checks.push(serverCheck(server, connections));
  const ringOf = (name: string) => (config[name] as { ids: string[] }).ids;
  if (has('core')) {
    addSchema('core', 'core', async (db) => {
      const inUse = await keyIdsInUse(db);
      return [
        ...aboutKeys('CREDENTIALS_KEY', inUse.credentials, ringOf('CREDENTIALS_KEY')),
        ...aboutKeys('EVENTS_KEY', inUse.events, ringOf('EVENTS_KEY')),
        ...(await aboutIdentity(db)),
      ];
    });
    const tls = readTls('PROCESSOR', config as Parameters<typeof readTls<'PROCESSOR'>>[1]);
    const url = config.PROCESSOR_URL as string;
    checks.push(engineCheck({ url, token: config.PROCESSOR_TOKEN as Secret, tls }));
  }
  if (has('webhook-relay')) {
    addSchema('webhook-relay', 'relay', async (db) =>
      aboutKeys('EVENTS_KEY', await keysInUse(db), ringOf('EVENTS_KEY')),
    );
    checks.push(wixCheck(config as Parameters<typeof wixCheck>[0]));
  }
  if (config.KAFKA_BROKERS) checks.push(kafkaCheck(config as Parameters<typeof kafkaCheck>[0]));
  for (const peer of ['CORE', 'PROCESSOR', 'RELAY'] as const) {
    const { cert } = readTls(peer, config as never) ?? {};
    if (cert) checks.push(ownCertificateCheck(peer, cert));
    const url = config[`${peer}_URL`];
    if (typeof url === 'string' && url.startsWith('https://'))
      checks.push(remoteCertificateCheck(`${peer}_URL`, url, readTls(peer, config as never)));
  }
  return checks;
}

async function examine(env: Env, named: string | undefined, url: string | undefined) {
  const services = chooseServices(env, named);
  const checks: Check[] = [];
  if (services.length === 0)
    checks.push({
      name: 'configuration',
      run: async () => [
        fail(
          'this environment configures no service',
          'set what the README lists, in the environment or in .env, or name services with --for',
        ),
      ],
    });
  const done = new Set<string>();
  for (const service of services) {
    const { config, findings } = readSettings(service, env);
    checks.push({ name: `${service}: configuration`, run: async () => findings });
    for (const check of config ? checksOf(service, config) : []) {
      // What two services share is looked at once.
      if (!done.has(check.name)) checks.push(check);
      done.add(check.name);
    }
  }
  const publicUrl = url ?? env.PUBLIC_URL;
  if (publicUrl) {
    checks.push(publicUrlCheck(publicUrl));
    if (publicUrl.startsWith('https://')) checks.push(remoteCertificateCheck('the public URL', publicUrl));
  } else checks.push({ name: 'gateway: public URL', run: async () => [skip('not looked at: name it with --url')] });
  return runChecks(checks);
}

const PAINT = { ok: 'green', warn: 'yellow', FAIL: 'red', skip: 'dim' } as const;

if (import.meta.main)
  await runCommand({
    name: 'doctor',
    help: HELP,
    options: { json: { type: 'boolean' }, for: { type: 'string' }, url: { type: 'string' } },
    async run({ json, for: named, url }) {
      if (url !== undefined && !/^https?:\/\/[^/]+/.test(url)) throw new UsageError('--url must be an http(s) URL');
      const checks = await examine(process.env, named, url);
      const findings = checks.flatMap(({ name, findings }) => findings.map((finding) => ({ name, ...finding })));
      const isWell = findings.every(({ level }) => level !== 'FAIL');
      if (json) process.stdout.write(`${JSON.stringify({ ok: isWell, checks }, null, 2)}\n`);
      else
        for (const { name, level, text, remedy } of findings)
          process.stdout.write(
            `${printable(`${colour(PAINT[level], level.padEnd(4))}  ${name.padEnd(28)}  ${text}${remedy ? `. ${remedy[0]?.toUpperCase()}${remedy.slice(1)}.` : ''}`)}\n`,
          );
      return isWell ? 0 : 1;
    },
  });
