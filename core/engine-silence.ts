import type { Log } from '../proto/runtime/log.ts';

/** After so long without any answer somebody should look; and again after an hour. */
const SILENCE_MS = 60_000;
const SILENCE_AGAIN_MS = 3_600_000;

export interface Silence {
  note(fields: Record<string, unknown>): void;
  end(): void;
}

/** Alerts when no call of the engine has been answered for a minute, whoever made it (R49). `now`: milliseconds. */
export function watchSilence(log: Log, now = () => performance.now()): Silence {
  let since: number | undefined;
  let alertAt = 0;
  return {
    note: (fields) => {
      since ??= now();
      if (now() - since < SILENCE_MS || now() < alertAt) return;
      alertAt = now() + SILENCE_AGAIN_MS;
      log.alert('processor_silent', { ...fields, seconds: Math.round((now() - since) / 1000) });
    },
    end: () => {
      since = undefined;
      alertAt = 0;
    },
  };
}
