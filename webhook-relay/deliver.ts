import type { Database } from '../proto/runtime/database.ts';
import type { Log } from '../proto/runtime/log.ts';
import { type Loop, sleep, startLoop } from '../proto/runtime/loop.ts';
import { counter, gauge, unixSeconds } from '../proto/runtime/metrics.ts';
import type { KeyRing } from '../proto/runtime/seal.ts';
import { startStopwatch } from '../proto/runtime/stopwatch.ts';
import { inSpan } from '../proto/runtime/tracing.ts';
import { afterAttempt, type Breaker, closedBreaker, type Ended, type Outcome, shareOf } from './breaker.ts';
import { retryDelayMs } from './delivery.ts';
import { createRecorder } from './record.ts';
import { type Claim, claimDue, retryEverything } from './store-attempts.ts';
import { type Answer, CALL_TIMEOUT_MS, type WixClient } from './wix-client.ts';

// Attempts: claim under a lease, call Wix twice with no tx open, record what became of it.

/** Outlives both calls with their time-outs, and a slow database between them. */
const LEASE_MS = 3 * CALL_TIMEOUT_MS;
/** How often to look for what became due; what was received here wakes the loop itself. Also the pace of probes. */
const IDLE_MS = 1000;

/** So many times the slots may be running: the rest is being recorded. */
const RUNNING_MAX = 2;

export interface Deliverer {
  /** Claims what is due, as far as there is room, and starts the attempts; answers how many. */
  runOnce(): Promise<number>;
  /** Resolves when no attempt is running, and nothing is being made due. */
  settled(): Promise<void>;
  start(): void;
  wake(): void;
  breaker(): Breaker;
  /** Lets running attempts end for up to drainMs. What is cut off keeps its row: its lease runs out (R38). */
  stop(drainMs: number): Promise<void>;
}

export function createDeliverer(deps: {
  db: Database;
  keys: KeyRing;
  wix: WixClient;
  log: Log;
  concurrency: number;
  /** Since its first attempt; then a delivery is stuck (R29). */
  stuckAfterMs: number;
  /** Of the jitter. */
  random?: () => number;
}): Deliverer {
  const { db, keys, wix, log, concurrency, stuckAfterMs, random = Math.random } = deps;
  const recordAttempt = createRecorder({ db, log });
  const attempts = counter('relay_attempts_total', 'Attempts to deliver an event to Wix, by outcome.', ['outcome']);
  const breakerOpen = gauge(
    'relay_breaker_open',
    'Whether Wix answers nobody, so that one attempt at a time goes out.',
  );
  const lastDelivery = gauge('relay_last_delivery_timestamp_seconds', 'When Wix last took an event.');
  breakerOpen.set(0);
  const running = new Set<Promise<void>>();
  /** Those of the running attempts that take a slot. */
  const inSlots = new Set<Claim>();
  const cutOff = new AbortController();
  let breaker = closedBreaker(concurrency);
  /** Said once, until Wix gives a token again. */
  let tokenRefused = false;
  /** All that waits is being made due. */
  let catchingUp: Promise<void> | undefined;
  /** The merchant at which the last claim ended: whose turn is next. */
  let turn = '';
  /** The last claim left nothing, and nobody had a full share: there is nothing due that has not come since. */
  let isSated = false;
  let loop: Loop | undefined;

  async function runOnce(): Promise<number> {
    const free = Math.min(breaker.slots - inSlots.size, RUNNING_MAX * concurrency - running.size);
    if (free <= 0) {
      // It is not known what is due.
      isSated = false;
      return 0;
    }
    const held = new Map<string, number>();
    for (const { merchant } of inSlots) held.set(merchant, (held.get(merchant) ?? 0) + 1);
    const share = shareOf(breaker.slots);
    // The lease begins later than this, so that it ends no earlier than it seems to.
    const age = startStopwatch();
    const { claims, next, hasMore } = await claimDue(db, {
      limit: free,
      leaseMs: LEASE_MS,
      after: turn,
      share,
      running: held,
    });
    turn = next;
    isSated = !hasMore && ![...held.values()].some((count) => count >= share);
    for (const claim of claims) {
      inSlots.add(claim);
      const attempt: Promise<void> = deliver(claim, age).then((goesOn) => {
        inSlots.delete(claim);
        running.delete(attempt);
        if (goesOn || !isSated) wake();
      });
      running.add(attempt);
    }
    return claims.length;
  }

  /** Whether the payment has an event that goes next. */
  async function deliver(claim: Claim, age: () => number): Promise<boolean> {
    const { transactionId, eventId } = claim;
    try {
      const attributes = { 'transaction.id': transactionId, 'event.id': eventId, 'event.type': claim.type };
      return await inSpan('tell Wix', { kind: 'client', parent: claim.traceparent, attributes }, () =>
        attempt(claim, age),
      );
    } catch (err) {
      if (cutOff.signal.aborted) log.info('delivery.cut_off', { transactionId, eventId });
      else log.error('delivery.failed', { transactionId, eventId, err });
      return false;
    }
  }

  async function attempt(claim: Claim, age: () => number): Promise<boolean> {
    const { transactionId, eventId } = claim;
    const started = performance.now();
    const body = claim.sealedWith === null ? claim.body : keys.unseal(claim.body, eventId);
    /** By the clocks of this process, which the database need not be asked for (R27). */
    const outlivesCall = () => {
      const outlives = age() + CALL_TIMEOUT_MS < LEASE_MS;
      if (!outlives) log.warn('delivery.lease_lost', { transactionId, eventId });
      return outlives;
    };

    if (!outlivesCall()) return false;
    const { answer: tokenAnswer, token } = await wix.fetchToken();
    if (isRefused(tokenAnswer) && !tokenRefused)
      log.alert('token_refused', { httpStatus: tokenAnswer.httpStatus, setting: 'WIX_APP_ID, WIX_APP_SECRET' });
    tokenRefused = isRefused(tokenAnswer);
    if (token === undefined) return record(claim, 'token', tokenAnswer, started);
    if (!outlivesCall()) return false;
    return record(claim, 'event', await wix.submitEvent(token, body), started);
  }

  async function record(claim: Claim, call: 'token' | 'event', answer: Answer, started: number): Promise<boolean> {
    const { transactionId, merchant, eventId, sequence, type } = claim;
    const delivered = call === 'event' && answer.error === null;
    const stuck = claim.stuck || (!delivered && (claim.ageMs ?? 0) >= stuckAfterMs);
    const retryMs = delivered ? null : retryDelayMs({ number: claim.attempts + 1, stuck, ...answer }, random);
    const outcome = {
      stuck,
      durationMs: Math.round(performance.now() - started),
      httpStatus: answer.httpStatus,
      error: answer.error && `${call}: ${answer.error}`,
      retryMs,
    };
    // What Wix says of a body that carries credentials may repeat them.
    const said = claim.sealedWith === null ? answer.text : '';

    // While Wix is well, the next one need not wait until this one is recorded.
    if (breaker.slots === concurrency && inSlots.delete(claim) && !isSated) wake();

    const ended = { claim, eventId, delivered, ...outcome, answer: said, wasSent: call === 'event' };
    const { number, goesOn } = await recordAttempt(ended);

    const how = outcomeOf(call, answer);
    attempts.inc({ outcome: how });
    const ids = { transactionId, eventId, sequence: String(sequence), type, attempt: number };
    log.info('delivery.attempted', { ...ids, outcome: how, ...outcome });
    if (stuck && !claim.stuck) log.alert('delivery_stuck', ids);
    notice({ transactionId, merchant, outcome: how === 'refused' && isUnwell(answer) ? 'no_answer' : how });
    return goesOn;
  }

  function notice(ended: Ended): void {
    const before = breaker;
    breaker = afterAttempt(before, ended, concurrency);
    breakerOpen.set(Number(breaker.open));
    if (ended.outcome === 'delivered') lastDelivery.set(unixSeconds());
    if (breaker.open && !before.open) log.alert('wix_unreachable', { payments: breaker.failing.size });
    if (before.open && !breaker.open) {
      log.info('wix.reachable');
      // Beside the attempts: there may be many to make due.
      catchingUp ??= retryEverything(db, cutOff.signal)
        .catch((err: unknown) => log.error('deliveries.not_made_due', { err }))
        .finally(() => {
          catchingUp = undefined;
          wake();
        });
    }
  }

  /** While Wix is down the next probe waits for its time. */
  function wake(): void {
    if (!breaker.open) loop?.wake();
  }

  async function settled(): Promise<void> {
    while (running.size > 0 || catchingUp) await Promise.all([...running.keys(), catchingUp]);
  }

  async function stop(drainMs: number): Promise<void> {
    await loop?.stop();
    const drained = new AbortController();
    await Promise.race([settled(), sleep(drainMs, drained.signal)]);
    drained.abort();
    cutOff.abort();
    await wix.close();
    await settled();
  }

  return {
    runOnce,
    settled,
    start: () => {
      const claim = async () => ((await runOnce()) > 0 && !isSated ? 1 : 0);
      loop = startLoop('deliver', claim, { idleMs: IDLE_MS, log });
    },
    wake,
    breaker: () => breaker,
    stop,
  };
}

/** Wix wants another secret, or does not know the app. */
function isRefused({ httpStatus }: Answer): boolean {
  return httpStatus !== null && [400, 401, 403].includes(httpStatus);
}

function outcomeOf(call: 'token' | 'event', answer: Answer): Outcome {
  if (call === 'token') return 'no_token';
  if (answer.error === null) return 'delivered';
  return answer.httpStatus === null ? 'no_answer' : 'refused';
}

/** Any other answer to an event is about that event, not about Wix (R29). */
function isUnwell({ httpStatus, isWhole }: Answer): boolean {
  return !isWhole || httpStatus === null || httpStatus === 429 || httpStatus >= 500;
}
