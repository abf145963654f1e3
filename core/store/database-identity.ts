import { hasState, isReadOnly, maybeRow, onlyRow, type Queryable } from '../../proto/runtime/database.ts';

/** What PostgreSQL calls a database: another cluster, another history of its changes, or another database of the same name. */
export interface Identity {
  readonly systemIdentifier: string;
  readonly timeline: number;
  readonly databaseOid: bigint;
}

/** This login may not ask; it is a replica; or a service in PostgreSQL's clothes has no such function. */
const NOT_TOLD = ['42501', '55000', '0A000', '42883'];

/** Undefined: it is not told. */
export async function readIdentity(db: Queryable): Promise<Identity | undefined> {
  try {
    return onlyRow(
      await db.query<Identity>(
        `select system_identifier::text as "systemIdentifier", oid::bigint as "databaseOid",
           ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer as timeline
         from pg_control_system(), pg_database where datname = current_database()`,
      ),
    );
  } catch (error) {
    if (NOT_TOLD.some((state) => hasState(error, state))) return undefined;
    throw error;
  }
}

/** Whether this database is of a version that notes it. */
export async function isNoted(db: Queryable): Promise<boolean> {
  return (await db.query(`select where to_regclass('database_identity') is not null`)).length > 0;
}

/** As a core last saw it, and how many ms ago. */
export type LastSeen = Identity & {
  readonly seenAt: Date;
  readonly agoMs: number;
  readonly notes: bigint;
  /** From when on something may be missing; null: nothing is. */
  readonly lacksSince: Date | null;
};

/** Undefined before the first core has started. */
export async function lastSeen(db: Queryable): Promise<LastSeen | undefined> {
  return maybeRow(
    await db.query<LastSeen>(
      `select system_identifier as "systemIdentifier", timeline, database_oid as "databaseOid", seen_at as "seenAt", notes, lacks_since as "lacksSince",
         (extract(epoch from clock_timestamp() - seen_at) * 1000)::float8 as "agoMs"
       from database_identity`,
    ),
  );
}

/** Answers how often it was noted with this; undefined where nothing can be written (R50). */
export async function writeSeen(
  db: Queryable,
  { systemIdentifier, timeline, databaseOid }: Identity,
): Promise<bigint | undefined> {
  try {
    const rows = await db.query<{ notes: bigint }>(
      `insert into database_identity (system_identifier, timeline, database_oid) values ($1, $2, $3)
       on conflict (only_row) do update
         set system_identifier = $1, timeline = $2, database_oid = $3, seen_at = clock_timestamp(), notes = database_identity.notes + 1
       returning notes`,
      [systemIdentifier, timeline, databaseOid],
    );
    return onlyRow(rows).notes;
  } catch (error) {
    if (isReadOnly(error)) return undefined;
    throw error;
  }
}

/** That something may be missing from then on. Where no core was seen yet, none is to start before that is accepted. */
export async function writeLack(db: Queryable, since: Date): Promise<void> {
  try {
    await db.query(
      `insert into database_identity (system_identifier, timeline, database_oid, lacks_since) values ('', 0, 0, $1)
       on conflict (only_row) do update set lacks_since = least(database_identity.lacks_since, $1)`,
      [since],
    );
  } catch (error) {
    if (!isReadOnly(error)) throw error;
  }
}

/** That nothing is missing any more. */
export async function endLack(db: Queryable): Promise<void> {
  await db.query('update database_identity set lacks_since = null');
}

/** No core starts on it until it is accepted. */
export async function blockStarts(db: Queryable): Promise<void> {
  await db.query(`update database_identity set system_identifier = ''`);
}
