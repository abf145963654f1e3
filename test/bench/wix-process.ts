import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

// The cheap Wix of quick-wix.ts, as a child.

export interface QuickWix {
  readonly url: string;
  /** Payments told since `told` was asked. */
  count(): Promise<number>;
  /** When each was told first; forgets them. */
  told(): Promise<ReadonlyMap<string, number>>;
}

/** `delayMs`: how long each of its answers takes. */
export async function startWix(children: ChildProcess[], delayMs = 0): Promise<QuickWix> {
  const file = path.join(import.meta.dirname, 'quick-wix.ts');
  const child = fork(file, [String(delayMs)], { serialization: 'advanced' });
  children.push(child);
  const next = async <T>() => (await once(child, 'message'))[0] as T;
  const ask = <T>(question: 'count' | 'told') => {
    child.send(question);
    return next<T>();
  };
  const { port } = await next<{ port: number }>();
  return {
    url: `http://127.0.0.1:${port}`,
    count: async () => (await ask<{ count: number }>('count')).count,
    told: async () => new Map((await ask<{ told: [string, number][] }>('told')).told),
  };
}

/** SIGTERM, the newest first; each is waited for. */
export async function endChildren(children: ChildProcess[]): Promise<void> {
  for (const child of children.splice(0).toReversed()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }
}
