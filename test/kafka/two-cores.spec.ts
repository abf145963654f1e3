import assert from 'node:assert/strict';
import type { Database } from '../../proto/runtime/database.ts';
import { endPrograms, numberIn, type Program, startProgram } from '../faults/program.ts';
import { KEYS, QUICK } from '../support/core.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { useKafka } from '../support/kafka.ts';
import { type ScriptedWix, startScriptedWix } from '../webhook-relay/scripted-wix.ts';
import { commitEvents, coreDatabase, deliveries, disorder, makeEvents, startRelay, unpublished } from './kit.ts';
import { READERS } from './read-topic.ts';

describe('two cores on one database', function () {
  this.timeout(60_000);
  const kafka = useKafka();
  let env: Record<string, string> & ReturnType<typeof kafka.newEnv>;
  let db: Database;
  let wix: ScriptedWix;
  let relay: Awaited<ReturnType<typeof startRelay>>;
  const cores: Record<string, Program> = {};
  before(async () => {
    const url = await freshDatabase();
    env = kafka.newEnv();
    db = coreDatabase(url);
    wix = await startScriptedWix();
    for (const name of ['one', 'two']) {
      const named = new URL(url);
      named.searchParams.set('application_name', name);
      cores[name] = startProgram('core/main.ts', {
        ...KEYS,
        ...QUICK,
        ...env,
        DATABASE_URL: named.href,
        CORE_TOKENS: `gateway:gateway:${'t'.repeat(32)}`,
        PROCESSOR_URL: 'http://127.0.0.1:1',
        PROCESSOR_TOKEN: 'e'.repeat(32),
      });
    }
    relay = await startRelay(url, env, wix);
    for (const core of Object.values(cores)) await core.until(() => numberIn(core, 'core.started', 'httpPort'));
  });
  after(async () => {
    await endPrograms();
    await relay?.stop();
    await wix?.close();
    await db?.close();
  });

  /** Which core publishes at this moment. */
  async function publisher(): Promise<string | undefined> {
    const [row] = await db.query<{ name: string }>(
      `select application_name as name from pg_locks join pg_stat_activity using (pid)
       where locktype = 'advisory' and granted and datname = current_database()`,
    );
    return row?.name;
  }

  /** Stops a core while it holds the publisher's lock. */
  async function stopPublisher(): Promise<string> {
    for (;;) {
      const name = await publisher();
      if (!name) continue;
      cores[name]?.signal('SIGSTOP');
      // What it had sent to the database before it stopped has been done by now.
      await db.query('select pg_sleep(0.05)');
      if ((await publisher()) === name) return name;
      cores[name]?.signal('SIGCONT');
    }
  }

  it('R30 R42 publish one at a time: when one sleeps, the other goes on within seconds, and repeats are dropped', async () => {
    const events = makeEvents(20, 300).map((event) => ({ ...event, forWix: false }));
    await commitEvents(db, events);
    const sleeper = await stopPublisher();
    assert.ok((await unpublished(db)) > 0);
    // The database frees the lock of the sleeper after 3.5 s.
    await eventually(async () => assert.ok(!['', undefined, sleeper].includes(await publisher())), { every: 0 });
    await eventually(async () => assert.equal(await unpublished(db), 0));
    const more = makeEvents(20, 5).map((event) => ({ ...event, forWix: false }));
    cores[sleeper]?.signal('SIGCONT');
    await commitEvents(db, more);
    await eventually(async () => assert.equal(await unpublished(db), 0));
    const all = [...events, ...more];
    await eventually(async () => assert.deepEqual(await deliveries(db), { not_for_wix: all.length }), {
      timeoutMs: 20_000,
    });
    const read = await READERS['a plain consumer']!(env);
    assert.deepEqual(disorder(read), []);
    assert.deepEqual(
      [...new Set(read.map(({ headers }) => headers['event-id']))].toSorted(),
      all.map(({ id }) => id).toSorted(),
    );
    const dropped = () => relay.log.lines.filter(({ event }) => event === 'event.dropped').length;
    await eventually(() => assert.equal(dropped(), read.length - all.length));
  });

  it('R38 both end in order', async () => {
    for (const core of Object.values(cores)) core.signal('SIGTERM');
    for (const core of Object.values(cores)) assert.equal(await core.ended, 0, core.err + core.out);
  });
});
