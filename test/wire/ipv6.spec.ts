import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { createClient, createRouterTransport } from '@connectrpc/connect';
import { gatewayConfig } from '../../gateway/config.ts';
import { createGateway } from '../../gateway/service.ts';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import { type Env, host, parseConfig, Secret } from '../../proto/runtime/config.ts';
import { createDatabase } from '../../proto/runtime/database.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { createClient as createKafka, createWatch, kafkaConfig } from '../../proto/runtime/kafka-client.ts';
import { listen } from '../../proto/runtime/lifecycle.ts';
import { relayConfig } from '../../webhook-relay/config.ts';
import { createRelay } from '../../webhook-relay/service.ts';
import { endPrograms, startProgram } from '../faults/program.ts';
import { pemOf, wixKeys } from '../gateway/harness.ts';
import { KEYS } from '../support/core.ts';
import { freshDatabase } from '../support/database.ts';
import { quietLog } from '../support/log.ts';
import { startCore, tokenOf } from './apart.ts';

const TOKEN = 'a-token-of-thirty-two-characters';

describe('IPv6', () => {
  const alive = async (host: string, port: unknown) => {
    const { status } = await fetch(`http://${host}:${port}/health/live`);
    assert.equal(status, 200);
  };

  /** Resolves when somebody has come to a port of [::1]. */
  async function firstAt(connect: (port: number) => unknown): Promise<void> {
    const server = net.createServer((socket) => socket.destroy());
    const port = await listen(server, 0, '::1');
    const met = once(server, 'connection');
    const asked = Promise.resolve(connect(port)).catch(() => undefined);
    const isMet = await Promise.race([met.then(() => true), asked.then(() => false)]);
    server.close();
    await asked;
    assert.ok(isMet, 'nobody came');
  }

  for (const CORE_HOST of ['::1', '[::1]', '::', '[::]', 'localhost', '127.0.0.1'])
    it(`is where the core listens with CORE_HOST=${CORE_HOST}, both on gRPC and on HTTP`, async () => {
      const core = await startCore('http://[::1]:9', { CORE_HOST });
      const near = CORE_HOST === 'localhost' || CORE_HOST === '127.0.0.1' ? CORE_HOST : '[::1]';
      const transport = createGrpcTransport({
        url: `http://${near}:${core.grpcPort}`,
        interceptors: [withToken(new Secret(tokenOf('reader')))],
        defaultTimeoutMs: 10_000,
      });
      try {
        await alive(near, core.httpPort);
        await createClient(PaymentsService, transport).listTransactions({});
      } finally {
        transport.close();
        await core.core.stop(0);
      }
    });

  for (const address of ['::1', '[::1]']) {
    it(`is where the gateway listens with GATEWAY_HOST=${address}`, async () => {
      const env = { GATEWAY_HOST: address, GATEWAY_PORT: '0', GATEWAY_ADMIN_PORT: '0' };
      const config = parseConfig(gatewayConfig, { ...env, WIX_PUBLIC_KEY: pemOf(wixKeys.publicKey) });
      const payments = createClient(
        PaymentsService,
        createRouterTransport(() => undefined),
      );
      const gateway = createGateway(config, { payments, log: quietLog() });
      await gateway.start();
      await alive('[::1]', gateway.adminPort);
      assert.equal((await fetch(`http://[::1]:${gateway.port}/`)).status, 404);
      await gateway.stop(0);
    });

    it(`is where the relay listens with RELAY_HOST=${address}`, async () => {
      const env: Env = { ...KEYS, DATABASE_URL: await freshDatabase(), RELAY_HOST: address, RELAY_PORT: '0' };
      const app = { WIX_APP_ID: 'a', WIX_APP_SECRET: 's', WIX_USER_AGENT: 'a/1' };
      const relay = createRelay(parseConfig(relayConfig, { ...env, ...app }), { log: quietLog() });
      await relay.start();
      await alive('[::1]', relay.adminPort);
      await relay.stop(0);
    });
  }

  describe('of programs', () => {
    afterEach(endPrograms);
    it('is where the simulated engine listens with ENGINE_HOST=[::1]', async () => {
      const engine = startProgram('test/engine/main.ts', {
        ENGINE_HOST: '[::1]',
        ENGINE_TOKEN: TOKEN,
        ENGINE_PORT: '0',
        ENGINE_HTTP_PORT: '0',
        ENGINE_DATA: ':memory:',
      });
      const port = await engine.until(({ out }) => {
        const [, port] = /listens on \[::1\]:(\d+)/.exec(out) ?? [];
        assert.ok(port);
        return port;
      });
      await new Promise((resolve, reject) => net.connect(Number(port), '::1', () => resolve(0)).once('error', reject));
    });
  });

  it('is where a broker of KAFKA_BROKERS is met', async () => {
    await firstAt(async (port) => {
      const config = parseConfig(kafkaConfig, { KAFKA_BROKERS: `[::1]:${port}` });
      const admin = createKafka(config, createWatch(quietLog(), 'publisher'), 1_000, 0).admin();
      await admin.connect().finally(() => admin.disconnect());
    });
  });

  it('is where PostgreSQL is met by DATABASE_URL', async () => {
    await firstAt(async (port) => {
      const url = `postgres://u:p@[::1]:${port}/d`;
      const db = createDatabase({ url, schema: 'core', poolSize: 1, log: quietLog() });
      await db.ping();
      await db.close();
    });
  });

  it('is a list of brokers only with a port, and a host only without one', () => {
    for (const KAFKA_BROKERS of ['::1:9092', '[::1]', '[::1', '[kafka]:9092'])
      assert.throws(
        () => parseConfig(kafkaConfig, { KAFKA_BROKERS }),
        /KAFKA_BROKERS must be host:port/,
        KAFKA_BROKERS,
      );
    for (const text of ['[::1]:80', 'a:80', 'http://a', '[', '[::1', 'a b'])
      assert.equal(host('').safeParse(text).success, false, text);
  });
});
