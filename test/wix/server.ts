import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { closeHttp, listen } from '../../proto/runtime/lifecycle.ts';
import type { Log } from '../../proto/runtime/log.ts';
import { sleep } from '../../proto/runtime/loop.ts';
import { readEvent } from './contract.ts';
import { parseObject } from './json.ts';

// The two endpoints of Wix that a PSP calls (Wix contract, section 8), and everything that can go wrong at them.

/** How calls fail. Without a way to fail, an answer is only late. */
export interface Failure {
  /** Which of the two calls. */
  readonly at?: 'token' | 'event';
  /** Only calls about this payment; a token is about none. */
  readonly only?: (wixTransactionId: string) => boolean;
  /** How many calls; absent: until it is healed. */
  readonly times?: number;
  readonly delayMs?: number;
  readonly status?: number;
  readonly body?: string;
  readonly headers?: Record<string, string>;
  /** The connection breaks instead of an answer. */
  readonly reset?: boolean;
  /** No answer, until the caller gives up. */
  readonly hang?: boolean;
}

/** One Submit Event call, as it came. */
export interface Submission {
  readonly text: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Whether Wix answered that it has it. */
  readonly accepted: boolean;
  /** What the transport rules were broken by: a token used twice, for example. */
  readonly violations: readonly string[];
}

export interface WixServer {
  /** Resolves with the base URL for WIX_API_URL. */
  start(port?: number): Promise<string>;
  stop(): Promise<void>;
  /** Returns what ends this failure. */
  fail(failure: Failure): () => void;
  /** Ends all failures. */
  heal(): void;
}

const BODY_MAX_BYTES = 1_048_576;

export function createWixServer(options: {
  appId: string;
  appSecret: () => string;
  log: Log;
  /** Called before the answer, in the order of arrival. */
  onSubmission: (submission: Submission) => void;
  onViolation: (violation: string) => void;
}): WixServer {
  const { appId, appSecret, log, onSubmission, onViolation } = options;
  /** Every token given out, and whether it has been used. */
  const tokens = new Map<string, boolean>();
  const stopping = new AbortController();
  let failures: { failure: Failure; left: number }[] = [];

  function nextFailure(at: 'token' | 'event', wixTransactionId: string): Failure | undefined {
    const hit = failures.find(
      ({ failure, left }) => left > 0 && (failure.at ?? 'event') === at && (failure.only?.(wixTransactionId) ?? true),
    );
    if (hit) hit.left -= 1;
    return hit?.failure;
  }

  async function answer(response: ServerResponse, failure: Failure | undefined, status: number, body: object) {
    if (failure?.delayMs) await sleep(failure.delayMs, stopping.signal);
    if (failure?.hang) await sleep(2 ** 31 - 1, AbortSignal.any([stopping.signal, closeOf(response)]));
    if (failure?.reset || failure?.hang) return void response.destroy();
    const fails = failure && spoils(failure);
    response.writeHead(fails ? (failure.status ?? 500) : status, {
      'content-type': 'application/json',
      ...failure?.headers,
    });
    response.end(failure?.body ?? JSON.stringify(fails && failure.status !== 200 ? FAULT : body));
  }

  async function giveToken(text: string, response: ServerResponse): Promise<void> {
    const body = parseObject(text);
    const expected = { grant_type: 'client_credentials', scope: 'CASHIER.GET_ACCESS' };
    for (const [name, value] of Object.entries(expected))
      if (body?.[name] !== value) onViolation(`token request: ${name} is not ${value}`);
    const failure = nextFailure('token', '');
    if (body?.client_id !== appId || body?.client_secret !== appSecret())
      return answer(response, failure, 401, { message: 'unknown app' });
    const token = `OAUTH2.${randomUUID()}`;
    if (!failure || !spoils(failure)) tokens.set(token, false);
    return answer(response, failure, 200, { refresh_token: null, access_token: token });
  }

  async function takeEvent(text: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const headers = { ...request.headers } as Record<string, string | undefined>;
    const used = tokens.get(headers.authorization ?? '');
    const violations = used === true ? ['event headers: this token was used before'] : [];
    if (used === false) tokens.set(headers.authorization ?? '', true);
    const body = readEvent(text)?.body;
    const wixTransactionId = String(body?.wixTransactionId ?? '');
    // What Wix would not take at any time is refused for ever.
    const failure = body?.amount === '0' ? { status: 400 } : nextFailure('event', wixTransactionId);
    const known = used === false;
    const accepted = known && !(failure && spoils(failure));
    log.info('wix.event_received', { wixTransactionId, accepted });
    onSubmission({ text, headers, accepted, violations });
    return known ? answer(response, failure, 200, {}) : answer(response, failure, 401, { message: 'unknown token' });
  }

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readBody(request);
    const call = `${request.method} ${request.url}`;
    if (call === 'POST /oauth/access') return giveToken(text, response);
    if (call === 'POST /payments/v1/provider-platform-events') return takeEvent(text, request, response);
    onViolation(`${call} is not a call that Wix knows`);
    return answer(response, undefined, 404, { message: 'not found' });
  }

  const server = createServer((request, response) => {
    route(request, response).catch((err: unknown) => {
      log.warn('wix.call_broken', { err });
      response.destroy();
    });
  });

  return {
    start: async (port = 0) => `http://127.0.0.1:${await listen(server, port, '127.0.0.1')}`,
    stop: () => {
      stopping.abort();
      return closeHttp(server, 0);
    },
    fail: (failure) => {
      const entry = { failure, left: failure.times ?? Number.POSITIVE_INFINITY };
      failures.push(entry);
      return () => {
        failures = failures.filter((other) => other !== entry);
      };
    },
    heal: () => {
      failures = [];
    },
  };
}

/** Wix's standard error object. */
const FAULT = { message: 'Wix is not well', details: {} };

/** Whether the caller cannot take the answer for success: only 200 with JSON is one (8.6). */
function spoils({ status, body, headers, reset, hang }: Failure): boolean {
  const otherType = headers && 'content-type' in headers;
  return Boolean(reset || hang || otherType || body !== undefined || (status !== undefined && status !== 200));
}

function closeOf(response: ServerResponse): AbortSignal {
  const closed = new AbortController();
  response.once('close', () => closed.abort());
  return closed.signal;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_MAX_BYTES) throw new Error('the body is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
