-- A role for each service that keeps something: it makes a schema of its own and cannot look into the other's.
\set core_password `sed -E 's|^postgres://core:([^@]+)@.*|\1|' /run/secrets/core_database_url`
\set relay_password `sed -E 's|^postgres://relay:([^@]+)@.*|\1|' /run/secrets/relay_database_url`
revoke all on database payments from public;
create role core login password :'core_password';
create role relay login password :'relay_password';
grant connect, create on database payments to core, relay;
