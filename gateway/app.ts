import type { IncomingMessage, RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import Router from '@koa/router';
import Koa, { type Context, type Next } from 'koa';
import type { Log } from '../proto/runtime/log.ts';
import { counter, histogram } from '../proto/runtime/metrics.ts';
import { inSpan } from '../proto/runtime/tracing.ts';
import { captureTransaction, voidTransaction } from './capture-or-void.ts';
import { connectAccount } from './connect-account.ts';
import { type CallCore, OVERLOADED } from './core.ts';
import { createTransaction } from './create-transaction.ts';
import type { ReadBody } from './read-body.ts';
import { refundTransaction } from './refund-transaction.ts';
import { createReturnRoute } from './return-buyer.ts';
import type { Throttle } from './throttle.ts';
import type { VerifyWixSignature } from './verify-wix-signature.ts';
import { HttpError, type WixAnswer } from './wix-answer.ts';
import { type JsonObject, parseWixJson } from './wix-json.ts';

/** From the body of one of Wix's calls to its answer. Throws HttpError when there is none. */
type WixCall = (body: JsonObject, callCore: CallCore) => Promise<WixAnswer>;

const CALLS: Record<string, WixCall> = {
  'connect-account': connectAccount,
  'create-transaction': createTransaction,
  'refund-transaction': refundTransaction,
  'capture-transaction': captureTransaction,
  'void-transaction': voidTransaction,
};

const PREFIX = '/wix/v1';
const NEW_PAYMENT = `${PREFIX}/create-transaction`;
const SHED = { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': 2, 'Retry-After': 1 };

const LOGGED = ['wixMerchantId', 'wixTransactionId', 'wixRefundId', 'pluginTransactionId', 'pluginRefundId'];
const LOGGED_MAX = 200;
/** Of a body that nobody reads. */
const DISCARDED_BYTES_MAX = 64 * 1024;

/** The HTTP side of the gateway: POST /wix/v1/<call> for Wix and GET /return/<token> for buyers, nothing else. */
export function createApp(deps: {
  verify: VerifyWixSignature;
  readBody: ReadBody;
  throttle: Throttle;
  callCore: CallCore;
  log: Log;
}): RequestListener {
  const durations = histogram(
    'wix_call_duration_seconds',
    'Calls of Wix, and buyers who come back, from headers to answer.',
    ['call', 'status'],
  );
  const shed = counter('wix_calls_shed_total', 'Calls of Wix answered 503 because there is too much to do.', ['call']);
  /** Connections that have carried a good signature. */
  const signed = new WeakSet<Socket>();
  const app = new Koa();
  const router = new Router({ prefix: PREFIX, strict: true });
  for (const [name, call] of Object.entries(CALLS)) router.all(`/${name}`, (ctx) => answerCall(ctx, name, call));
  app.use(logAndRefuse);
  app.use(ensurePath);
  app.use(createReturnRoute(deps.callCore));
  app.use(router.routes());
  app.use(() => {
    throw new HttpError(404, 'no such path');
  });
  app.on('error', (err: unknown) => deps.log.debug('wix.connection_lost', { err }));
  const handle = app.callback();

  /**
   * While there is too much to do most new payments end here, as cheaply as can be (R48): on connections that have carried a good signature
   * nothing more is verified, since that costs more than all the rest of a refusal.
   */
  return (request, response) => {
    const isNew = request.url === NEW_PAYMENT && request.method === 'POST';
    if (!isNew || !signed.has(request.socket) || deps.throttle.admits()) return void handle(request, response);
    shed.inc({ call: 'create-transaction' });
    // To connect anew would cost its sender, and this process, more than to take a small body from the connection.
    if (restOf(request) > DISCARDED_BYTES_MAX) response.setHeader('Connection', 'close');
    response.writeHead(503, SHED).end('{}');
  };

  /** The order is R7's: nothing of the body is read before its signature is known to be good. */
  async function answerCall(ctx: Context, name: string, call: WixCall): Promise<void> {
    ctx.state.call = name;
    if (ctx.method !== 'POST') throw new HttpError(405, 'only POST is allowed');
    const signature = await deps.verify(ctx.get('Digest'));
    ctx.state.isSigned = true;
    const wasSigned = signed.has(ctx.socket);
    signed.add(ctx.socket);
    if (call === createTransaction && !wasSigned && !deps.throttle.admits()) throw OVERLOADED;
    if (!/^(identity)?$/i.test(ctx.get('Content-Encoding'))) throw new HttpError(415, 'encoded body');
    if (!ctx.is('application/json')) throw new HttpError(415, 'not application/json');
    const body = await deps.readBody(ctx.req, ctx.res, signature.hash);
    signature.verifyBody(body);
    const json = parseWixJson(body);
    if (!json) throw new HttpError(400, 'not a JSON object');
    ctx.state.ids = idsOf(json);
    const answer = await inSpan(`wix ${name}`, { kind: 'server' }, () => call(json, deps.callCore));
    Object.assign(ctx.state.ids, idsOf(answer), { reasonCode: answer.reasonCode });
    ctx.body = answer;
  }

  /** One line for each call, and one place where anything thrown becomes a status: no error is ever described to Wix. */
  async function logAndRefuse(ctx: Context, next: Next): Promise<void> {
    const startedAt = performance.now();
    let refused: Record<string, unknown> = {};
    let isShed = false;
    try {
      await next();
    } catch (err) {
      isShed = err === OVERLOADED;
      if (isShed) shed.inc({ call: ctx.state.call });
      refused = err instanceof HttpError ? { problem: err.message } : { err };
      refuse(ctx, err instanceof HttpError ? err.status : 500);
    }
    const seconds = (performance.now() - startedAt) / 1000;
    const call: string = ctx.state.call ?? 'unknown-call';
    const fields = { ...ctx.state.ids, httpStatus: ctx.status, durationMs: Math.round(seconds * 1000), ...refused };
    // Of many that are refused alike a metric tells enough, and one alert of the core.
    const isDone = ctx.status === 200 || ctx.status === 303;
    const level = isDone ? 'info' : isShed ? 'debug' : ctx.status === 500 ? 'error' : 'warn';
    deps.log[level](`${ctx.state.pageOf ? 'browser' : 'wix'}.${call.replaceAll('-', '_')}`, fields);
    durations.observe({ call, status: String(ctx.status) }, seconds);
  }
}

/** Koa throws for a target that is no URL as it first reads its path. */
function ensurePath(ctx: Context, next: Next): Promise<void> {
  try {
    void ctx.path;
  } catch {
    throw new HttpError(400, 'no path');
  }
  return next();
}

/** Nobody who is not signed keeps a connection, and nobody whose body was not read (R7). */
function refuse(ctx: Context, status: number): void {
  const pageOf: ((status: number) => string) | undefined = ctx.state.pageOf;
  ctx.body = status === 401 ? null : (pageOf?.(status) ?? {});
  ctx.status = status;
  if (status === 405) ctx.set('Allow', pageOf ? 'GET' : 'POST');
  if (status === 503) ctx.set('Retry-After', '1');
  if (status === 401 || !ctx.state.isSigned || !ctx.req.complete) ctx.set('Connection', 'close');
}

/** Bytes that may still come. Who waits to be asked for a body may send one or not. */
function restOf({ complete, headers }: IncomingMessage): number {
  if (complete) return 0;
  const isSure = headers.expect === undefined && headers['transfer-encoding'] === undefined;
  return isSure ? Number(headers['content-length'] ?? 0) : Number.POSITIVE_INFINITY;
}

/** The ids in a message that may be logged: nothing that is longer than an id. */
function idsOf(message: JsonObject | WixAnswer): JsonObject {
  const isShown = (value: unknown) => typeof value === 'string' && value.length <= LOGGED_MAX;
  const ids = LOGGED.map((name) => [name, message[name]] as const);
  return Object.fromEntries(ids.filter(([, value]) => isShown(value)));
}
