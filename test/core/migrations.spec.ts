import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { migrate } from '../../proto/runtime/migrate.ts';
import { asAdmin, asDatabase, testDatabaseUrl } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';

const MIGRATIONS = path.join(import.meta.dirname, '../../core/migrations');

/** A payment of 1 EUR whose authorize is running. */
const PAYMENT = `
  with account as (
    insert into core.merchant_accounts (id, external_merchant_id, account_reference, name, currencies)
    values (gen_random_uuid(), 'merchant', 'account', 'name', '{}') returning id),
  payment as (
    insert into core.transactions (id, external_id, external_merchant_id, account_id, mode, currency, requested_amount, payment_method,
      authorize_only, buyer_absent, state)
    select $1, 'payment', 'merchant', id, 'sandbox', 'EUR', 100, 'creditCard', false, false, 'authorizing' from account returning id)
  insert into core.operations (id, transaction_id, kind, state, caller, key, attempt, amount, due_at)
  select gen_random_uuid(), id, 'authorize', 'running', 'wix', 'payment', 1, 100, now() from payment`;

describe('R41 a migration of the core', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'migrations-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const files = readdirSync(MIGRATIONS).sort();
  // Those before are of no version that anybody upgrades from.
  for (const [i, file] of files.entries())
    if (file >= '0009')
      it(`${file} waits for a tx that has read a payment, which then writes it and is not ended for it`, async () => {
        const name = `migrated_${randomUUID().replaceAll('-', '')}`;
        await asAdmin((admin) => admin.query(`create database ${name}`));
        const url = testDatabaseUrl(name);
        const migrateTo = (upTo: number) => {
          for (const one of files.slice(0, upTo)) cpSync(path.join(MIGRATIONS, one), path.join(folder, one));
          return migrate({ url, schema: 'core', dir: folder, log: quietLog() });
        };
        await migrateTo(i);
        await asDatabase(url, async (core) => {
          const id = randomUUID();
          await core.query(PAYMENT, [id]);
          await core.query('begin');
          await core.query('select from core.transactions where id = $1 for update', [id]);
          await core.query('select from core.operations where transaction_id = $1', [id]);
          let isDone = false;
          const migrating = migrateTo(i + 1).finally(() => {
            isDone = true;
          });
          migrating.catch(() => undefined);
          await eventually(async () => {
            const waits = `select from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'`;
            assert.ok(isDone || (await asAdmin((admin) => admin.query(waits, [name]))).rowCount === 1);
          });
          await core.query('update core.operations set asks = asks + 1 where transaction_id = $1', [id]);
          await core.query(`update core.transactions set state = 'pending', reason = 5009 where id = $1`, [id]);
          await core.query(
            `insert into core.outbox (event_id, transaction_id, sequence, type, value) values (gen_random_uuid(), $1, 1, 'x', '')`,
            [id],
          );
          await core.query('commit');
          await migrating;
        });
      });
});
