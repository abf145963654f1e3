import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { endPrograms, numberIn, startProgram } from '../faults/program.ts';
import { bytesOf, digestOf, pemOf, scriptedCore, wixKeys } from '../gateway/harness.ts';
import { createAuthority } from '../support/certificates.ts';
import { KEYS, QUICK } from '../support/core.ts';
import { freshDatabase } from '../support/database.ts';
import { quietLog } from '../support/log.ts';
import { createWix } from '../wix/wix.ts';

const TOKEN = 'a-token-of-thirty-two-characters';

describe('R33 programs with TLS, whose certificates are files', () => {
  const authority = createAuthority('our authority');
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tls-'));
  });
  afterEach(endPrograms);
  after(() => rmSync(folder, { recursive: true }));

  /** <PEER>_TLS_* of a side with a certificate of the authority, that believes the authority. */
  function filesFor(peer: string): Record<string, string> {
    const { cert, key } = authority.issue(peer);
    const texts = { CA: authority.cert, CERT: cert, KEY: key };
    const entries = Object.entries(texts).map(([name, text]) => {
      const file = path.join(folder, `${peer}-${name}.pem`);
      writeFileSync(file, text);
      return [`${peer}_TLS_${name}_FILE`, file];
    });
    return Object.fromEntries(entries);
  }

  const own = (name: string) => {
    const { cert, key } = authority.issue(name);
    return { ca: authority.cert, cert, key: new Secret(key) };
  };

  const startEngine = () =>
    startProgram('test/engine/main.ts', {
      ENGINE_TOKEN: TOKEN,
      ENGINE_PORT: '0',
      ENGINE_HTTP_PORT: '0',
      ENGINE_DATA: path.join(folder, 'engine'),
      ...filesFor('ENGINE'),
    });

  const gatewayEnv = {
    WIX_PUBLIC_KEY: pemOf(wixKeys.publicKey),
    CORE_TOKEN: TOKEN,
    GATEWAY_PORT: '0',
    GATEWAY_ADMIN_PORT: '0',
  };

  it('the gateway asks a core that knows it by its certificate', async () => {
    const { service } = scriptedCore({ connectMerchantAccount: () => ({ account: { id: 'acct', name: 'Tidepool' } }) });
    const server = createGrpcServer({
      host: '127.0.0.1',
      port: 0,
      routes: (router) => router.service(PaymentsService, service),
      log: quietLog(),
      tls: own('core'),
    });
    const CORE_URL = `https://localhost:${await server.start()}`;
    const gateway = startProgram('gateway/main.ts', { ...gatewayEnv, CORE_URL, ...filesFor('CORE') });
    const port = await gateway.until((program) => numberIn(program, 'gateway.listening', 'port'));
    const body = bytesOf('{"wixMerchantId":"m","credentials":{}}');
    const response = await fetch(`http://127.0.0.1:${port}/wix/v1/connect-account`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', digest: digestOf(body) },
      body: body as Uint8Array<ArrayBuffer>,
    });
    assert.equal(response.status, 200);
    assert.equal(gateway.lines.filter(({ event }) => event === 'plaintext.allowed').length, 0);
    await server.stop(0);
  });

  it('the gateway warns once when what it says to the core can be read on the way', async () => {
    const CORE_URL = 'http://core.invalid:50051';
    const gateway = startProgram('gateway/main.ts', { ...gatewayEnv, CORE_URL, ALLOW_PLAINTEXT: 'true' });
    await gateway.until((program) => numberIn(program, 'gateway.listening', 'port'));
    const warnings = gateway.lines.filter(({ event, level }) => event === 'plaintext.allowed' && level === 'warn');
    assert.deepEqual(
      warnings.map(({ settings }) => settings),
      [['CORE_URL']],
    );
  });

  it('the connector charges at an engine that knows it by its certificate', async () => {
    const engine = startEngine();
    const port = await engine.until((program) => numberIn(program, 'grpc.listening', 'port'));
    const wix = createWix({ log: quietLog() });
    const connector = startProgram('connector.ts', {
      ...KEYS,
      ...QUICK,
      DATABASE_URL: await freshDatabase(),
      WIX_API_URL: await wix.start(),
      WIX_PUBLIC_KEY: wix.publicKeyPem,
      WIX_APP_ID: wix.appId,
      WIX_APP_SECRET: wix.appSecret,
      WIX_USER_AGENT: 'wire/1.0',
      GATEWAY_PORT: '0',
      GATEWAY_ADMIN_PORT: '0',
      RELAY_PORT: '0',
      PROCESSOR_URL: `https://localhost:${port}`,
      PROCESSOR_TOKEN: TOKEN,
      ...filesFor('PROCESSOR'),
    });
    const gatewayPort = await connector.until((program) => numberIn(program, 'gateway.listening', 'port'));
    const payment = await wix.pay(await wix.connect(`http://127.0.0.1:${gatewayPort}`));
    assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId });
    await wix.eventFor(payment.wixTransactionId);
    connector.signal('SIGTERM');
    assert.equal(await connector.ended, 0);
    await wix.stop();
  });

  it('the simulated engine answers a core that shows a certificate, and no other', async () => {
    const engine = startEngine();
    const port = await engine.until((program) => numberIn(program, 'grpc.listening', 'port'));
    const verify = async (tls: Parameters<typeof createGrpcTransport>[0]['tls']) => {
      const transport = createGrpcTransport({
        url: `https://localhost:${port}`,
        tls,
        interceptors: [withToken(new Secret(TOKEN))],
        defaultTimeoutMs: 5000,
      });
      try {
        const { result } = await createClient(ProcessorService, transport).verifyAccount({
          credentials: { values: { apiKey: 'test' } },
        });
        return result.case;
      } catch (error) {
        return Code[ConnectError.from(error).code];
      } finally {
        transport.close();
      }
    };
    assert.equal(await verify(own('core')), 'account');
    assert.equal(await verify({ ca: authority.cert, cert: undefined, key: undefined }), 'Unavailable');
  });
});
