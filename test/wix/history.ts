import type { Operation } from './client.ts';
import { type EventKind, readEvent } from './contract.ts';
import type { JsonObject } from './json.ts';

// What Wix remembers of its traffic with a PSP, message by message, and the view of it payment by payment. Plain data, so that it
// survives a restart as lines of JSON. Requests are kept without card data.

/** Milliseconds since 1970, with a fraction. */
export type Instant = number;

export type Entry =
  | { type: 'call'; id: string; operation: Operation; request: JsonObject; at: Instant }
  | { type: 'answer'; id: string; status: number; body?: JsonObject | undefined; at: Instant; violations: string[] }
  | { type: 'event'; text: string; accepted: boolean; at: Instant; violations: string[] }
  | { type: 'violation'; violations: string[] };

/** A call with what came of it. */
export interface Exchange {
  readonly operation: Operation;
  readonly request: JsonObject;
  readonly sentAt: Instant;
  /** Present if there was an answer: status 200 and JSON. Else the call failed, and nothing was said. */
  readonly answer?: JsonObject;
  readonly answeredAt: Instant;
}

export interface WixEvent {
  readonly kind: EventKind;
  readonly wixTransactionId: string;
  /** The member of the event, without its envelope. */
  readonly body: JsonObject;
  readonly text: string;
  readonly accepted: boolean;
  readonly at: Instant;
}

export interface PaymentHistory {
  readonly wixTransactionId: string;
  readonly exchanges: readonly Exchange[];
  /** In order of arrival, those included that Wix did not accept. */
  readonly events: readonly WixEvent[];
}

export function exchangesOf(history: readonly Entry[]): Exchange[] {
  const answers = new Map(history.flatMap((entry) => (entry.type === 'answer' ? [[entry.id, entry] as const] : [])));
  return history.flatMap((entry) => {
    if (entry.type !== 'call') return [];
    const { operation, request, at } = entry;
    const answer = answers.get(entry.id);
    const answered = answer?.status === 200 && answer.body !== undefined;
    const answeredAt = answer?.at ?? Number.POSITIVE_INFINITY;
    return [{ operation, request, sentAt: at, answeredAt, ...(answered && { answer: answer.body as JsonObject }) }];
  });
}

export function eventsOf(history: readonly Entry[]): WixEvent[] {
  return history.flatMap((entry) => {
    const event = entry.type === 'event' ? readEvent(entry.text) : undefined;
    if (!event || entry.type !== 'event') return [];
    const { text, accepted, at } = entry;
    return [{ ...event, wixTransactionId: String(event.body.wixTransactionId), text, accepted, at }];
  });
}

export function paymentsOf(history: readonly Entry[]): PaymentHistory[] {
  const exchanges = Map.groupBy(exchangesOf(history), ({ request }) => request.wixTransactionId);
  const events = Map.groupBy(eventsOf(history), ({ wixTransactionId }) => wixTransactionId);
  const ids = new Set([...exchanges.keys(), ...events.keys()]);
  return [...ids].flatMap((id) =>
    typeof id === 'string'
      ? [{ wixTransactionId: id, exchanges: exchanges.get(id) ?? [], events: events.get(id) ?? [] }]
      : [],
  );
}
