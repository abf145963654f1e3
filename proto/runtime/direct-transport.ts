import { create, type DescMethod, type MessageInitShape } from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createHandlerContext,
  createServiceImplSpec,
  type Interceptor,
  type MethodImplSpec,
  type Transport,
} from '@connectrpc/connect';
import { invokeUnaryImplementation } from '@connectrpc/connect/protocol';
import { asRpcError } from './rpc.ts';

/** Why the signal of a call is aborted. Made once: to make an error costs as much as a small call. */
const HUNG_UP = new ConnectError('the caller hung up', Code.Canceled);
const ANSWERED = new ConnectError('the call was answered', Code.Canceled);

type UnarySpec = Extract<MethodImplSpec, { kind: 'unary' }>;

/**
 * Calls services of the same process as a client would call them over a wire: with their interceptors, deadlines and errors. Messages are
 * handed over as they are, so that neither side may change one that it gave away. Unary methods only.
 */
export function createDirectTransport(routes: (router: ConnectRouter) => void, interceptors: Interceptor[]): Transport {
  const specs = new Map<DescMethod, UnarySpec>();
  const router = {
    service(service, implementation) {
      for (const spec of Object.values(createServiceImplSpec(service, implementation).methods))
        if (spec.kind === 'unary') specs.set(spec.method, spec);
      return router;
    },
  } as ConnectRouter;
  routes(router);

  return {
    async unary(method, requestSignal, timeoutMs, header, input) {
      const spec = specs.get(method);
      if (!spec) throw new ConnectError(`${method.name} is not served here`, Code.Unimplemented);
      const context = createHandlerContext({
        ...{
          service: method.parent,
          method,
          protocolName: 'grpc',
          requestMethod: 'POST',
          url: `http://direct/${method.name}`,
        },
        ...(timeoutMs !== undefined && { timeoutMs }),
        ...(requestSignal && { requestSignal }),
        ...(header && { requestHeader: header }),
      });
      try {
        const ended = Promise.withResolvers<never>();
        const end = () => ended.reject(requestSignal?.aborted ? HUNG_UP : context.signal.reason);
        context.signal.addEventListener('abort', end, { once: true });
        const message = create(method.input, input as MessageInitShape<typeof method.input>);
        const answer = await Promise.race([
          invokeUnaryImplementation(spec, context, message, interceptors),
          ended.promise,
        ]);
        const { responseHeader, responseTrailer: trailer } = context;
        return {
          stream: false,
          service: method.parent,
          method,
          header: responseHeader,
          trailer,
          message: answer as never,
        };
      } catch (error) {
        throw asRpcError(error);
      } finally {
        context.abort(ANSWERED);
      }
    },
    stream() {
      throw new ConnectError('streams are not carried here', Code.Unimplemented);
    },
  };
}
