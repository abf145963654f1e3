import { parse } from 'yaml';
import { z } from 'zod';

// What the kit must know of a plugin. From a YAML or JSON file, and from flags, which win.

const url = z.url({ protocol: /^https?$/ });
const endpoint = z.string().min(1).max(2_000);
const credentials = z.record(z.string().max(200), z.string('must be text, in quotes').max(2_000));
const CARD = 'must be 12 to 19 digits, in quotes';
const cardNumber = z.string(CARD).regex(/^\d{12,19}$/, CARD);
const seconds = (usual: number, max: number) => z.number().positive().max(max).default(usual);

const schema = z.strictObject({
  name: z.string().max(100).default('the plugin'),
  baseUrl: url.optional(),
  endpoints: z.strictObject({
    connect: endpoint,
    create: endpoint,
    refund: endpoint,
    capture: endpoint.optional(),
    void: endpoint.optional(),
  }),
  wix: z
    .strictObject({
      appId: z.string().min(1).default('conformance-app'),
      appSecret: z.string().min(1).default('conformance-app-secret'),
      privateKey: z.string().min(1).default('wix-private-key.pem'),
      publicKey: z.string().min(1).default('wix-public-key.pem'),
      host: z.string().min(1).default('127.0.0.1'),
      port: z.number().int().min(0).max(65_535).default(8090),
    })
    .prefault({}),
  merchant: z.strictObject({
    credentials,
    country: z.string().length(2).default('PT'),
    currency: z.string().length(3).default('EUR'),
    mode: z.enum(['sandbox', 'live']).default('sandbox'),
    /** Taken too, best those of no and of three decimal digits. */
    otherCurrencies: z.array(z.string().length(3)).max(200).default([]),
    /** In Wix's table, but not taken by this account. */
    refusedCurrency: z.string().length(3).optional(),
    /** Accounts in other conditions. */
    wrongCredentials: credentials.optional(),
    blockedCredentials: credentials.optional(),
    inactiveCredentials: credentials.optional(),
    /** Another merchant's account. */
    otherCredentials: credentials.optional(),
  }),
  cards: z.strictObject({
    approved: cardNumber,
    /** By number, with the reason code that each is declined with. */
    declined: z.record(cardNumber, z.number().int()).default({}),
    pendingApproved: cardNumber.optional(),
    pendingDeclined: cardNumber.optional(),
    captureFails: cardNumber.optional(),
    refundFails: cardNumber.optional(),
    /** The issuer asks for 3-D Secure. */
    challenged: cardNumber.optional(),
    cvv: z
      .string()
      .regex(/^\d{3,4}$/)
      .default('123'),
  }),
  capabilities: z
    .strictObject({
      authorizeOnly: z.boolean().default(false),
      partialCapture: z.boolean().default(true),
      partialRefund: z.boolean().default(true),
      moto: z.boolean().default(true),
      googlePay: z.boolean().default(false),
      applePay: z.boolean().default(false),
      credentialsOnFile: z.boolean().default(false),
      /** Buyers are sent to pages: 3-D Secure, redirect methods. */
      redirect: z.boolean().default(false),
      hostedPage: z.boolean().default(false),
    })
    .prefault({}),
  redirect: z
    .strictObject({
      /** A name of section 14. */
      method: z.string().min(1).default('iDeal'),
      /** What the buyer presses at the page, by the text on it. */
      buttons: z
        .strictObject({
          approve: z.string().min(1).optional(),
          decline: z.string().min(1).optional(),
          cancel: z.string().min(1).optional(),
          later: z.string().min(1).optional(),
        })
        .prefault({}),
      /** After how long a buyer who does not come is told as 3030. */
      buyerTimeoutSeconds: z.number().positive().max(3_600).optional(),
    })
    .prefault({}),
  limits: z
    .strictObject({
      answerSeconds: seconds(15, 120),
      /** An event comes within this time. */
      eventSeconds: seconds(20, 600),
      /** An event that was not taken comes again within this time. */
      retrySeconds: seconds(60, 3_600),
      /** A pending payment is decided within this time. */
      pendingSeconds: seconds(60, 3_600),
      /** What has not come within this time does not come. */
      quietSeconds: seconds(2, 60),
      parallel: z.number().int().min(1).max(64).default(8),
    })
    .prefault({}),
});

export type Config = z.infer<typeof schema>;
export type ConfigInput = z.input<typeof schema>;
export type Operation = keyof Config['endpoints'];

/** For the user: what is wrong, a line each. */
export class ConfigError extends Error {
  override name = 'ConfigError';
}

export function readConfig(text: string, flags: Readonly<Record<string, unknown>> = {}): Config {
  const read = attempt(text);
  if (read !== null && (typeof read !== 'object' || Array.isArray(read)))
    throw new ConfigError('the config is no list of names and values');
  const { success, data, error } = schema.safeParse(merge(read ?? {}, flags));
  if (!success)
    throw new ConfigError(
      error.issues.map(({ path, message }) => `${path.join('.') || 'config'}: ${message}`).join('\n'),
    );
  for (const operation of Object.keys(data.endpoints) as Operation[]) urlOf(data, operation);
  if (data.capabilities.authorizeOnly && !(data.endpoints.capture && data.endpoints.void))
    throw new ConfigError('endpoints: authorizeOnly needs capture and void');
  return data;
}

/** Where an operation is called. */
export function urlOf({ endpoints, baseUrl }: Config, operation: Operation): string {
  const target = endpoints[operation];
  if (target === undefined) throw new ConfigError(`endpoints.${operation}: is not set`);
  if (url.safeParse(target).success) return target;
  if (baseUrl === undefined) throw new ConfigError(`endpoints.${operation}: is no URL, and there is no baseUrl`);
  return `${baseUrl.replace(/\/$/, '')}/${target.replace(/^\//, '')}`;
}

function attempt(text: string): object | null {
  try {
    // Aliases are of no use here, and a way to make a small file a large one.
    return parse(text, { maxAliasCount: 0 }) as object | null;
  } catch (error) {
    throw new ConfigError((error as Error).message);
  }
}

function merge(into: object, from: Readonly<Record<string, unknown>>): object {
  const result: Record<string, unknown> = { ...into };
  for (const [name, value] of Object.entries(from))
    result[name] =
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? merge((result[name] ?? {}) as object, value as Record<string, unknown>)
        : value;
  return result;
}
