import assert from 'node:assert/strict';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import type { Merchant } from '../wix/wix.ts';
import { type Matches, type PostgresProxy, startPostgresProxy } from './postgres-proxy.ts';
import { endPrograms, type Program } from './program.ts';
import {
  connectMerchant,
  disagreements,
  openSurroundings,
  type Surroundings,
  startConnector,
  untilSettled,
} from './surroundings.ts';

/** Its loop may have failed, and wait before it goes on. */
const PATIENT = { timeoutMs: 30_000 };

const isPublisher: Matches = (sql) => sql.includes('core.publish_outbox');

interface Sleep {
  /** Before it sees the answer to this statement, or before this statement is sent. */
  readonly when: 'before' | 'after';
  readonly at: Matches;
  /** Whose relay gets the batch a second time. */
  readonly dropsIn: 'sleeper' | 'other';
}

const SLEEPS: Record<string, Sleep> = {
  'before it hands over its batch': {
    when: 'after',
    at: (sql) => sql.includes('from outbox where published_at is null'),
    dropsIn: 'sleeper',
  },
  'when the relay has its batch and the outbox does not say so': {
    when: 'before',
    at: (sql) => sql.startsWith('update outbox'),
    dropsIn: 'other',
  },
};

describe('a publisher that sleeps past its lock', function () {
  this.timeout(120_000);
  let stage: Surroundings;
  let database: string;
  let roads: PostgresProxy[];
  let sleeper: Program;
  let other: Program;
  let merchant: Merchant;

  before(async () => {
    stage = await openSurroundings();
    database = await freshDatabase();
    roads = [await startPostgresProxy(database), await startPostgresProxy(database)];
    const [first, second] = await Promise.all(
      roads.map((road) => startConnector({ ...stage.env, DATABASE_URL: road.url(database) })),
    );
    sleeper = first!;
    other = second!;
    merchant = await connectMerchant(stage.wix, first!.url);
  });
  after(async () => {
    await endPrograms();
    for (const road of roads ?? []) await road.stop();
    await stage?.close();
  });

  for (const [where, { when, at, dropsIn }] of Object.entries(SLEEPS))
    it(`R30 ${where} is relieved by another, and nothing is lost or told twice`, async () => {
      const { wix, engine } = stage;
      const [own, others] = roads as [PostgresProxy, PostgresProxy];
      // Neither publishes until there is something to publish; then the sleeper does.
      const [ownGate, othersGate] = [own.hold('before', isPublisher), others.hold('before', isPublisher)];
      await eventually(() => assert.ok(ownGate.held > 0 && othersGate.held > 0));
      const asleep = own.hold(when, at);
      const payment = await wix.pay(merchant);
      ownGate.open();
      await eventually(() => assert.equal(asleep.held, 1));
      sleeper.signal('SIGSTOP');
      othersGate.open();

      const dropped = ({ lines }: Program) =>
        lines.some((line) => line.event === 'event.dropped' && line.transactionId === payment.pluginTransactionId);
      // Its lock is freed by the database, a little after the time that a send may take.
      if (dropsIn === 'other') await eventually(() => assert.ok(dropped(other)), PATIENT);
      await wix.eventFor(payment.wixTransactionId);
      const before = sleeper.lines.length;
      sleeper.signal('SIGCONT');
      asleep.open();
      const failure = await eventually(() => {
        const line = sleeper.lines
          .slice(before)
          .find(({ event, loop }) => event === 'loop.failed' && loop === 'publish_outbox');
        assert.ok(line);
        return JSON.stringify(line);
      }, PATIENT);
      // Slower than its query's time-out, it does not even come to send the batch.
      assert.ok(dropsIn === 'other' || dropped(sleeper) || failure.includes('Query read timeout'), failure);

      const next = await wix.pay(merchant);
      await untilSettled(wix, database);
      for (const { wixTransactionId } of [payment, next]) assert.equal(wix.events(wixTransactionId).length, 1);
      assert.deepEqual(disagreements(wix, engine.books, [payment, next]), []);
    });
});
