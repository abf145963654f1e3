import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import type { Database } from '../proto/runtime/database.ts';
import { UsageError } from './command.ts';
import { insertDuty } from './store-duties.ts';

// What commands that change something have in common: they say what they would do, and leave a record in core.duties.

export const DUTY_OPTIONS = {
  'dry-run': { type: 'boolean' },
  as: { type: 'string' },
  data: { type: 'string' },
} as const;

export const DUTY_HELP = `  --dry-run    says what would be done, and changes nothing
  --as NAME    in whose name; by default the login on this machine
  --data DIR   of an npm start (./.data)
  --help
`;

/** A reason that is asked for. */
export function readReason(reason: string | undefined): string {
  const text = reason?.trim() ?? '';
  if (text === '' || text.length > 500) throw new UsageError('--reason is needed: 1 to 500 characters');
  return text;
}

/**
 * Runs work between two rows of core.duties: what was asked, and what came of it or that it failed. A run that was killed has the first
 * alone; run again, it does what is left.
 */
export async function recorded<Result extends object>(
  db: Database,
  duty: { command: string; as?: string | undefined; reason?: string; asked: object },
  work: () => Promise<Result>,
): Promise<Result> {
  const row = {
    run: randomUUID(),
    command: duty.command,
    operator: (duty.as?.trim() || userInfo().username).slice(0, 100),
    reason: duty.reason ?? '',
  };
  await insertDuty(db, { ...row, step: 'begun', details: duty.asked });
  try {
    const result = await work();
    await insertDuty(db, { ...row, step: 'ended', details: result });
    return result;
  } catch (error) {
    await insertDuty(db, { ...row, step: 'failed', details: { error: (error as Error).message.slice(0, 500) } }).catch(
      () => undefined,
    );
    throw error;
  }
}
