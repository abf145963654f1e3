import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { endPrograms, startProgram } from './program.ts';
import { createShoppers } from './shoppers.ts';
import {
  connectMerchant,
  disagreements,
  openMatters,
  openSurroundings,
  type Surroundings,
  startConnector,
} from './surroundings.ts';

// A drill: under load the database is restored to a point in time, by PostgreSQL's own means, and what was lost is brought back.

const IN_FLIGHT = 8;

export interface Drill {
  readonly around: Surroundings;
  /** What the restored database lacked, as `npm run recover` printed it. */
  readonly printed: string;
  readonly figures: Record<string, number>;
}

/**
 * Runs it, and asserts what must be true when it is over. `env` is added to the connector's; `restated`: what Wix may hear in other words than
 * before.
 */
export async function drillRestore(env: Record<string, string>, restated = /^never$/): Promise<Drill> {
  const folder = mkdtempSync(path.join(tmpdir(), 'restore-'));
  const archive = path.join(folder, 'archive');
  mkdirSync(archive, { mode: 0o777 });
  for (const open of [folder, archive]) chmodSync(open, 0o777);
  const around = await openSurroundings();
  let postgres: EmbeddedPostgres | undefined;
  try {
    const first = path.join(folder, 'first');
    const settings = { archive_mode: 'on', archive_command: `cp %p ${archive}/%f`, fsync: 'off' };
    postgres = await startEmbeddedPostgres({ dataDir: first, roles: ['core'], log: quietLog(), settings });
    const { wix, engine } = around;
    const config = (url: string): Record<string, string> => ({ ...around.env, ...env, DATABASE_URL: url });
    const before = config(postgres.urls.core ?? '');
    const connector = await startConnector(before);
    around.env.GATEWAY_PORT = before.GATEWAY_PORT ?? '';
    const merchants = [await connectMerchant(wix, connector.url), await connectMerchant(wix, connector.url)];
    const shoppers = createShoppers(wix, merchants);
    let isOver = false;
    const load = shoppers.shop({ inFlight: IN_FLIGHT, more: () => !isOver });
    const untilDone = (count: number) =>
      eventually(() => assert.ok(shoppers.done >= count, `${shoppers.done} are done`), { timeoutMs: 60_000 });

    await untilDone(20);
    const second = path.join(folder, 'second');
    await backUp(postgres.adminUrl, first, second);
    await untilDone(60);
    await asAdmin(postgres.adminUrl, `select pg_create_restore_point('an hour ago')`);
    const kept = shoppers.done;
    await untilDone(140);
    const lost = shoppers.done - kept;

    // The worst of it: everything ends at once, under load. Wix goes on to repeat what is not answered.
    await connector.kill();
    await asAdmin(postgres.adminUrl, 'select pg_switch_wal()');
    await postgres.stop();
    restoreTo(second, archive, 'an hour ago');
    postgres = await startEmbeddedPostgres({
      dataDir: second,
      roles: ['core'],
      log: quietLog(),
      // Nobody is let in before it is all there.
      settings: { hot_standby: 'off', fsync: 'off' },
    });
    await asAdmin(postgres.adminUrl, `update core.database_identity set seen_at = seen_at - interval '1 hour'`);
    const after = config(postgres.urls.core ?? '');

    const refused = startProgram('connector.ts', after);
    assert.equal(await refused.ended, 1);
    assert.match(refused.out, /this is not the database that was used until .* \(another timeline\).* npm run recover/);

    const began = performance.now();
    const recovering = startProgram('ops/recover.ts', after, ['--reason', 'a drill', '--as', 'ann']);
    assert.equal(await recovering.ended, 0, recovering.err + recovering.out);
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    assert.match(recovering.out, /Cores may start on this database\.\n$/);

    const again = await startConnector(after);
    const more = shoppers.done;
    await untilDone(more + 40);
    isOver = true;
    await load;

    // None of them is unknown, and what is left of each can be refunded.
    for (const payment of shoppers.payments) {
      if (payment.request.authorizeOnly || payment.answer.body?.reasonCode !== undefined) continue;
      const { status, body } = await wix.refund(
        { ...payment, merchant: { ...payment.merchant, gatewayUrl: again.url } },
        { amount: 100 },
      );
      assert.equal(status, 200);
      assert.ok(
        body?.reasonCode === undefined || body.reasonCode === 3022 || body.reasonCode === 3025,
        JSON.stringify(body),
      );
      assert.notEqual(body?.errorCode, 'NO_PAYMENT');
    }
    const { adminUrl } = postgres;
    /** Of a payment that Wix was told is pending, and that the engine never saw, nobody knows where no event told of it. */
    const untold = async () => {
      const rows = (await asAdmin(adminUrl, 'select external_id as id from core.transactions')) as { id: string }[];
      const kept = new Set(rows.map(({ id }) => id));
      const lost = shoppers.payments.filter(
        ({ wixTransactionId: id, pluginTransactionId }) =>
          !env.KAFKA_BROKERS && !kept.has(id) && engine.books.operations(pluginTransactionId).length === 0,
      );
      const excused = new Set(lost.map(({ wixTransactionId: id }) => `${id}: its pending state`));
      return wix.untold.filter((line) => !excused.has(line));
    };
    await eventually(
      async () =>
        assert.deepEqual({ open: await openMatters(adminUrl), untold: await untold() }, { open: [], untold: [] }),
      { timeoutMs: 60_000, every: 50 },
    );
    const idOf = (violation: string) => violation.split(':')[0] ?? '';
    const others = new Set(wix.violations.filter((violation) => restated.test(violation)).map(idOf));
    assert.deepEqual(
      wix.violations.filter((violation) => !others.has(idOf(violation))),
      [],
    );
    assert.deepEqual(disagreements(wix, engine.books, shoppers.payments), []);
    assert.deepEqual(
      again.lines.filter(({ alert }) => alert !== undefined).map(({ alert }) => alert),
      [],
    );
    await assertSequences(adminUrl);
    const figures = {
      payments: shoppers.payments.length,
      'done after the restore point': lost,
      'seconds to recover': seconds,
    };
    return { around, printed: recovering.out, figures };
  } finally {
    await endPrograms();
    await postgres?.stop();
    await around.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Every payment's events are numbered from 1 without a gap, and the relay has the same ones. */
async function assertSequences(adminUrl: string): Promise<void> {
  const gaps = await asAdmin(
    adminUrl,
    `select id from core.transactions t
     where sequence <> (select count(*) from core.outbox where transaction_id = t.id)
        or sequence <> (select coalesce(max(o.sequence), 0) from core.outbox o where transaction_id = t.id)`,
  );
  assert.deepEqual(gaps, []);
  await eventually(async () => {
    const unlike = await asAdmin(
      adminUrl,
      `select event_id from core.outbox full join relay.deliveries using (event_id) where core.outbox.sequence is distinct from relay.deliveries.sequence`,
    );
    assert.deepEqual(unlike, []);
  });
}

async function asAdmin(adminUrl: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** A base backup of a running cluster, as PostgreSQL's manual has it (26.3.3). */
async function backUp(adminUrl: string, from: string, to: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  await client.query(`select pg_backup_start('drill', true)`);
  // As they are, owners too; a file that goes meanwhile is replayed.
  spawnSync('cp', ['-a', from, to]);
  for (const name of ['socket', 'cluster/postmaster.pid', 'cluster/postmaster.opts'])
    rmSync(path.join(to, name), { recursive: true, force: true });
  const wal = path.join(to, 'cluster/pg_wal');
  for (const name of readdirSync(wal)) if (!statSync(path.join(wal, name)).isDirectory()) rmSync(path.join(wal, name));
  const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop()');
  own(path.join(to, 'cluster'), 'backup_label', rows[0]?.labelfile ?? '');
  await client.end();
}

/** A file that belongs to whom the cluster does. */
function own(cluster: string, name: string, text: string): void {
  const { uid, gid } = statSync(cluster);
  writeFileSync(path.join(cluster, name), text);
  chownSync(path.join(cluster, name), uid, gid);
}

function restoreTo(dataDir: string, archive: string, point: string): void {
  const cluster = path.join(dataDir, 'cluster');
  own(cluster, 'recovery.signal', '');
  const settings = {
    restore_command: `cp ${archive}/%f %p`,
    recovery_target_name: point,
    recovery_target_action: 'promote',
  };
  writeFileSync(
    path.join(cluster, 'postgresql.auto.conf'),
    Object.entries(settings)
      .map(([name, value]) => `${name} = '${value}'\n`)
      .join(''),
    { flag: 'a' },
  );
  assert.ok(statSync(path.join(cluster, 'backup_label')).size > 0);
}
