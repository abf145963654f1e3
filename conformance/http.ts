import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { type JsonObject, parseObject } from './json.ts';

// One signed call over a connection of its own: no kept connection that a server closes at that moment, and header names as they are given.

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** Undefined if it is no JSON object in UTF-8. */
  readonly body: JsonObject | undefined;
  readonly startedAt: number;
  readonly endedAt: number;
}

/** Far above anything that the contract asks for. */
const ANSWER_MAX_BYTES = 1_048_576;

export function post(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  timeoutMs: number,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const startedAt = performance.now();
  const send = url.startsWith('https:') ? tlsRequest : plainRequest;
  const request = send(url, {
    method: 'POST',
    agent: false,
    headers: { ...headers, 'Content-Length': String(body.byteLength) },
    signal: AbortSignal.timeout(timeoutMs),
  });
  request.on('error', (error) =>
    reject(
      error.name === 'AbortError' || error.name === 'TimeoutError'
        ? new Error(`no answer within ${timeoutMs / 1_000} s`)
        : error,
    ),
  );
  request.once('response', (response) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > ANSWER_MAX_BYTES) request.destroy(new Error(`an answer of more than ${ANSWER_MAX_BYTES} bytes`));
    });
    response.on('error', reject);
    response.once('end', () => {
      const bytes = Buffer.concat(chunks);
      const text = bytes.toString('utf8');
      resolve({
        status: response.statusCode ?? 0,
        headers: Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)])),
        text,
        body: isUtf8(bytes) ? parseObject(text) : undefined,
        startedAt,
        endedAt: performance.now(),
      });
    });
  });
  request.end(body);
  return promise;
}

function isUtf8(bytes: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
