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
  fetchToken(signal: AbortSignal): Promise<{ answer: Answer; token: string | undefined }>;
  /** Sends the bytes as they are. */
  submitEvent(token: string, body: Uint8Array, signal: AbortSignal): Promise<Answer>;
}

type WixConfig = Pick<RelayConfig, 'WIX_API_URL' | 'WIX_APP_ID' | 'WIX_APP_SECRET' | 'WIX_USER_AGENT'>;

/** Both calls answer whatever happens, within timeoutMs; they reject only when the signal aborts. */
export function createWixClient(config: WixConfig, timeoutMs: number = CALL_TIMEOUT_MS): WixClient {
  const base = config.WIX_API_URL.replace(/\/+$/, '');

  async function fetchToken(signal: AbortSignal): Promise<{ answer: Answer; token: string | undefined }> {
    const secret = config.WIX_APP_SECRET.reveal();
    const request = {
      grant_type: 'client_credentials',
      scope: 'CASHIER.GET_ACCESS',
      client_id: config.WIX_APP_ID,
      client_secret: secret,
    };
    const { json, ...answer } = await call('/oauth/access', {}, Buffer.from(JSON.stringify(request)), secret, signal);
    const token = tokenIn(json);
    const error = answer.error ?? (token === undefined ? 'no token in the answer' : null);
    // Whatever comes with status 200 may hold a token: its text goes no further.
    return { answer: { ...answer, error, text: answer.httpStatus === 200 ? '' : answer.text }, token };
  }

  async function submitEvent(token: string, body: Uint8Array, signal: AbortSignal): Promise<Answer> {
    const path = '/payments/v1/provider-platform-events';
    const { json, ...answer } = await call(path, { authorization: token }, body, token, signal);
    return { ...answer, error: answer.error ?? (takesEvent(json) ? null : 'an answer that does not take the event') };
  }

  async function call(
    path: string,
    headers: Record<string, string>,
    body: Uint8Array,
    secret: string,
    signal: AbortSignal,
  ): Promise<Answer & { json?: unknown }> {
    let httpStatus: number | null = null;
    try {
      const response = await fetch(base + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': config.WIX_USER_AGENT, ...headers },
        body: Buffer.from(body),
        redirect: 'manual',
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      });
      httpStatus = response.status;
      const { text: raw, whole } = await readText(response);
      const json = whole && isJson(response.headers) ? parseJson(raw) : undefined;
      const error = httpStatus !== 200 ? `status ${httpStatus}` : json === undefined ? 'not JSON, or too long' : null;
      const text = bounded(raw.replaceAll(secret, '[redacted]').replaceAll('\0', ''), ANSWER_KEPT_MAX);
      return { httpStatus, isWhole: true, error, text, retryAfterMs: retryAfter(response.headers), json };
    } catch (error) {
      if (signal.aborted) throw error;
      return { httpStatus, isWhole: false, error: nameOf(error), text: '', retryAfterMs: 0 };
    }
  }

  return { fetchToken, submitEvent };
}

function tokenIn(json: unknown): string | undefined {
  const { access_token: token } = Object(json) as { access_token?: unknown };
  return typeof token === 'string' && /^[\x21-\x7e]+$/.test(token) ? token : undefined;
}

/** `{}`, or an object to which Wix has added; what has a member of Wix's error object is one, whatever its status. */
function takesEvent(json: unknown): boolean {
  return typeof json === 'object' && json !== null && !Array.isArray(json) && !('message' in json || 'details' in json);
}

/** At most 64 KiB; leaving the loop closes the connection. */
async function readText(response: Response): Promise<{ text: string; whole: boolean }> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > ANSWER_BYTES_MAX) break;
  }
  const text = Buffer.concat(chunks).subarray(0, ANSWER_BYTES_MAX).toString('utf8');
  return { text, whole: size <= ANSWER_BYTES_MAX };
}

function isJson(headers: Headers): boolean {
  return headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() === 'application/json';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Seconds, or a date by Wix's own clock. */
function retryAfter(headers: Headers): number {
  const value = headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.parse(headers.get('date') ?? '');
  return ms > 0 ? Math.min(ms, RETRY_AFTER_MS_MAX) : 0;
}

/** The code or name of what went wrong; a message may quote what was sent. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const { code } = (error.cause ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : error.name;
}
