import { constants, type ServerHttp2Stream } from 'node:http2';
import { Code } from '@connectrpc/connect';
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import * as grpc from '@grpc/grpc-js';
import { createHoldings, createRoom } from './bounds.ts';
import type { Authorizer } from './callers.ts';
import { toMetadata } from './grpc-metadata.ts';
import { asRpcError, rpcError } from './rpc.ts';

/** Calls of strangers at once, and the bytes that each may say. */
const STRANGERS_MAX = 1_000;
const STRANGER_BYTES_MAX = 4 * 1024;
/** What a call holds besides its message. */
const CALL_BYTES = 4 * 1024;

/**
 * Looks at calls as their headers come: grpc-js itself reads a whole message before it calls anybody, and goes on reading what is refused
 * (R33). `nameOf` gives the name that the door knows a path by; what has none, as health, is open to all. `onKnown` hears the peer of
 * each call that the door let in.
 */
export function authorizeCalls(
  authorizer: Authorizer,
  nameOf: (path: string) => string | undefined,
  onKnown: (peer: string) => void,
): grpc.ServerInterceptor {
  const holdingOf = createHoldings();
  const strangers = createRoom<ServerHttp2Stream>(STRANGERS_MAX, (stream) =>
    stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM),
  );

  function stranger(stream: ServerHttp2Stream): (bytes: number) => void {
    strangers.enter(stream, stream);
    stream.once('close', () => strangers.leave(stream, stream));
    let left = STRANGER_BYTES_MAX;
    return (bytes) => {
      left -= bytes;
      if (left < 0) throw rpcError(Code.ResourceExhausted, 'MESSAGE_TOO_LARGE', 'the message is too large');
    };
  }

  function caller(stream: ServerHttp2Stream, name: string): (bytes: number) => void {
    const holding = holdingOf(name);
    stream.once('close', holding.end);
    holding.take(CALL_BYTES);
    return holding.take;
  }

  return ({ path }, call) => {
    // No type has it; test/wire/flood.spec.ts fails without it.
    const { stream } = call as unknown as { stream: ServerHttp2Stream };
    const refuse = (thrown: unknown) => {
      call.sendStatus(statusOf(thrown));
      // What is still to come of the message is not wanted.
      setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
    };
    const enter = (authorization: string | undefined) => {
      const name = nameOf(path);
      if (name === undefined) return stranger(stream);
      const known = authorizer(name, authorization);
      onKnown(call.getPeer());
      return caller(stream, known.name);
    };
    return new grpc.ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, proceed) {
            try {
              const take = enter(metadata.get('authorization')[0]?.toString());
              stream.on('data', (chunk: Buffer) => {
                try {
                  if (!stream.closed) take(chunk.length);
                } catch (tooMuch) {
                  refuse(tooMuch);
                }
              });
            } catch (refusal) {
              return refuse(refusal);
            }
            proceed(metadata);
          },
        }),
    });
  };
}

/** How a call ends with an error. */
export function statusOf(thrown: unknown, headers = new Headers()) {
  const error = asRpcError(thrown);
  const trailer = setTrailerStatus(headers, error);
  // grpc-js writes this one itself, in an encoding of its own.
  trailer.delete('grpc-message');
  return { code: error.code as number, details: error.rawMessage, metadata: toMetadata(trailer) };
}
