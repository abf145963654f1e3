-- Up Migration

-- Of two events with one sequence, the one that was held may be given up beside the other; so may both.
create unique index deliveries_one_each on deliveries
  (transaction_id, sequence, (case when state in ('held', 'skipped') then event_id end)) nulls not distinct;
drop index deliveries_order;
alter index deliveries_one_each rename to deliveries_order;
