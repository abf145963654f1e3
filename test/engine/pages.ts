import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { boundConnections } from '../../proto/runtime/bounds.ts';
import { inBrackets } from '../../proto/runtime/config.ts';
import type { Log } from '../../proto/runtime/log.ts';
import { BANK_DECLINED, BUYER_CANCELED, behaviourOf, CHALLENGE_FAILED } from './cards.ts';
import { decideHosted, referenceOf } from './decide.ts';
import type { Engine } from './engine.ts';
import type { Entry, Page } from './entry.ts';
import { declined, expired, isOpen, pending } from './outcomes.ts';
import { buyerPage, CHOICES, endedPage, type FormErrors, notice, STYLE_HASH } from './page-html.ts';

// The simulated engine's pages for buyers, over HTTP. A link is good for one decision; whoever comes again is shown, or sent to, the end.

export interface PagesOptions {
  readonly engine: Engine;
  readonly log: Log;
  readonly host?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  /** As buyers reach it, where that is not this address: https://pay.example. */
  readonly url?: string | undefined;
  /** How long after the buyer's visit a bank has decided, or a voucher is paid. */
  readonly decideMs?: number;
  /** How long a voucher is good. */
  readonly voucherMs?: number;
}

export interface Pages {
  /** Listens, and lets the engine send buyers here. Returns the address. */
  start(): Promise<string>;
  stop(): Promise<void>;
}

const DAY_MS = 24 * 60 * 60 * 1_000;
const BODY_MAX = 4 * 1_024;
const CONNECTIONS_MAX = 200;
const LIMITS = { maxHeaderSize: 8 * 1_024, headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 5_000 };
/** A browser takes an answer of a few kilobytes well within. */
const ANSWER_TAKEN_MS = 10_000;

// Wix shows the page in a frame of the merchant's site, which has any name. After a form Chromium holds every address that its answer
// leads to against form-action: the connector's, and after it the shop's.
const ANYWHERE = 'https: http://127.0.0.1:* http://localhost:*';
const HEADERS = {
  'content-security-policy': `default-src 'none'; style-src ${STYLE_HASH}; form-action 'self' ${ANYWHERE}; frame-ancestors ${ANYWHERE}; base-uri 'none'`,
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

export function createPages(options: PagesOptions): Pages {
  const { engine, log, host = '127.0.0.1', port = 0, decideMs = 1_500, voucherMs = 3 * DAY_MS } = options;
  const { books } = engine;
  const server = createServer({ ...LIMITS, connectionsCheckingInterval: 1_000 }, (request, response) => {
    response.setTimeout(ANSWER_TAKEN_MS, () => response.destroy());
    answer(request, response).catch((err) => {
      // Whoever hung up is told nothing.
      if (request.destroyed && !request.complete) return;
      log.error('engine.page_failed', { err });
      if (!response.headersSent) show(response, 500, notice('Something went wrong. Please try again.'));
    });
  });
  boundConnections(server, CONNECTIONS_MAX);

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const token = /^\/pay\/([\w-]{22})$/.exec(request.url ?? '')?.[1];
    const page = token === undefined ? undefined : books.page(token);
    const entry = page && books.find(page.requestId);
    if (!page || !entry) return show(response, 404, notice('There is no such page.'));
    if (request.method === 'POST') return post(request, response, page.token);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD, POST');
      return show(response, 405, notice('This is not how a page is asked for.'));
    }
    return isWaiting(entry)
      ? show(response, 200, buyerPage(shown(page, entry)))
      : show(response, 200, endedPage(entry.outcome, page.returnUrl));
  }

  async function post(request: IncomingMessage, response: ServerResponse, token: string): Promise<void> {
    const form = await readForm(request);
    if (form === 'too long') {
      response.setHeader('connection', 'close');
      return show(response, 413, notice('This is more than the form has.'));
    }
    if (!form) return show(response, 415, notice('This is not what the form sends.'));
    // Read only now: the payment may have gone on, or ended, while the form was on its way.
    const page = books.page(token);
    const entry = page && books.find(page.requestId);
    if (!page || !entry) return show(response, 404, notice('There is no such page.'));
    if (!isWaiting(entry)) return leave(response, page);
    // The second press of a button does not decide about what the first one led to.
    if ((form.get('step') ?? page.kind) !== page.kind) return redirect(response, request.url ?? '/');
    const choice = form.get('choice') ?? '';
    if (!Object.hasOwn(CHOICES[page.kind], choice))
      return show(response, 400, notice('This is no choice of the page.', page.returnUrl));
    const errors = page.kind === 'hosted' && choice === 'approve' ? cardErrors(form) : {};
    if (Object.keys(errors).length > 0) return show(response, 422, buyerPage(shown(page, entry), errors));
    const goesOn = decide(page, entry, choice, form);
    log.info('engine.buyer_decided', { requestId: page.requestId, kind: page.kind, choice });
    return goesOn ? redirect(response, request.url ?? '/') : leave(response, page);
  }

  /** Puts the buyer's decision into the books. Returns whether the page goes on with another step. */
  function decide(page: Page, entry: Entry, choice: string, form: URLSearchParams): boolean {
    const { requestId, kind, passes } = page;
    const reference = referenceOf(requestId);
    const waits = (ms: number) => pending(Reason.PENDING_GENERAL, reference, inMs(ms));
    const soon = () => Date.now() + decideMs;
    if (choice === 'cancel') engine.settle(requestId, declined(BUYER_CANCELED, reference));
    else if (choice === 'decline')
      engine.settle(requestId, declined(kind === 'challenge' ? CHALLENGE_FAILED : BANK_DECLINED, reference));
    else if (kind === 'voucher') {
      const isPaid = choice === 'approve';
      const dueAt = choice === 'later' ? Date.now() + voucherMs : soon();
      engine.settle(requestId, waits(voucherMs), { later: isPaid ? passes : RUN_OUT, dueAt });
    } else if (choice === 'later')
      engine.settle(requestId, pending(Reason.PENDING_GENERAL, reference), { later: passes, dueAt: soon() });
    else if (kind === 'hosted') return takeCard(page, entry, digitsOf(form));
    else engine.settle(requestId, passes);
    return false;
  }

  function takeCard({ token, requestId }: Page, entry: Entry, number: string): boolean {
    const decision = decideHosted(entry, number);
    books.identify(requestId, decision);
    if (decision.page) {
      books.challenge(token, decision.page.passes);
      return true;
    }
    const { outcome, later } = decision;
    engine.settle(requestId, outcome, later && { later, dueAt: Date.now() + decideMs });
    return false;
  }

  return {
    start: async () => {
      server.listen({ host, port });
      await once(server, 'listening');
      const { port: listening } = server.address() as AddressInfo;
      engine.pagesUrl = options.url?.replace(/\/$/, '') ?? `http://${inBrackets(host)}:${listening}`;
      return engine.pagesUrl;
    },
    stop: async () => {
      engine.pagesUrl = undefined;
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

const RUN_OUT = expired('VOUCHER_EXPIRED', 'The voucher was not paid in time');

/** Only what still waits for its buyer: a payment that is pending was decided about here. */
const isWaiting = ({ outcome }: Entry) => isOpen(outcome) && outcome.kind.case === 'buyerAction';

function shown({ kind, method, requestId }: Page, entry: Entry) {
  const { amount, currency, lastFour, accountReference: merchant } = entry;
  const digits = BigInt(`0x${createHash('sha256').update(requestId).digest('hex').slice(0, 12)}`) % 1_000_000_000n;
  const voucher = String(digits)
    .padStart(9, '0')
    .replace(/(...)(?=.)/g, '$1 ');
  return { kind, method, merchant, amount, currency, lastFour, voucher };
}

function inMs(ms: number) {
  const at = Date.now() + ms;
  return { $typeName: 'google.protobuf.Timestamp' as const, seconds: BigInt(Math.ceil(at / 1_000)), nanos: 0 };
}

/** What the buyer typed as the card's number, as cards are printed. */
const digitsOf = (form: URLSearchParams) => (form.get('number') ?? '').replaceAll(/[ -]/g, '');

function cardErrors(form: URLSearchParams): FormErrors {
  const errors: FormErrors = {};
  if (isUnreadable(digitsOf(form))) errors.number = 'Enter the number as it is on the card';
  const [, month = '', year = ''] = /^\s*(\d{1,2})\s*\/\s*(?:20)?(\d{2})\s*$/.exec(form.get('expiry') ?? '') ?? [];
  const isOver = Date.UTC(2000 + Number(year), Number(month)) <= Date.now();
  if (!month || Number(month) < 1 || Number(month) > 12) errors.expiry = 'Enter month and year, such as 09/31';
  else if (isOver) errors.expiry = 'The card has expired';
  if (!/^\d{3,4}$/.test(form.get('cvv') ?? '')) errors.cvv = 'Enter the 3 or 4 digits of the security code';
  const holder = (form.get('holder') ?? '').trim();
  if (holder === '' || holder.length > 100) errors.holder = 'Enter the name as it is on the card';
  return errors;
}

const isUnreadable = (number: string) => behaviourOf(number).declines?.[0] === Reason.INVALID_CARD_NUMBER;

/** The fields of a form; undefined if it is none. */
async function readForm(request: IncomingMessage): Promise<URLSearchParams | 'too long' | undefined> {
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(request.headers['content-type'] ?? '')) return undefined;
  const chunks: Buffer[] = [];
  let length = Number(request.headers['content-length'] ?? 0);
  if (length > BODY_MAX) return 'too long';
  length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > BODY_MAX) return 'too long';
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

function show(response: ServerResponse, status: number, html: string): void {
  response.writeHead(status, { ...HEADERS, 'content-type': 'text/html; charset=utf-8' }).end(html);
}

/** After a form: the browser asks for the next page by GET, so that going back or loading again sends nothing twice. */
function redirect(response: ServerResponse, location: string): void {
  response.writeHead(303, { ...HEADERS, location }).end();
}

/** Back to where the payment came from; what became of it is in the books by then. */
function leave(response: ServerResponse, { returnUrl }: Page): void {
  redirect(response, new URL(returnUrl).href);
}
