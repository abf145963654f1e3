import assert from 'node:assert/strict';
import type pg from 'pg';
import { measure } from '../../webhook-relay/store.ts';
import { claimDue } from '../../webhook-relay/store-attempts.ts';
import { asDatabase, freshDatabase } from '../support/database.ts';
import { type Kit, openKit } from './relay-kit.ts';

describe('a backlog', function () {
  this.timeout(60_000);
  const COUNT = 40_000;
  let kit: Kit;
  before(async () => {
    const url = await freshDatabase();
    kit = await openKit(url);
    // Longer than a statement of the relay may take.
    const fill = (client: pg.Client) =>
      client.query(
        `set search_path = relay;
       with opened as (
         insert into transactions (transaction_id, merchant, next_event_id, next_attempt_at)
         select gen_random_uuid(), 'm', gen_random_uuid(), now() - interval '1 minute' from generate_series(1, ${COUNT})
         returning transaction_id, next_event_id)
       insert into deliveries (event_id, transaction_id, sequence, type, state, body, due_at)
       select next_event_id, transaction_id, 1, 'TRANSACTION_APPROVED', 'waiting', '{}', now() from opened;
       analyze deliveries, transactions`,
      );
    await asDatabase(url, fill);
  });
  after(() => kit.close());

  it('is measured without being read: 10,000 of it are counted, and the rest is estimated', async () => {
    await kit.db.inTx(async (tx) => {
      const { open, oldestDueSeconds } = await measure(tx);
      assert.ok(Math.abs(open - COUNT) < COUNT / 10, `${open} open`);
      assert.ok(oldestDueSeconds >= 60);
      const rows = await tx.query<{ relname: string; read: bigint }>(
        `select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) as read from pg_stat_xact_user_tables
         where schemaname = 'relay' and relname in ('deliveries', 'transactions')`,
      );
      for (const { relname, read } of rows) assert.ok(read <= 10_002n, `${read} rows of ${relname}`);
    });
  });

  it('gives a claim no more than it asked for', async () => {
    const claim = { limit: 64, leaseMs: 30_000, after: '', share: 16, running: new Map<string, number>() };
    assert.equal((await claimDue(kit.db, claim)).claims.length, 16);
    assert.equal((await claimDue(kit.db, { ...claim, share: 64 })).claims.length, 64);
  });
});
