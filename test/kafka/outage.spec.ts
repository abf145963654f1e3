import assert from 'node:assert/strict';
import type { Database } from '../../proto/runtime/database.ts';
import { createKafkaPublisher } from '../../proto/runtime/kafka.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { useKafka } from '../support/kafka.ts';
import { quietLog } from '../support/log.ts';
import { type ScriptedWix, startScriptedWix } from '../webhook-relay/scripted-wix.ts';
import {
  commitEvents,
  coreDatabase,
  deliveries,
  disorder,
  kafkaOf,
  makeEvents,
  startCore,
  startRelay,
  told,
  unpublished,
} from './kit.ts';
import { READERS } from './read-topic.ts';

describe('a Kafka outage', function () {
  this.timeout(90_000);
  const kafka = useKafka({ own: true });
  let url: string;
  let env: Record<string, string> & ReturnType<typeof kafka.newEnv>;
  let db: Database;
  let wix: ScriptedWix;
  let core: Awaited<ReturnType<typeof startCore>>;
  let relay: Awaited<ReturnType<typeof startRelay>>;
  before(async () => {
    url = await freshDatabase();
    env = kafka.newEnv();
    db = coreDatabase(url);
    wix = await startScriptedWix();
    core = await startCore(url, env);
    relay = await startRelay(url, env, wix);
    await eventually(async () => assert.equal(await relay.ready(), 200));
  });
  after(async () => {
    await relay?.stop();
    await core?.stop();
    await wix?.close();
    await db?.close();
  });

  const readAll = () => READERS['a plain consumer']!(env);
  const slow = { timeoutMs: 60_000 };

  it('in the middle of publishing loses nothing and keeps each payment in order; what comes twice is dropped', async () => {
    const events = makeEvents(400, 10).map((event) => ({ ...event, forWix: false }));
    await commitEvents(db, events);
    await eventually(async () => assert.ok((await unpublished(db)) < events.length));
    kafka.kill();
    assert.ok((await unpublished(db)) > 0);
    kafka.restart();
    await eventually(async () => assert.equal(await unpublished(db), 0), slow);
    await eventually(async () => assert.deepEqual(await deliveries(db), { not_for_wix: events.length }), slow);
    const read = await readAll();
    assert.deepEqual(disorder(read), []);
    assert.deepEqual(
      [...new Set(read.map(({ headers }) => headers['event-id']))].toSorted(),
      events.map(({ id }) => id).toSorted(),
    );
    assert.equal(relay.log.lines.filter(({ alert }) => alert).length, 0);
  });

  it('R45 leaves the core ready and the relay not; both recover by themselves, and say little of it', async () => {
    const events = makeEvents(50, 2);
    const logs = [core, relay].map(({ log }) => log.lines);
    const before = logs.map(({ length }) => length);
    kafka.kill();
    await eventually(async () => assert.equal(await relay.ready(), 503), slow);
    await commitEvents(db, events);
    // Both have been tried far more often than the library does by itself.
    await eventually(() => {
      const tries = logs.map((lines) => lines.filter(({ event }) => event === 'kafka.trouble').length);
      assert.ok(Math.min(...tries) > 20);
    }, slow);
    assert.equal(await core.ready(), 200);
    assert.equal(await relay.ready(), 503);
    assert.equal(await unpublished(db), events.length);
    const said = logs.map((lines, i) => lines.slice(before[i]).filter(({ level }) => /warn|error/.test(String(level))));
    for (const lines of said) assert.ok(lines.length <= 4, JSON.stringify(lines));
    kafka.restart();
    await eventually(async () => assert.equal((await deliveries(db)).delivered, events.length), slow);
    await eventually(async () => assert.equal(await relay.ready(), 200));
    assert.deepEqual(told(wix), told({ events }));
  });

  it('of the answer alone costs nothing: the next batch is not taken for the one whose answer was lost', async () => {
    const own = { ...env, ...kafka.newEnv(), KAFKA_PARTITIONS: '1' };
    const log = quietLog();
    const publisher = createKafkaPublisher({ config: kafkaOf(own), sendMs: 500, log });
    const publish = (key: string) => publisher.publish([{ key, value: Buffer.from(key), headers: {} }]);
    await publisher.start();
    await publish('first');
    kafka.pause();
    await assert.rejects(publish('second'), /did not answer/);
    // The library has tried it for the last time, and goes back to the number before it.
    const tries = () => log.lines.filter(({ err }) => /Produce.* timed out/.test(JSON.stringify(err)));
    await eventually(() => assert.equal(tries().length, 4));
    kafka.resume();
    await eventually(() => publish('third'));
    await eventually(async () => {
      const keys = (await READERS['a plain consumer']!(own)).map(({ key }) => key);
      // The second may have arrived or not: its publisher was told that it must send it again.
      assert.deepEqual([...new Set(keys)].filter((key) => key !== 'second').toSorted(), ['first', 'third']);
    });
    await publisher.stop();
  });
});
