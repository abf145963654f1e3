import type { ConnectRouter, Interceptor, Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import type { Authorizer } from '../../proto/runtime/callers.ts';
import { createDirectTransport } from '../../proto/runtime/direct-transport.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { createAdminServer } from '../../proto/runtime/lifecycle.ts';
import { createRpcHandler } from '../../proto/runtime/rpc-over-http.ts';
import { quietLog } from '../support/log.ts';

export type Routes = (router: ConnectRouter) => void;

/** One way from a Connect client to a Connect service: on loopback, or without leaving the process. */
export interface Carrier {
  name: string;
  open(
    routes: Routes,
    interceptors?: { client?: Interceptor[]; server?: Interceptor[]; authorizer?: Authorizer },
  ): Promise<{ transport: Transport; close(): Promise<void> }>;
}

const grpc: Carrier = {
  name: 'gRPC on grpc-js',
  async open(routes, { client = [], server: interceptors = [], authorizer } = {}) {
    const server = createGrpcServer({ host: '127.0.0.1', port: 0, routes, interceptors, authorizer, log: quietLog() });
    const port = await server.start();
    const transport = createGrpcTransport({ url: `127.0.0.1:${port}`, interceptors: client, defaultTimeoutMs: 10_000 });
    const close = async () => {
      transport.close();
      await server.stop(0);
    };
    return { transport, close };
  },
};

const http: Carrier = {
  name: 'Connect over HTTP',
  async open(routes, { client = [], server: interceptors = [], authorizer } = {}) {
    const server = createAdminServer({
      host: '127.0.0.1',
      port: 0,
      health: async () => ({ ready: true }),
      log: quietLog(),
      fallback: createRpcHandler({ routes, interceptors, authorizer }),
    });
    const port = await server.start();
    const transport = createConnectTransport({
      baseUrl: `http://127.0.0.1:${port}`,
      httpVersion: '1.1',
      interceptors: client,
      nodeOptions: { agent: false },
    });
    return { transport, close: () => server.stop() };
  },
};

const direct: Carrier = {
  name: 'nothing, within one process',
  open: async (routes, { server: interceptors = [] } = {}) => ({
    transport: createDirectTransport(routes, interceptors),
    close: async () => undefined,
  }),
};

export const wires: readonly Carrier[] = [grpc, http];
export const carriers: readonly Carrier[] = [...wires, direct];
