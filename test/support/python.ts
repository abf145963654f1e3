import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const DATA = path.join(import.meta.dirname, '../../.data');

/**
 * A Python with these packages, made once and kept for the next run. Undefined, with a line on stderr, where there is no Python or no
 * way to its packages; where CI is true that is an error, so that nothing is skipped unseen.
 */
export async function pythonWith(...packages: string[]): Promise<string | undefined> {
  const hash = createHash('sha256').update(packages.join()).digest('hex').slice(0, 12);
  const kept = path.join(DATA, `python-${hash}`);
  const python = path.join(kept, 'bin/python');
  if (existsSync(python)) return python;
  mkdirSync(DATA, { recursive: true });
  const made = mkdtempSync(path.join(DATA, 'python-'));
  try {
    await run('python3', ['-m', 'venv', made]);
    await run(path.join(made, 'bin/python'), ['-m', 'pip', 'install', '--quiet', ...packages]);
    // Another run may have been quicker.
    if (!existsSync(python)) renameSync(made, kept);
    return python;
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    process.stderr.write(`    skipped: no Python with ${packages.join(', ')}\n`);
    return undefined;
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}
