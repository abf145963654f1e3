import type { Answer } from './http.ts';
import { isObject, type JsonObject } from './json.ts';
import { PENDING } from './tables.ts';
import { Broken } from './wix.ts';

// What a check demands. Each says in the report what came instead.

export function demand(holds: boolean, says: string): asserts holds {
  if (!holds) throw new Broken(says);
}

const TEXT_MAX = 300;
const shown = ({ status, text }: Answer) => `${status} ${text.slice(0, TEXT_MAX) || '(empty)'}`;

/** The body of an answer with status 200. */
export function bodyOf(answer: Answer): JsonObject {
  demand(answer.status === 200, `the status is not 200: ${shown(answer)}`);
  demand(answer.body !== undefined, `the body is no JSON object in UTF-8: ${shown(answer)}`);
  return answer.body;
}

/** A refund, capture or void that was done, or a merchant that is connected. */
export function succeeded(answer: Answer): JsonObject {
  const body = bodyOf(answer);
  demand(body.reasonCode === undefined, `it was refused: ${shown(answer)}`);
  return body;
}

export function approved(answer: Answer): JsonObject {
  const body = succeeded(answer);
  demand(body.redirectUrl === undefined, `it was answered with a page: ${shown(answer)}`);
  const id = body.pluginTransactionId;
  demand(typeof id === 'string' && id !== '', `an approved payment has no pluginTransactionId: ${shown(answer)}`);
  return body;
}

/** An error in the contract's shape, and one of these codes where some are named. */
export function refused(answer: Answer, ...codes: readonly number[]): JsonObject {
  const body = bodyOf(answer);
  const { reasonCode } = body;
  demand(reasonCode !== undefined, `it was not refused: ${shown(answer)}`);
  demand(Number.isInteger(reasonCode), `reasonCode is no whole number: ${shown(answer)}`);
  demand(!PENDING.has(reasonCode as number), `it is pending: ${shown(answer)}`);
  demand(
    codes.length === 0 || codes.includes(reasonCode as number),
    `not refused with ${codes.join(' or ')}: ${shown(answer)}`,
  );
  return body;
}

export function pending(answer: Answer): JsonObject {
  const body = bodyOf(answer);
  demand(PENDING.has(body.reasonCode as number), `it is not pending (5005 or 5009): ${shown(answer)}`);
  return body;
}

/** A call that Wix did not sign. */
export function turnedAway(answer: Answer): void {
  const { status, body } = answer;
  demand(status !== 200 || body?.reasonCode !== undefined, `it was taken for a call of Wix: ${shown(answer)}`);
}

/** Answered like a business error, or with another status: only not as done. */
export function notDone(answer: Answer): void {
  const { status, body } = answer;
  const isPending = PENDING.has(body?.reasonCode as number);
  demand(status !== 200 || (body?.reasonCode !== undefined && !isPending), `it was done: ${shown(answer)}`);
}

export function same(what: string, got: unknown, wanted: unknown): void {
  demand(got === wanted, `${what} is ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`);
}

const ERROR = ['reasonCode', 'errorCode', 'errorMessage'];

/** Event and answer say the same of an error. */
export function sameError(event: JsonObject, answer: JsonObject): void {
  for (const name of ERROR) same(`${name} of the event`, event[name], answer[name]);
}

/** The members of an error. */
export function errorShape(body: JsonObject): void {
  const { reasonCode, errorCode, errorMessage } = body;
  demand(Number.isInteger(reasonCode), `reasonCode is no whole number: ${JSON.stringify(reasonCode)}`);
  for (const [name, value, max] of [
    ['errorCode', errorCode, 50],
    ['errorMessage', errorMessage, 300],
  ] as const)
    demand(
      value === undefined || (typeof value === 'string' && value !== '' && value.length <= max),
      `${name} is no text of 1 to ${max} characters: ${JSON.stringify(value)}`,
    );
  demand(
    reasonCode !== 6000 || (errorCode !== undefined && errorMessage !== undefined),
    '6000 needs both errorCode and errorMessage',
  );
}

/** Every text in a value, with the path to it. */
export function textsIn(value: unknown, path = ''): [path: string, text: string][] {
  if (typeof value === 'string') return [[path, value]];
  if (Array.isArray(value)) return value.flatMap((member, i) => textsIn(member, `${path}[${i}]`));
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([name, member]) => textsIn(member, path ? `${path}.${name}` : name));
}
