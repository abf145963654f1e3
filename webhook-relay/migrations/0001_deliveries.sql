-- Up Migration

-- The place of each payment in the order of its events, and the queue: one event of a payment is in flight at a time.
create table transactions (
  transaction_id uuid primary key,
  -- Events 1 to this one are all finished; nothing at or below it is ever taken again.
  done_through bigint not null default 0 check (done_through >= 0),
  final_told text check (final_told in ('approved', 'declined')),
  -- The event that goes next; null while none may go.
  next_event_id uuid,
  next_attempt_at timestamptz,
  -- The next attempt is not the first of its event.
  retrying boolean not null default false,
  -- Counts the claims: a deliverer whose number is not this one has lost its lease.
  claim integer not null default 0,
  claimed_until timestamptz,
  -- When the missing event is to be alerted; null while none is missing.
  gap_alert_at timestamptz,
  constraint next_is_whole check ((next_event_id is null) = (next_attempt_at is null)),
  constraint claimed_for_an_event check (claimed_until is null or next_event_id is not null),
  constraint retrying_an_event check (not retrying or next_event_id is not null)
);
create index transactions_due on transactions (retrying, next_attempt_at) where next_attempt_at is not null and claimed_until is null;
create index transactions_claimed on transactions (claimed_until) where claimed_until is not null;
create index transactions_gap on transactions (gap_alert_at) where gap_alert_at is not null;

-- The duty to tell Wix of one event.
create table deliveries (
  event_id uuid primary key,
  transaction_id uuid not null references transactions,
  sequence bigint not null check (sequence >= 1),
  type text not null check (length(type) between 1 and 100),
  state text not null,
  -- The Submit Event body, the same bytes in every attempt (R28).
  body bytea check (length(body) <= 65536),
  -- Id of the key that the body is sealed with; null for a body without credentials.
  sealed_with text,
  -- The event as it came, kept while it cannot be read.
  message bytea,
  attempts integer not null default 0 check (attempts >= 0),
  -- Three days old: tried every six hours.
  stuck boolean not null default false,
  received_at timestamptz not null default now(),
  -- Not before this: the answer to Wix's call comes first (R6).
  due_at timestamptz not null,
  first_attempt_at timestamptz,
  finished_at timestamptz,
  constraint state_known check (state in ('waiting', 'delivered', 'superseded', 'not_for_wix', 'parked', 'held')),
  constraint finished_of_state check ((state in ('delivered', 'superseded', 'not_for_wix')) = (finished_at is not null)),
  constraint body_of_state check (state not in ('waiting', 'delivered', 'superseded', 'parked') or body is not null),
  constraint held_with_content check (state <> 'held' or body is not null or message is not null),
  constraint unread_is_held check (message is null or (state = 'held' and body is null)),
  constraint sealed_body check (sealed_with is null or body is not null),
  constraint first_attempt_of_attempts check ((attempts = 0) = (first_attempt_at is null)),
  constraint delivered_by_an_attempt check (state <> 'delivered' or attempts > 0)
);
-- One delivery of each sequence; any number beside it that are held.
create unique index deliveries_order on deliveries
  (transaction_id, sequence, (case when state = 'held' then event_id end)) nulls not distinct;
create index deliveries_unread on deliveries (transaction_id, sequence) where message is not null;
create index deliveries_open on deliveries (received_at) where finished_at is null;

-- One HTTP try of a delivery.
create table attempts (
  event_id uuid not null references deliveries,
  number integer not null check (number >= 1),
  started_at timestamptz not null,
  duration_ms integer not null check (duration_ms >= 0),
  http_status integer check (http_status between 100 and 999),
  -- Why it is not delivered; null when it is.
  error text check (length(error) <= 200),
  -- What Wix said, scrubbed.
  answer text not null check (length(answer) <= 2048),
  next_attempt_at timestamptz,
  primary key (event_id, number),
  constraint delivered_by_200 check (error is not null or http_status = 200)
);

-- Messages without a valid signature, or without the headers of an event: never delivered and never counted as received (R39).
create table rejected_messages (
  id bigint generated always as identity primary key,
  received_at timestamptz not null default now(),
  problem text not null,
  -- Key and headers.
  envelope json not null,
  value bytea not null
);
