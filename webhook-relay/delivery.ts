// The order in which Wix hears of one payment (R26, R27; Wix contract 9.3 and 9.5), as data. Nothing here does I/O.

export type DeliveryState = 'waiting' | 'delivered' | 'superseded' | 'not_for_wix' | 'parked' | 'held' | 'skipped';

export type Final = 'approved' | 'declined';

/** A row of `deliveries`, as far as order is concerned. */
export interface Delivery {
  readonly eventId: string;
  readonly sequence: bigint;
  /** A name of Event.Type without its prefix; of an event that cannot be read, what its header says, in whatever case. */
  readonly type: string;
  readonly state: DeliveryState;
}

export interface Cursor {
  /** Events 1 to this one are all finished. */
  readonly doneThrough: bigint;
  /** An operator who gave a final event up has said that Wix knows (R29). */
  readonly finalTold: Final | null;
}

export interface Move {
  readonly eventId: string;
  readonly state: 'superseded' | 'not_for_wix' | 'held';
}

export interface Plan extends Cursor {
  /** Deliveries that are not to be sent as things stand, each with its new state. */
  readonly moves: readonly Move[];
  /** What goes next; absent when nothing may go. */
  readonly next: Delivery | undefined;
  /** An event below one that came has not come. */
  readonly gap: boolean;
}

type Subject = 'pending' | Final | 'operation';

const TRANSACTION_EVENTS: Readonly<Record<string, Subject>> = {
  TRANSACTION_PENDING: 'pending',
  // Where the core tells of it (U5).
  TRANSACTION_AWAITING_BUYER: 'pending',
  TRANSACTION_APPROVED: 'approved',
  TRANSACTION_DECLINED: 'declined',
};

/** What Wix was told of the payment's end: nothing yet, a final event that is on its way, or that event. */
type Told = 'nothing' | 'coming' | Final;

/** What becomes of a delivery that is waiting; of several to send, the first goes. */
type Verdict = 'send' | 'wait' | Move['state'];

// biome-ignore format: a table reads better in columns
const VERDICTS: Readonly<Record<Subject, Readonly<Record<Told, Verdict>>>> = {
  pending:   { nothing: 'send', coming: 'superseded', approved: 'superseded', declined: 'superseded' },
  approved:  { nothing: 'send', coming: 'send',       approved: 'held',       declined: 'held' },
  declined:  { nothing: 'send', coming: 'send',       approved: 'held',       declined: 'held' },
  operation: { nothing: 'wait', coming: 'wait',       approved: 'send',       declined: 'not_for_wix' },
};

/**
 * Decides what becomes of a payment's deliveries. They are those above the cursor, by sequence. Nothing goes before everything
 * below it has come, and nothing from a held or parked delivery on.
 */
export function planDeliveries(cursor: Cursor, deliveries: readonly Delivery[]): Plan {
  const received = new Set(deliveries.map(({ sequence }) => sequence));
  let receivedThrough = cursor.doneThrough;
  while (received.has(receivedThrough + 1n)) receivedThrough++;
  const barrier = deliveries.find(({ state }) => state === 'held' || state === 'parked')?.sequence;
  const free = deliveries.filter(
    ({ sequence }) => sequence <= receivedThrough && (barrier === undefined || sequence < barrier),
  );

  // Of two events with one sequence, the one that was given up stands for nothing.
  const ended = deliveries.filter(
    (one) =>
      one.state !== 'skipped' ||
      !deliveries.some((other) => other.sequence === one.sequence && other.state !== 'skipped'),
  );
  const finalTold = cursor.finalTold ?? finalAmong(ended, ['delivered', 'skipped']);
  const told = finalTold ?? (finalAmong(free, ['waiting']) ? 'coming' : 'nothing');

  const moves: Move[] = [];
  let next: Delivery | undefined;
  let doneThrough = cursor.doneThrough;
  let open: bigint | undefined;
  for (const delivery of free) {
    const verdict = delivery.state === 'waiting' ? VERDICTS[subjectOf(delivery)][told] : undefined;
    if (verdict === 'send') next ??= delivery;
    if (verdict === 'send' || verdict === 'wait') {
      open ??= delivery.sequence;
      continue;
    }
    if (verdict) moves.push({ eventId: delivery.eventId, state: verdict });
    if (verdict === 'held') break;
    if (open === undefined) doneThrough = delivery.sequence;
  }
  // Also where another event of the same sequence is finished.
  if (doneThrough === open) doneThrough--;
  return { doneThrough, finalTold, moves, next, gap: deliveries.some(({ sequence }) => sequence > receivedThrough) };
}

function subjectOf(delivery: Delivery): Subject {
  return TRANSACTION_EVENTS[delivery.type.toUpperCase()] ?? 'operation';
}

function finalAmong(deliveries: readonly Delivery[], states: readonly DeliveryState[]): Final | null {
  for (const delivery of deliveries) {
    const subject = subjectOf(delivery);
    if (states.includes(delivery.state) && (subject === 'approved' || subject === 'declined')) return subject;
  }
  return null;
}

const FIRST_RETRY_MS = 2_000;
const RETRY_MS_MAX = 3_600_000;
/** Also the pace of a stuck delivery (R29). */
export const RETRY_AFTER_MS_MAX = 6 * 3_600_000;

/**
 * Milliseconds until the attempt after the given one, which is numbered from 1: full jitter under a limit that doubles, but not before
 * Wix's own Retry-After.
 */
export function retryDelayMs(
  attempt: { number: number; stuck: boolean; retryAfterMs: number },
  random: () => number,
): number {
  if (attempt.stuck) return RETRY_AFTER_MS_MAX;
  const limit = Math.min(RETRY_MS_MAX, FIRST_RETRY_MS * 2 ** (attempt.number - 1));
  return Math.max(Math.round(random() * limit), Math.min(attempt.retryAfterMs, RETRY_AFTER_MS_MAX));
}
