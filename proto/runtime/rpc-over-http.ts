import type { ConnectRouter, Interceptor } from '@connectrpc/connect';
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

/** Answers every RPC with one code of the Connect protocol, and reads none. */
export function refuse(status: number, code: string): NodeHandler {
  const body = JSON.stringify({ code });
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
    response.end(body);
  };
}
