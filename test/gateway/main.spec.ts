import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import path from 'node:path';
import { standaloneConfig } from '../../gateway/config.ts';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { createCallers, requireToken } from '../../proto/runtime/callers.ts';
import { ConfigError, parseConfig, secretNames } from '../../proto/runtime/config.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { quietLog } from '../support/log.ts';
import { bytesOf, digestOf, pemOf, scriptedCore, wixKeys } from './harness.ts';

const TOKEN = 'a-token-of-thirty-two-characters';
const env = { WIX_PUBLIC_KEY: pemOf(wixKeys.publicKey), CORE_TOKEN: TOKEN };
const problemsOf = (changed: Record<string, string>) => {
  try {
    parseConfig(standaloneConfig, { ...env, ...changed });
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems;
  }
  return [];
};

describe('the configuration of the gateway', () => {
  it('has the documented defaults', () => {
    const { WIX_PUBLIC_KEY, CORE_TOKEN, ...defaults } = parseConfig(standaloneConfig, env);
    assert.equal(WIX_PUBLIC_KEY.length, 1);
    assert.equal(CORE_TOKEN.reveal(), TOKEN);
    assert.deepEqual(defaults, {
      GATEWAY_HOST: '127.0.0.1',
      GATEWAY_PORT: 8080,
      GATEWAY_ADMIN_PORT: 8081,
      CORE_URL: '127.0.0.1:50051',
      CORE_DEADLINE_MS: 10_000,
      ANSWER_BUDGET_MS: 8_000,
      ALLOW_PLAINTEXT: false,
      DRAIN_MS: 8_000,
      LOG_LEVEL: 'info',
    });
  });

  it('names everything that is missing at once', () => {
    assert.deepEqual(problemsOf({ WIX_PUBLIC_KEY: '', CORE_TOKEN: '' }), [
      'WIX_PUBLIC_KEY is missing',
      'CORE_TOKEN is missing',
    ]);
  });

  it('refuses a second key that is damaged, wherever', () => {
    const second = pemOf(wixKeys.publicKey);
    for (const damaged of [
      second.replace('-----BEGIN', '----BEGIN'),
      second.replace('KEY-----\n', 'KEY----\n'),
      second.replace('BEGIN PUBLIC', 'BEGIN'),
      second.replace('MII', 'XYZ'),
      second.slice(0, -30),
      second.slice(30),
      second.slice(100, 200),
    ])
      for (const both of [`${env.WIX_PUBLIC_KEY}${damaged}`, `${damaged}${env.WIX_PUBLIC_KEY}`]) {
        assert.equal(problemsOf({ WIX_PUBLIC_KEY: both }).length, 1, both);
        assert.match(problemsOf({ WIX_PUBLIC_KEY: both })[0] ?? '', /^WIX_PUBLIC_KEY must hold /);
      }
    assert.deepEqual(problemsOf({ WIX_PUBLIC_KEY: `# old\n${env.WIX_PUBLIC_KEY}# new\n${second}` }), []);
  });

  it('takes one or two RSA public keys of 2048 bits or more, and quotes none', () => {
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const curve = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const own = wixKeys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const garbage = env.WIX_PUBLIC_KEY.replace('MII', 'XYZ');
    for (const pem of [
      'not a key',
      pemOf(small.publicKey),
      pemOf(curve.publicKey),
      own,
      garbage,
      env.WIX_PUBLIC_KEY.repeat(3),
    ]) {
      const problems = problemsOf({ WIX_PUBLIC_KEY: pem });
      assert.equal(problems.length, 1);
      assert.match(problems[0]!, /^WIX_PUBLIC_KEY must hold /);
    }
    assert.deepEqual(problemsOf({ WIX_PUBLIC_KEY: env.WIX_PUBLIC_KEY.repeat(2).replaceAll('\n', '\\n') }), []);
    assert.deepEqual(problemsOf({ WIX_PUBLIC_KEY: env.WIX_PUBLIC_KEY.replaceAll('\n', '\\r\\n') }), []);
    const pkcs1 = wixKeys.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString();
    assert.deepEqual(problemsOf({ WIX_PUBLIC_KEY: pkcs1 }), []);
  });

  it('R33 refuses a core elsewhere without encryption unless that is accepted', () => {
    for (const CORE_URL of [
      'core:50051',
      'http://core:50051',
      '10.0.0.7:50051',
      '127.0.0.1.example:50051',
      'http://[::2]:1',
    ])
      assert.match(problemsOf({ CORE_URL })[0] ?? '', /^CORE_URL .*ALLOW_PLAINTEXT/, CORE_URL);
    assert.deepEqual(problemsOf({ CORE_URL: 'core:50051', ALLOW_PLAINTEXT: 'true' }), []);
    for (const CORE_URL of ['localhost:50051', '127.0.0.1:1', '127.9.9.9:1', '[::1]:50051', 'http://127.0.0.1:50051'])
      assert.deepEqual(problemsOf({ CORE_URL }), [], CORE_URL);
  });

  it('R34 counts the token and its private key among its secrets', () => {
    assert.deepEqual(secretNames(standaloneConfig), ['CORE_TOKEN', 'CORE_TLS_KEY']);
  });
});

describe('the gateway as a process', () => {
  let child: ChildProcess | undefined;
  afterEach(() => child?.kill('SIGKILL'));

  const start = (changed: Record<string, string>) => {
    const main = path.join(import.meta.dirname, '../../gateway/main.ts');
    const ports = { GATEWAY_PORT: '0', GATEWAY_ADMIN_PORT: '0' };
    child = spawn(process.execPath, [main], { env: { ...env, ...ports, ...changed }, stdio: 'pipe' });
    const printed = { out: '', err: '' };
    child.stdout!.on('data', (text) => (printed.out += text));
    child.stderr!.on('data', (text) => (printed.err += text));
    const ended = new Promise<number | null>((resolve) => child!.on('exit', resolve));
    return { child, printed, ended };
  };

  it('prints what is wrong with its configuration and ends with 1', async () => {
    const { printed, ended } = start({ CORE_TOKEN: '', GATEWAY_PORT: 'x' });
    assert.equal(await ended, 1);
    assert.match(printed.err, /CORE_TOKEN is missing\n/);
    assert.match(printed.err, /GATEWAY_PORT must be /);
  });

  it('asks the core over gRPC with its token, and R38 ends with 0 when asked to', async () => {
    const core = scriptedCore({
      connectMerchantAccount: ({ credentials }) => ({
        account: { id: 'acct', name: 'Tidepool' },
        credentials: { values: { ...credentials?.values } },
      }),
    });
    const log = quietLog();
    const server = createGrpcServer({
      host: '127.0.0.1',
      port: 0,
      routes: (router) => router.service(PaymentsService, core.service),
      interceptors: [requireToken(createCallers(`wix:gateway:${TOKEN}`), { ConnectMerchantAccount: ['gateway'] }, log)],
      log,
    });
    const { child: gateway, printed, ended } = start({ CORE_URL: `127.0.0.1:${await server.start()}` });
    const line = await new Promise<string>((resolve, reject) => {
      gateway.stdout!.on('data', () => printed.out.includes('gateway.listening') && resolve(printed.out));
      gateway.on('exit', () => reject(new Error(printed.err)));
    });
    const { port } = JSON.parse(line.split('\n').find((text) => text.includes('gateway.listening'))!);

    const body = '{"wixMerchantId":"m","credentials":{"z":"1","__proto__":"2","constructor":"3"}}';
    const response = await fetch(`http://127.0.0.1:${port}/wix/v1/connect-account`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', digest: digestOf(bytesOf(body)) },
      body,
    });
    const { credentials } = JSON.parse(await response.text());
    const sent = Object.entries(JSON.parse(body).credentials);
    assert.deepEqual(Object.entries(credentials), sent);
    assert.deepEqual(Object.entries(core.calls[0]!.request.credentials.values).sort(), sent.sort());

    gateway.kill('SIGTERM');
    assert.equal(await ended, 0, printed.out + printed.err);
    await server.stop(0);
  });
});
