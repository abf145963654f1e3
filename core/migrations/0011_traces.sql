-- Up Migration

-- The trace that an event belongs to (W3C traceparent); null where traces are off.
alter table outbox add column traceparent text check (length(traceparent) = 55);

-- Down Migration

alter table outbox drop column traceparent;
