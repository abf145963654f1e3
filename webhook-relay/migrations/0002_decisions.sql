-- Up Migration

-- What an operator decided: who, why and when. It outlives the delivery that it is about. Deliveries are paused while the newest of
-- pause and resume is a pause.
create table decisions (
  id bigint generated always as identity primary key,
  action text not null check (action in ('park', 'unpark', 'skip', 'redrive', 'pause', 'resume')),
  event_id uuid,
  -- Of a redrive: which deliveries, as it was asked.
  selection json,
  -- The name in the caller's token.
  caller text not null check (length(caller) between 1 and 100),
  reason text not null check (length(reason) between 1 and 500),
  decided_at timestamptz not null default now(),
  constraint delivery_of_action check ((event_id is not null) = (action in ('park', 'unpark', 'skip'))),
  constraint selection_of_action check ((selection is not null) = (action = 'redrive'))
);
create index decisions_of_delivery on decisions (event_id) where event_id is not null;
create index decisions_of_pause on decisions (id) where action in ('pause', 'resume');

-- A delivery that an operator gave up is finished. Every row has kept the stricter rule, so none need be read for the new one.
alter table deliveries
  drop constraint state_known,
  drop constraint finished_of_state,
  add constraint state_known check
    (state in ('waiting', 'delivered', 'superseded', 'not_for_wix', 'parked', 'held', 'skipped')) not valid,
  add constraint finished_of_state check
    ((state in ('delivered', 'superseded', 'not_for_wix', 'skipped')) = (finished_at is not null)) not valid;

create index deliveries_newest on deliveries (received_at desc, event_id desc);
