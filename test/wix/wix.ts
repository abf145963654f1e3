import { randomUUID } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../../proto/runtime/log.ts';
import { type Answer, type Operation, type SendOptions, send } from './client.ts';
import { answerViolations, eventViolations } from './contract.ts';
import { type Entry, eventsOf, type WixEvent } from './history.ts';
import { isObject, type JsonObject, parseObject, toJson } from './json.ts';
import { createKeys } from './keys.ts';
import {
  type Amount,
  type ConnectOptions,
  captureRequest,
  connectRequest,
  type Named,
  type PaymentOptions,
  paymentRequest,
  type RefundOptions,
  refundRequest,
  voidRequest,
} from './requests.ts';
import { createWixServer, type Failure, type Submission } from './server.ts';
import { untoldOf, violationsOf } from './violations.ts';

// The simulated Wix: it calls a gateway, takes events, and remembers both, so that it can say at any time what breaks the contract.

/** A merchant as Wix keeps it; its credentials are those that the PSP returned. */
export interface Merchant {
  readonly gatewayUrl: string;
  readonly merchantId: string;
  readonly credentials: Record<string, string>;
  readonly accountId: string;
  readonly answer: Answer;
}

export interface Payment extends Named {
  readonly merchant: Merchant;
  readonly request: JsonObject;
  readonly answer: Answer;
}

export interface WixOptions {
  readonly log: Log;
  /** Folder for the key and the history, found again after a restart; absent: kept in memory. */
  readonly data?: string;
}

export type Wix = ReturnType<typeof createWix>;

const EVENT_TIMEOUT_MS = 10_000;

export function createWix({ log, data }: WixOptions) {
  const keys = createKeys(data);
  const appId = 'simulated-wix-app';
  let appSecret = 'simulated-wix-app-secret';
  const file = data && join(data, 'history.jsonl');
  if (data) mkdirSync(data, { recursive: true });
  const history: Entry[] = file ? readHistory(file) : [];
  /** By payment, so that waiting for one costs nothing to the others. */
  const received = Map.groupBy(eventsOf(history), ({ wixTransactionId }) => wixTransactionId);
  const waiting = new Map<string, Set<() => void>>();

  const listeners = new Set<(entry: Entry) => void>();

  function remember(entry: Entry): void {
    history.push(entry);
    if (file) appendFileSync(file, `${toJson(entry)}\n`);
    for (const hear of listeners) hear(entry);
    for (const event of eventsOf([entry])) {
      listOf(received, event.wixTransactionId).push(event);
      for (const look of waiting.get(event.wixTransactionId) ?? []) look();
    }
  }

  const server = createWixServer({
    appId,
    appSecret: () => appSecret,
    log,
    onSubmission: ({ text, headers, accepted, violations }: Submission) => {
      const found = [...violations, ...eventViolations(headers, text)].map((line) => `${line} (event ${text})`);
      remember({ type: 'event', text, accepted, at: now(), violations: found });
    },
    onViolation: (violation) => remember({ type: 'violation', violations: [violation] }),
  });

  /** Signs and sends any body. What is forged, or no object, is none of Wix's own traffic and leaves no trace in its history. */
  async function call(
    gatewayUrl: string,
    operation: Operation,
    body: JsonObject | string | Uint8Array,
    options: SendOptions = {},
  ): Promise<Answer> {
    const sent = isObject(body) ? toJson(body) : (body as string | Uint8Array);
    const request = parseObject(Buffer.from(sent as string).toString());
    if (options.forgery || !request) return send(keys, gatewayUrl, operation, sent, options);
    const id = randomUUID();
    remember({ type: 'call', id, operation, request: withoutCard(request), at: now() });
    const answer = await send(keys, gatewayUrl, operation, sent, options);
    const { status, text } = answer;
    const contentType = answer.headers.get('content-type') ?? '';
    const violations = answerViolations(operation, request, { status, contentType, text }).map(
      (line) => `${request.wixTransactionId ?? request.wixMerchantId}: ${line} (answer ${text})`,
    );
    remember({ type: 'answer', id, status, body: answer.body, at: now(), violations });
    return answer;
  }

  async function connect(gatewayUrl: string, options: ConnectOptions = {}): Promise<Merchant> {
    const request = connectRequest(options);
    const answer = await call(gatewayUrl, 'connect', request);
    const { credentials, accountId } = answer.body ?? {};
    return {
      gatewayUrl,
      merchantId: String(request.wixMerchantId),
      credentials: (credentials ?? request.credentials) as Record<string, string>,
      accountId: String(accountId ?? ''),
      answer,
    };
  }

  /** Sends a create that may have been sent before. */
  async function create(merchant: Merchant, request: JsonObject): Promise<Payment> {
    const answer = await call(merchant.gatewayUrl, 'create', request);
    return {
      ...{ merchant, request, answer, credentials: merchant.credentials },
      wixTransactionId: String(request.wixTransactionId),
      pluginTransactionId: String(answer.body?.pluginTransactionId ?? ''),
    };
  }

  const events = (wixTransactionId?: string): readonly WixEvent[] =>
    wixTransactionId === undefined ? eventsOf(history) : (received.get(wixTransactionId) ?? []);

  /** The first event about a payment that Wix accepted and the predicate holds for, now or within the time-out. */
  function eventFor(
    wixTransactionId: string,
    holds: (event: WixEvent) => boolean = () => true,
    timeoutMs = EVENT_TIMEOUT_MS,
  ): Promise<WixEvent> {
    return new Promise((resolve, reject) => {
      const looks = waiting.get(wixTransactionId) ?? new Set();
      waiting.set(wixTransactionId, looks);
      const end = () => {
        clearTimeout(timer);
        looks.delete(look);
      };
      const timer = setTimeout(() => {
        end();
        const seen = events(wixTransactionId).map(
          ({ text, accepted }) => `\n  ${accepted ? '' : '(not accepted) '}${text}`,
        );
        reject(
          new Error(`no such event about ${wixTransactionId} within ${timeoutMs} ms; there were:${seen.join('')}`),
        );
      }, timeoutMs);
      const look = () => {
        const found = events(wixTransactionId).find((event) => event.accepted && holds(event));
        if (!found) return;
        end();
        resolve(found);
      };
      looks.add(look);
      look();
    });
  }

  return {
    appId,
    get appSecret() {
      return appSecret;
    },
    /** Of the dashboard: it knows one at a time. */
    changeAppSecret: (secret: string): void => {
      appSecret = secret;
    },
    publicKeyPem: keys.publicKeyPem,
    /** Resolves with the base URL for WIX_API_URL. */
    start: (port?: number): Promise<string> => server.start(port),
    stop: (): Promise<void> => server.stop(),

    call,
    connect,
    create,
    pay: (merchant: Merchant, options?: PaymentOptions) => create(merchant, paymentRequest(merchant, options)),
    /** The same call once more. */
    again: ({ merchant, request }: Payment) => create(merchant, request),
    refund: (payment: Payment, options?: RefundOptions) =>
      call(payment.merchant.gatewayUrl, 'refund', refundRequest(payment, options)),
    capture: (payment: Payment, amount: Amount = amountOf(payment)) =>
      call(payment.merchant.gatewayUrl, 'capture', captureRequest(payment, amount)),
    void: (payment: Payment, amount: Amount = amountOf(payment)) =>
      call(payment.merchant.gatewayUrl, 'void', voidRequest(payment, amount)),

    /** Makes calls to Wix fail; returns what ends it. */
    fail: (failure: Failure) => server.fail(failure),
    heal: (): void => server.heal(),

    /** The newest messages, oldest first. */
    recent: (count: number): readonly Entry[] => history.slice(-count),
    /** Hears every message from now on; returns what ends that. */
    listen: (hear: (entry: Entry) => void): (() => void) => {
      listeners.add(hear);
      return () => void listeners.delete(hear);
    },

    /** In order of arrival, those included that Wix did not accept. */
    events,
    eventFor,
    /** What broke the contract so far. */
    get violations(): string[] {
      return violationsOf(history);
    },
    /** What was answered and not yet told by an accepted event. */
    get untold(): string[] {
      return untoldOf(history);
    },
  };
}

function amountOf({ request }: Payment): Amount {
  const { description } = request.order as { description: { totalAmount: Amount } };
  return description.totalAmount;
}

/** The history may be written to disk: it keeps how was paid, never with what. */
function withoutCard(request: JsonObject): JsonObject {
  const data = request.paymentMethodData;
  return isObject(data)
    ? { ...request, paymentMethodData: Object.fromEntries(Object.keys(data).map((member) => [member, {}])) }
    : request;
}

/** A line cut short by a kill is left out, and closed so that the next one stands alone. */
function readHistory(file: string): Entry[] {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  if (text !== '' && !text.endsWith('\n')) appendFileSync(file, '\n');
  return text.split('\n').flatMap((line) => (parseObject(line) as Entry | undefined) ?? []);
}

function listOf<Key, Item>(lists: Map<Key, Item[]>, key: Key): Item[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}

/** By a clock that never goes back within a process. */
function now(): number {
  return performance.timeOrigin + performance.now();
}
