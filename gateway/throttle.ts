// New payments are refused before their body is read while the core refuses many of them (R48): it has said that there is too much to do,
// and each call that it would refuse again costs it the time of one that it could do.

/** So many times more are let through than the core took lately: it decides, and it is seen at once when it takes more. */
const PROBES = 1.1;
/** What is counted is half forgotten after so long. */
const HALF_LIFE_MS = 300;
/** Fewer than so many say nothing. */
const LEAST = 10;

export interface Throttle {
  /** Whether to let this call through. Asked once of each that comes. */
  admits(): boolean;
  /** The core refused one that was let through. */
  refused(): void;
}

/** Client-side throttling as in "Site Reliability Engineering", chapter 21. `random`: from 0 to 1; `now`: milliseconds. */
export function createThrottle(random = Math.random, now = () => performance.now()): Throttle {
  let came = 0;
  /** Let through and not refused. */
  let taken = 0;
  let at = now();
  return {
    admits: () => {
      const left = 0.5 ** ((now() - at) / HALF_LIFE_MS);
      at = now();
      came = came * left + 1;
      taken *= left;
      const isAdmitted = random() >= (came - LEAST - PROBES * taken) / came;
      if (isAdmitted) taken += 1;
      return isAdmitted;
    },
    refused: () => {
      taken = Math.max(0, taken - 1);
    },
  };
}
