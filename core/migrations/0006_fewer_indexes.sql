-- Up Migration

-- With which keys credentials on file are sealed: asked at every start, of however many payments.
create index transactions_sealed on transactions (credentials_key_id) where credentials_key_id is not null;

-- An operation's id is derived from these (core/ids.ts), so that its primary key says the same.
alter table operations drop constraint operations_kind_transaction_id_caller_key_attempt_key;

-- Only captures and voids of Wix have one.
create unique index operations_call on operations (call_id) where call_id is not null;
alter table operations drop constraint operations_call_id_key;

-- Down Migration

alter table operations add unique (kind, transaction_id, caller, key, attempt), add unique (call_id);
drop index transactions_sealed, operations_call;
