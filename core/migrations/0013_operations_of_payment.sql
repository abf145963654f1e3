-- Up Migration

-- At once and in this order: a tx of a core that runs holds a part of what is needed here while it waits for the rest.
lock table operations, outbox in access exclusive mode;

-- An event's id is derived from these two (core/ids.ts), so that their index says the same.
alter table outbox drop constraint outbox_event_id_key;

-- The operations of a payment, and that one of them is its authorize: one index for both.
create unique index operations_of_payment on operations
  (transaction_id, (case when kind = 'authorize' then transaction_id else id end));
drop index operations_of_transaction, one_authorize;

-- Down Migration

alter table outbox add unique (event_id);
create index operations_of_transaction on operations (transaction_id, created_at);
create unique index one_authorize on operations (transaction_id) where kind = 'authorize';
drop index operations_of_payment;
