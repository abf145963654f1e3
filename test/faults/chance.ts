/** Numbers that look like chance and come again with their seed. */
export interface Chance {
  /** Milliseconds from `least` to `most`. */
  ms(least: number, most: number): number;
  /** The list in another order. */
  shuffled<T>(list: readonly T[]): T[];
}

/** mulberry32: small, and good enough to order faults. */
export function createChance(seed: number): Chance {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    ms: (least, most) => Math.round(least + next() * (most - least)),
    shuffled: (list) =>
      list
        .map((item) => [next(), item] as const)
        .sort(([a], [b]) => a - b)
        .map(([, item]) => item),
  };
}
