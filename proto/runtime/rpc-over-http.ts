import {
  Code,
  ConnectError,
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type Interceptor,
} from '@connectrpc/connect';
import {
  createAsyncIterable,
  readAllBytes,
  type UniversalHandler,
  type UniversalHandlerFn,
} from '@connectrpc/connect/protocol';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { createHoldings, type Holding } from './bounds.ts';
import { type Authorizer, callerKey } from './callers.ts';
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
  /** Who may not enter is answered from the headers, and the body is not read. */
  authorizer?: Authorizer | undefined;
}): NodeHandler {
  const guard = options.authorizer ? createGuard(options.authorizer) : (handler: UniversalHandler) => handler;
  // gRPC itself needs HTTP/2; it has a port of its own.
  const handle = connectNodeAdapter({
    ...options,
    interceptors: [...options.interceptors, refuseStrangers, blameCallerOfStream],
    routes: (router) => {
      options.routes(router);
      router.handlers.splice(
        0,
        router.handlers.length,
        ...router.handlers.map((handler) => guard(blameCaller(handler))),
      );
    },
    ...MESSAGE_LIMITS,
    grpc: false,
    fallback: refuse(404, 'unimplemented'),
  });
  const malformed = refuse(400, 'invalid_argument');
  return (request, response) => {
    const isUrl = URL.canParse(request.url ?? '', `http://${request.headers.host ?? ''}`);
    (isUrl ? handle : malformed)(request, response);
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

const refusalKey = createContextKey<unknown>(undefined);

/** For calls without a body. */
const refuseStrangers: Interceptor = (next) => (request) => {
  const refusal = request.contextValues.get(refusalKey);
  if (refusal) throw refusal;
  return next(request);
};

/** Judges by the headers, and bounds what is read; refuses in the words of whichever protocol is asked in (R33). */
function createGuard(authorizer: Authorizer) {
  const holdingOf = createHoldings();
  return (handler: UniversalHandler): UniversalHandler => {
    const handle: UniversalHandlerFn = async (request) => {
      const contextValues = createContextValues();
      let refusal: unknown;
      let role: string | undefined;
      let holding: Holding | undefined;
      try {
        const caller = authorizer(handler.method.name, request.header.get('authorization'));
        contextValues.set(callerKey, caller);
        role = caller.role;
        holding = holdingOf(caller.name);
      } catch (thrown) {
        refusal = thrown;
        contextValues.set(refusalKey, thrown);
      }
      // Thrown at the protocol's reader, so that the protocol says it.
      async function* body(): AsyncGenerator<Uint8Array> {
        try {
          if (refusal) throw refusal;
          for await (const chunk of request.body as AsyncIterable<Uint8Array>) {
            holding?.take(chunk.length);
            yield chunk;
          }
        } catch (thrown) {
          refusal = thrown instanceof ConnectError ? thrown : new ConnectError('the caller hung up', Code.Canceled);
          throw refusal;
        } finally {
          holding?.end();
        }
      }
      // By its length alone Connect would take the memory for a body.
      const header = new Headers(request.header);
      header.delete('content-length');
      const response = await handler({ ...request, header, contextValues, body: body() });
      // For tools that offer only what their token may do.
      if (role) response.header?.set('caller-role', role);
      // What is left of the body stays unread.
      if (refusal) response.header?.set('connection', 'close');
      return response;
    };
    return Object.assign(handle, handler);
  };
}

/** Answers every RPC with one code of the Connect protocol, and reads none. */
export function refuse(status: number, code: string): NodeHandler {
  const body = JSON.stringify({ code });
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
    response.end(body);
  };
}
