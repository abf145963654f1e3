// One thing that the doctor looks at.

export type Level = 'ok' | 'warn' | 'FAIL' | 'skip';

export interface Finding {
  readonly level: Level;
  /** What was found. */
  readonly text: string;
  /** What to do about it; with every warn and FAIL. */
  readonly remedy?: string;
}

export interface Check {
  /** Such as "core: database". */
  readonly name: string;
  /** May throw: that is a FAIL. */
  run(): Promise<Finding[]>;
}

export const ok = (text: string): Finding => ({ level: 'ok', text });
export const warn = (text: string, remedy: string): Finding => ({ level: 'warn', text, remedy });
export const fail = (text: string, remedy: string): Finding => ({ level: 'FAIL', text, remedy });
export const skip = (text: string): Finding => ({ level: 'skip', text });

const CHECK_MS = 10_000;

/** All checks at once, each for ten seconds at most; in their order. */
export function runChecks(checks: readonly Check[]): Promise<{ name: string; findings: Finding[] }[]> {
  return Promise.all(
    checks.map(async ({ name, run }) => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<Finding[]>((resolve) => {
        const finding = fail('no answer within 10 s', 'see whether it can be reached from this machine');
        timer = setTimeout(() => resolve([finding]), CHECK_MS).unref();
      });
      const findings = await Promise.race([
        run().catch((error: Error) => [fail(reasonOf(error), 'see what it says')]),
        late,
      ]);
      clearTimeout(timer);
      return { name, findings };
    }),
  );
}

/** One line; an AggregateError of Node's connects has no message of its own. */
export function reasonOf(error: unknown): string {
  const { message, errors, code, cause } = error as Error & { errors?: Error[]; code?: string };
  const text = message || errors?.map((each) => each.message).join(', ') || code || String(error);
  const root = cause instanceof Error && cause.message && !text.includes(cause.message) ? ` (${cause.message})` : '';
  return `${text}${root}`.replaceAll(/\s+/g, ' ').slice(0, 300);
}
