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
import { each, type Recovered, type Run } from './recover/run.ts';
import { makeOpenDue, pendAuthorizing } from './store/restore.ts';

// A ledger that was restored from a backup lacks what happened since; others know it. First come the payments that the engine was sent, as
// tx 1 recorded them; then the events on the topic, in their order, under their numbers and with their bytes; then what became of the
// engine's orders of which no event was published, as if they had just been learned. Each step writes what is missing and leaves the rest, so
// that it may be run again, also beside running cores: a payment changes under its lock, and what its row has already is passed over.

export interface RecoverOptions {
  readonly since: Date;
  /** Hands over what is on the topic since then, in order for each payment; undefined: there is no topic. */
  readonly readEvents: ((take: (messages: readonly BusMessage[]) => Promise<void>) => Promise<void>) | undefined;
  /** Nothing stays written. */
  readonly isDry: boolean;
  readonly onProgress: (recovered: Recovered, step: 'orders' | 'events' | 'outcomes') => void;
}

export async function recover(core: Core, options: RecoverOptions): Promise<Recovered> {
  const { since, readEvents, isDry, onProgress } = options;
  const recovered: Recovered = {
    ...{ engineLists: true, messages: 0, unsigned: 0, payments: 0, operations: 0, events: 0, answers: 0, open: 0 },
    troubles: new Map(),
  };
  const run: Run = { core, since, recovered, isDry, pretended: new Map() };
  const touched = new Set<string>();

  for await (const page of listOperations(core, since, recovered)) {
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
  for (const isWanted of [isAuthorize, isOther])
    for await (const page of listOperations(core, since, recovered)) {
      const ofPayments = Map.groupBy(page.filter(isWanted), ({ instruction }) => instruction?.transactionId);
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
  if (!isDry) await pendAuthorizing(core.db, runningMs(core));
  recovered.open = await makeOpenDue(core.db, runningMs(core), isDry);
  return recovered;
}
