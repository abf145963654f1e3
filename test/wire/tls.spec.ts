import assert from 'node:assert/strict';
import { connect } from 'node:tls';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { z } from 'zod';
import { standaloneConfig as coreStandalone } from '../../core/config.ts';
import { standaloneConfig as gatewayStandalone } from '../../gateway/config.ts';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { ConfigError, type Env, parseConfig, Secret, secretNames } from '../../proto/runtime/config.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { isPlaintext } from '../../proto/runtime/safe-config.ts';
import { type Tls, tlsEntries } from '../../proto/runtime/tls.ts';
import { standaloneConfig as relayStandalone } from '../../webhook-relay/config.ts';
import { pemOf, wixKeys } from '../gateway/harness.ts';
import { type Certificate, createAuthority } from '../support/certificates.ts';
import { KEYS } from '../support/core.ts';
import { quietLog } from '../support/log.ts';

const ours = createAuthority('our authority');
const theirs = createAuthority('another authority');
const [core, gateway] = [ours.issue('core'), ours.issue('gateway')];

const tls = (ca?: Certificate, own?: Certificate): Tls => ({
  ca: ca?.cert,
  cert: own?.cert,
  key: own && new Secret(own.key),
});

describe('R33 gRPC with TLS', () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function serve(serverTls: Tls | undefined): Promise<number> {
    const server = createGrpcServer({
      host: '127.0.0.1',
      port: 0,
      routes: (router) => router.service(PaymentsService, { getTransaction: () => ({ transaction: { id: 'read' } }) }),
      log: quietLog(),
      tls: serverTls,
    });
    closing.push(() => server.stop(0));
    return server.start();
  }

  /** The answer to one call, or the code of its error. */
  async function ask(url: string, clientTls?: Tls): Promise<string | undefined> {
    const transport = createGrpcTransport({ url, tls: clientTls, defaultTimeoutMs: 5000 });
    closing.push(() => transport.close());
    return createClient(PaymentsService, transport)
      .getTransaction({})
      .then(
        ({ transaction }) => transaction?.id,
        (error: unknown) => Code[ConnectError.from(error).code],
      );
  }

  it('answers a client that believes its authority, by address and by name', async () => {
    const port = await serve(tls(undefined, core));
    assert.equal(await ask(`https://127.0.0.1:${port}`, tls(ours)), 'read');
    assert.equal(await ask(`https://localhost:${port}/`, tls(ours)), 'read');
  });

  it('is believed by nobody whose authority is another, the public ones included', async () => {
    const port = await serve(tls(undefined, core));
    assert.equal(await ask(`https://127.0.0.1:${port}`, tls(theirs)), 'Unavailable');
    assert.equal(await ask(`https://127.0.0.1:${port}`), 'Unavailable');
  });

  it('is not believed under another name, nor with a certificate that has expired', async () => {
    const elsewhere = await serve(tls(undefined, ours.issue('core', { host: 'core.example' })));
    assert.equal(await ask(`https://127.0.0.1:${elsewhere}`, tls(ours)), 'Unavailable');
    const expired = await serve(tls(undefined, ours.issue('core', { expired: true })));
    assert.equal(await ask(`https://127.0.0.1:${expired}`, tls(ours)), 'Unavailable');
  });

  it('speaks no plaintext, and a client of plaintext speaks no TLS', async () => {
    const port = await serve(tls(undefined, core));
    assert.equal(await ask(`http://127.0.0.1:${port}`), 'Unavailable');
    assert.equal(await ask(`https://127.0.0.1:${await serve(undefined)}`, tls(ours)), 'Unavailable');
  });

  it('lets in only clients with a certificate of its authority once it has one', async () => {
    const url = `https://127.0.0.1:${await serve(tls(ours, core))}`;
    assert.equal(await ask(url, tls(ours, gateway)), 'read');
    assert.equal(await ask(url, tls(ours)), 'Unavailable');
    assert.equal(await ask(url, tls(ours, theirs.issue('gateway'))), 'Unavailable');
    assert.equal(await ask(url, tls(ours, ours.issue('gateway', { expired: true }))), 'Unavailable');
    assert.equal(await ask(url, tls(ours, gateway)), 'read');
  });

  it('takes TLS 1.2 and 1.3 and nothing older', async () => {
    const port = await serve(tls(undefined, core));
    const speak = (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') =>
      new Promise((resolve) => {
        const socket = connect(
          // The oldest ciphers are allowed here, so that it is the server who refuses.
          {
            host: '127.0.0.1',
            port,
            ca: ours.cert,
            minVersion: version,
            maxVersion: version,
            ciphers: 'ALL:@SECLEVEL=0',
            ALPNProtocols: ['h2'],
          },
          () => {
            resolve(socket.getProtocol());
            socket.destroy();
          },
        );
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      });
    assert.equal(await speak('TLSv1.3'), 'TLSv1.3');
    assert.equal(await speak('TLSv1.2'), 'TLSv1.2');
    assert.match(String(await speak('TLSv1.1')), /ALERT_PROTOCOL_VERSION/);
  });
});

describe('R33 the configuration of TLS', () => {
  type Way = [keyof typeof needed, string, Env, Env];
  const needed: Record<'gateway' | 'core' | 'relay', Env> = {
    gateway: { WIX_PUBLIC_KEY: pemOf(wixKeys.publicKey), CORE_TOKEN: 'x'.repeat(32) },
    core: {
      ...KEYS,
      CORE_TOKENS: `wix:gateway:${'x'.repeat(32)}`,
      DATABASE_URL: 'postgres://localhost/payments',
      KAFKA_BROKERS: '127.0.0.1:9092',
      MODE_WHEN_ABSENT: 'sandbox',
      PROCESSOR_TOKEN: 'e'.repeat(32),
      PROCESSOR_URL: 'http://127.0.0.1:50061',
    },
    relay: {
      EVENTS_KEY: KEYS.EVENTS_KEY,
      DATABASE_URL: 'postgres://localhost/payments',
      KAFKA_BROKERS: '127.0.0.1:9092',
      RELAY_TOKENS: `ada:operator:${'x'.repeat(32)}`,
      WIX_APP_ID: 'app',
      WIX_APP_SECRET: 'secret',
      WIX_USER_AGENT: 'wire/1.0',
    },
  };
  const schemas = { gateway: gatewayStandalone, core: coreStandalone, relay: relayStandalone };
  const problems = (service: keyof typeof needed, changed: Env): readonly string[] => {
    try {
      parseConfig(schemas[service] as z.ZodObject, { ...needed[service], ...changed });
      return [];
    } catch (error) {
      assert(error instanceof ConfigError);
      assert.doesNotMatch(error.message, /BEGIN|PRIVATE KEY/);
      return error.problems;
    }
  };
  const pair = (peer: string, { cert, key }: Certificate) => ({ [`${peer}_TLS_CERT`]: cert, [`${peer}_TLS_KEY`]: key });

  /** A setting beyond this machine, and how it is made good. */
  const WAYS: Way[] = [
    ['gateway', 'CORE_URL', { CORE_URL: 'http://10.0.0.7:50051' }, { CORE_URL: 'https://10.0.0.7:50051' }],
    ['core', 'PROCESSOR_URL', { PROCESSOR_URL: 'http://engine:50061' }, { PROCESSOR_URL: 'https://engine:50061' }],
    ['relay', 'WIX_API_URL', { WIX_API_URL: 'http://wix.example' }, { WIX_API_URL: 'https://wix.example' }],
    ...(['core', 'relay'] as const).flatMap((service) => [
      [service, 'KAFKA_BROKERS', { KAFKA_BROKERS: '127.0.0.1:1,kafka:9092' }, { KAFKA_SSL: 'true' }] as Way,
      ...['db/payments?', '10.0.0.7:5432/p?', 'localhost.example/p?', '[fd00::1]/p?', '/payments?host=db&'].map(
        (place): Way => [
          service,
          'DATABASE_URL',
          { DATABASE_URL: `postgres://u:p@${place}sslmode=disable` },
          { DATABASE_URL: `postgres://u:p@${place}sslmode=verify-full` },
        ],
      ),
    ]),
    ...['0.0.0.0', '::', '10.0.0.7', 'core'].flatMap((host): Way[] => [
      ['core', 'CORE_HOST', { CORE_HOST: host }, pair('CORE', core)],
      ['relay', 'RELAY_HOST', { RELAY_HOST: host }, pair('RELAY', core)],
    ]),
  ];

  for (const [service, name, beyond, good] of WAYS)
    it(`refuses ${Object.values(beyond)} as ${name} of the ${service} unless it is encrypted, or accepted`, () => {
      const [problem, ...others] = problems(service, beyond);
      assert.match(
        problem ?? '',
        new RegExp(`^${name} is not this machine alone, .+ ALLOW_PLAINTEXT=true accepts that$`),
      );
      assert.deepEqual(others, []);
      assert.deepEqual(problems(service, { ...beyond, ALLOW_PLAINTEXT: 'true' }), []);
      assert.deepEqual(problems(service, { ...beyond, ...good }), []);
    });

  it('takes what stays on this machine as it is', () => {
    for (const host of ['127.0.0.1', 'localhost', '::1', '[::1]'])
      assert.deepEqual(problems('core', { CORE_HOST: host }), [], host);
    for (const place of ['localhost', '127.0.0.1:1', '[::1]', '%2Fvar%2Frun', ''])
      assert.deepEqual(problems('core', { DATABASE_URL: `postgres://u:p@${place}/payments` }), [], place);
    assert.deepEqual(problems('core', { DATABASE_URL: 'postgres:///payments?host=/run/postgresql' }), []);
    assert.deepEqual(problems('gateway', { CORE_URL: 'http://localhost:50051' }), []);
    assert.deepEqual(problems('core', { KAFKA_BROKERS: 'localhost:9092,[::1]:9092' }), []);
    // Nothing secret comes through a port without tokens.
    assert.deepEqual(problems('relay', { RELAY_HOST: '0.0.0.0', RELAY_TOKENS: '' }), []);
  });

  it('names every way that can be read, at once', () => {
    const beyond = {
      DATABASE_URL: 'postgres://db/p',
      KAFKA_BROKERS: 'kafka:1',
      CORE_HOST: '::',
      PROCESSOR_URL: 'http://e',
    };
    assert.deepEqual(
      problems('core', beyond)
        .map((problem) => problem.split(' ')[0])
        .sort(),
      Object.keys(beyond).sort(),
    );
  });

  it('knows what can be read on the way', () => {
    for (const url of ['core:50051', 'http://core:50051']) assert(isPlaintext(url), url);
    for (const url of ['https://core:50051', '127.0.0.1:50051', 'http://[::1]:50051']) assert(!isPlaintext(url), url);
  });

  it('R34 refuses one secret for two purposes', () => {
    const [token, other] = ['a', 'b'].map((letter) => letter.repeat(32));
    const own = 'each must be its own';
    assert.deepEqual(
      problems('core', { CORE_TOKENS: `wix:gateway:${other},psp:engine:${token}`, PROCESSOR_TOKEN: token }),
      [`PROCESSOR_TOKEN is the same secret as one of CORE_TOKENS: ${own}`],
    );
    assert.deepEqual(problems('relay', { RELAY_TOKENS: `ada:operator:${token}`, WIX_APP_SECRET: token }), [
      `WIX_APP_SECRET is the same secret as one of RELAY_TOKENS: ${own}`,
    ]);
    const sasl = { KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USERNAME: 'u', KAFKA_SASL_PASSWORD: token };
    assert.deepEqual(problems('relay', { ...sasl, WIX_APP_SECRET: token }), [
      `KAFKA_SASL_PASSWORD is the same secret as WIX_APP_SECRET: ${own}`,
    ]);
    const key = (id: string) => `${id}:${Buffer.alloc(32, 'one key').toString('base64')}`;
    const keys = {
      CREDENTIALS_KEY: `${KEYS.CREDENTIALS_KEY},${key('a')}`,
      EVENTS_KEY: `${key('b')},${KEYS.EVENTS_KEY}`,
    };
    assert.deepEqual(problems('core', keys), [`CREDENTIALS_KEY has a key of EVENTS_KEY: ${own}`]);
    assert.deepEqual(problems('core', { PROCESSOR_TOKEN: token, CORE_TOKENS: `wix:gateway:${other}` }), []);
  });

  it('wants certificate and key together, and of one another', () => {
    for (const [service, peer, url] of [
      ['gateway', 'CORE', { CORE_URL: 'https://core:50051' }],
      ['core', 'PROCESSOR', { PROCESSOR_URL: 'https://engine:50061' }],
      ['core', 'CORE', {}],
      ['relay', 'RELAY', {}],
    ] as const) {
      assert.deepEqual(problems(service, { ...url, ...pair(peer, core) }), []);
      const together = [`${peer}_TLS_CERT and ${peer}_TLS_KEY go together`];
      assert.deepEqual(problems(service, { ...url, [`${peer}_TLS_CERT`]: core.cert }), together);
      assert.deepEqual(problems(service, { ...url, [`${peer}_TLS_KEY`]: core.key }), together);
      assert.deepEqual(problems(service, { ...url, ...pair(peer, { cert: core.cert, key: gateway.key }) }), [
        `${peer}_TLS_KEY is not the key of ${peer}_TLS_CERT`,
      ]);
    }
  });

  it('refuses what is no certificate, and an authority for clients of a server without a certificate', () => {
    assert.deepEqual(problems('core', { CORE_TLS_CA: 'a file name' }), ['CORE_TLS_CA must hold certificates in PEM']);
    const damaged = `${ours.cert}${ours.cert.replace('-----BEGIN', '----BEGIN')}`;
    assert.match(
      problems('core', { CORE_TLS_CA: damaged }).join(),
      /^CORE_TLS_CA must hold blocks of PEM that are whole/,
    );
    assert.deepEqual(problems('core', { CORE_TLS_CA: ours.cert }), ['CORE_TLS_CERT is missing beside CORE_TLS_CA']);
  });

  it('refuses certificates for a way that is no TLS: they would protect nothing', () => {
    assert.deepEqual(problems('gateway', { CORE_TLS_CA: ours.cert }), ['CORE_URL must be https:// for CORE_TLS_*']);
    assert.deepEqual(problems('core', { PROCESSOR_TLS_CA: ours.cert }), [
      'PROCESSOR_URL must be https:// for PROCESSOR_TLS_*',
    ]);
  });

  it('takes several authorities at once, for a rotation', () => {
    const both = ours.cert + theirs.cert;
    assert.deepEqual(problems('gateway', { CORE_URL: 'https://core:50051', CORE_TLS_CA: both }), []);
  });

  it('R34 counts a private key among the secrets', () => {
    assert.deepEqual(secretNames(z.object(tlsEntries('CORE'))), ['CORE_TLS_KEY']);
  });
});
