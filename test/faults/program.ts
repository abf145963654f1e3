import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { eventually } from '../support/eventually.ts';

// Programs of this repository as real processes, to be killed.

export type LogLine = Readonly<Record<string, unknown>>;

export interface Program {
  readonly pid: number;
  /** All that it printed so far, on stdout and stderr. */
  readonly out: string;
  readonly err: string;
  /** Its log lines so far. */
  readonly lines: readonly LogLine[];
  /** Waits until the probe returns without throwing; fails at once if the program has ended. */
  until<T>(probe: (program: Program) => T): Promise<T>;
  /** Resolves with exit code or signal when it has ended. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
  signal(name: NodeJS.Signals): void;
  /** kill -9, and waits until it is gone. */
  kill(): Promise<void>;
}

const running = new Set<ChildProcess>();
// A run that is cut off must not leave anything behind; asked to, a connector ends its PostgreSQL too.
process.once('exit', () => {
  for (const child of running) for (const name of ['SIGCONT', 'SIGTERM'] as const) child.kill(name);
});

/** Starts `node file args`. It has the given environment and no other, so that nothing of the machine's leaks into it. */
export function startProgram(file: string, env: Record<string, string>, args: readonly string[] = []): Program {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, '../..', file), ...args], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const printed = { out: '', err: '' };
  const lines: LogLine[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed.out += text;
    const whole = (rest + text).split('\n');
    rest = whole.pop() ?? '';
    lines.push(...whole.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)));
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    printed.err += text;
  });
  const ended = once(child, 'close').then(([code, signal]) => {
    running.delete(child);
    return code ?? signal;
  });
  const isAlive = () => child.exitCode === null && child.signalCode === null;
  const program: Program = {
    pid: child.pid ?? 0,
    get out() {
      return printed.out;
    },
    get err() {
      return printed.err;
    },
    lines,
    until: (probe) => {
      let end: string | undefined;
      const attempt = () => {
        if (!isAlive()) end = `${file} ended with ${child.exitCode ?? child.signalCode}:\n${printed.err}${printed.out}`;
        if (end === undefined) return { found: probe(program) };
        return { end };
      };
      return eventually(attempt, { timeoutMs: 20_000 }).then((result) => {
        if ('found' in result) return result.found;
        throw new Error(result.end);
      });
    },
    ended,
    signal: (name) => void child.kill(name),
    kill: async () => {
      if (isAlive()) child.kill('SIGKILL');
      await ended;
    },
  };
  return program;
}

/** Ends whatever a failed test left running. */
export async function endPrograms(): Promise<void> {
  for (const child of running) {
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  }
}

/** The number in a field of the first log line of this event. */
export function numberIn(program: Program, event: string, field: string): number {
  const line = program.lines.find((candidate) => candidate.event === event);
  assert.ok(line, `no ${event} yet`);
  return Number(line[field]);
}

/** Process id of the embedded PostgreSQL in a DATA_DIR, or undefined. */
export function postmasterOf(dataDir: string): number | undefined {
  const file = path.join(dataDir, 'cluster/postmaster.pid');
  return existsSync(file) ? Number.parseInt(readFileSync(file, 'utf8'), 10) : undefined;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A child that nobody has waited for yet is dead all the same.
    return process.platform !== 'linux' || !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Ends the PostgreSQL that a killed service left behind, and waits until it is gone. */
export async function endPostgres(dataDir: string, signal: NodeJS.Signals = 'SIGQUIT'): Promise<void> {
  const pid = postmasterOf(dataDir);
  if (pid === undefined || !isAlive(pid)) return;
  process.kill(pid, signal);
  await eventually(() => assert.ok(!isAlive(pid), 'PostgreSQL still runs'));
}

/** Ends every program and every embedded PostgreSQL whose data is in a folder of this one, and removes the folder. */
export async function endAll(folder: string): Promise<void> {
  await endPrograms();
  for (const cluster of globSync(`${folder}/*/cluster`)) await endPostgres(path.dirname(cluster), 'SIGINT');
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

export async function freePort(): Promise<string> {
  const server = net.createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  return String(port);
}
