-- Up Migration

-- A tx of a core that runs has read the table when it waits to write to it: that index and this drop would wait for each other.
lock table transactions in access exclusive mode;

-- A list of any state but the common one finds its payments, and only those. It replaces the index of the states that pass.
create index transactions_of_state on transactions (state, created_at desc, id desc) where state <> 'captured';
drop index transactions_open;

create index transactions_of_amount on transactions (currency, requested_amount, created_at desc, id desc);

-- Down Migration

create index transactions_open on transactions (created_at desc, id desc)
  where state in ('authorizing', 'awaiting_buyer', 'pending', 'authorized', 'capturing', 'voiding');
drop index transactions_of_state, transactions_of_amount;
