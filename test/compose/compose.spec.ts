import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import type { z } from 'zod';
import { standaloneConfig as coreConfig } from '../../core/config.ts';
import { standaloneConfig as gatewayConfig } from '../../gateway/config.ts';
import { type Env, parseConfig, refuseDevelopmentSecrets } from '../../proto/runtime/config.ts';
import { migrate } from '../../proto/runtime/migrate.ts';
import { standaloneConfig as relayConfig } from '../../webhook-relay/config.ts';
import { engineConfig } from '../engine/config.ts';
import { asAdmin, testDatabaseUrl } from '../support/database.ts';
import { quietLog } from '../support/log.ts';
import { execForm, ROOT, readCompose } from './compose-file.ts';
import { writeSecrets } from './secrets.ts';

// No Docker engine runs where these tests do: the file is held against its specification, and against the code that it configures.

const CONFIGS: Readonly<Record<string, z.ZodObject>> = {
  gateway: gatewayConfig,
  core: coreConfig,
  'webhook-relay': relayConfig,
  engine: engineConfig,
};
const ours = Object.keys(CONFIGS);

describe('docker-compose.yml', () => {
  const { services, secrets, networks } = readCompose();
  let dir: string;

  before(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'compose-'));
    writeSecrets(dir);
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const fromWix = {
      wix_public_key: publicKey.export({ type: 'spki', format: 'pem' }),
      wix_app_id: 'app',
      wix_app_secret: 's',
    };
    for (const [name, value] of Object.entries(fromWix)) writeFileSync(path.join(dir, `${name}.txt`), value);
  });
  after(() => rmSync(dir, { recursive: true }));

  const secretFile = (name: string) => path.join(dir, path.basename(secrets[name]?.file ?? ''));

  /** The environment of a service as its container has it, its secrets read from the folder of this test. */
  function environmentOf(name: string): Env {
    const entries = Object.entries(services[name]?.environment ?? {}).map(([key, value]) => [
      key,
      value
        .replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1')
        .replace(/^\/run\/secrets\/(\w+)$/, (_, secret: string) => secretFile(secret)),
    ]);
    return Object.fromEntries(entries);
  }
  const configOf = (name: string) => parseConfig(CONFIGS[name]!, environmentOf(name)) as Record<string, unknown>;

  it('is a file of the compose specification', () => {
    const lint = (file: string) =>
      spawnSync(path.join(ROOT, 'node_modules/.bin/dclint'), ['--quiet', '--color=false', file], { encoding: 'utf8' });
    const { status, stdout } = lint(path.join(ROOT, 'docker-compose.yml'));
    assert.equal(status, 0, stdout);
    const broken = path.join(dir, 'docker-compose.yml');
    writeFileSync(
      broken,
      readFileSync(path.join(ROOT, 'docker-compose.yml'), 'utf8').replace('read_only:', 'readonly:'),
    );
    assert.notEqual(lint(broken).status, 0, 'the linter finds nothing');
  });

  it('runs Kafka, PostgreSQL 18, the three services and the simulated engine', () => {
    assert.deepEqual(Object.keys(services).sort(), [...ours, 'kafka', 'postgres'].sort());
    assert.match(services.kafka?.image ?? '', /^apache\/kafka:4\.\d+\.\d+$/);
    assert.equal(services.postgres?.image, 'postgres:18');
  });

  for (const name of ours)
    it(`sets what ${name} needs, and nothing that it does not know`, () => {
      const known = Object.keys(CONFIGS[name]!.shape).flatMap((key) => [key, `${key}_FILE`]);
      assert.deepEqual(
        Object.keys(services[name]?.environment ?? {}).filter((key) => !known.includes(key)),
        [],
      );
      configOf(name);
      refuseDevelopmentSecrets(CONFIGS[name]!, environmentOf(name));
    });

  it('R34 is a sandbox, and keeps every secret in a file of its own', () => {
    assert.equal(configOf('core').MODE_WHEN_ABSENT, 'sandbox');
    const used = new Set<string>();
    for (const [name, { environment = {}, secrets: own = [] }] of Object.entries(services)) {
      const read = Object.values(environment).flatMap((value) => /^\/run\/secrets\/(\w+)$/.exec(value)?.[1] ?? []);
      if (name !== 'postgres') assert.deepEqual(read.sort(), [...own].sort(), `${name} has the secrets that it reads`);
      for (const secret of own) used.add(secret);
    }
    assert.deepEqual([...used].sort(), Object.keys(secrets).sort());
    for (const { file } of Object.values(secrets)) assert.match(file, /^\.\/secrets\/\w+\.txt$/);
    assert.match(readFileSync(path.join(ROOT, '.gitignore'), 'utf8'), /^secrets\/$/m);
  });

  it('lets each service speak to the others: address, port, token and key agree', () => {
    const [gateway, core, relay, engine] = ours.map(environmentOf) as [Env, Env, Env, Env];
    const identify = (file = '') => coreTokens.identify(readFileSync(file, 'utf8').trim())?.role;
    const coreTokens = configOf('core').CORE_TOKENS as { identify(token: string): { role: string } | undefined };
    assert.equal(identify(gateway.CORE_TOKEN_FILE), 'gateway');
    assert.equal(identify(engine.CORE_TOKEN_FILE), 'engine');
    assert.equal(core.PROCESSOR_TOKEN_FILE, engine.ENGINE_TOKEN_FILE);
    assert.equal(core.EVENTS_KEY_FILE, relay.EVENTS_KEY_FILE);
    for (const url of [gateway.CORE_URL, engine.CORE_URL])
      assert.equal(url, `http://core:${configOf('core').CORE_GRPC_PORT}`);
    assert.equal(core.PROCESSOR_URL, `http://engine:${configOf('engine').ENGINE_PORT}`);
    for (const { KAFKA_BROKERS: brokers } of [core, relay])
      assert.equal(services.kafka?.environment?.KAFKA_ADVERTISED_LISTENERS, `PLAINTEXT://${brokers}`);
    for (const role of ['core', 'relay'])
      assert.match(
        readFileSync(secretFile(`${role}_database_url`), 'utf8'),
        new RegExp(`^postgres://${role}:\\w+@postgres:5432/payments$`, 'm'),
      );
    for (const { networks: own } of Object.values(services)) assert.ok(own.includes('private'));
    for (const [name, config] of [
      ['gateway', 'GATEWAY_HOST'],
      ['core', 'CORE_HOST'],
      ['webhook-relay', 'RELAY_HOST'],
      ['engine', 'ENGINE_HOST'],
    ] as const)
      assert.equal(configOf(name)[config], '0.0.0.0');
  });

  it('R38 R45 waits for health before it starts, and long enough before it kills', () => {
    for (const [name, service] of Object.entries(services)) {
      const check = service.healthcheck?.test ?? execForm(service.build?.target ?? '', 'HEALTHCHECK');
      assert.ok(check.length > 1, `${name} has a health check`);
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        assert.ok(services[other], `${name} waits for ${other}`);
        assert.equal(condition, 'service_healthy');
      }
      // An end takes DRAIN_MS, and is forced after 10 s.
      assert.ok(Number.parseInt(service.stop_grace_period ?? '', 10) > 10, name);
    }
  });

  it('gives each container as little as it needs', () => {
    for (const [name, service] of Object.entries(services)) {
      assert.deepEqual(service.cap_drop, ['ALL'], name);
      assert.equal(service.cap_add, undefined, name);
      assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name);
      assert.equal(service.privileged, undefined, name);
      assert.deepEqual(service.ulimits, { core: 0 }, name);
      assert.match(service.mem_limit ?? '', /^\d+[mg]$/, name);
      assert.ok((service.pids_limit ?? 0) >= 100, name);
      assert.equal(service.read_only, name !== 'kafka', name);
      for (const published of service.ports ?? [])
        assert.match(published, /^127\.0\.0\.1:\d+(-\d+)?:\d+$/, 'on loopback');
      assert.equal(service.init, ours.includes(name) ? true : undefined, name);
    }
    assert.equal(networks.private?.internal, true);
    const isOutside = (name: string) => services[name]?.networks.includes('outside');
    assert.deepEqual(Object.keys(services).filter(isOutside), ['gateway', 'webhook-relay', 'engine']);
    assert.deepEqual(
      Object.keys(services).filter((name) => services[name]?.ports),
      ['gateway', 'engine'],
    );
  });

  it('gives core and relay a role each in PostgreSQL, and neither sees what the other keeps', async () => {
    const suffix = randomBytes(6).toString('hex');
    const own = (role: string) => `${role}_${suffix}`;
    const script = readFileSync(path.join(ROOT, 'test/compose/database-roles.sql'), 'utf8');
    const passwords = Object.fromEntries(
      [...script.matchAll(/^\\set (\w+) `(.*)`$/gm)].map(([, name = '', command = '']) => {
        const onThisMachine = command.replace(/\/run\/secrets\/(\w+)/, (_, secret: string) => secretFile(secret));
        return [name, execFileSync('bash', ['-c', onThisMachine], { encoding: 'utf8' }).trim()];
      }),
    );
    assert.match(passwords.core_password ?? '', /^[0-9a-f]{64}$/);
    const statements = script
      .replaceAll(/^(\\|--).*$/gm, '')
      .replaceAll(/:'(\w+)'/g, (_, name: string) => `'${passwords[name]}'`)
      .replaceAll(/\b(payments|core|relay)\b/g, (name) => own(name));
    await asAdmin(async (client) => {
      await client.query(`create database ${own('payments')}`);
      await client.query(statements);
    });
    const urlOf = (role: string) => {
      const url = new URL(testDatabaseUrl(own('payments')));
      return Object.assign(url, { username: own(role), password: passwords[`${role}_password`] }).href;
    };
    for (const [schema, folder] of [
      ['core', 'core'],
      ['relay', 'webhook-relay'],
    ] as const)
      await migrate({ url: urlOf(schema), schema, dir: path.join(ROOT, folder, 'migrations'), log: quietLog() });
    for (const [role, foreign] of [
      ['core', 'relay.deliveries'],
      ['relay', 'core.transactions'],
    ] as const) {
      const client = new pg.Client({ connectionString: urlOf(role) });
      await client.connect();
      try {
        await assert.rejects(client.query(`select from ${foreign}`), /permission denied for schema/);
        await assert.rejects(client.query('create role more'), /permission denied/);
      } finally {
        await client.end();
      }
    }
  });
});

describe('npm run secrets', () => {
  it('draws each secret once, for nobody else on this machine, and says what comes from Wix', () => {
    const dir = path.join(mkdtempSync(path.join(tmpdir(), 'secrets-')), 'secrets');
    const contents = () => readdirSync(dir).map((name) => [name, readFileSync(path.join(dir, name), 'utf8')]);
    const run = () =>
      execFileSync(process.execPath, [path.join(import.meta.dirname, 'secrets.ts'), '--dir', dir], {
        encoding: 'utf8',
      });
    assert.match(run(), /wix_public_key\.txt/);
    const first = contents();
    run();
    assert.deepEqual(contents(), first);
    assert.equal(statSync(dir).mode & 0o777, 0o700);
    assert.equal(new Set(first.map(([, value]) => value)).size, first.length);
    rmSync(path.dirname(dir), { recursive: true });
  });
});
