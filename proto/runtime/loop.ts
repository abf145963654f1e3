import { setTimeout as timeout } from 'node:timers/promises';
import type { Log } from './log.ts';

// Every loop of the product is runOnce, called again and again.

/** Ends early when the signal aborts; never rejects. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return timeout(ms, undefined, { signal }).catch(() => undefined);
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
  /** Ends the nap after the present run. */
  let wake = () => {};
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
      const { promise: woken, resolve } = Promise.withResolvers<void>();
      wake = resolve;
      const done = await runOnce(stopping.signal).then(worked, failed);
      if (done > 0 || stopping.signal.aborted) continue;
      const timer = setTimeout(resolve, idleMs);
      await woken;
      clearTimeout(timer);
    }
  }

  const running = run();
  return {
    wake: () => wake(),
    stop: () => {
      stopping.abort();
      wake();
      return running;
    },
  };
}
