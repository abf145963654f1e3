-- Up Migration

-- Which database this is, as the cores last saw it: one that was restored from a backup is another, or has not seen them for a while.
create table database_identity (
  only_row boolean primary key default true check (only_row),
  system_identifier text not null,
  timeline integer not null,
  database_oid bigint not null,
  seen_at timestamptz not null default clock_timestamp(),
  -- How often it was noted: clocks of two servers differ, this does not go back.
  notes bigint not null default 1,
  -- From when on something may be missing, until recover has brought back all of it.
  lacks_since timestamptz
);

-- Down Migration

drop table database_identity;
