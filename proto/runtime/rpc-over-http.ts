import { Code, ConnectError, type ConnectRouter, type Interceptor } from '@connectrpc/connect';
import {
  createAsyncIterable,
  readAllBytes,
  type UniversalHandler,
  type UniversalHandlerFn,
} from '@connectrpc/connect/protocol';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { MESSAGE_LIMITS } from './rpc.ts';

type NodeHandler = ReturnType<typeof connectNodeAdapter>;

/**
 * Answers RPCs on a plain HTTP server: JSON for curl, the Connect protocol and gRPC-Web. Of a method that has no path here nothing but
 * the headers is read; like every other path it is 404, which Connect clients know as UNIMPLEMENTED. What makes no URL with its Host is
 * 400.
 */
export function createRpcHandler(options: {
  routes: (router: ConnectRouter) => void;
  interceptors: Interceptor[];
}): NodeHandler {
  // gRPC itself needs HTTP/2; it has a port of its own.
  const handle = connectNodeAdapter({
    ...options,
    interceptors: [...options.interceptors, blameCallerOfStream],
    routes: (router) => {
      options.routes(router);
      router.handlers.splice(0, router.handlers.length, ...router.handlers.map(blameCaller));
    },
    ...MESSAGE_LIMITS,
    grpc: false,
    fallback: refuse(404, 'unimplemented'),
  });
  const malformed = refuse(400, 'invalid_argument');
  return (request, response) => {
    const isUrl = URL.canParse(request.url ?? '', `http://${request.headers.host ?? ''}`);
    return (isUrl ? handle : malformed)(request, response);
  };
}

const UNREADABLE = 'the message cannot be read';

/**
 * Of a binary message that cannot be read Connect says that this is the server's fault: of a stream's as its handler takes it, of another
 * with 500. gRPC-Web, which has no status of its own, goes on saying so.
 */
const blameCallerOfStream: Interceptor = (next) => (request) => {
  if (!request.stream) return next(request);
  const { message } = request;
  const read = async function* () {
    try {
      yield* message;
    } catch (error) {
      const { code, cause } = ConnectError.from(error);
      throw code === Code.Internal ? new ConnectError(UNREADABLE, Code.InvalidArgument, {}, [], cause) : error;
    }
  };
  return next({ ...request, message: read() });
};

function blameCaller(handler: UniversalHandler): UniversalHandler {
  const handle: UniversalHandlerFn = async (request) => {
    const response = await handler(request);
    if (response.status !== 500 || !response.body) return response;
    const body = await readAllBytes(response.body, MESSAGE_LIMITS.writeMaxBytes);
    const isUnreadable = Buffer.from(body).includes('"message":"parse binary: ');
    if (!isUnreadable) return { ...response, body: createAsyncIterable([body]) };
    const blame = Buffer.from(JSON.stringify({ code: 'invalid_argument', message: UNREADABLE }));
    response.header?.set('content-length', String(blame.length));
    return { ...response, status: 400, body: createAsyncIterable([blame]) };
  };
  return Object.assign(handle, handler);
}

/** Answers every RPC with one code of the Connect protocol, and reads none. */
export function refuse(status: number, code: string): NodeHandler {
  const body = JSON.stringify({ code });
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
    response.end(body);
  };
}
