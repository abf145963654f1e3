import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { z } from 'zod';
import { type Callers, createCallers } from './callers.ts';
import { createKeyRing, type KeyRing } from './seal.ts';

// The environment, read once and by zod: a config object has the names of the environment as its keys.

export type Env = Record<string, string | undefined>;

/** A text that never prints itself: only reveal() gives it away (R34). */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  reveal(): string {
    return this.#value;
  }
  toString = () => '[redacted]';
  toJSON = this.toString;
  [inspect.custom] = this.toString;
}

/** Everything that is wrong with the environment, one line for each problem: names and rules, never values. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/**
 * Reads every name of the schema from env, or from the file that NAME_FILE points to. Space around a value does not count and an
 * empty value is an absent one. Throws a ConfigError with all problems at once.
 */
export function parseConfig<S extends z.ZodType>(schema: S, env: Env): z.infer<S> {
  const problems: string[] = [];
  const values: Env = {};
  for (const name of Object.keys(shapeOf(schema))) {
    try {
      const value = readValue(name, env);
      if (value) values[name] = value;
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  const parsed = schema.safeParse(values);
  if (parsed.success && problems.length === 0) return parsed.data;
  for (const issue of parsed.error?.issues ?? []) {
    const name = String(issue.path[0] ?? '');
    if (problems.some((problem) => problem.startsWith(`${name}_FILE `))) continue;
    const absent = issue.code === 'invalid_type' && values[name] === undefined;
    problems.push(`${name} ${absent ? 'is missing' : issue.message}`.trim());
  }
  throw new ConfigError(problems);
}

function readValue(name: string, env: Env): string | undefined {
  const direct = env[name]?.trim();
  const file = env[`${name}_FILE`]?.trim();
  if (!file) return direct;
  if (direct) throw new Error(`${name}_FILE and ${name} are both set`);
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new Error(`${name}_FILE cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** The entries of an object schema, also of one that a transform follows. */
function shapeOf(schema: z.ZodType): Record<string, z.ZodType> {
  if (schema instanceof z.ZodObject) return schema.shape as Record<string, z.ZodType>;
  if (schema instanceof z.ZodPipe) return shapeOf(schema.in as z.ZodType);
  throw new TypeError('a config schema is an object');
}

const secrets = z.registry<{ secret: true }>();

/** The names whose values are secret, to be removed from process.env (R34). NAME_FILE is none of them: it holds a path. */
export function secretNames(schema: z.ZodType): string[] {
  const shape = shapeOf(schema);
  return Object.keys(shape).filter((name) => isSecret(shape[name]));
}

function isSecret(entry: z.ZodType | undefined): boolean {
  return entry !== undefined && (secrets.has(entry) || isSecret((entry.def as { innerType?: z.ZodType }).innerType));
}

/** A whole number between min and max, both inclusive. */
export function integer(byDefault: number, limits: { min?: number; max?: number } = {}): z.ZodType<number> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = limits;
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  const isWithin = (value: string) => /^-?\d{1,16}$/.test(value) && Number(value) >= min && Number(value) <= max;
  return z.string().refine(isWithin, `must be a whole number ${range}`).transform(Number).prefault(String(byDefault));
}

/** A TCP port; 0 takes a free one. */
export const port = (byDefault: number): z.ZodType<number> => integer(byDefault, { min: 0, max: 65_535 });

/** A duration in milliseconds; at most what a timer of Node can wait for. */
export const milliseconds = (byDefault: number, limits: { min?: number; max?: number } = {}): z.ZodType<number> =>
  integer(byDefault, { min: 1, max: 2_147_483_647, ...limits });

export const flag = (byDefault: boolean): z.ZodType<boolean> =>
  z
    .enum(['true', 'false'], 'must be true or false')
    .transform((value) => value === 'true')
    .prefault(byDefault ? 'true' : 'false');

/** The least that is logged. */
export const logLevel = () =>
  z.enum(['debug', 'info', 'warn', 'error'], 'must be debug, info, warn or error').default('info');

export const text = (): z.ZodType<string> => z.string().trim().min(1, 'must not be empty');

/** A URL of one of the protocols, such as 'https:'; of any when none is named. */
export const url = (...protocols: string[]): z.ZodType<string> => {
  const allowed = protocols.map((protocol) => protocol.replace(/:?$/, ':'));
  const rule = `must be a URL${allowed.length > 0 ? ` that begins with ${allowed.join(' or ')}` : ''}`;
  const isAllowed = ({ protocol }: URL) => allowed.length === 0 || allowed.includes(protocol);
  return z.string().refine((value) => URL.canParse(value) && isAllowed(new URL(value)), rule);
};

export const secret = (minLength = 1): z.ZodType<Secret> =>
  z
    .string()
    .min(minLength, `must have at least ${minLength} characters`)
    .transform((value) => new Secret(value))
    .register(secrets, { secret: true });

/** Keys as `id:base64[,id:base64]`, each of 32 bytes; a bare key has id 0 (R31). */
export const keyRing = (): z.ZodType<KeyRing> => parsedBy(createKeyRing);

/** Who may call, as `name:role:secret[,name:role:secret]` (R33). */
export const callers = (): z.ZodType<Callers> => parsedBy(createCallers);

/** A secret value read by a function whose error messages quote nothing. */
function parsedBy<T>(read: (value: string) => T): z.ZodType<T> {
  return z
    .string()
    .transform((value, context) => {
      try {
        return read(value);
      } catch (error) {
        context.issues.push({ code: 'custom', input: undefined, message: (error as Error).message });
        return z.NEVER;
      }
    })
    .register(secrets, { secret: true });
}

/** Whether host:port, or a URL, is on this machine, so that nothing need encrypt the way to it (R33). */
export function isLoopback(address: string): boolean {
  const host = URL.parse(address.includes('://') ? address : `http://${address}`)?.hostname ?? '';
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** R33: the rule for an entry that names a peer, beside ALLOW_PLAINTEXT. */
export const PLAINTEXT_REFUSED =
  'is not on this machine, and nothing encrypts the way to it: ALLOW_PLAINTEXT=true accepts that';

/** In every key and token of development, as text or as the bytes of a key: real services refuse them by value (R34). */
export const DEVELOPMENT_MARK = 'development-only';

/** Throws a ConfigError if a secret is one of those that stand in this repository for everybody to read (R34). */
export function refuseDevelopmentSecrets(schema: z.ZodType, env: Env): void {
  const known = secretNames(schema).filter((name) => {
    const value = readValue(name, env) ?? '';
    return [value, ...value.split(/[,:]/).map((part) => Buffer.from(part, 'base64').toString('latin1'))].some((text) =>
      text.includes(DEVELOPMENT_MARK),
    );
  });
  if (known.length > 0)
    throw new ConfigError(known.map((name) => `${name} is a development secret that everybody knows`));
}
