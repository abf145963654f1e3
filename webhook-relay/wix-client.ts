import { type Dispatcher, EnvHttpProxyAgent, Pool } from 'undici';
import { bounded } from '../proto/runtime/redact.ts';
import type { RelayConfig } from './config.ts';
import { RETRY_AFTER_MS_MAX } from './delivery.ts';

// The two calls to Wix (Wix contract 8.1 and 8.2).

/** Limit of each of the two calls, with its answer. */
export const CALL_TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 64 * 1024;
const ANSWER_KEPT_MAX = 2048;

export interface Answer {
  /** Null when no answer came. */
  readonly httpStatus: number | null;
  /** False when no answer came or it broke off. */
  readonly isWhole: boolean;
  /** Null for status 200 with JSON: nothing else is a success (Wix contract 8.6). For an event, only with JSON that takes it (R53). */
  readonly error: string | null;
  /** What Wix said: scrubbed, at most 2,048 characters, without the secret that was sent. */
  readonly text: string;
  /** What Wix asked to wait; 0 if it did not, at most six hours. */
  readonly retryAfterMs: number;
}

export interface WixClient {
  /** A token for one attempt; Wix forbids to keep it. Undefined if the answer has an error. */
  fetchToken(): Promise<{ answer: Answer; token: string | undefined }>;
  /** Sends the bytes as they are. */
  submitEvent(token: string, body: Uint8Array): Promise<Answer>;
  /** Cuts off the calls that run: they reject, as do later ones. */
  close(): Promise<void>;
}

type WixConfig = Pick<
  RelayConfig,
  'WIX_API_URL' | 'WIX_APP_ID' | 'WIX_APP_SECRET' | 'WIX_USER_AGENT' | 'RELAY_CONCURRENCY' | 'NODE_USE_ENV_PROXY'
>;

/** Both calls answer whatever happens, within timeoutMs; they reject only once it is closed. */
export function createWixClient(config: WixConfig, timeoutMs: number = CALL_TIMEOUT_MS): WixClient {
  const { origin, pathname } = new URL(config.WIX_API_URL);
  const base = pathname.replace(/\/+$/, '');
  // An attempt has one call at a time, so that none waits for a connection. timeoutMs is the limit of the whole, whatever part is slow.
  const options = { connections: config.RELAY_CONCURRENCY, allowH2: false, headersTimeout: 0, bodyTimeout: 0 };
  // Also the question for a tunnel ends in time: what waits for it would keep its place in the pool.
  const clientFactory = (url: URL, more: object) => new Pool(url, { ...more, headersTimeout: timeoutMs });
  const wix: Dispatcher = config.NODE_USE_ENV_PROXY
    ? new EnvHttpProxyAgent({ ...options, clientFactory })
    : new Pool(origin, options);
  let isClosed = false;

  async function fetchToken(): Promise<{ answer: Answer; token: string | undefined }> {
    const secret = config.WIX_APP_SECRET.reveal();
    const request = {
      grant_type: 'client_credentials',
      scope: 'CASHIER.GET_ACCESS',
      client_id: config.WIX_APP_ID,
      client_secret: secret,
    };
    const { json, ...answer } = await call('/oauth/access', {}, JSON.stringify(request), secret);
    const token = tokenIn(json);
    const error = answer.error ?? (token === undefined ? 'no token in the answer' : null);
    // Whatever comes with status 200 may hold a token: its text goes no further.
    return { answer: { ...answer, error, text: answer.httpStatus === 200 ? '' : answer.text }, token };
  }

  async function submitEvent(token: string, body: Uint8Array): Promise<Answer> {
    const path = '/payments/v1/provider-platform-events';
    const { json, ...answer } = await call(path, { authorization: token }, Buffer.from(body), token);
    return { ...answer, error: answer.error ?? (takesEvent(json) ? null : 'an answer that does not take the event') };
  }

  async function call(
    path: string,
    headers: Record<string, string>,
    body: string | Buffer,
    secret: string,
  ): Promise<Answer & { json?: unknown }> {
    const received = await exchange(
      wix,
      {
        origin,
        path: base + path,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'accept-encoding': 'identity',
          'user-agent': config.WIX_USER_AGENT,
          ...headers,
        },
        body,
      },
      timeoutMs,
    );
    const { status: httpStatus, header, isCut } = received;
    if (received.error !== undefined) {
      if (isClosed) throw received.error;
      return { httpStatus, isWhole: false, error: nameOf(received.error), text: '', retryAfterMs: 0 };
    }
    const json = !isCut && isJson(header('content-type')) ? parseJson(received.text) : undefined;
    const error = httpStatus !== 200 ? `status ${httpStatus}` : json === undefined ? 'not JSON, or too long' : null;
    const text = bounded(received.text.replaceAll(secret, '[redacted]').replaceAll('\0', ''), ANSWER_KEPT_MAX);
    const retryAfterMs = retryAfter(header('retry-after'), header('date'));
    return { httpStatus, isWhole: true, error, text, retryAfterMs, json };
  }

  async function close(): Promise<void> {
    isClosed = true;
    await wix.destroy();
  }

  return { fetchToken, submitEvent, close };
}

function tokenIn(json: unknown): string | undefined {
  const { access_token: token } = Object(json) as { access_token?: unknown };
  return typeof token === 'string' && /^[\x21-\x7e]+$/.test(token) ? token : undefined;
}

/** `{}`, or an object to which Wix has added; what has a member of Wix's error object is one, whatever its status. */
function takesEvent(json: unknown): boolean {
  return typeof json === 'object' && json !== null && !Array.isArray(json) && !('message' in json || 'details' in json);
}

interface Received {
  /** Null where no answer began. */
  readonly status: number | null;
  /** Empty where the answer does not have it. */
  readonly header: (name: string) => string;
  /** 64 KiB at most. */
  readonly text: string;
  /** There was more. */
  readonly isCut: boolean;
  /** Why there is no whole answer. */
  readonly error: Error | undefined;
}

/**
 * One call, over within timeoutMs whatever it waits for: a connection, a proxy, the answer. By a handler: `request()` costs twice as much,
 * most of it for the stream that it makes of each answer.
 */
function exchange(wix: Dispatcher, options: Dispatcher.DispatchOptions, timeoutMs: number): Promise<Received> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let status: number | null = null;
    let headers: Readonly<Record<string, unknown>> = {};
    let controller: Dispatcher.DispatchController | undefined;
    let aborted: Error | undefined;
    const end = (error?: Error) => {
      clearTimeout(timer);
      const text = Buffer.concat(chunks).subarray(0, ANSWER_BYTES_MAX).toString('utf8');
      resolve({ status, header: (name) => String(headers[name] ?? ''), text, isCut: size > ANSWER_BYTES_MAX, error });
    };
    /** Closes the connection, now or as soon as it has one. */
    const abort = (reason: Error) => {
      aborted = reason;
      controller?.abort(reason);
    };
    const timer = setTimeout(() => {
      const late = new DOMException('no answer in time', 'TimeoutError');
      end(late);
      abort(late);
    }, timeoutMs);
    wix.dispatch(options, {
      onRequestStart: (started) => {
        controller = started;
        if (aborted) started.abort(aborted);
      },
      onResponseStart: (_, code, given) => {
        // What is below 200 comes before the answer.
        if (code >= 200) [status, headers] = [code, given];
      },
      onResponseData: (_, chunk) => {
        chunks.push(chunk);
        size += chunk.length;
        if (size <= ANSWER_BYTES_MAX) return;
        end();
        abort(new Error('the answer is too long'));
      },
      onResponseEnd: () => end(),
      onResponseError: (_, error) => end(error),
    });
  });
}

function isJson(contentType: string): boolean {
  return contentType.split(';')[0]?.trim().toLowerCase() === 'application/json';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Seconds, or a date by Wix's own clock. */
function retryAfter(value: string, date: string): number {
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.parse(date);
  return ms > 0 ? Math.min(ms, RETRY_AFTER_MS_MAX) : 0;
}

/** The code or name of what went wrong; a message may quote what was sent. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : error.name;
}
