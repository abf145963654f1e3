import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Interceptor, Transport, UnaryRequest, UnaryResponse } from '@connectrpc/connect';
import { Code, ConnectError, createContextValues } from '@connectrpc/connect';
import { runUnaryCall } from '@connectrpc/connect/protocol';
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import * as grpc from '@grpc/grpc-js';
import { MESSAGE_MAX_BYTES, pathOf, toHeaders, toMetadata } from './grpc-metadata.ts';

/**
 * A Connect Transport over one grpc-js channel, for unary methods. It connects when it is first used and again after every loss;
 * no call is ever sent twice.
 */
export function createGrpcTransport(options: {
  /** host:port, or http://host:port */
  url: string;
  interceptors?: Interceptor[];
  /** Of one message in either direction; default 4 MiB. */
  maxMessageBytes?: number;
  /** The deadline of a call that is given none. */
  defaultTimeoutMs: number;
}): Transport & { close(): void } {
  const { url, interceptors = [], maxMessageBytes = MESSAGE_MAX_BYTES, defaultTimeoutMs } = options;
  const client = new grpc.Client(url.replace(/^http:\/\//, ''), grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    // A repeat is the caller's decision: a send that may have moved money must not happen again unseen.
    'grpc.enable_retries': 0,
    // After a long outage the first call must not wait for a back-off of minutes.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1000,
    // A peer that vanished without a word is noticed. Servers in other languages close a connection that is pinged more often.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 5_000,
  });

  return {
    unary(method, signal, timeoutMs = defaultTimeoutMs, header, message, contextValues) {
      const deadline = timeoutMs > 0 ? Date.now() + timeoutMs : Number.POSITIVE_INFINITY;
      return runUnaryCall({
        interceptors,
        ...(signal && { signal }),
        ...(timeoutMs > 0 && { timeoutMs }),
        req: {
          stream: false,
          service: method.parent,
          method,
          requestMethod: 'POST',
          url: `http://${client.getChannel().getTarget()}${pathOf(method)}`,
          header: new Headers(header),
          contextValues: contextValues ?? createContextValues(),
          message,
        },
        next: (request) => callUnary(client, request, deadline),
      });
    },
    stream: async (method) => {
      throw new ConnectError(`${pathOf(method)} is a stream, which this transport does not carry`, Code.Unimplemented);
    },
    close: () => client.close(),
  };
}

function callUnary<I extends DescMessage, O extends DescMessage>(
  client: grpc.Client,
  request: UnaryRequest<I, O>,
  deadline: number,
): Promise<UnaryResponse<I, O>> {
  const { method, signal } = request;
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    let header = new Headers();
    let answer: MessageShape<O> | undefined;
    const call = client.makeUnaryRequest<MessageShape<I>, MessageShape<O>>(
      pathOf(method),
      (message) => Buffer.from(toBinary(method.input, message)),
      (bytes) => fromBinary(method.output, bytes),
      request.message,
      toMetadata(request.header),
      { deadline },
      (_, message) => {
        answer = message;
      },
    );
    const cancel = () => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    call.on('metadata', (metadata) => {
      header = toHeaders(metadata);
    });
    // grpc-js gives the answer first and the status, with the trailers, after it.
    call.on('status', ({ code, details, metadata }) => {
      signal.removeEventListener('abort', cancel);
      const trailer = toHeaders(metadata);
      if (code === grpc.status.OK && answer)
        return resolve({ stream: false, service: method.parent, method, header, trailer, message: answer });
      trailer.set('grpc-status', String(code || grpc.status.INTERNAL));
      trailer.set('grpc-message', encodeURIComponent(details));
      reject(findTrailerError(trailer));
    });
  });
}
