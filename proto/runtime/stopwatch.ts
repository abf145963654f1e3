/**
 * Answers how many milliseconds have passed since it was called, by the clock that says more: one stands still while the machine sleeps,
 * and the other may be set back.
 */
export function startStopwatch(): () => number {
  const [steady, wall] = [performance.now(), Date.now()];
  return () => Math.max(performance.now() - steady, Date.now() - wall);
}
