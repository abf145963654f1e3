import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import type { Log } from './log.ts';

// Secrets and certificates that change while the process runs: what came from a file (NAME_FILE) is read again when the file is another, and
// every object that was made of it says the new thing from then on.

/** How old a change of a file may be before it is noticed; SIGHUP has it noticed at once. Mounted secrets change without an event. */
const LOOK_MS = 10_000;

interface Renewable {
  readonly name: string;
  readonly file: string;
  /** What it holds, as it was last taken. */
  text: string;
  /** Makes of a new text what takes its place when it is called. Throws an Error that quotes nothing. */
  readonly prepare: (text: string) => () => void;
}

/** The files of one configuration. */
interface Group {
  readonly renewables: readonly Renewable[];
  /** Throws an Error with a line for each problem if they do not go together with these new texts. */
  readonly ensureWhole: (changed: ReadonlyMap<string, string>) => void;
}

const groups: Group[] = [];
const listeners = new Set<() => void>();

/** What was read from files, to be read again. What has changed is taken together, or not at all. */
export function keepRenewed(group: Group): void {
  if (group.renewables.length > 0) groups.push(group);
}

/** Called after something was renewed: for what was built of it. If it throws, the old one is kept, and tried again. Returns what ends that. */
export function onRenewed(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Looks at all files once. Several may have changed together, such as a certificate and its key. */
export async function renewSecrets(log: Log): Promise<void> {
  const renewed: string[] = [];
  for (const group of groups) renewed.push(...(await renewGroup(log, group)));
  if (renewed.length > 0) {
    log.info('secrets.renewed', { settings: [...new Set(renewed)] });
    pending = new Set(listeners);
  }
  for (const listener of pending) {
    try {
      listener();
      pending.delete(listener);
    } catch (error) {
      report(log, 'TLS', (error as Error).message);
    }
  }
  if (renewed.length > 0 && pending.size === 0) reported.clear();
}

async function renewGroup(log: Log, { renewables, ensureWhole }: Group): Promise<string[]> {
  const changed = new Map<string, string>();
  const takes: (() => void)[] = [];
  for (const { name, file, text: old, prepare } of renewables)
    try {
      const text = textOf(await readFile(file));
      if (text === old) continue;
      takes.push(prepare(text));
      changed.set(name, text);
    } catch (error) {
      report(log, name, (error as NodeJS.ErrnoException).code ?? (error as Error).message);
      return [];
    }
  if (changed.size === 0) return [];
  try {
    ensureWhole(changed);
  } catch (error) {
    const names = [...changed.keys()].join(', ');
    report(log, names, (error as Error).message);
    return [];
  }
  for (const take of takes) take();
  for (const renewable of renewables) renewable.text = changed.get(renewable.name) ?? renewable.text;
  return [...changed.keys()];
}

/** Space around a text does not count. Throws if it is none: UTF-16 without a mark is UTF-8 full of NULs. */
export function textOf(bytes: Buffer): string {
  if (!isUtf8(bytes) || bytes.includes(0)) throw new Error('must be text in UTF-8');
  return bytes.toString().trim();
}

/** Listeners that have not taken what was renewed last. */
let pending = new Set<() => void>();
/** What is wrong is said once. */
const reported = new Set<string>();

function report(log: Log, setting: string, problem: string): void {
  const line = `${setting} ${problem}`;
  if (reported.has(line)) return;
  reported.add(line);
  log.alert('secret_not_renewed', { setting, problem });
}

/** Looks again and again, and at SIGHUP; where nothing came from a file, SIGHUP ends the process as ever. */
export function startRenewing(log: Log): void {
  if (groups.length === 0) return;
  const look = () => void renewSecrets(log);
  process.on('SIGHUP', look);
  setInterval(look, LOOK_MS).unref();
}
