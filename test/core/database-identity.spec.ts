import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import path from 'node:path';
import { acceptDatabase, watchDatabase } from '../../core/database-identity.ts';
import { createDatabase } from '../../proto/runtime/database.ts';
import { createTestCore, KEYS } from '../support/core.ts';
import { asAdmin, asDatabase, freshDatabase, testDatabaseUrl } from '../support/database.ts';
import { quietLog } from '../support/log.ts';

describe('a core that starts', function () {
  this.timeout(30_000);
  let url: string;
  const startAndStop = async (on: string) => {
    const { stop, log } = await createTestCore({ url: on });
    await stop();
    return log.lines.map(({ event }) => event);
  };
  const set = (on: string, what: string) =>
    asDatabase(on, (client) => client.query(`update core.database_identity set ${what}`));
  /** The same rows in another database, as a dump would make it. */
  const copy = async () => {
    const name = `test_${randomUUID().replaceAll('-', '')}`;
    await asAdmin((client) => client.query(`create database ${name} template ${path.basename(new URL(url).pathname)}`));
    return testDatabaseUrl(name);
  };
  const recover = (on: string, ...args: string[]) =>
    new Promise<{ code: number; out: string; err: string }>((resolve) => {
      const env = {
        ...KEYS,
        PATH: process.env.PATH,
        DATABASE_URL: on,
        MODE_WHEN_ABSENT: 'sandbox',
        PROCESSOR_URL: 'http://127.0.0.1:9',
        PROCESSOR_TOKEN: randomBytes(32).toString('hex'),
      };
      const file = path.join(import.meta.dirname, '../../ops/recover.ts');
      execFile(process.execPath, [file, ...args], { env }, (error, out, err) =>
        resolve({ code: error ? Number(error.code) : 0, out, err }),
      );
    });
  before(async () => {
    url = await freshDatabase();
    await startAndStop(url);
  });

  it('starts again on its database', async () => {
    await startAndStop(url);
  });

  it('goes on after a fail-over, and says so', async () => {
    await set(url, 'timeline = timeline + 1');
    assert.ok((await startAndStop(url)).includes('database.failed_over'));
  });

  it('does not start where the timeline is another one after a while', async () => {
    await set(url, `timeline = timeline + 1, seen_at = now() - interval '6 minutes'`);
    await assert.rejects(startAndStop(url), /used until .* \(another timeline\).* npm run recover/);
    await set(url, 'timeline = timeline - 1');
    await startAndStop(url);
  });

  it('starts where it is not told which database it is, and says so', async () => {
    const other = await freshDatabase();
    await asDatabase(other, (client) => client.query('revoke execute on function pg_control_system() from public'));
    const name = path.basename(new URL(other).pathname);
    await asAdmin((client) => client.query(`create role r_${name} login password 'x'`));
    await asDatabase(other, async (client) => {
      await client.query(`grant all on schema core to r_${name}; grant all on all tables in schema core to r_${name}`);
      await client.query(
        `grant all on all sequences in schema core to r_${name}; grant create on database ${name} to r_${name}`,
      );
    });
    const url = new URL(other);
    url.username = `r_${name}`;
    url.password = 'x';
    assert.ok((await startAndStop(url.href)).includes('database.identity_unknown'));
  });

  it('does not start on another cluster, however soon', async () => {
    await set(url, `system_identifier = '1'`);
    await assert.rejects(startAndStop(url), /another system identifier/);
    await asDatabase(url, (client) => client.query('truncate core.database_identity'));
    await startAndStop(url);
  });

  it('does not start on a copy, until npm run recover accepts it', async () => {
    const other = await copy();
    await assert.rejects(startAndStop(other), /another database oid/);
    const { code, err } = await recover(other, '--accept');
    assert.deepEqual([code, err.includes('--reason is needed')], [2, true]);
    const accepted = await recover(other, '--accept', '--reason', 'moved, nothing is missing', '--as', 'ann');
    assert.deepEqual([accepted.code, accepted.out], [0, 'Cores may start on this database.\n'], accepted.err);
    await startAndStop(other);
    const { rows } = await asDatabase(other, (client) =>
      client.query(`select step, operator, reason from core.duties where command = 'recover' order by id`),
    );
    assert.deepEqual(rows, [
      { step: 'begun', operator: 'ann', reason: 'moved, nothing is missing' },
      { step: 'ended', operator: 'ann', reason: 'moved, nothing is missing' },
    ]);
  });

  it('is not recovered from a time that is later than what may be missing, or to come', async () => {
    const other = await copy();
    await set(other, `seen_at = '2026-01-01T00:00:00Z'`);
    for (const [since, why] of [
      ['2026-01-02T00:00:00Z', /missing since 2026-01-01T00:00:00.000Z: --since must not be later/],
      ['2999-01-01T00:00:00Z', /--since is in the future/],
    ] as const) {
      const { code, err } = await recover(other, '--reason', 'x', '--since', since);
      assert.equal(code, 2);
      assert.match(err, why);
    }
  });

  it('is neither migrated nor accepted by a dry run', async () => {
    const other = await copy();
    const dry = await recover(other, '--accept', '--dry-run');
    assert.deepEqual([dry.code, dry.out], [0, 'Cores might start on this database.\n']);
    await assert.rejects(startAndStop(other), /another database oid/);
    await asDatabase(other, (client) => client.query('drop table core.database_identity'));
    const { code, err } = await recover(other, '--dry-run', '--since', '2026-01-01T00:00:00Z');
    assert.deepEqual([code, /no database of this version/.test(err)], [1, true], err);
  });

  it('does not start where the engine could not be asked, and nothing is lost by trying again', async () => {
    const other = await copy();
    const { code, err } = await recover(other, '--reason', 'restored');
    assert.equal(code, 1);
    assert.match(err, /^recover: the engine did not answer ListOperations: Unavailable\n$/);
    await assert.rejects(startAndStop(other), /another system identifier, database oid/);
  });

  it('alerts while it runs when the database is another one, and leaves that for the next start to find', async () => {
    const log = quietLog();
    const db = createDatabase({ url, schema: 'core', poolSize: 1, log });
    const look = watchDatabase(log);
    await look(db);
    await set(url, `system_identifier = '1', seen_at = seen_at - interval '1 hour', notes = 1`);
    for (let i = 0; i < 3; i++) await look(db);
    assert.deepEqual(
      log.lines.filter(({ alert }) => alert).map(({ alert }) => alert),
      ['database_went_back'],
    );
    await assert.rejects(startAndStop(url), /another system identifier/);
    const [row] = await db.query<{ agoMs: number }>(
      'select extract(epoch from now() - lacks_since)::float8 * 1000 as "agoMs" from database_identity',
    );
    assert.ok((row?.agoMs ?? 0) >= 3_600_000);
    await db.query('truncate database_identity');
    await db.close();
    await startAndStop(url);
  });

  it('forgets what it noted of the other one, once it is accepted', async () => {
    const log = quietLog();
    const db = createDatabase({ url, schema: 'core', poolSize: 1, log });
    const look = watchDatabase(log);
    await look(db);
    await look(db);
    await set(url, `system_identifier = '1', notes = 0`);
    await look(db);
    await acceptDatabase(db, true);
    await look(db);
    assert.deepEqual(await db.query('select lacks_since from database_identity'), [{ lacks_since: null }]);
    await db.close();
  });

  it('does not start where a recovery has begun, and no core was ever seen', async () => {
    const other = await freshDatabase();
    const { code } = await recover(other, '--since', '2026-01-01T00:00:00Z', '--reason', 'an old backup');
    assert.equal(code, 1);
    await assert.rejects(startAndStop(other), /not the database that was used/);
    const again = await recover(other, '--reason', 'an old backup');
    assert.match(again.out, /^From 2026-01-01T00:00:00.000Z on/);
  });

  it('begins to recover where something may be missing, until nothing is', async () => {
    const other = await copy();
    await set(other, `seen_at = '2026-01-01T00:00:00Z'`);
    const first = await recover(other, '--reason', 'restored');
    assert.match(first.out, /^From 2025-12-31T23:50:00.000Z on/);
    // A core that runs notes the time; what is missing is missing all the same.
    await set(other, 'seen_at = now()');
    const second = await recover(other, '--reason', 'restored');
    assert.match(second.out, /^From 2025-12-31T23:50:00.000Z on/);
    await recover(other, '--accept', '--reason', 'nothing was missing');
    const { rows } = await asDatabase(other, (client) =>
      client.query('select lacks_since from core.database_identity'),
    );
    assert.deepEqual(rows, [{ lacks_since: null }]);
  });

  it('alerts while it runs when what it wrote is gone', async () => {
    const log = quietLog();
    const db = createDatabase({ url, schema: 'core', poolSize: 1, log });
    const look = watchDatabase(log);
    for (let i = 0; i < 3; i++) await look(db);
    // Whatever the clock of the database says.
    await set(url, `seen_at = seen_at - interval '1 hour'`);
    await look(db);
    const alerts = () => log.lines.filter(({ alert }) => alert).map(({ alert }) => alert);
    assert.deepEqual(alerts(), []);
    await set(url, 'notes = notes - 1');
    await look(db);
    assert.deepEqual(alerts(), ['database_went_back']);
    await look(db);
    assert.equal(alerts().length, 1);
    await db.close();
  });
});
