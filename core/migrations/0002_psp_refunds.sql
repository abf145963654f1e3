-- Up Migration

-- A contradiction may be about a payment that never had an operation: a report is about one or the other (R23).
alter table reports
  alter column operation_id drop not null,
  add column transaction_id uuid references transactions,
  add constraint about_one check ((operation_id is null) <> (transaction_id is null));
create index reports_of_transaction on reports (transaction_id) where transaction_id is not null;

-- Whether a refund is known under the processor's reference. It is no unique index: what a processor did is never refused (R23).
create index refund_references on operations (processor_reference) where kind = 'refund' and processor_reference <> '';

create index transactions_of_account on transactions (account_id, created_at desc, id desc);
-- The states that pass: a list of them must not read all payments.
create index transactions_open on transactions (created_at desc, id desc)
  where state in ('authorizing', 'awaiting_buyer', 'pending', 'authorized', 'capturing', 'voiding');

-- Down Migration

drop index transactions_open, transactions_of_account, refund_references;
alter table reports drop column transaction_id, alter column operation_id set not null;
