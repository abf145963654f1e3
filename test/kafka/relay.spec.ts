import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import kafkajs from 'kafkajs';
import type { Database } from '../../proto/runtime/database.ts';
import { registry } from '../../proto/runtime/metrics.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { useKafka } from '../support/kafka.ts';
import { messageOf } from '../webhook-relay/relay-kit.ts';
import { type ScriptedWix, startScriptedWix } from '../webhook-relay/scripted-wix.ts';
import {
  commitEvents,
  coreDatabase,
  deliveries,
  EVENT_KEYS,
  makeEvents,
  startCore,
  startRelay,
  told,
  unpublished,
} from './kit.ts';

describe('the relay behind Kafka', () => {
  const kafka = useKafka();
  let url: string;
  let env: Record<string, string>;
  let db: Database;
  let wix: ScriptedWix;
  const parts: { stop(): Promise<void> }[] = [];
  const begun = async <T extends { stop(): Promise<void> }>(part: Promise<T>): Promise<T> => {
    parts.push(await part);
    return part;
  };
  const relay = (options?: Parameters<typeof startRelay>[3]) => begun(startRelay(url, env, wix, options));
  const core = () => begun(startCore(url, env));

  beforeEach(async () => {
    url = await freshDatabase();
    env = kafka.newEnv();
    db = coreDatabase(url);
    wix = await startScriptedWix();
  });
  afterEach(async () => {
    for (const part of parts.splice(0).toReversed()) await part.stop();
    await wix.close();
    await db.close();
  });

  const replaced = async () => {
    const metric = await registry.getSingleMetric('kafka_consumers_replaced_total')?.get();
    return metric?.values[0]?.value ?? 0;
  };

  it('R26 R40 tells Wix of each event once and in order, while one relay joins another and one leaves', async function () {
    this.timeout(60_000);
    const [first, second, third] = [makeEvents(60, 3), makeEvents(60, 3), makeEvents(60, 3)];
    await core();
    // What was there before the group had any offset is read too.
    await commitEvents(db, first);
    await eventually(async () => assert.equal(await unpublished(db), 0));
    const leaving = await relay();
    await eventually(() => assert.ok(wix.events.length > 0));
    await commitEvents(db, second);
    await relay();
    await commitEvents(db, third);
    await eventually(() => assert.ok(wix.events.length > first.length));
    await leaving.stop();
    const all = [...first, ...second, ...third];
    await eventually(async () => assert.deepEqual(await deliveries(db), { delivered: all.length }), {
      timeoutMs: 40_000,
    });
    assert.deepEqual(told(wix), told({ events: all }));
    assert.deepEqual(wix.problems, []);
  });

  it('R26 R39 holds the payment of a message that cannot be read, keeps aside what is not signed, and goes on', async () => {
    const [held, good] = [makeEvents(1, 2), makeEvents(5, 2)];
    const { signature, ...unsigned } = messageOf(held[0]!, { keys: EVENT_KEYS }).headers;
    const unreadable = messageOf(held[0]!, { keys: EVENT_KEYS, value: Buffer.from([0xff, 0xff]) });
    const part = await relay();
    const producer = new kafkajs.Kafka({ brokers: [env.KAFKA_BROKERS!], logLevel: kafkajs.logLevel.NOTHING }).producer({
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    });
    await producer.connect();
    const onOne = (messages: kafkajs.Message[]) =>
      producer.send({ topic: env.KAFKA_TOPIC!, messages: messages.map((message) => ({ ...message, partition: 0 })) });
    await onOne([
      { key: null, value: null },
      { key: randomUUID(), value: Buffer.from('forged'), headers: unsigned },
      { key: randomUUID(), value: Buffer.from('forged'), headers: { ...unsigned, signature: ['a', 'b'] } },
      { ...unreadable, value: Buffer.from(unreadable.value) },
      ...[held[1]!, ...good].map((event) => {
        const message = messageOf(event, { keys: EVENT_KEYS });
        return { ...message, value: Buffer.from(message.value) };
      }),
    ]);
    await producer.disconnect();
    await eventually(async () =>
      assert.deepEqual(await deliveries(db), { held: 1, waiting: 1, delivered: good.length }),
    );
    assert.deepEqual(told(wix), told({ events: good }));
    const rejected = await db.query<{ value: Buffer }>('select value from relay.rejected_messages order by id');
    assert.deepEqual(
      rejected.map(({ value }) => String(value)),
      ['', 'forged', 'forged'],
    );
    const alerts = part.log.lines.flatMap(({ alert }) => (alert ? [alert] : []));
    assert.deepEqual(alerts, ['message_rejected', 'event_unreadable']);
  });

  it('R45 replaces a consumer that stands still, is not ready meanwhile, and loses nothing', async function () {
    this.timeout(60_000);
    let calls = 0;
    const before = await replaced();
    const hangs = Promise.withResolvers<void>();
    const part = await relay({
      stallMs: 2_000,
      receive: (inner) => async (batch) => {
        if (++calls === 1) await hangs.promise;
        await inner.receive(batch);
      },
    });
    await eventually(async () => assert.equal(await part.ready(), 200));
    await core();
    const events = makeEvents(20, 2);
    await commitEvents(db, events);
    await eventually(async () => assert.equal(await part.ready(), 503));
    await eventually(async () => assert.deepEqual(await deliveries(db), { delivered: events.length }), {
      timeoutMs: 40_000,
    });
    assert.equal(await part.ready(), 200);
    assert.equal((await replaced()) - before, 1);
    // What hung comes back to life: its batch was received by another meanwhile.
    hangs.resolve();
    await eventually(() => assert.ok(part.log.lines.some(({ event }) => event === 'event.dropped')));
    assert.deepEqual(told(wix), told({ events }));
  });

  it('replaces a consumer that crashed for good', async function () {
    this.timeout(30_000);
    let calls = 0;
    const before = await replaced();
    await relay({
      receive: (inner) => async (batch) => {
        // The library never retries a TypeError.
        if (++calls <= 2) throw new TypeError('this ends the consumer');
        await inner.receive(batch);
      },
    });
    await core();
    const events = makeEvents(20, 2);
    await commitEvents(db, events);
    await eventually(async () => assert.deepEqual(await deliveries(db), { delivered: events.length }), {
      timeoutMs: 20_000,
    });
    assert.deepEqual(told(wix), told({ events }));
    assert.ok((await replaced()) > before);
  });
});
