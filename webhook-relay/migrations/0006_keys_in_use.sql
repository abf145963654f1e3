-- Up Migration

-- With which keys the bodies that are still to be sent are sealed: asked at every start, however many wait.
create index deliveries_sealed on deliveries (sealed_with) where finished_at is null and sealed_with is not null;

-- Down Migration

drop index deliveries_sealed;
