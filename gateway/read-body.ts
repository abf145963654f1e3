import type { IncomingMessage, ServerResponse } from 'node:http';
import { Unanswered } from './wix-answer.ts';

const BODY_BYTES_MAX = 1024 * 1024;

export type ReadBody = (request: IncomingMessage, response: ServerResponse) => Promise<Buffer>;

/**
 * Reads whole bodies of at most 1 MiB (else 413) as long as the bytes of all bodies being read stay under a bound (else 503), so
 * that many slow senders cannot fill the memory (R7). Errors are Unanswered; what is left of a body stays unread.
 */
export function createBodyReader(allBytesMax: number): ReadBody {
  let allBytes = 0;
  return async (request, response) => {
    if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX) throw new Unanswered(413, 'body too large');
    if (request.headers.expect) response.writeContinue();
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of request) {
        bytes += chunk.length;
        allBytes += chunk.length;
        if (bytes > BODY_BYTES_MAX) throw new Unanswered(413, 'body too large');
        if (allBytes > allBytesMax) throw new Unanswered(503, 'too many bodies at once');
        chunks.push(chunk);
      }
    } catch (error) {
      throw error instanceof Unanswered ? error : new Unanswered(400, 'the body did not come whole');
    } finally {
      allBytes -= bytes;
    }
    return Buffer.concat(chunks);
  };
}
