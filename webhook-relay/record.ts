import { type Database, isRolledBack, onlyRow, type Tx } from '../proto/runtime/database.ts';
import { gather } from '../proto/runtime/gather.ts';
import type { Log } from '../proto/runtime/log.ts';
import { settle } from './settle.ts';
import { lockPayments, type Payment, readPayments } from './store.ts';
import { type Attempt, type Claim, recordAttempts, reopenFinal } from './store-attempts.ts';

// What became of attempts, those that end at the same time in one tx.

/** How long a payment that is locked holds up others; after that it is waited for alone, and longer. */
const LOCK_MS = 250;

export interface Ended extends Attempt {
  readonly claim: Claim;
  /** Wix may have the event. */
  readonly wasSent: boolean;
}

export interface Recorded {
  /** Of the attempt, from 1. */
  readonly number: number;
  /** The payment has an event that goes next. */
  readonly goesOn: boolean;
}

export function createRecorder({ db, log }: { db: Database; log: Log }): (ended: Ended) => Promise<Recorded> {
  const write = (rows: readonly Ended[], lockTimeoutMs?: number) =>
    db.inTx((tx) => record(tx, log, rows), { lockTimeoutMs });
  const together = gather<Ended, Recorded>({
    what: 'attempts',
    keyOf: ({ claim }) => claim.transactionId,
    write: (rows) => write(rows, LOCK_MS),
  });
  return async (ended) => {
    try {
      return await together.write(ended);
    } catch (error) {
      if (!isRolledBack(error)) throw error;
      return onlyRow(await write([ended]));
    }
  };
}

async function record(tx: Tx, log: Log, rows: readonly Ended[]): Promise<Recorded[]> {
  const locked = await lockPayments(
    tx,
    rows.map(({ claim }) => claim.transactionId),
  );
  const payments = new Map(locked.map((payment) => [payment.transactionId, payment]));
  // Whoever frees a lease or has a final event told again counts the claim up, under the same lock: what an attempt learned after that
  // moves nothing any more. What an operator decided meanwhile is in the deliveries that are planned with here.
  const isLost = ({ claim }: Ended) => payments.get(claim.transactionId)?.claim !== claim.claim;
  const attempts = rows.map((ended) => ({ ...ended, delivered: ended.delivered && !isLost(ended) }));
  const held = attempts.filter((ended) => !isLost(ended));
  const late = rows.filter((ended) => isLost(ended) && ended.wasSent && ended.claim.type === 'TRANSACTION_PENDING');
  const [numbers, plans] = await Promise.all([
    recordAttempts(tx, attempts),
    settle(
      tx,
      log,
      held.map((ended) => ({ ...after(payments.get(ended.claim.transactionId)!, ended), retryMs: ended.retryMs })),
      late.length > 0 ? tx : tx.last,
    ),
  ]);
  for (const { claim } of late) {
    await reopenFinal(tx, claim.transactionId);
    const reopened = await readPayments(tx, [claim.transactionId]);
    await settle(
      tx,
      log,
      reopened.filter(({ claimed }) => !claimed),
    );
  }
  const goesOn = new Set(plans.flatMap(({ transactionId, next }) => (next ? [transactionId] : [])));
  for (const { claim } of late) goesOn.add(claim.transactionId);
  return rows.map(({ eventId, claim }) => {
    return { number: numbers.get(eventId) ?? 0, goesOn: goesOn.has(claim.transactionId) };
  });
}

/** The payment with what the attempt makes of its delivery. */
function after(payment: Payment, { eventId, delivered }: Attempt): Payment {
  if (!delivered) return payment;
  const deliveries = payment.deliveries.map((delivery) =>
    delivery.eventId === eventId ? { ...delivery, state: 'delivered' as const } : delivery,
  );
  return { ...payment, deliveries };
}
