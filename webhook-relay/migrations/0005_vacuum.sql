-- Up Migration

-- Each event leaves dead entries at the head of its queue, through which every claim has to go. By default they would be cleared away when
-- there are a fifth as many as rows: too late after a million.
alter table transactions set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
