import { readFileSync } from 'node:fs';
import { isIP, isIPv6 } from 'node:net';
import { z } from 'zod';
import { keepRenewed, textOf } from './renew.ts';
import { createKeyRing, type KeyRing } from './seal.ts';

// The environment, read once and by zod: a config object has the names of the environment as its keys.

export type Env = Record<string, string | undefined>;

/** A text that nothing can print: only reveal() gives it away (R34). */
export class Secret {
  #value: string;
  #previous: string | undefined;
  constructor(value: string) {
    this.#value = value;
  }
  reveal(): string {
    return this.#value;
  }
  /** What it was before it was renewed. */
  revealPrevious(): string | undefined {
    return this.#previous;
  }
  /** Becomes another's; whoever holds it reveals that from now on. */
  become(other: Secret): void {
    this.#previous = this.#value;
    this.#value = other.#value;
  }
}

/** Everything that is wrong with the environment, one line for each problem: names and rules, never values. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly problems: readonly string[];
  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join('\n'), options);
    this.problems = problems;
  }
}

/**
 * Reads every name of the schema from env, or from the file that NAME_FILE points to. Space around a value does not count and an
 * empty value is an absent one. Throws a ConfigError with all problems at once.
 */
export function parseConfig<S extends z.ZodObject>(schema: S, env: Env): z.infer<S> {
  const values: Env = {};
  const problems = new Map<string, string>();
  for (const name of Object.keys(schema.shape)) {
    try {
      const value = readValue(name, env);
      if (value) values[name] = value;
    } catch (error) {
      problems.set(name, (error as Error).message);
    }
  }
  const parsed = schema.safeParse(values);
  if (parsed.success && problems.size === 0) {
    keepFilesRenewed(schema, parsed.data, values, env);
    return parsed.data;
  }
  for (const [name, problem] of problemsIn(parsed.error, values)) if (!problems.has(name)) problems.set(name, problem);
  throw new ConfigError([...problems.values()]);
}

function problemsIn(error: z.ZodError | undefined, values: Env): Map<string, string> {
  const problems = new Map<string, string>();
  for (const { path, code, message } of error?.issues ?? []) {
    const name = String(path[0]);
    const isMissing = code === 'invalid_type' && values[name] === undefined;
    if (!problems.has(name)) problems.set(name, `${name} ${isMissing ? 'is missing' : message}`);
  }
  return problems;
}

/** Of what a value was made, to make it anew. */
const readers = new WeakMap<object, (text: string) => unknown>();

/** Whatever came from a file and can become another is kept in line with that file, as long as it goes together with the rest as at a start. */
function keepFilesRenewed(schema: z.ZodObject, config: object, values: Env, env: Env): void {
  const renewables = Object.entries(config).flatMap(([name, value]) => {
    const file = (env[`${name}_FILE`] || env[afterByteOrderMark(`${name}_FILE`)])?.trim();
    const read = typeof value === 'object' && value !== null ? readers.get(value) : undefined;
    if (!file || !read) return [];
    return [{ name, file, text: values[name] ?? '', prepare: (text: string) => prepareToBecome(value, read(text)) }];
  });
  const ensureWhole = (changed: ReadonlyMap<string, string>) => {
    const all = { ...values, ...Object.fromEntries(changed) };
    const parsed = schema.safeParse(all);
    const known = [...changed]
      .filter(([, text]) => isOfDevelopment(text))
      .map(([name]) => `${name} is a development secret`);
    const problems = [...problemsIn(parsed.error, all).values(), ...known];
    if (problems.length > 0) throw new ConfigError(problems);
    Object.assign(values, all);
  };
  keepRenewed({ renewables, ensureWhole });
}

/** The object stays the one that everybody holds, and says what the other says. */
function prepareToBecome(value: object, other: unknown): () => void {
  if (value instanceof Secret) return () => value.become(other as Secret);
  if (Array.isArray(value)) return () => void value.splice(0, value.length, ...(other as unknown[]));
  if ('ids' in value) ensureKeysStay(value as KeyRing, other as KeyRing);
  return () => void Object.assign(value, other);
}

/** What is stored may need them: the start looks, and this does not. */
function ensureKeysStay(ring: KeyRing, other: KeyRing): void {
  const lacks = ring.ids.filter((id) => !other.ids.includes(id));
  if (lacks.length > 0) throw new Error(`lacks the key ${lacks.join(', ')}, which takes a restart`);
  const macsOf = (keys: KeyRing) => new Map(keys.macs('comparison', '').map(({ keyId, mac }) => [keyId, mac]));
  const [old, now] = [macsOf(ring), macsOf(other)];
  const replaced = ring.ids.filter((id) => !old.get(id)?.equals(now.get(id) ?? Buffer.alloc(0)));
  if (replaced.length > 0)
    throw new Error(`has another key under the id ${replaced.join(', ')}: a new key takes a new id`);
}

/** As the first name of an .env file is spelled if an editor wrote a byte order mark before it. */
export const afterByteOrderMark = (name: string): string => `\uFEFF${name}`;

function readValue(name: string, env: Env): string | undefined {
  const look = (name: string) => (env[name] || env[afterByteOrderMark(name)])?.trim();
  const value = look(name);
  const file = look(`${name}_FILE`);
  if (!file) return value;
  if (value) throw new Error(`${name}_FILE and ${name} are both set`);
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new Error(`${name}_FILE cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    return textOf(bytes);
  } catch (error) {
    throw new Error(`${name}_FILE ${(error as Error).message}`);
  }
}

const secrets = z.registry<{ secret: true }>();

/** The names whose values are secret, to be removed from process.env (R34). NAME_FILE is none of them: it holds a path. */
export function secretNames({ shape }: z.ZodObject): string[] {
  return Object.keys(shape).filter((name) => isSecret(shape[name]));
}

/** Whether an entry is secret, or what it wraps: an optional one, or one with a default. */
function isSecret(entry: z.core.$ZodType | undefined): boolean {
  return (
    entry !== undefined &&
    (secrets.has(entry) || isSecret((entry._zod.def as { innerType?: z.core.$ZodType }).innerType))
  );
}

/** A whole number between min and max, both inclusive. */
export const integer = (byDefault: number, limits: { min?: number; max?: number } = {}): z.ZodType<number> =>
  wholeNumber(limits).prefault(String(byDefault));

/** The same without a default. */
export function wholeNumber({ min = 0, max = Number.MAX_SAFE_INTEGER } = {}) {
  const isWithin = (value: string) => /^\d{1,16}$/.test(value) && Number(value) >= min && Number(value) <= max;
  const rule = `must be a whole number from ${min} to ${max}`;
  return z.string().refine(isWithin, rule).transform(Number);
}

/**
 * A TCP port; 0 takes a free one. For a Service that is named like us Kubernetes sets GATEWAY_PORT=tcp://10.0.0.1:8080 in every pod: that is
 * its address, and no setting of ours.
 */
export const port = (byDefault: number): z.ZodType<number> =>
  z.preprocess(
    (value) => (/^(tcp|udp|sctp):\/\//.test(String(value)) ? undefined : value),
    integer(byDefault, { max: 65_535 }),
  );

/** A duration in milliseconds; at most what a timer of Node can wait for. */
export const milliseconds = (byDefault: number, limits: { min?: number; max?: number } = {}): z.ZodType<number> =>
  integer(byDefault, { min: 1, max: 2_147_483_647, ...limits });

export const flag = (byDefault: boolean): z.ZodType<boolean> =>
  z.stringbool({ truthy: ['true'], falsy: ['false'], error: 'must be true or false' }).prefault(String(byDefault));

/** The least that is logged. */
export const logLevel = () =>
  z.enum(['debug', 'info', 'warn', 'error'], 'must be debug, info, warn or error').default('info');

/** Where to listen: a name, an IPv4 address or an IPv6 address, which may stand in brackets and loses them. */
export const host = (byDefault: string) =>
  z
    .string()
    .transform((value) => value.replace(/^\[(.+)\]$/, '$1'))
    .refine((value) => isIP(value) !== 0 || /^[\w.-]+$/.test(value), 'must be a name or an address, without a port')
    .prefault(byDefault);

/** As a host stands before a port. */
export const inBrackets = (host: string): string => (isIPv6(host) ? `[${host}]` : host);

/** Never empty: what is empty is absent. */
export const text = (): z.ZodType<string> => z.string();

/** A URL of one of the protocols, such as 'https:'. */
export const url = (...protocols: string[]): z.ZodType<string> =>
  z
    .string()
    .refine(
      (value) => protocols.includes(URL.parse(value)?.protocol ?? ''),
      `must be a URL that begins with ${protocols.join(' or ')}`,
    );

/** Where browsers reach us: https, or http on this machine, without query, and without a slash at its end; at most 500 characters. */
export const publicUrl = () =>
  parsedBy((value) => {
    const found = URL.parse(value);
    const isSafe = found?.protocol === 'https:' || (found?.protocol === 'http:' && isLoopback(value));
    if (!found || !isSafe) throw new Error('must be a URL that begins with https://, or with http:// on this machine');
    if (found.search || found.hash || found.username || value.length > 500)
      throw new Error('must have no query, fragment or user, and at most 500 characters');
    return found.href.replace(/\/+$/, '');
  });

/** Where PostgreSQL is, as a URL. pg would take another kind of text for a path on localhost, or quote it. */
export const databaseUrl = (): z.ZodType<Secret> =>
  secretBy((value) => {
    const found = URL.parse(value.replace('@/', '@localhost/'));
    const isComplete = found && (found.hostname || found.searchParams.get('host')) && isDecodable(value);
    if (!isComplete || !/^postgres(ql)?:\/\//i.test(value))
      throw new Error(
        'must be a URL such as postgres://USER:PASSWORD@HOST:5432/DATABASE, with %40 for an @ in the password',
      );
    return new Secret(value);
  });

function isDecodable(value: string): boolean {
  try {
    return decodeURIComponent(value.replace(/%(?![0-9a-f]{2})/gi, '%25')) !== '';
  } catch {
    return false;
  }
}

export const secret = (minLength = 1): z.ZodType<Secret> =>
  secretBy((value) => {
    if (value.length < minLength) throw new Error(`must have at least ${minLength} characters`);
    return new Secret(value);
  });

const TOKEN_MIN_LENGTH = 32;

/** A token as a header can carry it, or an Error. */
export function checkedToken(token: string): string {
  if (token.length < TOKEN_MIN_LENGTH || !/^[\x21-\x7e]+$/.test(token))
    throw new Error(`must have secrets of at least ${TOKEN_MIN_LENGTH} characters, all of them visible ASCII`);
  return token;
}

/** What a caller shows in a header (R33). */
export const token = (): z.ZodType<Secret> => secretBy((value) => new Secret(checkedToken(value)));

/** Keys as `id:base64[,id:base64]`, each of 32 bytes; a bare key has id 0 (R31). */
export const keyRing = (): z.ZodType<KeyRing> => secretBy(createKeyRing);

/** What a function makes of a value that is secret; the message of an Error that it throws must quote nothing. */
export const secretBy = <T>(read: (value: string) => T): z.ZodType<T> =>
  parsedBy(read).register(secrets, { secret: true });

/** What a function makes of the value; the message of an Error that it throws must quote nothing. */
export const parsedBy = <T>(read: (value: string) => T) =>
  z.string().transform((value, context) => {
    try {
      const made = read(value);
      if (typeof made === 'object' && made !== null) readers.set(made, read);
      return made;
    } catch (error) {
      context.addIssue((error as Error).message);
      return z.NEVER;
    }
  });

/** Whether a host, host:port or URL is on this machine, so that nothing need encrypt the way to it (R33). */
export function isLoopback(address: string): boolean {
  const place = inBrackets(address);
  const host = URL.parse(place.includes('://') ? place : `http://${place}`)?.hostname ?? '';
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** In every key and token of development, as text or as the bytes of a key: real services refuse them by value (R34). */
export const DEVELOPMENT_MARK = 'development-only';

function isOfDevelopment(value: string): boolean {
  const keys = value.split(/[,:]/).map((part) => Buffer.from(part, 'base64').toString('latin1'));
  return [value, ...keys].some((text) => text.includes(DEVELOPMENT_MARK));
}

/** Throws a ConfigError if a secret is one of those that stand in this repository for everybody to read (R34). */
export function refuseDevelopmentSecrets(schema: z.ZodObject, env: Env): void {
  const known = secretNames(schema).filter((name) => {
    return isOfDevelopment(readValue(name, env) ?? '');
  });
  if (known.length > 0)
    throw new ConfigError(known.map((name) => `${name} is a development secret that everybody knows`));
}
