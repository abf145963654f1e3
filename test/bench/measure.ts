import { readdirSync, readFileSync } from 'node:fs';

// What the benches measure of processes, and how they print it.

/** Milliseconds of user and system time. */
export interface Cpu {
  readonly node: number;
  readonly postgres: number;
}

/** What these processes and all that they started have used: PostgreSQL's processes, and the others. */
export function cpuOf(pids: readonly number[]): Cpu {
  const parents = new Map<number, number>();
  const used = new Map<number, { isPostgres: boolean; ms: number }>();
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const end = stat.lastIndexOf(')');
      const fields = stat.slice(end + 2).split(' ');
      parents.set(Number(entry), Number(fields[1]));
      // Those that ended meanwhile are counted by whoever waited for them.
      const ms = fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * 10;
      used.set(Number(entry), { isPostgres: stat.slice(stat.indexOf('(') + 1, end) === 'postgres', ms });
    } catch {
      // It has ended.
    }
  }
  const isOf = (pid: number): boolean => pids.includes(pid) || (parents.has(pid) && isOf(parents.get(pid)!));
  const sum = (which: boolean) =>
    [...used].reduce((all, [pid, { isPostgres, ms }]) => all + (isPostgres === which && isOf(pid) ? ms : 0), 0);
  return { node: sum(false), postgres: sum(true) };
}

export const since = (before: Cpu, now: Cpu): Cpu => ({
  node: now.node - before.node,
  postgres: now.postgres - before.postgres,
});

/** Resident memory of these processes alone. */
export function residentMiB(pids: readonly number[]): number {
  const ofOne = (pid: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
  return pids.reduce((sum, pid) => sum + ofOne(pid), 0);
}

export const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export const row = (name: string, cells: readonly string[], width = 18): string =>
  `${name.padEnd(width)}${cells.map((cell) => cell.padStart(11)).join('')}\n`;

/** What was not measured is a dash. */
export const figures = (name: string, values: readonly number[], width?: number): string =>
  row(
    name,
    values.map((value) => (Number.isNaN(value) ? '-' : value.toFixed(value < 20 ? 2 : 0))),
    width,
  );
