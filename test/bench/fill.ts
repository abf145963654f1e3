import type { Client } from '../../proto/runtime/database.ts';

// Ledgers and backlogs of any size, written by the database itself.

const AT_ONCE = 250_000;
const MERCHANTS = 200;

/** Sales that were approved, told and published long ago; one in sixteen was refunded in part. */
const PAYMENTS = `
  with payment as (
    insert into core.transactions (id, external_id, external_merchant_id, account_id, mode, currency, requested_amount, payment_method,
      authorize_only, buyer_absent, requested_last_four, state, authorized_amount, captured_amount, card_bin, card_last_four,
      set_up_asked, sequence, created_at, updated_at)
    select gen_random_uuid(), gen_random_uuid()::text, external_merchant_id, account.id, 'sandbox', 'EUR', 4590, 'creditCard', false, false,
      '4242', 'captured', 4590, 4590, '424242', '4242', false, 1, at, at
    from generate_series($1::integer, $2::integer) as i,
      lateral (select now() - interval '1 year' + i * interval '1 second' as at) as time,
      lateral (select id, external_merchant_id from core.merchant_accounts where account_reference = 'filled ' || i % ${MERCHANTS}) as account
    returning id, external_id, created_at),
  operation as (
    insert into core.operations (id, transaction_id, kind, state, caller, key, attempt, amount, approved_amount, processor_reference,
      approval_received, processed_at, created_at, changed_at, finished_at)
    select gen_random_uuid(), id, 'authorize', 'approved', 'wix', external_id, 1, 4590, 4590, id::text, true, created_at, created_at,
      created_at, created_at
    from payment),
  refund as (
    insert into core.operations (id, transaction_id, kind, state, caller, key, attempt, amount, approved_amount, processor_reference,
      approval_received, processed_at, created_at, changed_at, finished_at)
    select gen_random_uuid(), id, 'refund', 'approved', 'wix', gen_random_uuid()::text, 1, 100, 100, 'refund ' || id, true, created_at,
      created_at, created_at, created_at
    from payment where id::text like '0%')
  insert into core.outbox (event_id, transaction_id, sequence, type, value, occurred_at, published_at)
  select gen_random_uuid(), id, 1, 'transaction_approved', decode(repeat('ab', 250), 'hex'), created_at, created_at from payment`;

const ACCOUNTS = `
  insert into core.merchant_accounts (id, external_merchant_id, account_reference, name, currencies)
  select gen_random_uuid(), gen_random_uuid()::text, 'filled ' || i, 'filled', '{}' from generate_series(0, ${MERCHANTS - 1}) as i`;

/** One event each of payments that the relay has not told of. */
const BACKLOG = `
  with payment as (
    insert into relay.transactions (transaction_id, merchant, next_event_id, next_attempt_at)
    select gen_random_uuid(), 'merchant ' || i % ${MERCHANTS}, gen_random_uuid(), now() - interval '1 hour' + i * interval '1 millisecond'
    from generate_series($1::integer, $2::integer) as i
    returning transaction_id, next_event_id, next_attempt_at)
  insert into relay.deliveries (event_id, transaction_id, sequence, type, state, body, received_at, due_at)
  select next_event_id, transaction_id, 1, 'TRANSACTION_APPROVED', 'waiting', convert_to(format(
    '{"event":{"transaction":{"wixTransactionId":"%s","pluginTransactionId":"%s"}}}', gen_random_uuid(), transaction_id), 'UTF8'),
    next_attempt_at, next_attempt_at
  from payment`;

async function fill(admin: Client, sql: string, count: number, what: string): Promise<void> {
  // As fast as can be: none of it must outlive a crash, and every row fits the others.
  await admin.query('set synchronous_commit = off; set session_replication_role = replica');
  const begun = performance.now();
  for (let from = 1; from <= count; from += AT_ONCE) {
    const upTo = Math.min(count, from + AT_ONCE - 1);
    await admin.query(sql, [from, upTo]);
    const seconds = (performance.now() - begun) / 1000;
    process.stderr.write(`${what}: ${upTo.toLocaleString('en')} filled in ${seconds.toFixed(0)} s\n`);
  }
  await admin.query('reset synchronous_commit; reset session_replication_role');
  // What autovacuum would have done by then.
  await admin.query('vacuum analyze');
  await admin.query('checkpoint');
}

export async function fillPayments(admin: Client, count: number): Promise<void> {
  await admin.query(ACCOUNTS);
  await fill(admin, PAYMENTS, count, 'payments');
}

export function fillBacklog(admin: Client, count: number): Promise<void> {
  return fill(admin, BACKLOG, count, 'events');
}
