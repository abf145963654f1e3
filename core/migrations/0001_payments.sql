-- Up Migration

-- A merchant's account with the processor: one for each pair of Wix merchant and account reference (R11).
create table merchant_accounts (
  id uuid primary key,
  external_merchant_id text not null check (length(external_merchant_id) between 1 and 200),
  account_reference text not null check (length(account_reference) between 1 and 200),
  name text not null check (length(name) <= 200),
  -- Empty: every currency of Wix's table.
  currencies text[] not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (external_merchant_id, account_reference)
);

-- Every version of a merchant's credentials, encrypted (R31); found by a keyed hash, never by decrypting them all.
create table merchant_credentials (
  id bigint generated always as identity primary key,
  account_id uuid not null references merchant_accounts,
  external_merchant_id text not null,
  mode text not null check (mode in ('live', 'sandbox')),
  lookup bytea not null check (length(lookup) = 32),
  key_id text not null,
  sealed bytea not null check (length(sealed) <= 65536),
  created_at timestamptz not null default now()
);
create index merchant_credentials_lookup on merchant_credentials (external_merchant_id, lookup);
create index merchant_credentials_account on merchant_credentials (account_id, mode, id desc);

-- One payment of a buyer to a merchant. Amounts are minor units of its currency. Nothing here names the buyer; of the card only
-- scheme, bin and last four (R35).
create table transactions (
  id uuid primary key,
  external_id text not null unique check (length(external_id) between 1 and 200),
  -- These are null only where a refused request did not say.
  external_merchant_id text check (length(external_merchant_id) between 1 and 200),
  account_id uuid references merchant_accounts,
  mode text check (mode in ('live', 'sandbox')),
  currency text check (length(currency) <= 10),
  requested_amount bigint check (requested_amount >= 0),
  payment_method text not null check (length(payment_method) <= 200),
  authorize_only boolean not null,
  -- No buyer can be sent to a page: a mail or telephone order, or a merchant-initiated charge of anything but a wallet.
  buyer_absent boolean not null,
  -- Last four digits that Wix sent, to notice a repeat with another card (R13).
  requested_last_four text check (requested_last_four ~ '^[0-9]{4}$'),
  state text not null,
  authorized_amount bigint not null default 0 check (authorized_amount >= 0),
  captured_amount bigint not null default 0 check (captured_amount >= 0),
  refunded_amount bigint not null default 0 check (refunded_amount >= 0),
  reason integer check (reason between 1000 and 9999),
  error_code text check (length(error_code) <= 50),
  error_message text check (length(error_message) <= 300),
  id_withheld boolean not null default false,
  -- The authorization ran out while a capture or void was running.
  lapsed boolean not null default false,
  awaited_buyer boolean not null default false,
  redirect_url text check (length(redirect_url) <= 2000),
  card_scheme text check (length(card_scheme) <= 50),
  card_bin text check (card_bin ~ '^[0-9]{6,8}$'),
  card_last_four text check (card_last_four ~ '^[0-9]{4}$'),
  -- What Wix keeps to charge again: a payments.v1.CredentialsOnFile, sealed with EVENTS_KEY (R31).
  credentials_on_file bytea check (length(credentials_on_file) <= 4096),
  credentials_key_id text,
  sequence bigint not null default 0 check (sequence >= 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint state_known check (state in ('authorizing', 'awaiting_buyer', 'pending', 'authorized', 'capturing', 'voiding',
    'captured', 'voided', 'expired', 'declined')),
  constraint reason_of_state check ((state in ('pending', 'declined')) = (reason is not null)),
  constraint pending_reason check (state <> 'pending' or reason in (5005, 5009)),
  constraint declined_reason check (state <> 'declined' or reason not in (5005, 5009)),
  constraint redirect_of_state check (state <> 'awaiting_buyer' or redirect_url is not null),
  constraint complete_unless_declined check (state = 'declined' or (external_merchant_id is not null and account_id is not null
    and mode is not null and currency is not null and requested_amount is not null)),
  constraint approved_before_captured check (captured_amount <= authorized_amount),
  constraint captured_of_state check (state = 'captured' or captured_amount = 0),
  constraint authorized_of_state check (authorized_amount = 0
    or state in ('authorized', 'capturing', 'voiding', 'captured', 'voided', 'expired')),
  constraint withheld_only_if_declined check (not id_withheld or state = 'declined'),
  constraint credentials_have_a_key check ((credentials_on_file is null) = (credentials_key_id is null))
);
create index transactions_newest on transactions (created_at desc, id desc);
create index transactions_of_merchant on transactions (external_merchant_id, created_at desc, id desc);

-- One intent of moving money and what became of it. Its id is the request id that the processor knows, derived and stable (R10).
create table operations (
  id uuid primary key,
  transaction_id uuid not null references transactions,
  kind text not null check (kind in ('authorize', 'capture', 'void', 'refund', 'cancel', 'reversal')),
  state text not null check (state in ('running', 'waiting', 'unknown', 'approved', 'declined', 'failed', 'closed')),
  -- Who asked: 'wix', 'system', or the name in a caller's token, with that caller's key.
  caller text not null check (length(caller) between 1 and 100),
  key text not null check (length(key) between 1 and 200),
  -- The call of Wix that this answers (R21).
  call_id uuid unique,
  attempt integer not null check (attempt >= 1),
  amount bigint check (amount >= 0),
  approved_amount bigint check (approved_amount >= 0),
  -- Why it was declined or failed; of a cancel, its cause (R16).
  reason integer check (reason between 1000 and 9999),
  error_code text check (length(error_code) <= 50),
  error_message text check (length(error_message) <= 300),
  why text not null default '' check (length(why) <= 50),
  processor_reference text not null default '' check (length(processor_reference) <= 200),
  authorization_code text not null default '' check (length(authorization_code) <= 100),
  network_transaction_id text not null default '' check (length(network_transaction_id) <= 100),
  acquirer_reference text not null default '' check (length(acquirer_reference) <= 200),
  -- An approval was received at some time, even if the payment did not take it (R24).
  approval_received boolean not null default false,
  -- The processor's answer fits nothing: only an operator may settle it (R18).
  held boolean not null default false,
  -- Reconciliation has asked the processor about it (R15).
  asked boolean not null default false,
  asks integer not null default 0,
  -- When the processor gives up, or the buyer's time is over.
  expires_at timestamptz,
  -- When reconciliation looks at it next; a claim moves it on by a lease.
  due_at timestamptz,
  processed_at timestamptz,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now(),
  finished_at timestamptz,
  constraint due_while_open check ((due_at is not null) = (state in ('running', 'waiting', 'unknown') and not held)),
  constraint finished_when_closed check ((finished_at is not null) = (state in ('approved', 'declined', 'failed', 'closed'))),
  constraint held_is_unknown check (not held or state = 'unknown'),
  constraint waiting_is_authorize check (state <> 'waiting' or kind = 'authorize'),
  constraint closed_is_cancel check (state <> 'closed' or kind = 'cancel'),
  constraint reason_if_refused check (state not in ('declined', 'failed') or reason is not null),
  constraint money_has_an_amount check (amount is not null or kind in ('cancel', 'reversal') or (kind = 'refund' and state = 'declined')),
  unique (kind, transaction_id, caller, key, attempt)
);
create index operations_of_transaction on operations (transaction_id, created_at);
create index operations_due on operations (due_at) where due_at is not null;
create unique index one_authorize on operations (transaction_id) where kind = 'authorize';
create unique index one_reversal on operations (transaction_id) where kind = 'reversal';
create unique index one_open_cancel on operations (transaction_id) where kind = 'cancel' and due_at is not null;
create unique index one_open_capture_or_void on operations (transaction_id)
  where kind in ('capture', 'void') and state in ('running', 'unknown');
create unique index refund_keys on operations (caller, key) where kind = 'refund';

-- What did not fit, and what an operator decided (R24): kept for ever, read by humans.
create table reports (
  id bigint generated always as identity primary key,
  operation_id uuid not null references operations,
  kind text not null check (kind in ('contradiction', 'override')),
  caller text not null,
  said text not null check (length(said) <= 2000),
  why text not null default '' check (length(why) <= 500),
  created_at timestamptz not null default now()
);
create index reports_of_operation on reports (operation_id);

-- Events, written in the same tx as the change they tell of, published in order of id.
create table outbox (
  id bigint generated always as identity primary key,
  event_id uuid not null unique,
  transaction_id uuid not null references transactions,
  sequence bigint not null check (sequence >= 1),
  type text not null,
  -- A payments.v1.Event, binary.
  value bytea not null,
  occurred_at timestamptz not null default now(),
  published_at timestamptz,
  unique (transaction_id, sequence)
);
create index outbox_unpublished on outbox (id) where published_at is null;

-- Down Migration

drop table outbox, reports, operations, transactions, merchant_credentials, merchant_accounts;
