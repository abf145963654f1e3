import { randomUUID } from 'node:crypto';
import { type CallOptions, type Client, Code, ConnectError } from '@connectrpc/connect';
import type { PaymentsService } from '../proto/gen/payments/v1/payments_service_pb.js';
import type { Log } from '../proto/runtime/log.ts';
import { errorInfo } from '../proto/runtime/rpc.ts';
import type { Throttle } from './throttle.ts';
import { HttpError } from './wix-answer.ts';

/** Refused before anything of it was recorded: there is too much to do (R48). One for all: to make an error costs as much as the refusal. */
export const OVERLOADED = new HttpError(503, 'too much to do');

function overloadIn(err: unknown): { scope?: string } | undefined {
  const info = err instanceof ConnectError ? errorInfo(err) : undefined;
  return info?.reason === 'OVERLOADED' ? info.metadata : undefined;
}

export type PaymentsClient = Client<typeof PaymentsService>;
type Method = keyof PaymentsClient;

/** The core knows no such link: an answer, though it comes as an error. */
const isNoLink = (err: unknown): boolean => err instanceof ConnectError && errorInfo(err)?.reason === 'LINK_NOT_FOUND';

/** A member that is undefined is absent. */
type Loose<T> = T extends object ? { [K in keyof T]: Loose<T[K]> | undefined } : T;

/** Makes one call to the core, under a call_id of its own. */
export type CallCore = <M extends Method>(
  method: M,
  request: Loose<Parameters<PaymentsClient[M]>[0]>,
) => ReturnType<PaymentsClient[M]>;

/**
 * An error says that the call has no answer, not that nothing happened: it is repeated once, under the same call_id (R21) and with what
 * is left of the deadline, if it came before the answer budget was over (R1). Without an answer after that: 503. No call is ever ended
 * because Wix hung up (R3): only the deadline is given along.
 */
export function createCallCore(
  payments: PaymentsClient,
  { deadlineMs, budgetMs, throttle, log }: { deadlineMs: number; budgetMs: number; throttle: Throttle; log: Log },
): CallCore {
  const callCore = async (method: Method, asked: object): Promise<unknown> => {
    const call = payments[method] as (request: object, options: CallOptions) => Promise<unknown>;
    const request = { ...asked, callId: randomUUID() };
    const startedAt = performance.now();
    const elapsedMs = () => performance.now() - startedAt;
    const once = () => call(request, { timeoutMs: Math.max(1, Math.ceil(deadlineMs - elapsedMs())) });
    try {
      return await once().catch((err: unknown) => {
        // To ask again now would only add to what there is to do (R48).
        if (overloadIn(err) || isNoLink(err) || elapsedMs() >= Math.min(budgetMs, deadlineMs)) throw err;
        log.warn('core.asked_again', { callId: request.callId, err });
        return once();
      });
    } catch (err) {
      const overload = overloadIn(err);
      if (overload) {
        // One merchant that has more than its share says nothing of the others.
        if (method === 'createTransaction' && overload.scope === 'all') throttle.refused();
        throw OVERLOADED;
      }
      if (isNoLink(err)) throw new HttpError(404, 'there is no such link, or it has ended');
      log.error('core.no_answer', { callId: request.callId, err });
      const { code } = ConnectError.from(err);
      if (code === Code.Unauthenticated || code === Code.PermissionDenied)
        log.alert('token_refused', { method, code: Code[code], setting: 'CORE_TOKEN' });
      throw new HttpError(503, 'the core gave no answer');
    }
  };
  return callCore as CallCore;
}
