import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { scrub } from '../../proto/runtime/redact.ts';
import type { Operation } from './client.ts';
import { isObject, type JsonObject, parseObject } from './json.ts';
import {
  all,
  digits,
  guid,
  httpsUrl,
  matching,
  oneOf,
  optional,
  type Rule,
  shape,
  stringMap,
  test,
  text,
} from './shape.ts';

// What one message must look like (Wix contract, sections 2, 4 to 8, 10, 11 and 15.8). What messages must say to each other is
// in history.ts.

interface ReasonCode {
  readonly code: number;
  readonly group: 'general' | 'connect' | 'decline' | 'pending' | 'refund';
  readonly status: 'current' | 'legacy';
}

const REASON_CODES: readonly ReasonCode[] = JSON.parse(
  readFileSync(join(import.meta.dirname, 'reason-codes.json'), 'utf8'),
);

/** Where the codes of a group may stand (section 11). General codes, and 6000 of the declines, may stand everywhere. */
const PLACES: Readonly<Record<ReasonCode['group'], readonly string[]>> = {
  general: [],
  connect: ['connect'],
  decline: ['create', 'event.transaction'],
  pending: ['create', 'event.transaction'],
  refund: ['refund', 'event.refund'],
};
const GENERAL_ERROR = 6000;

/** Wix's own codes for captures and voids are not known; these stand in for them (U1). */
const STAND_INS = [3001, 3031, 3035];
const CAPTURES_AND_VOIDS = ['capture', 'void', 'event.capture', 'event.void'];

export const PENDING_CODES: readonly unknown[] = [5005, 5009];

/** Statuses by which a signed call has no answer, and nothing is said about the money. All others but 200 are faults. */
const NO_ANSWER = [400, 413, 415, 503];

function reasonCode(place: string): Rule {
  return test(`is no current reason code of ${place}`, (value) => {
    if (CAPTURES_AND_VOIDS.includes(place) && STAND_INS.includes(value as number)) return true;
    const known = REASON_CODES.find(({ code, status }) => code === value && status === 'current');
    if (known?.group === 'general' || known?.code === GENERAL_ERROR) return true;
    return known !== undefined && PLACES[known.group].includes(place);
  });
}

const withoutCardNumber = test('holds a card number', (value) => typeof value !== 'string' || scrub(value) === value);

function errorFields(place: string) {
  return {
    reasonCode: optional(reasonCode(place)),
    errorCode: optional(all(text(1, 50), withoutCardNumber)),
    errorMessage: optional(all(text(1, 300), withoutCardNumber)),
  };
}

/** Which error fields go together (section 10). */
const errorTexts: Rule = (value, path) => {
  const { reasonCode: reason, errorCode, errorMessage } = isObject(value) ? value : {};
  const spoken = errorCode !== undefined || errorMessage !== undefined;
  if (spoken && (reason === undefined || PENDING_CODES.includes(reason)))
    return [`${path} has error texts, but no error`];
  const silent = errorCode === undefined || errorMessage === undefined;
  return reason === GENERAL_ERROR && silent ? [`${path} says 6000 without errorCode and errorMessage`] : [];
};

const cardDetails = shape({
  bin: matching(/^\d{6,8}$/, 'is not 6..8 digits'),
  lastFour: matching(/^\d{4}$/, 'is not 4 digits'),
});

const credentialsOnFile = all(
  oneOf(['cardReference', 'paymentMethodReference']),
  shape({
    cardReference: optional(
      shape({
        networkTransactionId: text(1, 1_000),
        dsTransactionId: optional(text(1, 1_000)),
        transactionLinkId: optional(text(1, 22)),
      }),
    ),
    paymentMethodReference: optional(shape({ token: text(1, 1_000) })),
    paymentMethod: optional(text(1, 100)),
  }),
);

function transactionFields(place: string) {
  return {
    pluginTransactionId: optional(text(1, 200)),
    ...errorFields(place),
    credentialsOnFile: optional(credentialsOnFile),
    cardDetails: optional(cardDetails),
  };
}

/** What a payment's state allows beside it, in answers and events alike (5.5, 8.4). */
const transactionState: Rule = (value, path) => {
  const body = isObject(value) ? value : {};
  const isDecline = body.reasonCode !== undefined && !PENDING_CODES.includes(body.reasonCode);
  return [
    ...(body.pluginTransactionId === undefined && !isDecline ? [`${path}.pluginTransactionId is missing`] : []),
    ...(body.redirectUrl !== undefined && body.reasonCode !== undefined
      ? [`${path} has redirectUrl and reasonCode`]
      : []),
    ...(body.credentialsOnFile !== undefined && (body.reasonCode !== undefined || body.redirectUrl !== undefined)
      ? [`${path} has credentialsOnFile, but is not approved`]
      : []),
  ];
};

const ANSWERS: Record<Operation, Rule> = {
  connect: all((value, path) => {
    const failed = isObject(value) && value.reasonCode !== undefined;
    const success = shape({ credentials: stringMap, accountId: text(1, 200), accountName: text(1, 200) });
    return failed ? shape(errorFields('connect'))(value, path) : success(value, path);
  }, errorTexts),
  create: all(
    shape({
      ...transactionFields('create'),
      redirectUrl: optional(httpsUrl),
      wixTransactionId: optional(text(1, 200)),
    }),
    errorTexts,
    transactionState,
  ),
  refund: all(shape({ pluginRefundId: optional(text(1, 100)), ...errorFields('refund') }), errorTexts, (value, path) =>
    isObject(value) && value.reasonCode === undefined && value.pluginRefundId === undefined
      ? [`${path}.pluginRefundId is missing`]
      : [],
  ),
  capture: all(shape(errorFields('capture')), errorTexts),
  void: all(shape(errorFields('void')), errorTexts),
};

/** Wix never asks for nothing, and its typings make 0 the same as absent. */
const amount = all(
  digits,
  test('is zero', (value) => value !== '0'),
);

const capture = (place: string) =>
  all(shape({ wixTransactionId: text(1, 200), amount, ...errorFields(place) }), errorTexts);

const EVENTS = {
  transaction: all(
    shape({
      wixTransactionId: text(1, 200),
      ...transactionFields('event.transaction'),
      authorizedAmount: optional(digits),
    }),
    errorTexts,
    transactionState,
  ),
  refund: all(
    shape({
      wixTransactionId: text(1, 200),
      pluginRefundId: text(1, 100),
      amount,
      wixRefundId: optional(text(1, 200)),
      ...errorFields('event.refund'),
    }),
    errorTexts,
  ),
  capture: capture('event.capture'),
  void: capture('event.void'),
};

export type EventKind = keyof typeof EVENTS;
const EVENT_KINDS = Object.keys(EVENTS) as EventKind[];

const EVENT = all(
  oneOf(EVENT_KINDS),
  shape({
    siteId: optional(guid),
    ...Object.fromEntries(EVENT_KINDS.map((kind) => [kind, optional(EVENTS[kind])])),
  }),
);

const EVENT_HEADERS = shape({
  'content-type': matching(/^application\/json(;|$)/, 'is not application/json'),
  'user-agent': matching(/^[^\s/]+\/\d[^\s/]*$/, 'is not {PSP}/{version}'),
  authorization: matching(/^[^\s]+$/, 'is not the bare token'),
});

/** What is wrong with one answer to a signed call, and with what it says to that call's body. */
export function answerViolations(
  operation: Operation,
  request: JsonObject,
  answer: { status: number; contentType: string; text: string },
): string[] {
  const path = `answer to ${operation}`;
  if (answer.status !== 200) return NO_ANSWER.includes(answer.status) ? [] : [`${path} has status ${answer.status}`];
  const body = parseObject(answer.text);
  if (!body) return [`${path} is not a JSON object`];
  return [
    ...(answer.contentType.includes('application/json') ? [] : [`${path} has content type ${answer.contentType}`]),
    ...ANSWERS[operation](body, path),
    ...(operation === 'create' ? beyondPayment(request, body, path) : []),
    ...(operation === 'connect' && body.credentials !== undefined ? lostCredentials(request, body, path) : []),
  ];
}

/** What only some payments may be answered: a page, card digits, credentials (5.5, 5.6). */
function beyondPayment(request: JsonObject, body: JsonObject, path: string): string[] {
  const data = isObject(request.paymentMethodData) ? request.paymentMethodData : {};
  const isWallet = 'googlePay' in data || 'applePay' in data;
  const buyerAbsent = request.moto === true || (request.offSession === true && !isWallet);
  const setUp = isObject(request.setupCredentialsOnFile) && request.setupCredentialsOnFile.offSession === true;
  return [
    ...(buyerAbsent && body.redirectUrl !== undefined ? [`${path} has redirectUrl, but no buyer is there`] : []),
    ...(!isWallet && body.cardDetails !== undefined ? [`${path} has cardDetails, but this is no wallet`] : []),
    ...(!setUp && body.credentialsOnFile !== undefined
      ? [`${path} has credentialsOnFile, which nobody asked for`]
      : []),
  ];
}

/** Credentials may be added, never lost or changed (4.3); null counts as absent. */
function lostCredentials(request: JsonObject, body: JsonObject, path: string): string[] {
  const returned = isObject(body.credentials) ? body.credentials : {};
  return Object.entries(isObject(request.credentials) ? request.credentials : {})
    .filter(([name, value]) => value !== null && returned[name] !== value)
    .map(([name]) => `${path}.credentials.${name} is not as it came`);
}

/** What is wrong with one Submit Event call. Headers by their lower-case names; only those that the contract speaks of. */
export function eventViolations(headers: Readonly<Record<string, string | undefined>>, body: string): string[] {
  const { 'content-type': contentType, 'user-agent': userAgent, authorization } = headers;
  const spoken = { 'content-type': contentType, 'user-agent': userAgent, authorization };
  return [
    ...EVENT_HEADERS(spoken, 'event headers'),
    ...shape({ event: EVENT })(parseObject(body) ?? null, 'event body'),
  ];
}

/** The one member of an event, if it is readable. */
export function readEvent(text: string): { kind: EventKind; body: JsonObject } | undefined {
  const event = parseObject(text)?.event;
  if (!isObject(event)) return undefined;
  const kind = EVENT_KINDS.find((name) => isObject(event[name]));
  return kind && { kind, body: event[kind] as JsonObject };
}
