import { setTimeout as delay } from 'node:timers/promises';

/** Asks again until the probe returns without throwing; after timeoutMs its last error is thrown. */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  options: { timeoutMs?: number; every?: number } = {},
): Promise<T> {
  const { timeoutMs = 10_000, every = 20 } = options;
  for (const deadline = Date.now() + timeoutMs; ; await delay(every)) {
    try {
      return await probe();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}
