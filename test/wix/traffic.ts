import type { Operation } from './client.ts';
import type { Entry } from './history.ts';
import { type JsonObject, toJson } from './json.ts';

// Traffic in short: call() and answered() make a call with its answer, told() an event. Time passes by one with each.

const WIX_TRANSACTION_ID = 'w-1';
export const APPROVED = { pluginTransactionId: 'p-1' };
export const PENDING = { ...APPROVED, reasonCode: 5009 };
export const DECLINED = { ...APPROVED, reasonCode: 3012, errorCode: 'E' };
export const PAGE = { ...APPROVED, redirectUrl: 'https://a.b/' };
export const ON_FILE = { credentialsOnFile: { cardReference: { networkTransactionId: 'N' } } };

let clock = 0;
let ids = 0;

export function call(operation: Operation, request: JsonObject): Entry & { type: 'call' } {
  const order = { description: { totalAmount: 100 } };
  const own = operation === 'create' ? { wixMerchantId: 'm-1', order } : {};
  return {
    type: 'call',
    id: String(++ids),
    operation,
    request: { wixTransactionId: WIX_TRANSACTION_ID, ...own, ...request },
    at: ++clock,
  };
}

export function answer({ id }: { id: string }, body: JsonObject | undefined, status = 200): Entry {
  return { type: 'answer', id, status, body, at: ++clock, violations: [] };
}

export function answered(
  operation: Operation,
  request: JsonObject,
  body: JsonObject | undefined,
  status?: number,
): Entry[] {
  const made = call(operation, request);
  return [made, answer(made, body, status)];
}

export const created = (body: JsonObject, request: JsonObject = {}) => answered('create', request, body);
export const captured = (body: JsonObject, amount = 100) => answered('capture', { captureAmount: amount }, body);
export const refunded = (body: JsonObject, request: JsonObject = {}) =>
  answered('refund', { wixRefundId: 'r-1', refundAmount: 40, ...request }, body);

export function told(kind: string, body: JsonObject, accepted = true): Entry[] {
  const text = toJson({ event: { [kind]: { wixTransactionId: WIX_TRANSACTION_ID, ...body } } });
  return [{ type: 'event', text, accepted, at: ++clock, violations: [] }];
}

export const transaction = (body: JsonObject, accepted?: boolean) => told('transaction', body, accepted);
export const refundEvent = (body: JsonObject = {}) =>
  told('refund', { pluginRefundId: 'pr-1', wixRefundId: 'r-1', amount: '40', ...body });
export const paid = () => [...created(APPROVED), ...transaction(APPROVED)];
export const authorized = () => [...created(APPROVED, { authorizeOnly: true }), ...transaction(APPROVED)];

/** Traffic made afresh for each test, because time passes in it. */
export type Traffic = () => Entry[][];
