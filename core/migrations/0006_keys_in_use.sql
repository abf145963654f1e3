-- Up Migration

-- With which keys credentials on file are sealed: asked at every start, of however many payments.
create index transactions_sealed on transactions (credentials_key_id) where credentials_key_id is not null;

-- Down Migration

drop index transactions_sealed;
