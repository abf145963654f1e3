-- Up Migration

-- Whether Wix asked for credentials on file, without which none are told (R52). Null: recorded by a version that did not keep it.
alter table transactions add column set_up_asked boolean;

-- Down Migration

alter table transactions drop column set_up_asked;
