import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isObject, type JsonObject, parseObject } from './json.ts';

// The two endpoints of Wix that a plugin calls (contract 8). They forgive what Wix would refuse, as long as it can be understood, and
// remember it: so that one mistake turns one check red, and not every check that waits for an event.

export const EVENT_KINDS = ['transaction', 'refund', 'capture', 'void'] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

export interface TokenRequest {
  readonly at: number;
  readonly method: string;
  readonly contentType: string;
  readonly text: string;
  readonly body: JsonObject | undefined;
  /** Empty if the app is unknown. */
  readonly token: string;
}

export interface SubmittedEvent {
  readonly at: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** Undefined if it is no JSON object. */
  readonly envelope: JsonObject | undefined;
  readonly kind: EventKind | undefined;
  /** The one member of the event. */
  readonly body: JsonObject;
  readonly wixTransactionId: string;
  /** Which request gave the token it came with. */
  readonly tokenRequest: TokenRequest | undefined;
  readonly tokenUsedBefore: boolean;
  /** Whether Wix answered that it has it; what was answered. */
  readonly accepted: boolean;
  readonly answered: string;
}

/** How calls about one payment fail, or, at 'token', any call. */
export interface Failure {
  readonly at?: 'token' | 'event';
  readonly times: number;
  readonly kind?: EventKind;
  /** Only events that it holds for. */
  readonly where?: (body: JsonObject) => boolean;
  readonly status?: number;
  readonly contentType?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The connection breaks, or nothing is answered until the caller gives up. */
  readonly how?: 'reset' | 'hang';
  /** No failure: Wix takes the event, and says so after this time. */
  readonly lateMs?: number;
}

export interface WixServer {
  readonly url: string;
  readonly events: readonly SubmittedEvent[];
  readonly tokenRequests: readonly TokenRequest[];
  /** Calls that Wix does not have. */
  readonly strangers: readonly string[];
  eventsOf(wixTransactionId: string): readonly SubmittedEvent[];
  /** Calls `look` after every event about this payment; returns what ends that. */
  watch(wixTransactionId: string, look: () => void): () => void;
  /** Returns what ends the failure. */
  fail(wixTransactionId: string, failure: Failure): () => void;
  stop(): Promise<void>;
}

const BODY_MAX_BYTES = 1_048_576;
const CONNECTIONS_MAX = 1_000;
const TOKEN_PATH = '/oauth/access';
const EVENT_PATH = '/payments/v1/provider-platform-events';

export async function startWixServer(options: {
  readonly host: string;
  readonly port: number;
  readonly appId: string;
  readonly appSecret: string;
}): Promise<WixServer> {
  const events: SubmittedEvent[] = [];
  const byPayment = new Map<string, SubmittedEvent[]>();
  const tokenRequests: TokenRequest[] = [];
  const strangers: string[] = [];
  const given = new Map<string, { readonly request: TokenRequest; used: boolean }>();
  const looks = new Map<string, Set<() => void>>();
  const failures = new Set<{ readonly id: string; readonly failure: Failure; left: number }>();

  function nextFailure(
    at: 'token' | 'event',
    id: string,
    kind?: EventKind,
    body: JsonObject = {},
  ): Failure | undefined {
    const hit = [...failures].find(
      ({ failure, left, ...of }) =>
        left > 0 &&
        (failure.at ?? 'event') === at &&
        (at === 'token' || of.id === id) &&
        (failure.kind ?? kind) === kind &&
        (failure.where?.(body) ?? true),
    );
    if (hit) hit.left -= 1;
    return hit?.failure;
  }

  function giveToken(request: IncomingMessage, text: string, response: ServerResponse): void {
    const failure = nextFailure('token', '');
    const body = parseObject(text) ?? Object.fromEntries(new URLSearchParams(text));
    const isKnown = body.client_id === options.appId && body.client_secret === options.appSecret;
    const token = isKnown && !failure ? `kit-token-${randomUUID()}` : '';
    const contentType = request.headers['content-type'] ?? '';
    const entry = {
      at: performance.now(),
      method: request.method ?? '',
      contentType,
      text,
      body: parseObject(text),
      token,
    };
    tokenRequests.push(entry);
    if (token) given.set(token, { request: entry, used: false });
    if (failure) fail(response, failure);
    else if (isKnown) answer(response, 200, { refresh_token: null, access_token: token });
    else answer(response, 401, { message: 'unknown app' });
  }

  function takeEvent(request: IncomingMessage, text: string, response: ServerResponse): void {
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const token = given.get((headers.authorization ?? '').replace(/^Bearer\s+/i, ''));
    const tokenUsedBefore = token?.used === true;
    if (token) token.used = true;
    const envelope = parseObject(text);
    const { kind, body } = readEvent(envelope);
    const wixTransactionId = String(body.wixTransactionId ?? '');
    const failure = nextFailure('event', wixTransactionId, kind, body);
    const { lateMs } = failure ?? {};
    const accepted = token !== undefined && kind !== undefined && (!failure || lateMs !== undefined);
    const answered =
      failure && lateMs === undefined
        ? (failure.how ?? `${failure.status ?? 500} ${failure.body ?? ''}`)
        : token
          ? kind
            ? '200 {}'
            : '400, no event can be read'
          : '401, unknown token';
    const event: SubmittedEvent = {
      ...{ at: performance.now(), headers, text, envelope, kind, body, wixTransactionId },
      ...{ tokenRequest: token?.request, tokenUsedBefore, accepted, answered },
    };
    events.push(event);
    byPayment.set(wixTransactionId, [...(byPayment.get(wixTransactionId) ?? []), event]);
    if (lateMs !== undefined) setTimeout(() => answer(response, 200, {}), lateMs);
    else if (failure) fail(response, failure);
    else if (accepted) answer(response, 200, {});
    else answer(response, token ? 400 : 401, { message: answered });
    for (const look of looks.get(wixTransactionId) ?? []) look();
  }

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readText(request);
    const path = (request.url ?? '').split('?')[0];
    if (path === TOKEN_PATH && request.method === 'POST') return giveToken(request, text, response);
    if (path === EVENT_PATH && request.method === 'POST') return takeEvent(request, text, response);
    strangers.push(`${request.method} ${request.url}`);
    answer(response, 404, { message: 'not found' });
  }

  const server = createServer((request, response) => {
    route(request, response).catch(() => response.destroy());
  });
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });

  return {
    url: `http://${options.host}:${(server.address() as AddressInfo).port}`,
    ...{ events, tokenRequests, strangers },
    eventsOf: (id) => byPayment.get(id) ?? [],
    watch: (id, look) => {
      const set = looks.get(id) ?? new Set();
      looks.set(id, set.add(look));
      return () => {
        set.delete(look);
        if (set.size === 0) looks.delete(id);
      };
    },
    fail: (id, failure) => {
      const entry = { id, failure, left: failure.times };
      failures.add(entry);
      return () => void failures.delete(entry);
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The member that is there; the first, if there are several. */
function readEvent(envelope: JsonObject | undefined): { kind: EventKind | undefined; body: JsonObject } {
  const event = envelope?.event;
  const kind = isObject(event) ? EVENT_KINDS.find((name) => isObject(event[name])) : undefined;
  return { kind, body: kind ? ((event as JsonObject)[kind] as JsonObject) : {} };
}

function fail(response: ServerResponse, { how, status = 500, contentType, body, headers }: Failure): void {
  if (how === 'reset') response.destroy();
  // A call that hangs is ended by its caller, or with the run.
  if (how) return;
  response.writeHead(status, { 'Content-Type': contentType ?? 'application/json', ...headers });
  response.end(body ?? '{"message":"internal error"}');
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_MAX_BYTES) throw new Error('too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
