import type { OperationKind } from './operation.ts';
import type { TransactionState } from './transaction.ts';

// Why a payment stands where it stands, in one sentence: of its state, of its open operation, and of what Wix has been told. Each of the
// three is a table; every pair of rows makes a sentence. Nothing here does I/O.

/** How far an open operation is. */
export type Progress = 'running' | 'waiting' | 'unknown' | 'held';

/** How far Wix is told. */
export type Standing =
  | 'nothing' // there is nothing that Wix is to be told
  | 'told'
  | 'given_up' // the newest event was skipped by an operator
  | 'unpublished'
  | 'unreceived' // published, and the relay does not have it
  | 'turn' // behind another event of its payment
  | 'first' // before its first attempt
  | 'retrying'
  | 'stuck'
  | 'parked'
  | 'held'
  | 'unasked'; // the relay could not be asked

export interface Facts {
  readonly state: TransactionState;
  /** When the payment came into its state. */
  readonly since: Date;
  /** Why it is declined or pending, such as "3012 INSUFFICIENT_FUNDS: Insufficient funds"; empty if there is no reason. */
  readonly reason: string;
  /** Of those that are open, the one that the payment waits for. */
  readonly open?: {
    readonly kind: OperationKind;
    readonly progress: Progress;
    readonly asks: number;
    readonly nextAt: Date | undefined;
    readonly expiresAt: Date | undefined;
  };
  /** When its authorization lapses, where the processor said so. */
  readonly lapsesAt?: Date | undefined;
  readonly delivery: {
    readonly standing: Standing;
    /** The event's type in lower case, such as refund_succeeded; empty for `nothing`. */
    readonly event: string;
    /** Of what the standing tells: the delivery, the publication, or the next attempt. */
    readonly at?: Date | undefined;
    readonly attempts?: number;
    /** What came of the last attempt: what Wix answered, or why no answer came. */
    readonly answer?: string;
    /** Why an operator stopped it, or why the relay could not be asked. */
    readonly why?: string;
  };
  /** Who paused all deliveries and why, while they are. */
  readonly paused?: string | undefined;
}

const STATES: Readonly<Record<TransactionState, string>> = {
  authorizing: 'Being authorized since {since}',
  awaiting_buyer: 'Awaiting its buyer since {since}',
  pending: 'Pending since {since}',
  authorized: 'Authorized on {since}',
  capturing: 'Being captured since {since}',
  voiding: 'Being voided since {since}',
  captured: 'Captured on {since}',
  voided: 'Voided on {since}',
  expired: 'Expired on {since}: its authorization lapsed uncaptured',
  declined: 'Declined on {since} with {reason}',
};

/** Where nothing is open: what would have to happen next. */
const AT_REST: Readonly<Partial<Record<TransactionState, string>>> = {
  authorized: 'Wix has not asked to capture or void it',
};

const AUTHORIZE: Readonly<Record<Progress, string>> = {
  running: 'the engine has not answered yet',
  waiting: 'the engine has not decided',
  unknown: "the engine's answer was lost",
  held: "the engine's answer does not fit what was asked, and an operator has to settle it",
};

const money = (kind: string): Readonly<Record<Progress, string>> => ({
  running: `the engine has not answered the ${kind} yet`,
  waiting: `the engine has not decided the ${kind}`,
  unknown: `the engine's answer to the ${kind} was lost`,
  held: `the engine's answer to the ${kind} does not fit what was asked, and an operator has to settle it`,
});

const steadily = (text: string): Readonly<Record<Progress, string>> => ({
  running: text,
  waiting: text,
  unknown: text,
  held: `${text}, and an operator has to settle it`,
});

const OPERATIONS: Readonly<Record<OperationKind, Readonly<Record<Progress, string>>>> = {
  authorize: AUTHORIZE,
  capture: money('capture'),
  void: money('void'),
  refund: money('refund'),
  cancel: steadily('the engine is asked to end it, and has not confirmed that'),
  reversal: steadily('the engine approved what Wix was told is declined, and is asked to undo that'),
};

const BUYER = "the buyer has not come back from the engine's page";

const STANDINGS: Readonly<Record<Standing, string>> = {
  nothing: 'There is nothing to tell Wix',
  told: 'Wix was told of {event} on {at}',
  given_up: 'An operator gave up telling Wix of {event}: {why}',
  unpublished: 'Wix is not told of {event} yet: the event waits to be published since {at}',
  unreceived: 'Wix is not told of {event} yet: it was published on {at}, and the webhook-relay has not received it',
  turn: 'Wix is not told of {event} yet: it waits for its turn behind another event of the payment',
  first: 'Wix is told of {event} at {at}',
  retrying: 'Wix has not taken {event}: {answer}, {tries}, next at {at}',
  stuck: 'Wix has not taken {event} for days: {answer}, {tries}, next at {at}',
  parked: 'Wix is not told of {event}: an operator stopped it: {why}',
  held: 'Wix is not told of {event}: it conflicts with another event or cannot be read, and an operator has to decide',
  unasked: 'Whether Wix was told of {event} is not known here: {why}',
};

const UNTOLD: readonly Standing[] = ['unpublished', 'unreceived', 'turn', 'first', 'retrying', 'stuck'];

/** Times are ISO 8601 in UTC, whole seconds, so that a reader can put them into words of its own. */
export function summarize(facts: Facts): string {
  const { state, open, delivery, lapsesAt, paused } = facts;
  const clauses = [STATES[state]];
  if (open) {
    const isBuyers = state === 'awaiting_buyer' && open.kind === 'authorize' && open.progress !== 'held';
    clauses.push(isBuyers ? BUYER : OPERATIONS[open.kind][open.progress]);
    if (open.progress !== 'held') clauses.push(...nextOf(open));
  } else if (AT_REST[state]) clauses.push(AT_REST[state]);
  if (state === 'authorized' && lapsesAt) clauses.push(`it lapses at ${iso(lapsesAt)}`);
  const [first, ...rest] = clauses;
  const payment = fill(rest.length > 0 ? `${first}: ${rest.join(', ')}` : (first ?? ''), {
    since: iso(facts.since),
    reason: facts.reason || 'no reason',
  });
  const { attempts = 0 } = delivery;
  const told = fill(STANDINGS[delivery.standing], {
    event: delivery.event,
    at: delivery.at ? iso(delivery.at) : 'an unknown time',
    tries: attempts === 1 ? 'tried once' : `tried ${attempts} times`,
    answer: delivery.answer || 'no answer',
    why: delivery.why || 'no reason given',
  });
  const stop = paused && UNTOLD.includes(delivery.standing) ? ` All deliveries are paused: ${paused}.` : '';
  return `${payment}. ${told}.${stop}`;
}

function nextOf({ asks, nextAt, expiresAt }: NonNullable<Facts['open']>): string[] {
  return [
    ...(expiresAt ? [`expires at ${iso(expiresAt)}`] : []),
    ...(asks > 0 ? [asks === 1 ? 'asked once' : `asked ${asks} times`] : []),
    ...(nextAt ? [`${asks > 0 ? 'next' : 'asked'} at ${iso(nextAt)}`] : []),
  ];
}

const fill = (template: string, values: Readonly<Record<string, string>>) =>
  template.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? '');

const iso = (time: Date) => time.toISOString().replace(/\.\d+Z$/, 'Z');
