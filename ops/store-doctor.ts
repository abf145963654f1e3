import { onlyRow, type Queryable } from '../proto/runtime/database.ts';

// What the doctor asks a database. It changes nothing.

export interface ServerFacts {
  readonly version: number;
  readonly versionText: string;
  readonly encoding: string;
  readonly synchronousCommit: string;
  readonly fsync: string;
  readonly fullPageWrites: string;
  readonly isStandby: boolean;
  readonly isReadOnly: boolean;
  readonly connectionsLeft: number;
  readonly now: Date;
  readonly hasSchema: boolean;
  readonly hasMigrations: boolean;
  /** Tables of the schema that the role may not read, add to and change. */
  readonly closedTables: number;
  readonly mayCreate: boolean;
}

export async function serverFacts(db: Queryable, schema: string): Promise<ServerFacts> {
  return onlyRow(
    await db.query<ServerFacts>(
      `select current_setting('server_version_num')::integer as version, current_setting('server_version') as "versionText",
         current_setting('server_encoding') as encoding, current_setting('synchronous_commit') as "synchronousCommit",
         current_setting('fsync') as fsync, current_setting('full_page_writes') as "fullPageWrites",
         pg_is_in_recovery() as "isStandby", current_setting('default_transaction_read_only') = 'on' as "isReadOnly",
         current_setting('max_connections')::integer - (select count(*) from pg_stat_activity where backend_type = 'client backend')::integer
           as "connectionsLeft",
         clock_timestamp() as now, to_regnamespace($1) is not null as "hasSchema",
         to_regclass($1 || '.migrations') is not null as "hasMigrations",
         has_database_privilege(current_database(), 'create') as "mayCreate",
         (select count(*)::integer from pg_class where relnamespace = to_regnamespace($1) and relkind = 'r' and relname <> 'migrations' and not
           (has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert') and has_table_privilege(oid, 'update'))) as "closedTables"`,
      [schema],
    ),
  );
}

export async function appliedMigrations(db: Queryable): Promise<string[]> {
  const rows = await db.query<{ name: string }>('select name from migrations order by name');
  return rows.map(({ name }) => name);
}
