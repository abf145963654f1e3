import { type JsonObject, parseObject } from './json.ts';
import type { Forgery, Keys } from './keys.ts';

// Wix calling the PSP.

export type Operation = 'connect' | 'create' | 'refund' | 'capture' | 'void';

const PATHS: Record<Operation, string> = {
  connect: '/wix/v1/connect-account',
  create: '/wix/v1/create-transaction',
  refund: '/wix/v1/refund-transaction',
  capture: '/wix/v1/capture-transaction',
  void: '/wix/v1/void-transaction',
};

export interface Answer {
  readonly status: number;
  /** Undefined if it is no JSON object. */
  readonly body: JsonObject | undefined;
  readonly text: string;
  readonly headers: Headers;
  readonly durationMs: number;
}

export interface SendOptions {
  readonly forgery?: Forgery;
  readonly headers?: Record<string, string>;
  /** Hangs up when it aborts: the call then rejects. */
  readonly signal?: AbortSignal;
}

/** Signs the very bytes that it sends. Rejects if there is no HTTP answer. */
export async function send(
  keys: Keys,
  gatewayUrl: string,
  operation: Operation,
  body: string | Uint8Array,
  { forgery, headers, signal }: SendOptions = {},
): Promise<Answer> {
  const bytes = Buffer.from(body as string);
  const digest = keys.digestFor(bytes, forgery);
  const startedAt = performance.now();
  const response = await fetch(new URL(PATHS[operation], gatewayUrl), {
    method: 'POST',
    redirect: 'manual',
    headers: { 'content-type': 'application/json; charset=utf-8', ...(digest && { digest }), ...headers },
    // One more blank is the same JSON, but not the bytes that were signed.
    body: forgery === 'tampered body' ? Buffer.concat([bytes, Buffer.from(' ')]) : bytes,
    ...(signal && { signal }),
  });
  const text = await response.text();
  const durationMs = performance.now() - startedAt;
  return { status: response.status, body: parseObject(text), text, headers: response.headers, durationMs };
}
