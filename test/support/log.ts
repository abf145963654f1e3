import { createLog, type Log } from '../../proto/runtime/log.ts';

/** A log that prints nothing and keeps its lines, parsed. */
export function quietLog(): Log & { lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const log = createLog('test', 'debug', { write: (line) => lines.push(JSON.parse(line)) });
  return { ...log, lines };
}
