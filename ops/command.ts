import { type ParseArgsConfig, parseArgs, styleText } from 'node:util';

// What the commands for operators have in common.

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<Chosen extends Options> = ReturnType<
  typeof parseArgs<{ options: Chosen; allowPositionals: true; strict: true }>
>['values'];

export interface Command<Chosen extends Options> {
  readonly name: string;
  /** Printed for --help. */
  readonly help: string;
  /** As parseArgs of Node takes them; --help is added. */
  readonly options: Chosen;
  /** How many arguments that are no options it takes, at least and at most; by default none. */
  readonly positionals?: readonly [number, number];
  /** Answers with the exit code; nothing is 0. What it throws is one line on stderr and 1. */
  run(values: Values<Chosen>, positionals: readonly string[]): Promise<number | undefined>;
}

/** The user asked for something that does not exist: exit code 2, with a pointer to --help. */
export class UsageError extends Error {}

/** Runs a command as the process: 0 done, 1 failed, 2 used wrongly. */
export async function runCommand<Chosen extends Options>(command: Command<Chosen>): Promise<void> {
  const { name, positionals: [least, most] = [0, 0] } = command;
  try {
    const { values, positionals } = readArguments(command);
    if ('help' in values && values.help) {
      process.stdout.write(command.help);
      return;
    }
    if (positionals.length < least) throw new UsageError('an argument is missing');
    if (positionals.length > most) throw new UsageError(`${positionals[most]} is one argument too many`);
    process.exitCode = (await command.run(values, positionals)) ?? 0;
  } catch (error) {
    const isUsage = error instanceof UsageError;
    process.stderr.write(`${name}: ${printable((error as Error).message)}${isUsage ? ` (see ${name} --help)` : ''}\n`);
    process.exitCode = isUsage ? 2 : 1;
  }
}

function readArguments<Chosen extends Options>({ options }: Command<Chosen>) {
  const all = { ...options, help: { type: 'boolean', short: 'h' } } as const;
  try {
    return parseArgs({ options: all, allowPositionals: true, strict: true }) as {
      values: Values<Chosen>;
      positionals: string[];
    };
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0]);
  }
}

export interface Progress {
  /** Says how far it is; on a terminal one line that changes, else a line every five seconds. */
  show(text: string): void;
  /** Leaves the line as it is last. */
  end(): void;
}

const PROGRESS_MS = 5_000;

/** Progress of long work, on stderr, so that stdout holds the result alone. */
export function createProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  let shownAt = Number.NEGATIVE_INFINITY;
  return {
    show(text) {
      if (stream.isTTY) stream.write(`\r\x1b[K${text}`);
      else if (performance.now() - shownAt >= PROGRESS_MS) {
        stream.write(`${text}\n`);
        shownAt = performance.now();
      }
    },
    end() {
      if (stream.isTTY) stream.write('\n');
    },
  };
}

/** In colour on a terminal that takes it (NO_COLOR is obeyed), else as it is. */
export function colour(format: Parameters<typeof styleText>[0], text: string): string {
  return styleText(format, text, { stream: process.stdout });
}

/**
 * A line as a terminal may have it: what others sent us has no escape sequence, end of line or direction of writing in it. Colours of ours
 * stay.
 */
export function printable(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it takes out.
  return line.replaceAll(/\x1b\[\d{1,2}m|[\p{Cc}\p{Cf}\u2028\u2029]/gu, (found) =>
    found.length > 1 ? found : `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
