-- Up Migration

-- Whose payment it is: merchants take turns, so that the trouble of one holds up nobody else's events (R29). Wix's id of the merchant;
-- '-' where it is not known, and for payments from before this column.
alter table transactions add column merchant text collate "C" not null default '-' check (merchant <> '');

-- The queue by merchants. The index transactions_due tells since when the oldest has been due.
create index transactions_turns on transactions (retrying, merchant, next_attempt_at)
  where next_attempt_at is not null and claimed_until is null;
