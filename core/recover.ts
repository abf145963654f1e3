import type { BusMessage } from '../proto/runtime/event-bus.ts';
import type { Core } from './context.ts';
import { runningMs } from './perform.ts';
import {
  askAboutApproval,
  beginPayment,
  isAuthorize,
  isOther,
  learnListed,
  listOperations,
} from './recover/from-engine.ts';
import { applyEvents, readEvent } from './recover/from-events.ts';
import { each, lacksEvents, type Recovered, type Run } from './recover/run.ts';
import { makeOpenDue, parkOpen, pendAuthorizing } from './store/restore.ts';

// A ledger that was restored from a backup lacks what happened since; others know it. First come the payments that the engine was sent, as
// tx 1 recorded them; then the events on the topic, in their order, under their numbers and with their bytes; then what became of the
// engine's orders of which no event was published, as if they had just been learned. Each step writes what is missing and leaves the rest, so
// that it may be run again, also beside running cores: a payment changes under its lock, what its row has already is passed over, and no
// core asks about what is open before the end.

export interface RecoverOptions {
  readonly since: Date;
  /** Hands over what is on the topic since then, in order for each payment; undefined: there is no topic. */
  readonly readEvents: ((take: (messages: readonly BusMessage[]) => Promise<void>) => Promise<void>) | undefined;
  /** Nothing stays written. */
  readonly isDry: boolean;
  /** Also where events are missing, or not signed. */
  readonly accept: boolean;
  readonly onProgress: (recovered: Recovered, step: 'orders' | 'events' | 'outcomes') => void;
}

export async function recover(core: Core, options: RecoverOptions): Promise<Recovered> {
  const { since, readEvents, isDry, accept, onProgress } = options;
  const recovered: Recovered = {
    ...{ engineLists: true, messages: 0, unsigned: 0, payments: 0, operations: 0, events: 0, answers: 0, open: 0 },
    troubles: new Map(),
  };
  const hasTopic = readEvents !== undefined;
  const run: Run = { core, since, recovered, isDry, hasTopic, pretended: new Map(), references: new Set() };
  const touched = new Set<string>();
  if (!isDry) await parkOpen(core.db, runningMs(core));

  for await (const page of listOperations(run)) {
    await each(page.filter(isAuthorize), (listed) => beginPayment(run, listed));
    onProgress(recovered, 'orders');
  }
  await readEvents?.(async (messages) => {
    const events = messages.flatMap((message) => readEvent(run, message));
    const ofPayments = Map.groupBy(events, ({ event }) => event.transactionId);
    await each([...ofPayments], async ([id, ofPayment]) => {
      touched.add(id);
      await applyEvents(run, ofPayment);
    });
    onProgress(recovered, 'events');
  });
  // What the engine says next would take the numbers of events that are there, and cannot be read.
  if (recovered.unsigned > 0 && !accept && !isDry)
    throw new Error(
      `${recovered.unsigned} of ${recovered.messages} messages are no events of ours, or signed with a key that is not in EVENTS_KEY: ` +
        'add the key, or --since TIME --accept, which leaves them out',
    );
  for (const isWanted of [isAuthorize, isOther])
    for await (const page of listOperations(run)) {
      const ofPayments = Map.groupBy(page.filter(isWanted), ({ instruction }) => instruction.transactionId);
      await each([...ofPayments.values()], async (ofPayment) => {
        for (const listed of ofPayment) await learnListed(run, listed);
      });
      onProgress(recovered, 'outcomes');
    }
  if (!recovered.engineLists && !isDry)
    await each([...touched], async (id) => {
      await askAboutApproval(run, id);
      onProgress(recovered, 'outcomes');
    });
  if (isDry || (lacksEvents(recovered) && !accept)) return recovered;
  recovered.open = await endRecovery(core);
  return recovered;
}

/** Whatever is open is looked at again. Answers how much that is. */
export async function endRecovery(core: Core): Promise<number> {
  await pendAuthorizing(core.db, runningMs(core));
  return makeOpenDue(core.db, runningMs(core));
}
