import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:https';
import path from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { CredentialsOnFileSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { ConfigError, parseConfig, secretNames } from '../../proto/runtime/config.ts';
import { createDatabase, type Database } from '../../proto/runtime/database.ts';
import type { BusMessage } from '../../proto/runtime/event-bus.ts';
import { createKeyRing, type KeyRing } from '../../proto/runtime/seal.ts';
import { relayConfig } from '../../webhook-relay/config.ts';
import { createRelay, type Relay } from '../../webhook-relay/service.ts';
import { startPostgresProxy } from '../faults/postgres-proxy.ts';
import { type Certificate, createAuthority } from '../support/certificates.ts';
import { asAdmin, freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { KEYS, KEYS_TEXT, messageOf, newPayment } from './relay-kit.ts';
import { type ScriptedWix, startScriptedWix } from './scripted-wix.ts';

const OTHER_KEY = `k9:${Buffer.alloc(32, 'key 9').toString('base64')}`;

describe('the relay', () => {
  let wix: ScriptedWix;
  let env: Record<string, string>;
  let db: Database;
  const log = quietLog();
  const relays: Relay[] = [];
  const children: ChildProcess[] = [];

  beforeEach(async () => {
    wix = await startScriptedWix();
    const url = await freshDatabase();
    db = createDatabase({ url, schema: 'relay', log });
    env = {
      DATABASE_URL: url,
      EVENTS_KEY: KEYS_TEXT,
      WIX_API_URL: wix.url,
      WIX_APP_ID: 'app-id',
      WIX_APP_SECRET: 'app-secret',
      WIX_USER_AGENT: 'harbor-pay/1.4.0',
      EVENT_DELAY_MS: '0',
      RELAY_PORT: '0',
    };
  });
  afterEach(async () => {
    for (const child of children.splice(0)) if (child.exitCode === null) child.kill('SIGKILL');
    await Promise.all(relays.splice(0).map((relay) => relay.stop()));
    await wix.close();
    await db.close();
  });

  async function startRelay(changes: Record<string, string> = {}): Promise<Relay> {
    const relay = createRelay(parseConfig(relayConfig, { ...env, ...changes }), { log });
    relays.push(relay);
    await relay.start();
    return relay;
  }

  function spawnRelay(): ChildProcess {
    const file = path.join(import.meta.dirname, 'relay-process.ts');
    const child = spawn(process.execPath, [file], { env, stdio: 'ignore' });
    children.push(child);
    return child;
  }

  const openDeliveries = async () => {
    const rows = await db.query('select 1 from deliveries where finished_at is null');
    return rows.length;
  };
  const allFinished = () => eventually(async () => assert.equal(await openDeliveries(), 0));

  it('delivers what it receives', async () => {
    const relay = await startRelay();
    const next = newPayment();
    await relay.receive([messageOf(next('TRANSACTION_APPROVED')), messageOf(next('CAPTURE_SUCCEEDED'))]);
    await allFinished();
    assert.deepEqual(
      wix.events.map(({ kind }) => kind),
      ['transaction', 'capture'],
    );
  });

  it('R33 speaks TLS alone on its port with a certificate, and answers RPCs only to clients of its authority', async () => {
    const authority = createAuthority('our authority');
    const [own, client] = [authority.issue('relay'), authority.issue('operator')];
    const token = 't'.repeat(32);
    const relay = await startRelay({
      RELAY_TOKENS: `ada:reader:${token}`,
      RELAY_TLS_CERT: own.cert,
      RELAY_TLS_KEY: own.key,
      RELAY_TLS_CA: authority.cert,
    });
    const ask = (method: string, path: string, shown?: Certificate) =>
      new Promise<number | undefined>((resolve, reject) => {
        const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
        const address = { host: 'localhost', port: relay.adminPort, path, method, headers, agent: false };
        request({ ...address, ca: authority.cert, ...shown }, (response) => resolve(response.resume().statusCode))
          .on('error', reject)
          .end(method === 'POST' ? '{}' : undefined);
      });
    const list = '/relay.v1.DeliveriesService/ListDeliveries';
    assert.equal(await ask('POST', list, client), 200);
    assert.equal(await ask('POST', list), 401);
    assert.equal(await ask('GET', '/health/live'), 200);
    await assert.rejects(fetch(`http://127.0.0.1:${relay.adminPort}/health/live`));
  });

  it('delivers after a restart what it had received before', async () => {
    const first = await startRelay();
    wix.answerEvent(() => ({ status: 503 }));
    await first.receive([messageOf(newPayment()('TRANSACTION_APPROVED'))]);
    await eventually(() => assert.equal(wix.events.length, 1));
    await first.stop();
    wix.answerEvent(() => ({}));
    await db.query('update transactions set next_attempt_at = now()');
    await startRelay();
    await allFinished();
    assert.equal(wix.events[0]?.body, wix.events[1]?.body);
  });

  it('killed in the middle of a delivery, delivers it after a restart', async () => {
    const receiving = await startRelay({ EVENT_DELAY_MS: '3600000' });
    wix.answerEvent(() => 'hang');
    await receiving.receive([messageOf(newPayment()('TRANSACTION_APPROVED'))]);
    await receiving.stop();
    await db.query('update transactions set next_attempt_at = now()');
    const child = spawnRelay();
    await eventually(() => assert.equal(wix.events.length, 1));
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal(await openDeliveries(), 1);

    wix.answerEvent(() => ({}));
    await db.query('update transactions set claimed_until = now() where claimed_until is not null');
    await startRelay();
    await allFinished();
    assert.equal(wix.events.length, 2);
    assert.equal(wix.events[0]?.body, wix.events[1]?.body);
  });

  it('delivers each event once beside another relay on the same database', async () => {
    const [one, two] = [await startRelay(), await startRelay()];
    const payments = Array.from({ length: 25 }, () => newPayment());
    const messages = payments.flatMap((next) =>
      [next('TRANSACTION_APPROVED'), next('REFUND_SUCCEEDED'), next('REFUND_FAILED')].map((event) => messageOf(event)),
    );
    await Promise.all([one.receive(messages), two.receive(messages)]);
    await allFinished();
    assert.equal(wix.events.length, messages.length);
    assert.equal(new Set(wix.events.map(({ body }) => body)).size, messages.length);
    assert.deepEqual(wix.problems, []);
  });

  it('R38 lets a running attempt end when it stops, and starts no other', async () => {
    const relay = await startRelay();
    const { promise: opened, resolve: open } = Promise.withResolvers<void>();
    wix.answerEvent(async () => {
      await opened;
      return {};
    });
    const next = newPayment();
    await relay.receive([messageOf(next('TRANSACTION_APPROVED')), messageOf(next('CAPTURE_SUCCEEDED'))]);
    await eventually(() => assert.equal(wix.events.length, 1));
    const stopped = relay.stop();
    open();
    await stopped;
    const states = await db.query<{ state: string }>('select state from deliveries order by sequence');
    assert.deepEqual(
      states.map(({ state }) => state),
      ['delivered', 'waiting'],
    );
    assert.equal(wix.events.length, 1);
  });

  it('R38 cuts off after DRAIN_MS what hangs, which keeps its row and goes again', async () => {
    const relay = await startRelay({ DRAIN_MS: '1' });
    wix.answerEvent(() => 'hang');
    await relay.receive([messageOf(newPayment()('TRANSACTION_APPROVED'))]);
    await eventually(() => assert.equal(wix.events.length, 1));
    await relay.stop();
    const [row] = await db.query('select attempts, state from deliveries');
    assert.deepEqual(row, { attempts: 0, state: 'waiting' });
    wix.answerEvent(() => ({}));
    await db.query('update transactions set claimed_until = now()');
    await startRelay();
    await allFinished();
  });

  it('R45 is ready with its database, and shows what is open', async () => {
    const relay = await startRelay();
    wix.answerEvent(() => ({ status: 503 }));
    await relay.receive([messageOf(newPayment()('TRANSACTION_APPROVED'))]);
    const get = (what: string) => fetch(`http://127.0.0.1:${relay.adminPort}${what}`);
    assert.equal((await get('/health/ready')).status, 200);
    await eventually(async () =>
      assert.match(await (await get('/metrics')).text(), /relay_attempts_total\{outcome="refused"\} [1-9]/),
    );
    assert.match(await (await get('/metrics')).text(), /relay_deliveries_open \d/);
  });

  it('R45 asks the database once for 400 who ask at the same time, and is unready while it only reads', async () => {
    const proxy = await startPostgresProxy(env.DATABASE_URL ?? '');
    let pings = 0;
    proxy.hold('before', (sql) => {
      if (/^select 1$|transaction_read_only/.test(sql)) pings += 1;
      return false;
    });
    const relay = await startRelay({ DATABASE_URL: proxy.url(env.DATABASE_URL ?? '') });
    const ready = async () => (await fetch(`http://127.0.0.1:${relay.adminPort}/health/ready`)).status;
    const probes = await Promise.all(Array.from({ length: 400 }, ready));
    assert.ok(probes.every((status) => status === 200));
    // A second may end while they ask.
    assert.ok(pings >= 1 && pings <= 1 + probes.length / 100, `${pings} pings`);
    const name = new URL(env.DATABASE_URL ?? '').pathname.slice(1);
    await asAdmin(async (client) => {
      await client.query(`alter database ${name} set default_transaction_read_only = on`);
      await client.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`);
    });
    await eventually(() => assert.ok(log.lines.some(({ alert }) => alert === 'database_read_only')));
    await eventually(async () => assert.equal(await ready(), 503));
    await asAdmin((client) => client.query(`alter database ${name} reset default_transaction_read_only`));
    await eventually(async () => assert.equal(await ready(), 200));
    await relays.pop()?.stop();
    await proxy.stop();
  });

  describe('with a key that is missing', () => {
    /** An approval whose credentials are sealed with this key. */
    function approvalSealedBy(keys: KeyRing): BusMessage {
      const event = newPayment()('TRANSACTION_APPROVED');
      const credentials = create(CredentialsOnFileSchema, {
        info: { case: 'paymentMethodReference', value: { token: 'hp_pm_1' } },
      });
      const sealed = keys.seal(toBinary(CredentialsOnFileSchema, credentials), event.transactionId);
      return messageOf({ ...event, sealedCredentialsOnFile: sealed });
    }

    it('R31 refuses to start when a body to be sent is sealed with it', async () => {
      const relay = await startRelay({ EVENT_DELAY_MS: '3600000' });
      await relay.receive([approvalSealedBy(KEYS)]);
      await relay.stop();
      await assert.rejects(startRelay({ EVENTS_KEY: OTHER_KEY }), /EVENTS_KEY lacks keys of stored bodies: k1/);
      await startRelay({ EVENTS_KEY: `${OTHER_KEY},${KEYS_TEXT}` });
    });

    it('R28 holds an event that is sealed with it, and delivers it after a start with the key', async () => {
      const relay = await startRelay();
      await relay.receive([approvalSealedBy(createKeyRing(OTHER_KEY))]);
      await relay.stop();
      assert.equal(wix.events.length, 0);
      await startRelay({ EVENTS_KEY: `${KEYS_TEXT},${OTHER_KEY}` });
      await allFinished();
      assert.match(wix.events[0]?.body ?? '', /hp_pm_1/);
    });
  });

  describe('its configuration', () => {
    it('names everything that is missing at once, and no default for a secret', () => {
      assert.throws(
        () => parseConfig(relayConfig, {}),
        (error) =>
          error instanceof ConfigError &&
          ['DATABASE_URL', 'EVENTS_KEY', 'WIX_APP_ID', 'WIX_APP_SECRET', 'WIX_USER_AGENT'].every((name) =>
            error.message.includes(`${name} is missing`),
          ),
      );
    });
    it('demands a User-Agent of the form name/version', () => {
      for (const agent of ['harbor-pay', 'harbor pay/1', '/1', 'a/', 'a/1/2'])
        assert.throws(() => parseConfig(relayConfig, { ...env, WIX_USER_AGENT: agent }), /WIX_USER_AGENT/);
    });
    it('R34 names its secrets', () => {
      assert.deepEqual(secretNames(relayConfig), [
        'DATABASE_URL',
        'EVENTS_KEY',
        'WIX_APP_SECRET',
        'RELAY_TOKENS',
        'RELAY_TLS_KEY',
      ]);
    });
    it('U16 sends to Wix itself unless told otherwise', () => {
      const { WIX_API_URL, ...rest } = env;
      assert.equal(parseConfig(relayConfig, rest).WIX_API_URL, 'https://www.wixapis.com');
    });
  });
});
