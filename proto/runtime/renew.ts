import { readFile } from 'node:fs/promises';
import type { Log } from './log.ts';

// Secrets and certificates that change while the process runs: what came from a file (NAME_FILE) is read again when the file is another, and
// every object that was made of it says the new thing from then on.

/** How old a change of a file may be before it is noticed; SIGHUP has it noticed at once. Mounted secrets change without an event. */
const LOOK_MS = 10_000;

interface Renewable {
  readonly name: string;
  readonly file: string;
  /** Takes the new text, or throws an Error that quotes nothing, and stays as it was. */
  readonly take: (text: string) => void;
  text: string;
}

const renewables: Renewable[] = [];
const listeners = new Set<() => void>();

/** What was read from a file; `text` is what it held. */
export function keepRenewed(renewable: Renewable): void {
  renewables.push(renewable);
}

/** Called after something was renewed: for what was built of it. If it throws, the old one is kept, and tried again. Returns what ends that. */
export function onRenewed(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Looks at all files once. Several may have changed together, such as a certificate and its key. */
export async function renewSecrets(log: Log): Promise<void> {
  const renewed: string[] = [];
  for (const renewable of renewables) {
    const { name, file, take } = renewable;
    try {
      const text = (await readFile(file, 'utf8')).trim();
      if (text === renewable.text) continue;
      take(text);
      renewable.text = text;
      renewed.push(name);
    } catch (error) {
      report(log, name, (error as NodeJS.ErrnoException).code ?? (error as Error).message);
    }
  }
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
  if (renewables.length === 0) return;
  const look = () => void renewSecrets(log);
  process.on('SIGHUP', look);
  setInterval(look, LOOK_MS).unref();
}
