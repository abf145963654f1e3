-- Up Migration

-- New payments of a suspended account are declined; what began before goes on.
alter table merchant_accounts add column suspended_at timestamptz;

-- What was done to this database by command: who, why, when, and what came of it. Rows are added, and neither changed nor taken away.
create table duties (
  id bigint generated always as identity primary key,
  -- Of one run of a command, which has a row when it begins and one when it ends.
  run uuid not null,
  command text not null check (length(command) between 1 and 50),
  step text not null check (step in ('begun', 'ended', 'failed')),
  -- The login on the machine where it ran, or the name that was given.
  operator text not null check (length(operator) between 1 and 100),
  reason text not null default '' check (length(reason) <= 500),
  -- Arguments and counts; no secrets.
  details json not null,
  at timestamptz not null default clock_timestamp()
);

create function duties_stay() returns trigger language plpgsql as $$
begin
  raise exception 'rows of duties are neither changed nor taken away';
end $$;
create trigger duties_stay before update or delete or truncate on duties execute function duties_stay();

-- Down Migration

drop table duties;
drop function duties_stay;
alter table merchant_accounts drop column suspended_at;
