import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { createKit, type Kit, NotOffered } from './contract-kit.ts';
import type { CardName, Means } from './contract-means.ts';
import { CANCELLING, REVERSING } from './promises-of-ends.ts';
import { FIELDS } from './promises-of-fields.ts';
import { LISTS } from './promises-of-lists.ts';
import { AMOUNTS, FOLLOW_UPS } from './promises-of-money.ts';
import { ACCOUNTS, LOST_ANSWERS, OUTCOMES, REQUEST_IDS } from './promises-of-outcomes.ts';

// The rules of processor.v1 for any engine: what the core relies on, and nothing of how the engine works inside. They are data, so
// that mocha, the command and the spec of broken engines hold the same ones.

export interface EngineUnderTest {
  readonly transport: Transport;
  /** The same way without a token, if the engine asks for one. */
  readonly withoutToken?: Transport;
  readonly means: Means;
}

export interface EnginePromise {
  readonly title: string;
  /** Without all of these it is skipped. */
  readonly needs?: readonly (CardName | 'wrongCredentials' | 'token')[];
  readonly hold: (kit: Kit, engine: EngineUnderTest) => Promise<void>;
}

export interface Group {
  readonly title: string;
  readonly promises: readonly EnginePromise[];
}

export const GROUPS: readonly Group[] = [
  ACCOUNTS,
  OUTCOMES,
  FIELDS,
  REQUEST_IDS,
  LOST_ANSWERS,
  AMOUNTS,
  FOLLOW_UPS,
  CANCELLING,
  REVERSING,
  LISTS,
];

export type Verdict =
  | { readonly came: 'held' }
  | { readonly came: 'skipped'; readonly lacks: string }
  | { readonly came: 'broken'; readonly why: Error };

/** Holds an engine to one promise. Never throws. */
export async function hold(engine: EngineUnderTest, promise: EnginePromise): Promise<Verdict> {
  const { cards, wrongCredentials } = engine.means;
  const given: Record<string, unknown> = { ...cards, wrongCredentials, token: engine.withoutToken };
  const lacks = promise.needs?.filter((need) => !given[need]) ?? [];
  if (lacks.length > 0) return { came: 'skipped', lacks: lacks.join(', ') };
  try {
    await promise.hold(await createKit(engine.transport, engine.means), engine);
    return { came: 'held' };
  } catch (error) {
    if (error instanceof NotOffered) return { came: 'skipped', lacks: error.message };
    return { came: 'broken', why: unanswered(error as Error) };
  }
}

/** An error of gRPC, in words. */
export function unanswered(error: Error): Error {
  if (!(error instanceof ConnectError)) return error;
  return new Error(`a call has no answer (${Code[error.code]}: ${error.rawMessage})`, { cause: error });
}

/** The promises as tests of mocha. */
export function describeProcessor(name: string, engine: () => EngineUnderTest): void {
  describe(`the processor port of ${name}`, () => {
    for (const { title, promises } of GROUPS)
      describe(title, () => {
        for (const promise of promises)
          it(promise.title, async function () {
            const verdict = await hold(engine(), promise);
            if (verdict.came === 'broken') throw verdict.why;
            if (verdict.came === 'skipped') this.skip();
          });
      });
  });
}
