-- Up Migration

-- The link by which a buyer comes back from a page of the engine, one for each authorize that may show one (R36), and where in the shop the
-- buyer belongs then. Of its 128 random bits only the hash is kept. No row is needed for money: each may be deleted 30 days after its
-- payment has ended (R35), and the link is unknown from then on.
create table buyer_links (
  token_hash bytea primary key check (length(token_hash) = 32),
  operation_id uuid not null unique references operations,
  -- Null: Wix gave none.
  success_url text check (length(success_url) between 1 and 4096),
  error_url text check (length(error_url) between 1 and 4096),
  cancel_url text check (length(cancel_url) between 1 and 4096),
  pending_url text check (length(pending_url) between 1 and 4096),
  -- The link ends then, or when the operation does, if that is later.
  expires_at timestamptz not null,
  -- When the engine was last asked because a buyer came back.
  looked_at timestamptz
);

-- Down Migration

drop table buyer_links;
