import assert from 'node:assert/strict';
import { standaloneConfig as coreConfig } from '../../core/config.ts';
import { type ConfigError, DEVELOPMENT_MARK, parseConfig } from '../../proto/runtime/config.ts';
import { standaloneConfig as relayConfig } from '../../webhook-relay/config.ts';
import { endPrograms, numberIn, type Program, startProgram } from '../faults/program.ts';
import { connectMerchant, openSurroundings, type Surroundings, startConnector } from '../faults/surroundings.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { useKafka } from '../support/kafka.ts';
import { READERS } from './read-topic.ts';

const TOKEN = 'a-token-of-thirty-two-characters';

describe('gateway, core and relay as processes of their own', function () {
  this.timeout(60_000);
  const kafka = useKafka();
  let around: Surroundings;
  const programs: Record<string, Program> = {};
  let env: Record<string, string>;
  let url: string;
  before(async () => {
    around = await openSurroundings();
    env = { ...around.env, ...kafka.newEnv(), DATABASE_URL: await freshDatabase() };
    const core = startProgram('core/main.ts', { ...env, CORE_TOKENS: `wix:gateway:${TOKEN}`, CORE_GRPC_PORT: '0' });
    const relay = startProgram('webhook-relay/main.ts', env);
    const grpcPort = await core.until(() => numberIn(core, 'core.started', 'grpcPort'));
    const gateway = startProgram('gateway/main.ts', { ...env, CORE_URL: `127.0.0.1:${grpcPort}`, CORE_TOKEN: TOKEN });
    url = `http://127.0.0.1:${await gateway.until(() => numberIn(gateway, 'gateway.listening', 'port'))}`;
    Object.assign(programs, { gateway, core, relay });
    await relay.until(() => numberIn(relay, 'relay.started', 'port'));
  });
  after(async () => {
    await endPrograms();
    await around?.close();
  });

  it('serve Wix over gRPC and Kafka: sale, decline, capture, void and refund, with an event for each', async () => {
    const { wix, engine } = around;
    const merchant = await connectMerchant(wix, url);
    const sale = await wix.pay(merchant);
    const declined = await wix.pay(merchant, { number: '4000000000000002' });
    const captured = await wix.pay(merchant, { authorizeOnly: true });
    const voided = await wix.pay(merchant, { authorizeOnly: true });
    assert.equal((await wix.refund(sale)).status, 200);
    assert.equal((await wix.capture(captured)).status, 200);
    assert.equal((await wix.void(voided)).status, 200);
    await wix.eventFor(sale.wixTransactionId, ({ kind }) => kind === 'refund');
    await wix.eventFor(captured.wixTransactionId, ({ kind }) => kind === 'capture');
    await wix.eventFor(voided.wixTransactionId, ({ kind }) => kind === 'void');
    await wix.eventFor(declined.wixTransactionId, ({ body }) => body.reasonCode === 3000);
    assert.equal(engine.books.charged(captured.pluginTransactionId), 4590n);
    assert.deepEqual(wix.untold, []);
    assert.deepEqual(wix.violations, []);
  });

  it('R45 are ready, and count what they do', async () => {
    const ports = {
      core: numberIn(programs.core!, 'core.started', 'httpPort'),
      relay: numberIn(programs.relay!, 'relay.started', 'port'),
      gateway: numberIn(programs.gateway!, 'gateway.listening', 'adminPort'),
    };
    for (const [name, port] of Object.entries(ports)) {
      await eventually(async () => {
        const { status } = await fetch(`http://127.0.0.1:${port}/health/ready`);
        assert.equal(status, 200, name);
      });
    }
    for (const [port, role] of [
      [ports.core, 'publisher'],
      [ports.relay, 'consumer'],
    ]) {
      const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      assert.match(metrics, new RegExp(`^kafka_up\\{role="${role}"\\} 1$`, 'm'));
    }
  });

  it('R38 end with 0 when asked to, and have said nothing on stderr', async () => {
    for (const name of ['gateway', 'core', 'relay'] as const) {
      programs[name]?.signal('SIGTERM');
      assert.equal(await programs[name]?.ended, 0, programs[name]?.out);
      assert.equal(programs[name]?.err, '');
    }
  });

  it('R34 name what is missing, and refuse secrets that everybody knows', async () => {
    const forgotten = startProgram('core/main.ts', {});
    const known = startProgram('webhook-relay/main.ts', { ...env, WIX_APP_SECRET: `${DEVELOPMENT_MARK}-secret` });
    assert.equal(await forgotten.ended, 1);
    for (const name of [
      'KAFKA_BROKERS',
      'DATABASE_URL',
      'CORE_TOKENS',
      'PROCESSOR_URL',
      'MODE_WHEN_ABSENT',
      'EVENTS_KEY',
    ])
      assert.match(forgotten.err, new RegExp(`^core: ${name} `, 'm'));
    assert.equal(await known.ended, 1);
    assert.match(known.err, /^webhook-relay: WIX_APP_SECRET is a development secret/);
  });
});

describe('the connector with KAFKA_BROKERS', () => {
  const kafka = useKafka();
  let around: Surroundings;
  before(async () => {
    around = await openSurroundings();
  });
  after(async () => {
    await endPrograms();
    await around?.close();
  });

  it('sends its events over Kafka, where others read them too, and ends in order', async function () {
    this.timeout(60_000);
    const { wix } = around;
    const env = kafka.newEnv();
    const connector = await startConnector({ ...around.env, ...env, DATABASE_URL: await freshDatabase() });
    const { wixTransactionId, pluginTransactionId } = await wix.pay(await connectMerchant(wix, connector.url));
    await wix.eventFor(wixTransactionId, ({ accepted }) => accepted);
    const read = await READERS['a plain consumer']!(env);
    assert.deepEqual(
      read.map(({ key, headers }) => [key, headers['event-type']]),
      [[pluginTransactionId, 'transaction_approved']],
    );
    connector.signal('SIGTERM');
    assert.equal(await connector.ended, 0, connector.out);
  });
});

describe('core and relay without Kafka', () => {
  let around: Surroundings;
  before(async () => {
    around = await openSurroundings();
  });
  after(async () => {
    await endPrograms();
    await around?.close();
  });

  it('R45 start all the same, the core ready and the relay not, and R38 end with 0 when asked to', async function () {
    this.timeout(60_000);
    const env = { ...around.env, KAFKA_BROKERS: '127.0.0.1:1', DATABASE_URL: await freshDatabase() };
    const core = startProgram('core/main.ts', { ...env, CORE_TOKENS: `wix:gateway:${TOKEN}`, CORE_GRPC_PORT: '0' });
    const relay = startProgram('webhook-relay/main.ts', env);
    const ready = async (port: number) => (await fetch(`http://127.0.0.1:${port}/health/ready`)).status;
    assert.equal(await ready(await core.until(() => numberIn(core, 'core.started', 'httpPort'))), 200);
    assert.equal(await ready(await relay.until(() => numberIn(relay, 'relay.started', 'port'))), 503);
    for (const program of [core, relay]) {
      program.signal('SIGTERM');
      assert.equal(await program.ended, 0, program.out);
    }
  });
});

describe('the configuration of core and relay as processes of their own', () => {
  const key = (byte: number) => `k1:${Buffer.alloc(32, `key ${byte}`).toString('base64')}`;
  const env = {
    ...{
      DATABASE_URL: 'postgres://localhost/payments',
      EVENTS_KEY: key(7),
      CREDENTIALS_KEY: key(8),
      KAFKA_BROKERS: 'kafka:9092',
      KAFKA_SSL: 'true',
    },
    ...{ CORE_TOKENS: `wix:gateway:${TOKEN}`, MODE_WHEN_ABSENT: 'live', PROCESSOR_TOKEN: `engine-${TOKEN}` },
    ...{ PROCESSOR_URL: 'http://127.0.0.1:1', WIX_APP_ID: 'id', WIX_APP_SECRET: 'secret', WIX_USER_AGENT: 'psp/1' },
  };
  const problems = (schema: typeof coreConfig | typeof relayConfig, changes: Record<string, string>) => {
    try {
      parseConfig(schema, { ...env, ...changes });
      return [];
    } catch (error) {
      return (error as ConfigError).problems.map((problem) => problem.split(' ')[0]);
    }
  };

  it('R33 refuses an engine elsewhere without encryption unless that is accepted', () => {
    const PROCESSOR_URL = 'http://engine:50061';
    assert.deepEqual(problems(coreConfig, {}), []);
    assert.deepEqual(problems(coreConfig, { PROCESSOR_URL }), ['PROCESSOR_URL']);
    assert.deepEqual(problems(coreConfig, { PROCESSOR_URL, ALLOW_PLAINTEXT: 'true' }), []);
  });

  it('takes SASL whole or not at all', () => {
    const whole = { KAFKA_SASL_MECHANISM: 'scram-sha-512', KAFKA_SASL_USERNAME: 'u', KAFKA_SASL_PASSWORD: 'p' };
    for (const schema of [coreConfig, relayConfig]) {
      assert.deepEqual(problems(schema, whole), []);
      for (const missing of Object.keys(whole))
        assert.deepEqual(problems(schema, { ...whole, [missing]: '' }), ['KAFKA_SASL_MECHANISM']);
      assert.deepEqual(problems(schema, { ...whole, KAFKA_SASL_MECHANISM: 'gssapi' }), ['KAFKA_SASL_MECHANISM']);
    }
  });
});
