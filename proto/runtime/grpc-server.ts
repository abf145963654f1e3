import { once } from 'node:events';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { ConnectRouter, Interceptor, MethodImplSpec } from '@connectrpc/connect';
import { Code, ConnectError, createHandlerContext, createServiceImplSpec } from '@connectrpc/connect';
import {
  createAsyncIterable,
  invokeUnaryImplementation,
  transformInvokeImplementation,
} from '@connectrpc/connect/protocol';
import * as grpc from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import { boundConnections } from './bounds.ts';
import { type Authorizer, authorizeBy } from './callers.ts';
import { authorizeCalls, statusOf } from './grpc-authorizer.ts';
import { definitionOf, type Message, pathOf, toHeaders, toMetadata } from './grpc-metadata.ts';
import { listen } from './lifecycle.ts';
import type { Log } from './log.ts';
import { onRenewed } from './renew.ts';
import { GRPC_MESSAGE_LIMITS, rpcError } from './rpc.ts';
import type { Tls } from './tls.ts';

const CONNECTIONS_MAX = 1_000;
/** Calls at once of one connection; what is beyond waits with its client. */
const STREAMS_MAX = 1_000;
/** Of silence, then the other end is asked whether it is still there: one that has gone must not keep its place. */
const KEEP_ALIVE_MS = 30_000;

type UnarySpec = Extract<MethodImplSpec, { kind: 'unary' }>;
type StreamSpec = Extract<MethodImplSpec, { kind: 'server_streaming' }>;

/**
 * Hosts Connect service implementations on grpc-js, with the standard health and reflection services beside them. No method may
 * be asked more than one message. An error that is no ConnectError goes on the wire as "internal error".
 */
export function createGrpcServer(options: {
  host: string;
  port: number;
  routes: (router: ConnectRouter) => void;
  interceptors?: Interceptor[];
  /** Who may not enter is answered from the headers, and no message is read; health and reflection are open to all. */
  authorizer?: Authorizer | undefined;
  log: Log;
  /** With a CA, only clients that show a certificate of it get in. */
  tls?: Tls | undefined;
}): {
  /** Resolves with the port that was bound. */
  start(): Promise<number>;
  /** Accepts no more calls; those that still run after drainMs reach their clients as CANCELLED. */
  stop(drainMs: number): Promise<void>;
} {
  const { host, port, authorizer, log, tls } = options;
  const interceptors = [...(options.interceptors ?? []), ...(authorizer ? [authorizeBy(authorizer)] : [])];
  const services: DescService[] = [];
  const names = new Map<string, string>();
  const listening = createServer({ keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
  const connections = boundConnections(listening, CONNECTIONS_MAX);
  const server = new grpc.Server({
    ...GRPC_MESSAGE_LIMITS,
    'grpc.max_concurrent_streams': STREAMS_MAX,
    ...(authorizer && { interceptors: [authorizeCalls(authorizer, (path) => names.get(path), connections.keep)] }),
  });
  const router = {
    service(service, implementation) {
      services.push(service);
      const { methods } = createServiceImplSpec(service, implementation);
      for (const { method } of Object.values(methods)) names.set(pathOf(method), method.name);
      const specs = Object.values(methods).filter(({ kind }) => kind === 'unary' || kind === 'server_streaming');
      const host = (spec: MethodImplSpec) =>
        spec.kind === 'unary' ? hostUnary(spec, interceptors) : hostStream(spec as StreamSpec, interceptors);
      server.addService(
        Object.fromEntries(specs.map((spec) => [spec.method.name, forgiving(definitionOf(spec.method))])),
        Object.fromEntries(specs.map((spec) => [spec.method.name, host(spec)])),
      );
      return router;
    },
  } as ConnectRouter;
  options.routes(router);

  // Of a definition, reflection reads the files alone.
  const fileDescriptorProtos = services.flatMap(({ file }) => descriptorsOf(file, services));
  const format = 'Protocol Buffer 3 EnumDescriptorProto';
  new ReflectionService({ services: { format, type: {}, fileDescriptorProtos } }).addToServer(server);
  const health = new HealthImplementation();
  health.addToServer(server);
  const setHealth = (state: 'SERVING' | 'NOT_SERVING') => {
    for (const name of ['', ...services.map(({ typeName }) => typeName)]) health.setStatus(name, state);
  };

  let stopRenewing = () => {};
  return {
    async start() {
      let { injectConnection } = server.createConnectionInjector(credentialsOf(tls));
      listening.on('connection', (socket) => injectConnection(socket));
      // Connections that stand go on with what they were made with.
      if (tls)
        stopRenewing = onRenewed(() => {
          injectConnection = server.createConnectionInjector(credentialsOf(tls)).injectConnection;
        });
      const bound = await listen(listening, port, host);
      setHealth('SERVING');
      log.info('grpc.listening', { host, port: bound });
      return bound;
    },
    async stop(drainMs) {
      stopRenewing();
      setHealth('NOT_SERVING');
      const closed = listening.listening && once(listening.close(), 'close');
      const timer = setTimeout(() => {
        server.forceShutdown();
        connections.closeAll();
      }, drainMs);
      await Promise.all([promisify(server.tryShutdown.bind(server))(), closed]);
      clearTimeout(timer);
    },
  };
}

function credentialsOf(tls: Tls | undefined): grpc.ServerCredentials {
  if (!tls) return grpc.ServerCredentials.createInsecure();
  if (!tls.cert || !tls.key) throw new Error('a server with TLS needs a certificate and its key');
  const pair = { cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key.reveal()) };
  return grpc.ServerCredentials.createSsl(tls.ca ? Buffer.from(tls.ca) : null, [pair], tls.ca !== undefined);
}

/** A file and all that it imports, as reflection reads them: without services that are not served here. */
function descriptorsOf(file: DescFile, served: readonly DescService[]): Buffer[] {
  const service = file.services.flatMap((one) => (served.includes(one) ? [one.proto] : []));
  const own = Buffer.from(toBinary(FileDescriptorProtoSchema, { ...file.proto, service }));
  return [...file.dependencies.flatMap((other) => descriptorsOf(other, served)), own];
}

type Asked = Message | ConnectError;

/** Of a message that cannot be read grpc-js says that this is the server's fault. */
function forgiving(definition: grpc.MethodDefinition<Message, Message>): grpc.MethodDefinition<Asked, Message> {
  const requestDeserialize = (bytes: Buffer): Asked => {
    try {
      return definition.requestDeserialize(bytes);
    } catch {
      return rpcError(Code.InvalidArgument, 'INVALID_ARGUMENT', 'the message cannot be read');
    }
  };
  return { ...definition, requestDeserialize } as grpc.MethodDefinition<Asked, Message>;
}

function readable(asked: Asked): Message {
  if (asked instanceof ConnectError) throw asked;
  return asked;
}

function hostUnary(spec: UnarySpec, interceptors: Interceptor[]): grpc.handleUnaryCall<Asked, Message> {
  return async (call, answer) => {
    const context = contextOf(spec, call);
    try {
      const message = await invokeUnaryImplementation(spec, context, readable(call.request), interceptors);
      call.sendMetadata(toMetadata(context.responseHeader));
      answer(null, message, toMetadata(context.responseTrailer));
    } catch (thrown) {
      answer(statusOf(thrown, context.responseTrailer));
    } finally {
      context.abort();
    }
  };
}

function hostStream(spec: StreamSpec, interceptors: Interceptor[]): grpc.handleServerStreamingCall<Asked, Message> {
  return async (call) => {
    const context = contextOf(spec, call);
    try {
      const asked = createAsyncIterable([readable(call.request)]);
      let isFirst = true;
      for await (const message of transformInvokeImplementation(spec, context, interceptors)(asked)) {
        if (isFirst) call.sendMetadata(toMetadata(context.responseHeader));
        isFirst = false;
        if (!call.write(message)) await once(call, 'drain', { signal: context.signal });
      }
      // Answers that end because their time is over are not all that there are.
      context.signal.throwIfAborted();
      call.end(toMetadata(context.responseTrailer));
    } catch (thrown) {
      call.emit('error', statusOf(thrown, context.responseTrailer));
    } finally {
      context.abort();
    }
  };
}

type Call = grpc.ServerUnaryCall<Asked, Message> | grpc.ServerWritableStream<Asked, Message>;

function contextOf({ method }: MethodImplSpec, call: Call) {
  const hungUp = new AbortController();
  call.on('cancelled', () => hungUp.abort(new ConnectError('the caller hung up', Code.Canceled)));
  const timeoutMs = Number(call.getDeadline()) - Date.now();
  return createHandlerContext({
    service: method.parent,
    method,
    protocolName: 'grpc',
    requestMethod: 'POST',
    url: `http://${call.getHost()}${call.getPath()}`,
    ...(Number.isFinite(timeoutMs) && { timeoutMs }),
    requestSignal: hungUp.signal,
    requestHeader: toHeaders(call.metadata),
  });
}
