import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import { minorDigits } from '../core/currencies.ts';
import { Event_Type } from '../proto/gen/payments/v1/event_pb.js';
import { Mode } from '../proto/gen/payments/v1/merchant_account_pb.js';
import {
  type ExplainedEvent,
  type ExplainedOperation,
  type ExplainTransactionResponse,
  Report_Kind,
} from '../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../proto/gen/payments/v1/reason_pb.js';
import { Operation_Kind, Operation_State, Transaction_State } from '../proto/gen/payments/v1/transaction_pb.js';
import { type Attempt, Delivery_State } from '../proto/gen/relay/v1/deliveries_pb.js';
import { colour, printable } from './command.ts';

// A payment's life as one screen of text.

const ATTEMPTS_SHOWN = 10;

export function explainText(explained: ExplainTransactionResponse): string {
  const { transaction, operations, events, reports, relayProblem } = explained;
  if (!transaction) throw new Error('an explanation is of a payment');
  const now = explained.readAt ? timestampDate(explained.readAt) : new Date();
  const t = transaction;
  const amount = (minor: bigint | undefined) => money(minor, t.currency);
  const state = Transaction_State[t.state];
  const lines = [
    colour('bold', inLocalTimes(explained.summary, now)),
    '',
    `${colour('bold', 'payment')}  ${t.id}`,
    `  of Wix       ${t.externalId}`,
    `  merchant     ${t.externalMerchantId || '-'}, account ${t.merchantAccountId || '-'}, ${t.mode ? Mode[t.mode].toLowerCase() : 'mode unknown'}`,
    `  asked        ${amount(t.requestedAmount)}, ${t.authorizeOnly ? 'authorize only' : 'sale'}, ${t.paymentMethod || 'no method'}${t.cardDetails ? ` ${t.cardDetails.scheme ? `${t.cardDetails.scheme} ` : ''}${t.cardDetails.bin}...${t.cardDetails.lastFour}` : ''}`,
    `  stands       ${paint(state)}, authorized ${amount(t.authorizedAmount)}, captured ${amount(t.capturedAmount)}, refunded ${amount(t.refundedAmount)}`,
    `  begun        ${when(t.createdAt, now)}, changed ${when(t.updatedAt, now)}`,
    '',
    colour('bold', 'operations, and what the engine said'),
    ...operations.flatMap((operation) => operationLines(operation, t.currency, now)),
    ...(operations.length === 0 ? ['  none: it was refused before any'] : []),
    '',
    colour('bold', 'events, and what Wix was told'),
    ...events.flatMap((event) => eventLines(event, now)),
    ...(events.length === 0 ? ['  none'] : []),
    ...(relayProblem ? [`  ${colour('yellow', `deliveries are not shown: ${relayProblem}`)}`] : []),
  ];
  if (reports.length > 0) lines.push('', colour('bold', 'reports'));
  for (const report of reports)
    lines.push(
      `  ${Report_Kind[report.kind].toLowerCase()} by ${report.caller}, ${when(report.reportedAt, now)}${report.reason ? `: ${report.reason}` : ''}`,
      `    ${report.outcome}`,
    );
  return `${lines.map(printable).join('\n')}\n`;
}

function operationLines(explained: ExplainedOperation, currency: string, now: Date): string[] {
  const { operation: o, held, asks, nextAt, expiresAt, ...references } = explained;
  if (!o) return [];
  const amounts = o.amount === undefined ? '' : ` ${money(o.amount, currency)}`;
  const approved =
    o.approvedAmount === undefined || o.approvedAmount === o.amount
      ? ''
      : `, approved ${money(o.approvedAmount, currency)}`;
  const reason = o.reason ? `, ${o.reason} ${Reason[o.reason] ?? ''} ${o.errorMessage}`.trimEnd() : '';
  const lines = [
    `  ${Operation_Kind[o.kind].toLowerCase()}${amounts} ${paint(Operation_State[o.state])}${approved}${reason}${held ? ', held for an operator' : ''}`,
    `    request id ${o.id}, by ${o.caller}${o.externalRefundId ? `, wixRefundId ${o.externalRefundId}` : ''}`,
    `    begun ${when(o.createdAt, now)}${o.finishedAt ? `, ended ${when(o.finishedAt, now)}` : ''}`,
  ];
  const said = [
    o.processorReference && `reference ${o.processorReference}`,
    references.authorizationCode && `authorization code ${references.authorizationCode}`,
    references.networkTransactionId && `network id ${references.networkTransactionId}`,
    references.acquirerReference && `acquirer's ${references.acquirerReference}`,
    references.processedAt && `processed ${when(references.processedAt, now)}`,
  ].filter(Boolean);
  if (said.length > 0) lines.push(`    engine: ${said.join(', ')}`);
  const coming = [
    asks > 0 && (asks === 1 ? 'asked once' : `asked ${asks} times`),
    nextAt && `next at ${when(nextAt, now)}`,
    expiresAt && `expires ${when(expiresAt, now)}`,
  ].filter(Boolean);
  if (coming.length > 0) lines.push(`    ${coming.join(', ')}`);
  return lines;
}

function eventLines(
  { sequence, type, forWix, recordedAt, publishedAt, delivery }: ExplainedEvent,
  now: Date,
): string[] {
  const name = (Event_Type[type] ?? 'unknown').toLowerCase();
  const published = publishedAt ? `published ${when(publishedAt, now)}` : colour('yellow', 'not published yet');
  const lines = [
    `  ${sequence} ${name}${forWix ? '' : ' (never for Wix)'}: recorded ${when(recordedAt, now)}, ${published}`,
  ];
  const { delivery: told, attempts = [], decisions = [], body = '' } = delivery ?? {};
  if (!forWix || !told) return lines;
  const next = told.nextAttemptAt ? `, next attempt ${when(told.nextAttemptAt, now)}` : '';
  lines.push(`    ${paint(Delivery_State[told.state])}${told.stuck ? ', stuck' : ''}${next}`);
  const hidden = attempts.length - ATTEMPTS_SHOWN;
  if (hidden > 0) lines.push(`    ... ${hidden} attempts before`);
  lines.push(...attempts.slice(-ATTEMPTS_SHOWN).map((attempt) => attemptLine(attempt, now)));
  for (const { action, caller, reason, decidedAt } of decisions)
    lines.push(`    decision ${action} by ${caller}, ${when(decidedAt, now)}: ${reason}`);
  if (body) lines.push(`    ${colour('dim', body)}`);
  return lines;
}

function attemptLine({ number, startedAt, durationMs, httpStatus, error, answer }: Attempt, now: Date): string {
  const came = httpStatus === undefined ? error || 'no answer' : `HTTP ${httpStatus}${error ? `, ${error}` : ''}`;
  const said = error && answer ? `: ${answer.slice(0, 200)}` : '';
  return `    attempt ${number} ${when(startedAt, now)}: ${came} in ${durationMs} ms${said}`;
}

const COLOURS: Readonly<Record<string, Parameters<typeof colour>[0]>> = {
  ...{ CAPTURED: 'green', AUTHORIZED: 'green', APPROVED: 'green', DELIVERED: 'green', VOIDED: 'green' },
  ...{ DECLINED: 'red', FAILED: 'red', HELD: 'red', EXPIRED: 'red' },
  ...{ PENDING: 'yellow', UNKNOWN: 'yellow', WAITING: 'yellow', RUNNING: 'yellow', PARKED: 'yellow' },
};

const paint = (state: string | undefined) =>
  colour(COLOURS[state ?? ''] ?? 'reset', (state ?? 'unknown').toLowerCase());

function money(minor: bigint | undefined, currency: string): string {
  if (minor === undefined) return '-';
  const digits = minorDigits(currency);
  const text = String(minor).padStart(digits + 1, '0');
  return `${digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`} ${currency}`.trimEnd();
}

const when = (time: Timestamp | undefined, now: Date) => (time ? local(timestampDate(time), now) : '-');

/** The summary's times are ISO 8601 in UTC. */
const inLocalTimes = (summary: string, now: Date) =>
  summary.replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, (time) => local(new Date(time), now));

const two = (value: number) => String(value).padStart(2, '0');

function local(time: Date, now: Date): string {
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  const isToday = time.toDateString() === now.toDateString();
  return `${isToday ? '' : `${day} `}${clock} (${relative(time, now)})`;
}

/** "3 min ago", "in 2 h": whole units, the largest that fits. */
function relative(time: Date, now: Date): string {
  const seconds = Math.round((time.getTime() - now.getTime()) / 1000);
  const size = Math.abs(seconds);
  const text =
    size < 120
      ? `${size} s`
      : size < 7200
        ? `${Math.round(size / 60)} min`
        : size < 172_800
          ? `${Math.round(size / 3600)} h`
          : `${Math.round(size / 86_400)} days`;
  return seconds > 0 ? `in ${text}` : `${text} ago`;
}
