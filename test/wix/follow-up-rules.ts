import type { Exchange, PaymentHistory, WixEvent } from './history.ts';
import { canonical, isObject, type JsonObject } from './json.ts';

// What a PSP may say of the captures, voids and refunds of one payment (Wix contract, 6.3, 7, 8.7, 9.4, 9.5).

export function followUpViolations(payment: PaymentHistory): string[] {
  return [
    ...beforeApproval(payment),
    ...captureOrVoid(payment),
    ...(['capture', 'void'] as const).flatMap((kind) => endOf(payment, kind)),
    ...refunds(payment),
  ];
}

/** Nothing follows a payment whose approval Wix has not accepted yet (9.5). */
function beforeApproval({ events }: PaymentHistory): string[] {
  return events.flatMap((event, i) =>
    event.kind !== 'transaction' && !events.slice(0, i).some(isAcceptedApproval)
      ? [`${event.kind} event before the approved one`]
      : [],
  );
}

export function isAcceptedApproval({ kind, body, accepted }: WixEvent): boolean {
  return accepted && kind === 'transaction' && succeeded(body);
}

/** A payment is captured or voided, and only once (7.5). */
function captureOrVoid({ exchanges, events }: PaymentHistory): string[] {
  const answers = exchanges.filter(
    ({ operation, answer }) => (operation === 'capture' || operation === 'void') && answer && succeeded(answer),
  );
  const kinds = new Set(
    events.filter(({ kind, body }) => kind !== 'refund' && succeeded(body)).map(({ kind }) => kind),
  );
  return [
    ...(answers.length > 1 ? [`${answers.length} captures or voids were answered with success`] : []),
    ...(kinds.has('capture') && kinds.has('void') ? ['both capture and void events say success'] : []),
  ];
}

/** The events of all attempts to capture, or to void: what was asked and answered, success once and last (7.6, 8.4, 8.7). */
function endOf({ exchanges, events }: PaymentHistory, kind: 'capture' | 'void'): string[] {
  const calls = exchanges.filter(({ operation }) => operation === kind);
  const told = events.filter((event) => event.kind === kind);
  const firstSuccess = told.findIndex(({ body }) => succeeded(body));
  return told.flatMap(({ body, text }, i) => {
    const success = told[firstSuccess];
    const asked = calls.map(({ request }) => minorUnits(request[`${kind}Amount`]));
    const amount = minorUnits(body.amount);
    // A capture books what was captured; whatever else is told names the amount that was asked for.
    const fits = asked.some((other) => (kind === 'capture' && succeeded(body) ? amount <= other : amount === other));
    return [
      ...(firstSuccess >= 0 && firstSuccess < i && !succeeded(body) ? [`failed ${kind} event after its success`] : []),
      ...(success && succeeded(body) && success.text !== text ? [`${kind} event sent again with other bytes`] : []),
      ...(asked.length > 0 && !fits ? [`${kind} event names ${amount}, which was not asked for`] : []),
      ...(unanswered(calls) || calls.some(({ answer }) => answer && sameError(answer, body))
        ? []
        : [`${kind} event says ${errorOf(body)}, which no answer said`]),
    ];
  });
}

function refunds(payment: PaymentHistory): string[] {
  const events = payment.events.filter(({ kind }) => kind === 'refund');
  const byPlugin = Map.groupBy(events, ({ body }) => body.pluginRefundId);
  const byWix = Map.groupBy(events, ({ body }) => body.wixRefundId);
  byWix.delete(undefined);
  return [
    ...[...byPlugin.values()].flatMap((same) =>
      same.some(({ text }) => text !== same[0]?.text) ? ['refund event sent again with other bytes'] : [],
    ),
    ...[...byWix].flatMap(([wixRefundId, same]) => {
      const calls = payment.exchanges.filter(({ request }) => request.wixRefundId === wixRefundId);
      return same.flatMap(({ body }) => refundSays(body, calls));
    }),
    ...tooMuch(
      payment,
      [...byWix.values()].flatMap(([event]) => event ?? []),
    ),
    ...refundedBeforeCapture(payment),
  ];
}

/** A refund event agrees with the request and with every answer that named the refund (6.3). */
function refundSays(body: JsonObject, calls: readonly Exchange[]): string[] {
  const asked = calls.map(({ request }) => request.refundAmount).filter((amount) => amount !== undefined);
  const answers = calls.flatMap(({ answer }) => (answer?.pluginRefundId === undefined ? [] : [answer]));
  return [
    ...(asked.some((amount) => String(amount) !== body.amount)
      ? [`refund event names ${body.amount}, asked was ${asked[0]}`]
      : []),
    ...answers
      .filter((answer) => answer.pluginRefundId !== body.pluginRefundId || !sameError(answer, body))
      .map((answer) => `refund event says ${errorOf(body)}, but the answer said ${errorOf(answer)}`),
  ];
}

/** Wix never asks for more than the payment, so what was refunded to it never exceeds what was captured (6.3). */
function tooMuch({ exchanges, events }: PaymentHistory, told: readonly WixEvent[]): string[] {
  const create = exchanges.find(({ operation }) => operation === 'create')?.request;
  const description = isObject(create?.order) && isObject(create.order.description) ? create.order.description : {};
  const captured =
    events.find(({ kind, body }) => kind === 'capture' && succeeded(body))?.body.amount ??
    events.find(isAcceptedApproval)?.body.authorizedAmount ??
    description.totalAmount;
  const refunded = told
    .filter(({ body }) => succeeded(body))
    .reduce((sum, { body }) => sum + minorUnits(body.amount), 0n);
  return captured !== undefined && refunded > minorUnits(captured) ? [`${refunded} were refunded of ${captured}`] : [];
}

function refundedBeforeCapture({ exchanges, events }: PaymentHistory): string[] {
  if (!exchanges.some(({ operation, request }) => operation === 'create' && request.authorizeOnly === true)) return [];
  const captured = ({ kind, body, accepted }: WixEvent) => accepted && kind === 'capture' && succeeded(body);
  return events.flatMap((event, i) =>
    event.kind === 'refund' && succeeded(event.body) && !events.slice(0, i).some(captured)
      ? ['refund event before the captured one']
      : [],
  );
}

export function succeeded(body: JsonObject): boolean {
  return body.reasonCode === undefined;
}

/** What is no amount is a fault of its message's shape, and counts as nothing here. */
function minorUnits(value: unknown): bigint {
  return /^\d+$/.test(String(value)) ? BigInt(String(value)) : 0n;
}

/** Where a call was not answered, nobody knows what it would have said. */
function unanswered(calls: readonly Exchange[]): boolean {
  return calls.length === 0 || calls.some(({ answer }) => !answer);
}

function sameError(one: JsonObject, other: JsonObject): boolean {
  return errorOf(one) === errorOf(other);
}

function errorOf({ reasonCode, errorCode, errorMessage }: JsonObject): string {
  return canonical([reasonCode ?? 'success', errorCode ?? '', errorMessage ?? '']);
}
