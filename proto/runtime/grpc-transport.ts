import { createSecureContext } from 'node:tls';
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import type {
  ContextValues,
  Interceptor,
  StreamRequest,
  StreamResponse,
  Transport,
  UnaryRequest,
  UnaryResponse,
} from '@connectrpc/connect';
import { Code, ConnectError, createContextValues } from '@connectrpc/connect';
import { runStreamingCall } from '@connectrpc/connect/protocol';
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import * as grpc from '@grpc/grpc-js';
import './grpc-connect.ts';
import { definitionOf, type Message, toHeaders, toMetadata } from './grpc-metadata.ts';
import { onRenewed } from './renew.ts';
import { GRPC_MESSAGE_LIMITS } from './rpc.ts';
import { secureContextOf, type Tls } from './tls.ts';
import { carryTrace } from './tracing.ts';

type Call = Parameters<Interceptor>[0];

/** Longer than any call may take. */
const OLD_CHANNEL_MS = 3_700_000;

const NEVER = new AbortController().signal;

/**
 * A Connect Transport over one grpc-js channel, for methods that are asked one message. It connects when it is first used, and again after
 * every loss and every rest. A call is sent again only if HTTP/2 says that it was certainly not processed: never written, refused, or
 * above the last stream that a GOAWAY names.
 */
export function createGrpcTransport(options: {
  /** https://host:port is TLS; host:port and http://host:port are not. */
  url: string;
  tls?: Tls | undefined;
  interceptors?: Interceptor[];
  /** The deadline of a call that is given none and is answered by one message. */
  defaultTimeoutMs: number;
}): Transport & { close(): void } {
  const { url, tls, defaultTimeoutMs } = options;
  const interceptors = [carryTrace, ...(options.interceptors ?? [])];
  const [, scheme, target = url] = /^(https?:\/\/)?([^/]+)/.exec(url) ?? [];
  const isSecure = scheme === 'https://';
  const credentials = () =>
    isSecure
      ? grpc.credentials.createFromSecureContext(createSecureContext(tls && secureContextOf(tls)))
      : grpc.credentials.createInsecure();
  const channel = {
    ...GRPC_MESSAGE_LIMITS,
    // A proxy of the environment is for the way to Wix: here it would read tokens and cards.
    'grpc.enable_http_proxy': 0,
    // A repeat is the caller's decision: a send that may have moved money must not happen again unseen. So there is no policy of retries,
    // and no name server may bring one; what was certainly not processed is sent again without one.
    'grpc.service_config_disable_resolution': 1,
    // Where a name has several addresses they share the load, and one that hangs does not hold all of it.
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    // After a long outage the first call must not wait for a back-off of minutes.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1000,
    // A peer that vanished without a word is noticed. Servers in other languages close a connection that is pinged more often.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 5_000,
    // A connection that rests may be dropped on the way without a word: it is closed before, since a new one costs little (R49).
    'grpc.client_idle_timeout_ms': 10_000,
  };
  let client = new grpc.Client(target, credentials(), channel);
  const stopRenewing = isSecure
    ? onRenewed(() => {
        const before = client;
        client = new grpc.Client(target, credentials(), channel);
        // What is under way on the old one ends there.
        setTimeout(() => before.close(), OLD_CHANNEL_MS).unref();
      })
    : () => {};

  const asked = (
    method: DescMethod,
    header: ConstructorParameters<typeof Headers>[0],
    contextValues = createContextValues(),
  ) => ({ service: method.parent, requestMethod: 'POST', url, header: new Headers(header), contextValues }) as const;
  const within = (signal: AbortSignal | undefined, timeoutMs: number | undefined) => ({
    interceptors,
    ...(signal && { signal }),
    ...(timeoutMs && { timeoutMs }),
  });
  return {
    // Not by runUnaryCall: for each call it makes signals, a timer and an error that nobody needs here, which costs as much as the call itself.
    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal = NEVER,
      timeoutMs = defaultTimeoutMs,
      header: ConstructorParameters<typeof Headers>[0],
      input: MessageInitShape<I>,
      contextValues?: ContextValues,
    ) {
      const deadline = Date.now() + timeoutMs;
      const send: Call = (request) => callUnary(client, request as UnaryRequest<I, O>, deadline);
      const call = interceptors.reduceRight<Call>((next, interceptor) => interceptor(next), send);
      const message = create(method.input, input);
      try {
        const request = { ...asked(method, header, contextValues), stream: false, method, message, signal } as const;
        return (await call(request as UnaryRequest)) as UnaryResponse<I, O>;
      } catch (error) {
        throw ConnectError.from(signal.aborted ? signal.reason : error, Code.Canceled);
      }
    },
    stream(method, signal, timeoutMs, header, message, contextValues) {
      const options = timeoutMs ? { deadline: Date.now() + timeoutMs } : {};
      return runStreamingCall({
        ...within(signal, timeoutMs),
        req: { ...asked(method, header, contextValues), stream: true, method, message },
        next: (request) => callStream(client, request, options),
      });
    },
    close: () => {
      stopRenewing();
      client.close();
    },
  };
}

function callUnary<I extends DescMessage, O extends DescMessage>(
  client: grpc.Client,
  { method, signal, header: asked, message: question }: UnaryRequest<I, O>,
  deadline: number,
): Promise<UnaryResponse<I, O>> {
  const { path, requestSerialize, responseDeserialize } = definitionOf(method);
  const metadata = toMetadata(asked);
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    let header = new Headers();
    let message: MessageShape<O> | undefined;
    const keep = (_: unknown, answer?: Message) => {
      message = answer as MessageShape<O> | undefined;
    };
    const options = { deadline };
    const call = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      question,
      metadata,
      options,
      keep,
    );
    const cancel = () => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    call.on('metadata', (headers) => {
      header = toHeaders(headers);
    });
    // grpc-js gives the answer first and the status, with the trailers, after it.
    call.on('status', ({ code, details, metadata }) => {
      signal.removeEventListener('abort', cancel);
      const trailer = toHeaders(metadata);
      if (message) return resolve({ stream: false, service: method.parent, method, header, trailer, message });
      reject(errorIn(trailer, code, details));
    });
  });
}

/** Resolves when the answer begins; the answers come as they are taken. */
async function callStream<I extends DescMessage, O extends DescMessage>(
  client: grpc.Client,
  { method, signal, header: asked, message: questions }: StreamRequest<I, O>,
  options: grpc.CallOptions,
): Promise<StreamResponse<I, O>> {
  if (method.methodKind !== 'server_streaming')
    throw new ConnectError('a stream of questions is not carried here', Code.Unimplemented);
  const { path, requestSerialize, responseDeserialize } = definitionOf(method);
  const { value: question } = await questions[Symbol.asyncIterator]().next();
  signal.throwIfAborted();
  const metadata = toMetadata(asked);
  const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, question, metadata, options);
  const cancel = () => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  const [header, trailer] = [new Headers(), new Headers()];
  const begun = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<grpc.StatusObject>();
  call.on('metadata', (metadata) => {
    for (const [name, value] of toHeaders(metadata)) header.set(name, value);
    begun.resolve();
  });
  call.on('status', (status) => {
    signal.removeEventListener('abort', cancel);
    begun.resolve();
    ended.resolve(status);
  });
  // The status says the same.
  call.on('error', () => undefined);
  await begun.promise;
  async function* answers() {
    try {
      for await (const message of call) yield message as MessageShape<O>;
    } catch {
      // Of what ended it, the status tells.
    }
    const { code, details, metadata } = await ended.promise;
    for (const [name, value] of toHeaders(metadata)) trailer.set(name, value);
    if (code !== grpc.status.OK) throw errorIn(trailer, code, details);
  }
  return { stream: true, service: method.parent, method, header, trailer, message: answers() };
}

function errorIn(trailer: Headers, code: grpc.status, details: string) {
  trailer.set('grpc-status', String(code || grpc.status.INTERNAL));
  trailer.set('grpc-message', encodeURIComponent(details));
  return findTrailerError(trailer);
}
