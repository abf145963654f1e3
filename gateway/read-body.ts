import type { IncomingMessage, ServerResponse } from 'node:http';
import { HttpError } from './wix-answer.ts';

const BODY_BYTES_MAX = 1024 * 1024;
/** Of one signature, which vouches for one body: it comes again when Wix repeats a call, or when somebody has recorded it. */
const SAME_BODIES_MAX = 64;
const SAME_BYTES_MAX = 2 * BODY_BYTES_MAX;

/** `hash` is the one that the body's signature vouches for. */
export type ReadBody = (request: IncomingMessage, response: ServerResponse, hash: string) => Promise<Buffer>;

/**
 * Reads whole bodies of at most 1 MiB (else 413) as long as the bytes of all bodies being read, and those of the same signature, stay
 * under a bound (else 503), so that neither many slow senders nor one recorded signature can fill the memory (R7). Errors are
 * HttpError; what is left of a body stays unread.
 */
export function createBodyReader(allBytesMax: number): ReadBody {
  let allBytes = 0;
  const reading = new Map<string, { bodies: number; bytes: number }>();
  return async (request, response, hash) => {
    if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX) throw new HttpError(413, 'body too large');
    const same = reading.get(hash) ?? { bodies: 0, bytes: 0 };
    if (same.bodies >= SAME_BODIES_MAX) throw new HttpError(503, 'too many bodies of one signature');
    reading.set(hash, same);
    same.bodies += 1;
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      if (request.headers.expect) response.writeContinue();
      for await (const chunk of request) {
        bytes += chunk.length;
        allBytes += chunk.length;
        same.bytes += chunk.length;
        if (bytes > BODY_BYTES_MAX) throw new HttpError(413, 'body too large');
        if (same.bytes > SAME_BYTES_MAX) throw new HttpError(503, 'too many bodies of one signature');
        if (allBytes > allBytesMax) throw new HttpError(503, 'too many bodies at once');
        chunks.push(chunk);
      }
    } catch (error) {
      throw error instanceof HttpError ? error : new HttpError(400, 'the body did not come whole');
    } finally {
      allBytes -= bytes;
      same.bytes -= bytes;
      same.bodies -= 1;
      if (same.bodies === 0) reading.delete(hash);
    }
    return Buffer.concat(chunks);
  };
}
