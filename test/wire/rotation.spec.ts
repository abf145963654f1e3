import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'mocha';
import { createAuthorizer, createCallers, type Role } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createEngine, type Engine } from '../engine/engine.ts';
import { endPrograms, numberIn, type Program, startProgram } from '../faults/program.ts';
import { createAuthority } from '../support/certificates.ts';
import { QUICK } from '../support/core.ts';
import { asAdmin, freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { createWix, type Merchant, type Wix } from '../wix/wix.ts';

// Every secret, key and certificate changes while payments are made: a connector, and a gateway of its own in front of the same core, both with
// TLS, a token and a password each, all of them files.

const newToken = () => randomBytes(32).toString('hex');
const newKey = (id: string) => `${id}:${randomBytes(32).toString('base64')}`;
const METHODS = ['VerifyAccount', 'Authorize', 'Capture', 'Void', 'Refund', 'GetOperation', 'Cancel', 'Reverse'];
const AS_ENGINE: Record<string, readonly Role[]> = Object.fromEntries(METHODS.map((name) => [name, ['engine']]));

type Texts = Record<string, string>;

/** A folder of mounted secrets. */
function createMount() {
  const folder = mkdtempSync(path.join(tmpdir(), 'rotation-'));
  /** The new file takes the place of the old one, as it does where secrets are mounted. */
  const write = (texts: Texts) =>
    Object.fromEntries(
      Object.entries(texts).map(([name, text]) => {
        const file = path.join(folder, name);
        writeFileSync(`${file}.new`, `${text}\n`);
        renameSync(`${file}.new`, file);
        return [`${name}_FILE`, file];
      }),
    );
  const read = (name: string) => readFileSync(path.join(folder, name), 'utf8').trim();
  return { write, read, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

describe('R31 while payments are made', function () {
  this.timeout(120_000);
  const [authority, nextAuthority] = [createAuthority('ours'), createAuthority('our next')];
  const both = `${authority.cert}\n${nextAuthority.cert}`;
  const tokens = {
    core: [newToken(), newToken()],
    engine: [newToken(), newToken()],
    operator: [newToken(), newToken()],
  } as const;
  const keys = { CREDENTIALS_KEY: newKey('a'), EVENTS_KEY: newKey('b') };
  const next = { CREDENTIALS_KEY: newKey('a2'), EVENTS_KEY: newKey('b2') };
  const ring = {
    CREDENTIALS_KEY: `${next.CREDENTIALS_KEY},${keys.CREDENTIALS_KEY}`,
    EVENTS_KEY: `${next.EVENTS_KEY},${keys.EVENTS_KEY}`,
  };
  const [atConnector, atGateway] = [createMount(), createMount()];
  const role = `core_${randomUUID().slice(0, 8)}`;
  let engineServer: ReturnType<typeof createGrpcServer>;
  let engine: Engine;
  let wix: Wix;
  let nextWix: Wix;
  let connector: Program;
  let gateway: Program;
  let databaseUrl: (password: string) => string;
  let urls: string[];
  let merchants: Merchant[];

  const certificates = (peer: string, from = authority, ca = authority.cert): Texts => {
    const { cert, key } = from.issue('localhost');
    return { [`${peer}_TLS_CA`]: ca, [`${peer}_TLS_CERT`]: cert, [`${peer}_TLS_KEY`]: key };
  };

  before(async () => {
    const log = quietLog();
    engine = createEngine({ data: ':memory:', log, pendingMs: 200 });
    const [first, second] = tokens.engine;
    const { cert, key } = authority.issue('localhost');
    engineServer = createGrpcServer({
      ...{ host: '127.0.0.1', port: 0, routes: engine.routes, log, tls: { ca: both, cert, key: new Secret(key) } },
      authorizer: createAuthorizer(createCallers(`core:engine:${first},core:engine:${second}`), AS_ENGINE, log),
    });
    engine.start();
    [wix, nextWix] = [createWix({ log }), createWix({ log })];
    const url = await freshDatabase();
    databaseUrl = (password) => url.replace(/^postgres(ql)?:\/\/[^@]*@/, `postgres://${role}:${password}@`);
    await asAdmin((client) => client.query(`create role ${role} superuser login password 'first'`));
    connector = startProgram('connector.ts', {
      ...{ ...QUICK, ANSWER_BUDGET_MS: '8000', PROCESSOR_TIMEOUT_MS: '20000', WIX_USER_AGENT: 'rotation/1.0' },
      ...{ GATEWAY_PORT: '0', GATEWAY_ADMIN_PORT: '0', RELAY_PORT: '0', EVENT_DELAY_MS: '20' },
      ...{ WIX_API_URL: await wix.start(), WIX_APP_ID: wix.appId },
      PROCESSOR_URL: `https://localhost:${await engineServer.start()}`,
      ...atConnector.write({
        ...{ WIX_PUBLIC_KEY: wix.publicKeyPem, WIX_APP_SECRET: wix.appSecret, DATABASE_URL: databaseUrl('first') },
        ...keys,
        PROCESSOR_TOKEN: first,
        CORE_TOKENS: `gateway:gateway:${tokens.core[0]}`,
        RELAY_TOKENS: `ann:operator:${tokens.operator[0]}`,
        ...certificates('CORE'),
        ...certificates('PROCESSOR'),
        ...certificates('RELAY'),
      }),
    });
    const port = await connector.until((program) => numberIn(program, 'gateway.listening', 'port'));
    const corePort = await connector.until((program) => numberIn(program, 'grpc.listening', 'port'));
    gateway = startProgram('gateway/main.ts', {
      ...{ GATEWAY_PORT: '0', GATEWAY_ADMIN_PORT: '0', CORE_URL: `https://localhost:${corePort}` },
      ...atGateway.write({ WIX_PUBLIC_KEY: wix.publicKeyPem, CORE_TOKEN: tokens.core[0], ...certificates('CORE') }),
    });
    const other = await gateway.until((program) => numberIn(program, 'gateway.listening', 'port'));
    urls = [port, other].map((each) => `http://127.0.0.1:${each}`);
    merchants = await Promise.all(urls.map((each) => wix.connect(each)));
  });
  after(async () => {
    await endPrograms();
    await engineServer?.stop(0);
    await Promise.all([wix?.stop(), engine?.stop()]);
    atConnector.remove();
    atGateway.remove();
  });

  /** Renews files of one program, and waits until it has. */
  async function renew(program: Program, mount: ReturnType<typeof createMount>, texts: Texts): Promise<void> {
    const before = program.lines.length;
    mount.write(texts);
    program.signal('SIGHUP');
    await program.until(({ lines }) => {
      const settings = lines
        .slice(before)
        .flatMap((line) => (line.event === 'secrets.renewed' ? (line.settings as string[]) : []));
      for (const name of Object.keys(texts)) assert.ok(settings.includes(name), name);
    });
  }

  /** Pays, captures and refunds without a pause through both gateways, while `rotate` runs and for a few payments more. */
  async function under(
    rotate: (paid: () => Promise<void>) => Promise<void>,
    payer = () => wix,
    expected: readonly unknown[] = [],
  ): Promise<void> {
    let isOver = false;
    const failed: string[] = [];
    const errorsOf = ({ lines }: Program) =>
      lines.filter(({ level, alert }) => level === 'error' && !expected.includes(alert));
    const before = [connector, gateway].flatMap(errorsOf).length;
    let calls = 0;
    const check = (what: string, status: number, text: string) => {
      calls += 1;
      if (status !== 200 || text.includes('reasonCode')) failed.push(`${what}: ${status} ${text}`);
    };
    const load = urls.map(async (_, i) => {
      while (!isOver) {
        const payment = await payer().pay(merchants[i]!, { authorizeOnly: true });
        check('create', payment.answer.status, payment.answer.text);
        const captured = await payer().capture(payment);
        check('capture', captured.status, captured.text);
        const refunded = await payer().refund(payment, { amount: 100 });
        check('refund', refunded.status, refunded.text);
      }
    });
    /** So many calls more, which have begun after now. */
    const paid = async () => {
      const from = calls + 8;
      await eventually(async () => assert.ok(calls > from + 12 || failed.length > 0));
    };
    await paid();
    await rotate(paid).finally(() => {
      isOver = true;
    });
    await Promise.all(load);
    assert.deepEqual(failed, []);
    assert.ok(calls > 40);
    assert.deepEqual([connector, gateway].flatMap(errorsOf).slice(before), []);
    if (process.env.FIGURES) process.stderr.write(`${calls} calls, ${failed.length} failed\n`);
  }

  it('certificates and authorities of both sides are renewed, the ways to core, engine and relay, and no call fails', () =>
    under(async (paid) => {
      // Both authorities are believed everywhere before anybody shows a certificate of the new one.
      await renew(connector, atConnector, { CORE_TLS_CA: both, PROCESSOR_TLS_CA: both, RELAY_TLS_CA: both });
      await renew(gateway, atGateway, { CORE_TLS_CA: both });
      await paid();
      const pairs = ['CORE', 'PROCESSOR', 'RELAY'].map((peer) => {
        const { [`${peer}_TLS_CA`]: _, ...pair } = certificates(peer, nextAuthority);
        return pair as Texts;
      });
      await renew(connector, atConnector, Object.assign({}, ...pairs));
      const { cert, key } = nextAuthority.issue('localhost');
      await renew(gateway, atGateway, { CORE_TLS_CERT: cert, CORE_TLS_KEY: key });
      await paid();
      await renew(gateway, atGateway, { CORE_TLS_CA: nextAuthority.cert });
      await renew(connector, atConnector, { CORE_TLS_CA: nextAuthority.cert });
      await paid();
    }));

  it('a certificate without its key is not taken, is alerted, and taken when the key has come', async () => {
    const { cert, key } = nextAuthority.issue('localhost');
    const before = connector.lines.length;
    atConnector.write({ RELAY_TLS_CERT: cert });
    connector.signal('SIGHUP');
    await connector.until(({ lines }) =>
      assert.ok(lines.slice(before).some(({ alert }) => alert === 'secret_not_renewed')),
    );
    await renew(connector, atConnector, { RELAY_TLS_KEY: key });
  });

  it('tokens of gateway, engine and operators change, and no call fails', () =>
    under(async (paid) => {
      const { core, engine: atEngine, operator } = tokens;
      await renew(connector, atConnector, {
        CORE_TOKENS: `gateway:gateway:${core[0]},gateway:gateway:${core[1]}`,
        RELAY_TOKENS: `ann:operator:${operator[0]},ann:operator:${operator[1]}`,
        PROCESSOR_TOKEN: atEngine[1],
      });
      await renew(gateway, atGateway, { CORE_TOKEN: core[1] });
      await paid();
      await renew(connector, atConnector, {
        CORE_TOKENS: `gateway:gateway:${core[1]}`,
        RELAY_TOKENS: `ann:operator:${operator[1]}`,
      });
      await paid();
    }));

  it('the keys that seal and sign change, and no call fails', () =>
    under(async (paid) => {
      await renew(connector, atConnector, {
        CREDENTIALS_KEY: `${keys.CREDENTIALS_KEY},${next.CREDENTIALS_KEY}`,
        EVENTS_KEY: `${keys.EVENTS_KEY},${next.EVENTS_KEY}`,
      });
      await paid();
      await renew(connector, atConnector, ring);
      merchants = await Promise.all(
        merchants.map(({ gatewayUrl, merchantId, credentials }) =>
          wix.connect(gatewayUrl, { merchantId, credentials }),
        ),
      );
      await paid();
    }));

  it('a key is not taken away from a process that runs: that takes a restart, which looks whether something stored needs it', async () => {
    const before = connector.lines.length;
    atConnector.write({ CREDENTIALS_KEY: newKey('other') });
    connector.signal('SIGHUP');
    const alert = await connector.until(
      ({ lines }) => lines.slice(before).find((line) => line.alert === 'secret_not_renewed') ?? assert.fail(),
    );
    assert.equal(alert.setting, 'CREDENTIALS_KEY');
    assert.match(String(alert.problem), /^lacks the key a.*, which takes a restart$/);
    atConnector.write({ CREDENTIALS_KEY: ring.CREDENTIALS_KEY });
  });

  it('what a start would refuse is not taken: a key under an old id, a name of the core’s own, a secret of development', async () => {
    const text = 'a-secret-of-thirty-two-characters-and-more';
    for (const [name, value, problem] of [
      ['CREDENTIALS_KEY', ring.CREDENTIALS_KEY.replace(/:.{4}/, ':AAAA'), /^has another key under the id a/],
      ['CORE_TOKENS', `wix:operator:${text}`, /^CORE_TOKENS must not name a caller wix or system/],
      ['CORE_TOKENS', `ann:operator:development-only-${text}`, /^CORE_TOKENS is a development secret$/],
    ] as const) {
      const before = connector.lines.length;
      const kept = atConnector.read(name);
      atConnector.write({ [name]: value });
      connector.signal('SIGHUP');
      const alert = await connector.until(
        ({ lines }) => lines.slice(before).find((line) => line.alert === 'secret_not_renewed') ?? assert.fail(),
      );
      assert.equal(alert.setting, name);
      assert.match(String(alert.problem), problem);
      atConnector.write({ [name]: kept });
    }
  });

  it('the password of the database changes, and no call fails, before, while and after it does', () =>
    under(async (paid) => {
      await renew(connector, atConnector, { DATABASE_URL: databaseUrl('second') });
      await paid();
      await asAdmin((client) => client.query(`alter role ${role} password 'second'`));
      await paid();
    }));

  it('the app secret changes, and no call fails: events wait until the relay has it', () =>
    under(
      async (paid) => {
        const secret = newToken();
        wix.changeAppSecret(secret);
        await eventually(() => assert.ok(connector.lines.some(({ alert }) => alert === 'token_refused')));
        await renew(connector, atConnector, { WIX_APP_SECRET: secret });
        await paid();
      },
      undefined,
      ['token_refused', 'wix_unreachable'],
    ));

  it('Wix changes its key, and no call fails', async () => {
    let signer = wix;
    await under(
      async (paid) => {
        const keyRing = { WIX_PUBLIC_KEY: `${wix.publicKeyPem}\n${nextWix.publicKeyPem}` };
        await renew(connector, atConnector, keyRing);
        await renew(gateway, atGateway, keyRing);
        await paid();
        signer = nextWix;
        await paid();
        await renew(connector, atConnector, { WIX_PUBLIC_KEY: nextWix.publicKeyPem });
        await renew(gateway, atGateway, { WIX_PUBLIC_KEY: nextWix.publicKeyPem });
        await paid();
      },
      () => signer,
    );
  });

  it('and every outcome was told', async () => {
    await eventually(async () => assert.deepEqual(wix.untold, []), { timeoutMs: 60_000 });
  });
});
