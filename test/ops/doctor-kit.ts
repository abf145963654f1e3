import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '../..');

export const newKey = (id: string) => `${id}:${randomBytes(32).toString('base64')}`;

export interface Examined {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** The lines of one level. */
  of(level: 'ok' | 'warn' | 'FAIL' | 'skip'): string[];
}

/** Runs the command with this environment alone. */
export function examine(env: Record<string, string | undefined>, ...args: string[]): Promise<Examined> {
  return new Promise((resolve) => {
    const command = [path.join(ROOT, 'ops/doctor.ts'), ...args];
    execFile(process.execPath, command, { env: { PATH: process.env.PATH, ...env } }, (error, out, err) => {
      const code = error ? Number(error.code) : 0;
      const of = (level: string) => out.split('\n').filter((line) => line.startsWith(level.padEnd(6)));
      resolve({ code, out, err, of });
    });
  });
}
