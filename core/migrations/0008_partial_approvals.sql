-- Up Migration

-- Whether the merchant takes an approval of less than was asked: as its connection says, and as each payment told the engine (U3).
alter table merchant_accounts add column allow_partial boolean not null default false;
alter table transactions add column allow_partial boolean not null default false;

-- Down Migration

alter table transactions drop column allow_partial;
alter table merchant_accounts drop column allow_partial;
