import { type BusMessage, type EventPublisher, signMessage } from '../proto/runtime/event-bus.ts';
import type { Core } from './context.ts';
import { lockPublisher, markPublished, type OutboxRow, unpublished } from './store/outbox.ts';

/** An event has 8 KiB at most: no broker refuses so many at once. */
const BATCH = 100;

/** How long a batch may take to be received, in ms; the database ends the tx of a publisher that vanished a little later. */
export const SEND_MS = 3_000;

/**
 * Publishes the oldest events, one publisher at a time over all cores, in order (R42). The send stands inside the tx on purpose: the
 * lock must outlive it. A publisher that slept may send a batch again; receivers drop what they have seen (R30).
 */
export async function publishOutbox(core: Core, events: EventPublisher): Promise<number> {
  return core.db.inTx(
    async (tx) => {
      // Read once the lock is held.
      const [isPublisher, rows] = await Promise.all([lockPublisher(tx), unpublished(tx, BATCH)]);
      if (!isPublisher || rows.length === 0) return 0;
      await events.publish(rows.map((row) => toMessage(core, row)));
      await markPublished(
        tx.last,
        rows.map(({ id }) => id),
      );
      return rows.length;
    },
    { idleTimeoutMs: SEND_MS + 500 },
  );
}

function toMessage(core: Core, row: OutboxRow): BusMessage {
  return signMessage(core.config.EVENTS_KEY, row.transactionId, row.value, {
    'event-id': row.eventId,
    'event-type': row.type,
    sequence: String(row.sequence),
    schema: 'payments.v1.Event',
    'content-type': 'application/protobuf',
    'occurred-at': row.occurredAt.toISOString(),
    ...(row.traceparent && { traceparent: row.traceparent }),
  });
}
