import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'mocha';
import { createAuthorizer, createCallers } from '../../proto/runtime/callers.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { closeHttp, listen } from '../../proto/runtime/lifecycle.ts';
import { createAuthority } from '../support/certificates.ts';
import { KEYS } from '../support/core.ts';
import { asDatabase } from '../support/database.ts';
import { quietLog } from '../support/log.ts';
import { useStage } from '../support/stage.ts';
import { examine, newKey } from './doctor-kit.ts';

const PROCESSOR_TOKEN = 'a-token-of-the-engine-0123456789-0123456789';
/** None of ours ever is that short. */
const QUIET = /\bat .*:\d+:\d+\)/;

describe('the doctor', function () {
  this.timeout(60_000);
  // The server of the other specs may lose what it confirmed, and the doctor sees that.
  let postgres: EmbeddedPostgres;
  let data: string;
  const stage = useStage({
    judge: async () => undefined,
    road: async () => {
      data = mkdtempSync(path.join(tmpdir(), 'doctor-'));
      chmodSync(data, 0o755);
      postgres = await startEmbeddedPostgres({
        dataDir: path.join(data, 'postgres'),
        roles: ['core'],
        log: quietLog(),
      });
      return postgres.urls.core ?? '';
    },
  });
  let databases = 0;
  /** Another database of that server, after `sql`, which may speak of it as NAME. */
  async function newDatabase(...sql: string[]): Promise<string> {
    const name = `other_${databases++}`;
    await asDatabase(postgres.adminUrl, (client) => client.query(`create database ${name} owner core`));
    for (const each of sql)
      await asDatabase(postgres.adminUrl, (client) => client.query(each.replaceAll('NAME', name)));
    return (postgres.urls.core ?? '').replace(/[^/]*$/, name);
  }
  let engine: ReturnType<typeof createGrpcServer>;
  let env: Record<string, string>;
  const servers: Server[] = [];
  before(async () => {
    const log = quietLog();
    const allowed = { GetOperation: ['operator'] as const };
    const authorizer = createAuthorizer(createCallers(`doctor:operator:${PROCESSOR_TOKEN}`), allowed, log);
    engine = createGrpcServer({ host: '127.0.0.1', port: 0, routes: stage.engine.routes, authorizer, log });
    env = {
      ...KEYS,
      DATABASE_URL: postgres.urls.core ?? '',
      PROCESSOR_URL: `http://127.0.0.1:${await engine.start()}`,
      PROCESSOR_TOKEN,
      MODE_WHEN_ABSENT: 'sandbox',
      WIX_PUBLIC_KEY: stage.wix.publicKeyPem,
      WIX_APP_ID: stage.wix.appId,
      WIX_APP_SECRET: stage.wix.appSecret,
      WIX_API_URL: stage.wixUrl,
      WIX_USER_AGENT: 'doctor/1.0',
      PUBLIC_URL: stage.gatewayUrl,
    };
    // Something is stored that needs the keys.
    await stage.told(await stage.pay(), 'transaction');
  });
  after(async () => {
    await engine?.stop(0);
    for (const server of servers) await closeHttp(server, 0);
    await postgres?.stop();
    rmSync(data, { recursive: true, force: true });
  });

  async function serve(handle: RequestListener): Promise<string> {
    const server = createServer(handle);
    servers.push(server);
    return `http://127.0.0.1:${await listen(server, 0, '127.0.0.1')}`;
  }

  it('finds nothing wrong with what is well, in one line each, and exits with 0', async () => {
    const { code, out, err, of } = await examine(env);
    assert.deepEqual([code, of('FAIL'), err], [0, [], ''], out);
    for (const name of [
      'connector: configuration',
      'database',
      'core: engine',
      'webhook-relay: schema',
      'webhook-relay: Wix',
      'gateway: public URL',
    ])
      assert.ok(
        of('ok').some((line) => line.includes(name)),
        `${name}\n${out}`,
      );
    assert.ok(!out.includes('\x1b'));
  });

  it('says the same as data with --json', async () => {
    const { out, code } = await examine(env, '--json');
    const { ok, checks } = JSON.parse(out);
    assert.deepEqual([code, ok], [0, true]);
    assert.ok(checks.length >= 6 && checks.every(({ findings }: { findings: unknown[] }) => findings.length > 0));
  });

  it('changes nothing: no migration, no event, no operation of the engine', async () => {
    const empty = await newDatabase();
    const calls = stage.engine.books.list().length;
    const { of } = await examine({ ...env, DATABASE_URL: empty });
    assert.ok(of('ok').some((line) => line.includes('no schema core yet')));
    const { rows } = await asDatabase(empty, (client) => client.query("select to_regnamespace('core') as core"));
    assert.equal(rows[0].core, null);
    assert.equal(stage.engine.books.list().length, calls);
  });

  /** Breaks one thing: exactly this is FAIL, with what to do about it. */
  const finds = (
    what: string,
    broken: () => Promise<Record<string, string | undefined>> | Record<string, string | undefined>,
    line: RegExp,
    times = 1,
  ) =>
    it(`finds ${what}`, async () => {
      const { code, out, err, of } = await examine({ ...env, ...(await broken()) });
      assert.equal(code, 1, out + err);
      const found = of('FAIL');
      assert.equal(found.length, times, out);
      assert.match(found[0] ?? '', line);
      assert.doesNotMatch(out, QUIET);
      for (const secret of [
        PROCESSOR_TOKEN,
        stage.wix.appSecret,
        ...Object.values(KEYS).map((key) => key.split(':')[1] ?? ''),
      ])
        assert.ok(!out.includes(secret));
    });

  finds(
    'a setting that is missing',
    () => ({ MODE_WHEN_ABSENT: undefined }),
    /connector: configuration +MODE_WHEN_ABSENT must be live or sandbox/,
  );
  finds(
    'a secret that serves two purposes',
    () => ({ WIX_APP_SECRET: PROCESSOR_TOKEN }),
    /configuration +\w+ is the same secret as/,
  );
  finds(
    'a database that lets this role not in',
    async () => {
      return { DATABASE_URL: (postgres.urls.core ?? '').replace('//core:', '//nobody_known:') };
    },
    /database/,
  );
  finds(
    'a database that takes no writes',
    async () => ({ DATABASE_URL: await newDatabase('alter database NAME set default_transaction_read_only = on') }),
    /default_transaction_read_only is on/,
  );
  finds(
    'a database that could lose what was answered',
    async () => ({ DATABASE_URL: await newDatabase('alter database NAME set synchronous_commit = off') }),
    /synchronous_commit is off/,
  );
  finds(
    'a role that may not make its schema',
    async () => ({
      DATABASE_URL: await newDatabase(
        'alter database NAME owner to postgres',
        'grant connect on database NAME to core',
      ),
    }),
    /no schema core, and no right to make it.*Let the owner run/,
    2,
  );
  it('finds migrations that are missing, and newer ones', async () => {
    const inCore = (sql: string) => asDatabase(postgres.urls.core ?? '', (client) => client.query(sql));
    await inCore(`update core.migrations set name = '9999_later' where name = '0009_search'`);
    assert.match((await examine(env)).of('warn').join(), /the schema core is of a newer version \(9999_later\)/);
    await inCore(`delete from core.migrations where name = '9999_later'`);
    assert.match((await examine(env)).of('warn').join(), /migrations of core are missing: 0009_search/);
    await inCore(`insert into core.migrations (name, run_on) values ('0009_search', now())`);
  });
  it('finds a database that was restored, and is not recovered yet', async () => {
    const inCore = (sql: string) => asDatabase(postgres.urls.core ?? '', (client) => client.query(sql));
    await inCore(`insert into core.database_identity (system_identifier, timeline, database_oid) values ('1', 1, 1)
                  on conflict (only_row) do update set system_identifier = '1'`);
    const { of } = await examine(env);
    assert.match(of('FAIL').join(), /not the database that was used until .* npm run recover/);
    await inCore('delete from core.database_identity');
  });
  finds(
    'stored data whose key is gone',
    () => ({ CREDENTIALS_KEY: newKey('other') }),
    /CREDENTIALS_KEY lacks test, with which stored data is sealed/,
  );
  finds(
    'an engine that refuses the token',
    () => ({ PROCESSOR_TOKEN: 'another-token-of-the-engine-0123456789-0123' }),
    /core: engine .*Unauthenticated.*compare PROCESSOR_TOKEN/i,
  );
  finds('an engine that is not there', () => ({ PROCESSOR_URL: 'http://127.0.0.1:9' }), /core: engine .*Unavailable/);
  finds(
    'something else in the place of the engine',
    async () => ({ PROCESSOR_URL: await serve((_, response) => response.end('hello')) }),
    /core: engine/,
  );
  finds(
    'an app secret that Wix does not take',
    () => ({ WIX_APP_SECRET: 'not-the-secret-of-this-app' }),
    /no token: status 401.*WIX_APP_SECRET/,
  );
  finds(
    'a Wix that cannot be reached',
    () => ({ WIX_API_URL: 'http://127.0.0.1:9' }),
    /webhook-relay: Wix .*does not answer/,
  );
  finds(
    'a clock that is not Wix’s',
    async () => {
      const answer: RequestListener = (_, response) => {
        response.setHeader('date', new Date(Date.now() - 600_000).toUTCString());
        response.setHeader('content-type', 'application/json');
        response.end('{"access_token":"x"}');
      };
      return { WIX_API_URL: await serve(answer) };
    },
    /differ by (599|600|601) s/,
  );
  finds(
    'a public URL where something else answers',
    async () => ({ PUBLIC_URL: await serve((_, response) => response.writeHead(404).end()) }),
    /unsigned call is answered 404, not 401/,
  );
  finds('a public URL where nobody answers', () => ({ PUBLIC_URL: 'http://127.0.0.1:9' }), /gateway: public URL/);
  finds(
    'a certificate that has expired',
    () => {
      const { cert, key } = createAuthority('psp').issue('core', { expired: true });
      return { CORE_TLS_CERT: cert, CORE_TLS_KEY: key };
    },
    /certificate CORE_TLS_CERT +it expired \d+ days ago/,
  );

  it('gives up on what does not answer, and says so', async () => {
    const silent = createSocketServer(() => undefined);
    const port = await new Promise<number>((resolve) =>
      silent.listen(0, '127.0.0.1', () => resolve((silent.address() as { port: number }).port)),
    );
    const { code, of } = await examine({
      ...env,
      DATABASE_URL: `postgres://core:x@127.0.0.1:${port}/x`,
      PUBLIC_URL: undefined,
    });
    silent.close();
    assert.equal(code, 1);
    assert.equal(of('FAIL').length, 1);
    assert.equal(of('skip').length, 3);
  });

  it('looks at one service alone where only that is configured, or named', async () => {
    const { WIX_PUBLIC_KEY = '', PUBLIC_URL = '' } = env;
    const gateway = { WIX_PUBLIC_KEY, PUBLIC_URL, CORE_TOKEN: 'a-token-of-the-gateway-0123456789-0123456789' };
    assert.deepEqual(
      (await examine(gateway)).of('ok').map((line) => line.slice(6, 28).trim()),
      ['gateway: configuration', 'gateway: public URL'],
    );
    const { of, code } = await examine(env, '--for', 'webhook-relay');
    assert.equal(code, 1);
    assert.match(of('FAIL')[0] ?? '', /webhook-relay: configuration +KAFKA_BROKERS is missing/);
  });

  it('says in one line what is wrong with the question', async () => {
    for (const [args, line] of [
      [['--for', 'nobody'], /^doctor: nobody is no service: /],
      [['--url', 'pay.example'], /^doctor: --url must be an http\(s\) URL/],
      [['more'], /^doctor: more is one argument too many/],
    ] as const) {
      const { code, err } = await examine(env, ...args);
      assert.equal(code, 2);
      assert.match(err, line);
    }
    const { code, of } = await examine({});
    assert.equal(code, 1);
    assert.match(of('FAIL')[0] ?? '', /configures no service/);
  });
});
