import { promisify } from 'node:util';
import type { DescFile, DescMessage, DescService, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { ConnectRouter, Interceptor, MethodImplSpec } from '@connectrpc/connect';
import {
  Code,
  ConnectError,
  createHandlerContext,
  createMethodImplSpec,
  createServiceImplSpec,
} from '@connectrpc/connect';
import { invokeUnaryImplementation } from '@connectrpc/connect/protocol';
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import * as grpc from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import { MESSAGE_MAX_BYTES, pathOf, toHeaders, toMetadata } from './grpc-metadata.ts';
import type { Log } from './log.ts';
import { asRpcError } from './rpc.ts';

type Message = MessageShape<DescMessage>;
type UnarySpec = MethodImplSpec & { kind: 'unary' };

/**
 * Hosts Connect service implementations on grpc-js, with the standard health and reflection services beside them. All methods are
 * unary. An error that is no ConnectError goes on the wire as "internal error".
 */
export function createGrpcServer(options: {
  host: string;
  port: number;
  routes: (router: ConnectRouter) => void;
  interceptors?: Interceptor[];
  log: Log;
  /** Of one message in either direction; default 4 MiB. */
  maxMessageBytes?: number;
}): {
  /** Resolves with the port that was bound. */
  start(): Promise<number>;
  /** Accepts no more calls; those that still run after drainMs reach their clients as CANCELLED. */
  stop(drainMs: number): Promise<void>;
} {
  const { host, port, interceptors = [], log, maxMessageBytes = MESSAGE_MAX_BYTES } = options;
  const server = new grpc.Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
  });
  const methods = collect(options.routes);
  for (const own of Map.groupBy(methods, ({ method }) => method.parent).values())
    server.addService(
      Object.fromEntries(own.map((spec) => [spec.method.name, definitionOf(spec)])),
      Object.fromEntries(own.map((spec) => [spec.method.name, hostUnary(spec, interceptors)])),
    );
  const services = [...new Set(methods.map(({ method }) => method.parent))];
  new ReflectionService(loadFileDescriptorSetFromBuffer(descriptorsOf(services))).addToServer(server);
  const health = new HealthImplementation();
  health.addToServer(server);
  const setHealth = (state: 'SERVING' | 'NOT_SERVING') => {
    for (const name of ['', ...services.map(({ typeName }) => typeName)]) health.setStatus(name, state);
  };

  return {
    async start() {
      const bind = promisify<string, grpc.ServerCredentials, number>(server.bindAsync.bind(server));
      const bound = await bind(`${host}:${port}`, grpc.ServerCredentials.createInsecure());
      setHealth('SERVING');
      log.info('grpc.listening', { host, port: bound });
      return bound;
    },
    async stop(drainMs) {
      setHealth('NOT_SERVING');
      const timer = setTimeout(() => server.forceShutdown(), drainMs);
      await promisify(server.tryShutdown.bind(server))();
      clearTimeout(timer);
    },
  };
}

/** What `routes` registers. */
function collect(routes: (router: ConnectRouter) => void): UnarySpec[] {
  const specs: MethodImplSpec[] = [];
  const router: ConnectRouter = {
    handlers: [],
    service(service, implementation) {
      specs.push(...Object.values(createServiceImplSpec(service, implementation).methods));
      return router;
    },
    rpc(method, implementation) {
      specs.push(createMethodImplSpec(method, implementation));
      return router;
    },
  };
  routes(router);
  return specs.map((spec) => {
    if (spec.kind === 'unary') return spec;
    throw new TypeError(`${pathOf(spec.method)} is a stream, which this server does not host`);
  });
}

function definitionOf({ method }: UnarySpec): grpc.MethodDefinition<Message, Message> {
  return {
    path: pathOf(method),
    requestStream: false,
    responseStream: false,
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}

function hostUnary(spec: UnarySpec, interceptors: Interceptor[]): grpc.handleUnaryCall<Message, Message> {
  return async (call, answer) => {
    const hungUp = new AbortController();
    call.on('cancelled', () => hungUp.abort(new ConnectError('the caller hung up', Code.Canceled)));
    const timeoutMs = Number(call.getDeadline()) - Date.now();
    const context = createHandlerContext({
      service: spec.method.parent,
      method: spec.method,
      protocolName: 'grpc',
      requestMethod: 'POST',
      url: `http://${call.getHost()}${call.getPath()}`,
      ...(Number.isFinite(timeoutMs) && { timeoutMs }),
      requestSignal: hungUp.signal,
      requestHeader: toHeaders(call.metadata),
    });
    try {
      const message = await invokeUnaryImplementation(spec, context, call.request, interceptors);
      call.sendMetadata(toMetadata(context.responseHeader));
      answer(null, message, toMetadata(context.responseTrailer));
    } catch (thrown) {
      const error = asRpcError(thrown);
      const trailer = toMetadata(setTrailerStatus(context.responseTrailer, error));
      answer({ code: error.code as number, details: error.rawMessage, metadata: trailer });
    } finally {
      context.abort();
    }
  };
}

/** The services' files and all they import, dependencies first, as a FileDescriptorSet. */
function descriptorsOf(services: readonly DescService[]): Buffer {
  const files = new Set<DescFile>();
  const add = (file: DescFile) => {
    for (const dependency of file.dependencies) add(dependency);
    files.add(file);
  };
  for (const service of services) add(service.file);
  const set = create(FileDescriptorSetSchema, { file: [...files].map((file) => file.proto) });
  return Buffer.from(toBinary(FileDescriptorSetSchema, set));
}
