import type { Database } from '../proto/runtime/database.ts';
import type { Log } from '../proto/runtime/log.ts';
import {
  endLack,
  type Identity,
  type LastSeen,
  lastSeen,
  readIdentity,
  writeLack,
  writeSeen,
} from './store/database-identity.ts';

// A database that was restored from a backup lacks what happened since, and nothing in it says so. So cores note which one they work on,
// and when, and do not start on another one until `npm run recover` has brought back what is missing.

/** A replica that takes over goes on with another timeline, a moment after the last core wrote to its predecessor. */
const FAILOVER_MS = 5 * 60_000;

/** Throws if this is not the database that cores last worked on. A copy that was restored in place, file by file, cannot be told. */
export async function ensureOwnDatabase(db: Database, log: Log): Promise<void> {
  const found = await readIdentity(db);
  if (!found) {
    log.warn('database.identity_unknown');
    return;
  }
  const last = await lastSeen(db);
  const problem = last && strangeness(last, found);
  if (problem) {
    await writeLack(db, last.seenAt);
    throw new Error(
      `${problem}: if it was restored from a backup, npm run recover brings back what it lacks; if it lacks nothing, ` +
        'npm run recover -- --accept lets it be used (docs/RESTORE.md)',
    );
  }
  if (last?.lacksSince) log.warn('database.lacks', { since: last.lacksSince });
  if (last && last.timeline !== found.timeline) log.warn('database.failed_over', { timeline: found.timeline });
  await writeSeen(db, found);
}

/** What is wrong with this database, if anything is: cores do not start on it, or something may be missing. */
export async function findStrangeness(db: Database): Promise<{ problem: string; starts: boolean } | undefined> {
  const [found, last] = [await readIdentity(db), await lastSeen(db)];
  const problem = found && last && strangeness(last, found);
  if (problem) return { problem, starts: false };
  if (!last?.lacksSince) return undefined;
  return { problem: `something may be missing since ${last.lacksSince.toISOString()}`, starts: true };
}

function strangeness(last: LastSeen, found: Identity): string | undefined {
  const differs = [
    last.systemIdentifier !== found.systemIdentifier ? 'system identifier' : '',
    last.databaseOid !== found.databaseOid ? 'database oid' : '',
    last.timeline !== found.timeline ? 'timeline' : '',
  ].filter((name) => name !== '');
  if (differs.length === 0 || (differs.join() === 'timeline' && last.agoMs <= FAILOVER_MS)) return undefined;
  return `this is not the database that was used until ${last.seenAt.toISOString()} (another ${differs.join(', ')})`;
}

/** Lets cores start on this database. `isWhole`: nothing is missing in it. */
export async function acceptDatabase(db: Database, isWhole: boolean): Promise<void> {
  const found = await readIdentity(db);
  if (found) await writeSeen(db, found);
  if (isWhole) await endLack(db);
}

/** Notes now and then that the database is in use, and alerts when it is another one, or what was noted before is gone. */
export function watchDatabase(log: Log): (db: Database) => Promise<void> {
  let written: { notes: bigint; at: Date } | undefined;
  let hasAlerted = false;
  return async (db) => {
    const found = await readIdentity(db);
    if (!found) return;
    const last = await lastSeen(db);
    const isStrange = last !== undefined && strangeness(last, found) !== undefined;
    const wentBack = last && written && last.notes < written.notes;
    if (last && (isStrange || wentBack)) {
      if (!hasAlerted) log.alert('database_went_back', { from: written?.at, to: last.seenAt });
      await writeLack(db, last.seenAt);
    }
    hasAlerted = isStrange;
    // The next start is to find a database that nobody has accepted.
    if (isStrange) {
      written = undefined;
      return;
    }
    const notes = await writeSeen(db, found);
    if (notes !== undefined) written = { notes, at: new Date(performance.timeOrigin + performance.now()) };
  };
}
