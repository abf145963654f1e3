-- Up Migration

-- The newest credentials of a merchant: every new payment asks whether they are still the same.
create index merchant_credentials_newest on merchant_credentials (external_merchant_id, id desc);

-- Down Migration

drop index merchant_credentials_newest;
