import { setTimeout } from 'node:timers/promises';
import type { Log } from './log.ts';

// Every loop of the product is runOnce, called again and again.

/** Ends early when the signal aborts; never rejects. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return setTimeout(ms, undefined, { signal }).catch(() => undefined);
}

export interface Loop {
  /** Something may be due: run now, or once more after the present run. */
  wake(): void;
  /** Ends when the present run has ended; its signal is aborted. */
  stop(): Promise<void>;
}

/**
 * Runs runOnce until stopped. It answers how much it did: at once again after more than 0; after 0, when idleMs have passed or at
 * wake(). An error counts as no work, so that an outage idles instead of spinning, and is logged once in a row.
 */
export function startLoop(
  name: string,
  runOnce: (signal: AbortSignal) => Promise<number>,
  { idleMs, log }: { idleMs: number; log: Log },
): Loop {
  const stopping = new AbortController();
  let nap = new AbortController();
  let failure = '';

  const worked = (done: number) => {
    failure = '';
    return done;
  };
  /** An outage is said once, not each time that it is met. */
  const failed = (err: unknown) => {
    if (!stopping.signal.aborted) log[String(err) === failure ? 'debug' : 'error']('loop.failed', { loop: name, err });
    failure = String(err);
    return 0;
  };

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      nap = new AbortController();
      const done = await runOnce(stopping.signal).then(worked, failed);
      if (done === 0 && !stopping.signal.aborted) await sleep(idleMs, nap.signal);
    }
  }

  const running = run();
  return {
    wake: () => nap.abort(),
    stop: () => {
      stopping.abort();
      nap.abort();
      return running;
    },
  };
}
