import type { Log } from './log.ts';

// Every loop of the product is runOnce, called again and again.

/** Ends early when the signal aborts; never rejects. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end, { once: true });
  });
}

export interface Loop {
  /** Something may be due: run now, or once more after the present run. */
  wake(): void;
  /** Ends when the present run has ended; its signal is aborted. */
  stop(): Promise<void>;
}

/**
 * Runs runOnce until stopped. It answers how much it did: at once again after more than 0; after 0, when idleMs have passed or at
 * wake(). An error is logged and counts as no work, so that an outage idles instead of spinning.
 */
export function startLoop(
  name: string,
  runOnce: (signal: AbortSignal) => Promise<number>,
  options: { idleMs: number; log: Log },
): Loop {
  const stopping = new AbortController();
  let nap = new AbortController();

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      nap = new AbortController();
      const done = await runOnce(stopping.signal).catch((err: unknown) => {
        if (!stopping.signal.aborted) options.log.error('loop.failed', { loop: name, err });
        return 0;
      });
      if (done === 0 && !stopping.signal.aborted) await sleep(options.idleMs, nap.signal);
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
