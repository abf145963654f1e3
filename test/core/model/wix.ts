import { type Event, Event_Type as Type } from '../../../proto/gen/payments/v1/event_pb.js';
import { type DeliveryState, planDeliveries } from '../../../webhook-relay/delivery.ts';
import type { World } from './world.ts';

/** What Wix asked and what it was told, by answers and by events in the order in which the relay delivers them. */
export interface Wix {
  /** Names of captures, voids and refunds asked for, each with what it was about. */
  readonly asked: Asked[];
  readonly answers: Answer[];
  readonly events: Event[];
}

export interface Asked {
  readonly kind: 'capture' | 'void' | 'refund';
  readonly key: string;
  readonly amount: bigint | undefined;
  /** How often it was sent. Of a capture or void the gateway listens to the last send alone (R1). */
  sends: number;
}

/** `said`: 'approved', 'redirect', or 'pending' or 'declined' with its reason; of what follows a payment 'done' or 'refused'. */
export interface Answer {
  /** `create`, or the key of what was asked. */
  readonly to: string;
  readonly said: string;
  /** What Wix knew of the payment's end when it asked: the story may not go back (Wix contract, 9.2). */
  readonly knew: string | undefined;
}

export function newWix(): Wix {
  return { asked: [], answers: [], events: [] };
}

/** The end of the payment as Wix was told it, if it was. */
export function toldEnd({ answers, events }: Wix): string | undefined {
  const answer = answers.find(({ to, said }) => to === 'create' && isEnd(said));
  return answer?.said ?? events.map(storyOf).find((said) => said !== undefined && isEnd(said));
}

export const isEnd = (said: string) => said === 'approved' || said.startsWith('declined');

/** What a transaction event says, in the words of an answer. */
export function storyOf({ type, reason }: Event): string | undefined {
  switch (type) {
    case Type.TRANSACTION_PENDING:
      return `pending ${reason}`;
    case Type.TRANSACTION_APPROVED:
      return 'approved';
    case Type.TRANSACTION_DECLINED:
      return `declined ${reason}`;
    default:
      return undefined;
  }
}

/** What the relay would send next, by its own plan (R26). */
export function nextEvent({ ledger, wix }: World): Event | undefined {
  const deliveries = ledger.outbox.map(({ event }) => ({
    eventId: event.id,
    sequence: event.sequence,
    type: Type[event.type] ?? '',
    state: stateOf(event, wix),
  }));
  const { next } = planDeliveries({ doneThrough: 0n, finalTold: null }, deliveries);
  return ledger.outbox.find(({ event }) => event.id === next?.eventId)?.event;
}

function stateOf(event: Event, { events }: Wix): DeliveryState {
  if (!event.forWix) return 'not_for_wix';
  return events.includes(event) ? 'delivered' : 'waiting';
}

export function deliver(world: World): void {
  const event = nextEvent(world);
  if (event) world.wix.events.push(event);
}
