import { setTimeout as delay } from 'node:timers/promises';
import { type Config, type Operation, urlOf } from './config.ts';
import { type Answer, post } from './http.ts';
import { isObject, type JsonObject, parseObject, toJson } from './json.ts';
import {
  type Amount,
  captureBody,
  connectBody,
  type Merchant,
  type Named,
  type PaymentOptions,
  paymentBody,
  refundBody,
  voidBody,
} from './requests.ts';
import type { Signer, Signing } from './signature.ts';
import type { EventKind, Failure, SubmittedEvent, WixServer } from './wix-server.ts';

// Wix as one check sees it: it calls the plugin, waits for events, and keeps what went over the wire for the report.

/** The plugin breaks the rule of the check. */
export class Broken extends Error {
  override name = 'Broken';
}

/** The rule could not be tried, because something before it did not work. */
export class Blocked extends Error {
  override name = 'Blocked';
}

export interface Call {
  readonly operation: Operation;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** Whether it was signed as Wix signs. */
  readonly genuine: boolean;
  readonly at: number;
  answer?: Answer;
  problem?: string;
}

export interface Payment extends Named {
  readonly request: JsonObject;
  readonly answer: Answer;
}

export interface CallOptions {
  readonly signing?: Signing;
  /** Wix signs like that too. */
  readonly genuine?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Shared by all checks of a run. */
export interface Run {
  readonly config: Config;
  readonly signer: Signer;
  readonly server: WixServer;
  /** Everything that was sent, in order. */
  readonly calls: Call[];
  /** The account that payments are made to. */
  merchant: Merchant;
}

export type Wix = ReturnType<typeof createWix>;

/** For one check; `signal` ends it. */
export function createWix(run: Run, signal: AbortSignal) {
  const { config, signer, server } = run;
  const { limits } = config;
  const calls: Call[] = [];
  const payments = new Set<string>();
  const cleanups: (() => void)[] = [];

  async function call(operation: Operation, body: JsonObject | string, options: CallOptions = {}): Promise<Answer> {
    signal.throwIfAborted();
    const { signing = {}, headers } = options;
    const text = typeof body === 'string' ? body : toJson(body);
    const id = parseObject(text)?.wixTransactionId;
    if (typeof id === 'string') payments.add(id);
    const digest = signer.digestFor(Buffer.from(text), signing);
    const sent = {
      'Content-Type': 'application/json; charset=utf-8',
      ...(digest !== undefined && { [signing.headerName ?? 'Digest']: digest }),
      ...headers,
    };
    const entry: Call = {
      ...{ operation, url: urlOf(config, operation), headers: sent, text: text + (signing.appended ?? '') },
      ...{ genuine: options.genuine ?? options.signing === undefined, at: performance.now() },
    };
    calls.push(entry);
    run.calls.push(entry);
    try {
      entry.answer = await post(entry.url, sent, Buffer.from(entry.text), limits.answerSeconds * 1_000);
      return entry.answer;
    } catch (error) {
      entry.problem = (error as Error).message || String((error as NodeJS.ErrnoException).code);
      throw new Broken(`${operation} got no HTTP answer: ${entry.problem}`);
    }
  }

  async function connect(
    change: JsonObject = {},
  ): Promise<{ answer: Answer; request: JsonObject; merchant: Merchant }> {
    const request = connectBody(config, change);
    const answer = await call('connect', request);
    const credentials = answer.body?.credentials ?? request.credentials;
    return {
      answer,
      request,
      merchant: { wixMerchantId: String(request.wixMerchantId), credentials: credentials as JsonObject },
    };
  }

  async function create(merchant: Merchant, request: JsonObject): Promise<Payment> {
    const answer = await call('create', request);
    const { pluginTransactionId } = answer.body ?? {};
    const wixTransactionId = String(request.wixTransactionId);
    return { merchant, request, answer, wixTransactionId, pluginTransactionId: String(pluginTransactionId ?? '') };
  }

  const pay = (options: PaymentOptions = {}, merchant = run.merchant) =>
    create(merchant, paymentBody(config, merchant, options));

  async function paid(options: PaymentOptions = {}): Promise<Payment> {
    const payment = await pay(options).catch((error: Error) => {
      throw new Blocked(error.message);
    });
    const { status, body, text } = payment.answer;
    if (
      status !== 200 ||
      !body ||
      body.reasonCode !== undefined ||
      body.redirectUrl !== undefined ||
      !payment.pluginTransactionId
    )
      throw new Blocked(`needs an approved payment, and got ${status} ${text.slice(0, 200)}`);
    return payment;
  }

  const events = ({ wixTransactionId }: Pick<Named, 'wixTransactionId'>, kind?: EventKind) =>
    server.eventsOf(wixTransactionId).filter((event) => kind === undefined || event.kind === kind);

  /** Resolves once `find` finds something among the events about a payment. */
  async function until<T>(payment: Named, find: () => T | undefined, what: string, withinSeconds: number): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T | undefined>();
    const look = () => {
      const found = find();
      if (found !== undefined) resolve(found);
    };
    const unwatch = server.watch(payment.wixTransactionId, look);
    look();
    const waiting = new AbortController();
    const late = delay(withinSeconds * 1_000, undefined, { signal: AbortSignal.any([signal, waiting.signal]) });
    try {
      const found = await Promise.race([promise, late]);
      if (found !== undefined) return found;
    } finally {
      unwatch();
      waiting.abort();
      late.catch(() => undefined);
    }
    const seen = events(payment).map(({ text, answered }) => `${text} (answered ${answered})`);
    throw new Broken(`${what} did not come within ${withinSeconds} s; there came ${seen.join(', ') || 'none'}`);
  }

  /** The first event of a kind that Wix took, and `where` holds for. */
  const event = (
    payment: Named,
    kind: EventKind = 'transaction',
    where: (body: JsonObject) => boolean = () => true,
    withinSeconds = limits.eventSeconds,
  ): Promise<SubmittedEvent> =>
    until(
      payment,
      () => events(payment, kind).find(({ accepted, body }) => accepted && where(body)),
      `the ${kind} event`,
      withinSeconds,
    );

  return {
    ...{ config, run, calls, call, connect, create, pay, paid, events, event, until },
    get merchant(): Merchant {
      return run.merchant;
    },
    /** A body to change before it is sent. */
    bodyOf: (options: PaymentOptions = {}) => paymentBody(config, run.merchant, options),
    again: ({ merchant, request }: Payment) => create(merchant, request),
    authorized: (options: PaymentOptions = {}) => paid({ authorizeOnly: true, ...options }),
    refund: (payment: Named, amount?: Amount, change?: JsonObject) =>
      call('refund', refundBody(config, payment, amount, change)),
    capture: (payment: Named, amount: Amount) => call('capture', captureBody(payment, amount)),
    void: (payment: Named, amount: Amount) => call('void', voidBody(payment, amount)),
    /** Long enough for what would come to have come. */
    quiet: () => delay(limits.quietSeconds * 1_000, undefined, { signal }),
    /** Calls of the plugin about this payment fail; a token's fail for all. */
    fail: (wixTransactionId: string, failure: Failure) => {
      payments.add(wixTransactionId);
      const heal = server.fail(wixTransactionId, failure);
      cleanups.push(heal);
      return heal;
    },
    /** What went over the wire: calls, and the events about their payments. */
    traffic: (): { readonly calls: readonly Call[]; readonly events: readonly SubmittedEvent[] } => ({
      calls,
      events: [...payments].flatMap((id) => server.eventsOf(id)),
    }),
    close: () => {
      for (const cleanup of cleanups) cleanup();
    },
  };
}

/** The order's description in a create. */
export function descriptionOf(body: JsonObject): JsonObject {
  const { order } = body;
  return isObject(order) && isObject(order.description) ? order.description : {};
}
