-- Up Migration

-- When the engine lets go money that is only held: it is asked then.
create index operations_lapsing on operations (expires_at)
  where kind = 'authorize' and state = 'approved' and expires_at is not null;

-- Down Migration

drop index operations_lapsing;
