import { isRefusedData, type Tx } from '../../proto/runtime/database.ts';
import type { Core } from '../context.ts';
import type { Transaction } from '../transaction.ts';

export interface Recovered {
  /** Whether the engine offers ListOperations. */
  engineLists: boolean;
  /** Messages on the topic, and of them those that are no events of ours. */
  messages: number;
  unsigned: number;
  payments: number;
  operations: number;
  events: number;
  /** Of how many the engine's answer was taken. */
  answers: number;
  /** Still open: the cores ask the engine about them. */
  open: number;
  /** What is to be looked at by a human, by payment or request id. */
  readonly troubles: Map<string, Trouble>;
}

export type Trouble =
  /** Its merchant's account is not known: the merchant has to connect again. */
  | 'account'
  /** An earlier event of it is neither here nor in what was read. */
  | 'gap'
  /** Another event stands under its number. */
  | 'conflict'
  /** The event is of an older version, and does not tell what the payment was to be. */
  | 'unclear'
  /** The engine did not keep what we sent with the order. */
  | 'unknown order'
  /** The order does not fit what the ledger says of its payment. */
  | 'misfit'
  /** The engine says that it has expired, and whether it had been approved before no event tells. */
  | 'expired'
  /** It was refused here since, and the engine had done it. */
  | 'refused'
  /** The engine could not be asked about it. */
  | 'not asked';

/** Whether earlier events of some payments are missing: no core is to start on that. */
export const lacksEvents = ({ troubles }: Pick<Recovered, 'troubles'>) => [...troubles.values()].includes('gap');

/** Of these nothing is written: what is missing before would lose its number. */
const BLOCKING: readonly (Trouble | undefined)[] = ['account', 'gap', 'unclear'];
export const isBlocked = ({ recovered }: Run, id: string) => BLOCKING.includes(recovered.troubles.get(id));

/** What was found first is the cause of the rest. */
export function noteTrouble({ recovered: { troubles } }: Pick<Run, 'recovered'>, id: string, trouble: Trouble): void {
  if (!troubles.has(id)) troubles.set(id, trouble);
}

export interface Run {
  readonly core: Core;
  readonly since: Date;
  readonly recovered: Recovered;
  readonly isDry: boolean;
  readonly hasTopic: boolean;
  /** In a dry run, payments as they would be, and the engine's references of refunds that events told of. */
  readonly pretended: Map<string, Transaction>;
  readonly references: Set<string>;
}

/** Payments that are worked on at once. */
const AT_ONCE = 8;

export async function each<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const left = items.values();
  const worker = async () => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Runs work on a payment in a tx that a dry run takes back. What the database refuses does not fit what it has. */
export async function inTx<T>(run: Run, about: string, work: (tx: Tx) => Promise<T>): Promise<T | undefined> {
  const { core, isDry } = run;
  let result: T | undefined;
  try {
    await core.db.inTx(async (tx) => {
      result = await work(tx);
      if (isDry) throw new TakenBack();
    });
  } catch (error) {
    if (error instanceof TakenBack) return result;
    if (!isRefusedData(error)) throw error;
    noteTrouble(run, about, 'misfit');
    return undefined;
  }
  return result;
}

class TakenBack extends Error {}
