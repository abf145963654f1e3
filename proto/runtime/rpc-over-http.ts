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
import { actAs, type Caller, type Door, enterBy } from './callers.ts';
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
  door?: Door | undefined;
}): NodeHandler {
  const { door } = options;
  // gRPC itself needs HTTP/2; it has a port of its own.
  const handle = connectNodeAdapter({
    ...options,
    interceptors: [...options.interceptors, ...(door ? [enterAsJudged(door)] : []), blameCallerOfStream],
    routes: (router) => {
      options.routes(router);
      router.handlers.splice(
        0,
        router.handlers.length,
        ...router.handlers.map((handler) => blameCaller(door ? refuseUnread(handler, door) : handler)),
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

/** What the door said of the headers. */
const verdictKey = createContextKey<Caller | ConnectError | undefined>(undefined);

const enterAsJudged =
  (door: Door): Interceptor =>
  (next) =>
  (request) => {
    const verdict = request.contextValues.get(verdictKey);
    if (verdict instanceof ConnectError) throw verdict;
    return (verdict ? actAs(verdict) : enterBy(door))(next)(request);
  };

/** Of who may not enter an empty message is taken in place of the body, so that each protocol refuses in its own words. */
function refuseUnread(handler: UniversalHandler, door: Door): UniversalHandler {
  const handle: UniversalHandlerFn = async (request) => {
    if (request.method !== 'POST') return handler(request);
    const contextValues = request.contextValues ?? createContextValues();
    try {
      contextValues.set(verdictKey, door(handler.method.name, request.header.get('authorization')));
      return handler({ ...request, contextValues });
    } catch (thrown) {
      contextValues.set(verdictKey, ConnectError.from(thrown));
    }
    const type = request.header.get('content-type') ?? '';
    const empty = Buffer.from(type.includes('json') ? '{}' : '');
    const isFramed = /^application\/(connect\+|grpc)/.test(type);
    const body = createAsyncIterable([
      isFramed ? Buffer.concat([Buffer.from([0, 0, 0, 0, empty.length]), empty]) : empty,
    ]);
    const header = new Headers(request.header);
    for (const name of ['content-length', 'content-encoding']) header.delete(name);
    const response = await handler({ ...request, header, body, contextValues });
    const answered = new Headers(response.header);
    answered.set('connection', 'close');
    return { ...response, header: answered };
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
