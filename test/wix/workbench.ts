import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { Answer } from './client.ts';
import type { Entry } from './history.ts';
import type { JsonObject } from './json.ts';
import { toJson } from './json.ts';
import type { Failure } from './server.ts';
import type { Merchant, Payment, Wix } from './wix.ts';

// The workbench: a page by which a person plays Wix. A shop with a checkout, the merchant's side of it, the wire between Wix and the
// connector with the contract's verdict on each message, and switches for what can go wrong. It drives the same simulated Wix as the demo.
// For this machine alone.

const FILES: Readonly<Record<string, readonly [file: string, type: string]>> = {
  '': ['workbench/index.html', 'text/html'],
  'workbench.js': ['workbench/workbench.js', 'text/javascript'],
  'wire.js': ['workbench/wire.js', 'text/javascript'],
  'workbench.css': ['workbench/workbench.css', 'text/css'],
  'base.css': ['../../core/console/console.css', 'text/css'],
  'show.js': ['../../core/console/show.js', 'text/javascript'],
  'icon.svg': ['../../core/console/icon.svg', 'image/svg+xml'],
  'preact.js': ['htm/preact/standalone', 'text/javascript'],
};

const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

const BODY_MAX = 65_536;
/** Of the wire's past, for a page that opens. */
const RECENT = 300;
const PAYMENTS_MAX = 200;

/** A test card or method, with what becomes of a payment by it. */
export interface Means {
  readonly number?: string;
  /** Of a redirect; empty for a page that asks for a card. */
  readonly method?: string;
  readonly wallet?: 'googlePay' | 'applePay';
  readonly outcome: string;
}

/** What can be switched to fail, at Wix. */
const FAILURES: Readonly<Record<string, readonly Failure[]>> = {
  none: [],
  'answers 500': [{ status: 500 }],
  'answers 429': [{ status: 429, headers: { 'retry-after': '5' } }],
  'answers a page of HTML': [{ status: 200, body: '<html>Welcome</html>', headers: { 'content-type': 'text/html' } }],
  'does not answer': [{ hang: true }],
  'gives no tokens': [{ at: 'token', status: 503 }],
  'is down for a minute': [{ reset: true }, { at: 'token', reset: true }],
};
const DOWN_MS = 60_000;

const id = z.string().max(100);
const minor = z.string().regex(/^\d{1,18}$/, 'must be minor units');
const COMMANDS = {
  connect: z.strictObject({ currency: z.string().max(3).optional(), apiKey: z.string().min(1).max(100) }),
  pay: z.strictObject({
    merchant: id,
    number: z.string().max(30).optional(),
    method: z.string().max(50).optional(),
    wallet: z.enum(['googlePay', 'applePay']).optional(),
    amount: minor,
    currency: z.string().length(3),
    authorizeOnly: z.boolean(),
  }),
  again: z.strictObject({ payment: id }),
  capture: z.strictObject({ payment: id, amount: minor }),
  void: z.strictObject({ payment: id }),
  refund: z.strictObject({ payment: id, amount: minor.optional(), wixRefundId: id.optional() }),
  wix: z.strictObject({ failure: z.enum(Object.keys(FAILURES)) }),
  engine: z.strictObject({ fault: z.enum(['none', 'is down', 'loses its answers']) }),
};

export interface WorkbenchOptions {
  readonly wix: Wix;
  readonly gatewayUrl: string;
  readonly means: readonly Means[];
  /** What the engine does from now on. */
  readonly spoil: (fault: 'none' | 'is down' | 'loses its answers') => void;
}

/** Answers what is below /workbench/ at this origin, and says whether it did. Who may ask is for its server to say. */
export function createWorkbench(options: WorkbenchOptions, origin: () => string) {
  const { wix, gatewayUrl, means, spoil } = options;
  const merchants = new Map<string, Merchant>();
  const payments = new Map<string, Payment>();
  let failure = 'none';
  let healing: NodeJS.Timeout | undefined;
  const files = new Map(
    Object.entries(FILES).map(([name, [file, type]]) => {
      const url = file.startsWith('htm') ? import.meta.resolve(file) : new URL(file, import.meta.url);
      return [name, { body: readFileSync(fileURLToPath(url)), type: `${type}; charset=utf-8` }];
    }),
  );

  const paymentOf = (key: string): Payment => {
    const payment = payments.get(key);
    if (!payment) throw new Refused('there is no such payment on this page');
    return payment;
  };
  const answered = ({ status, text }: Answer) => ({ status, text });

  function keep(payment: Payment) {
    payments.set(payment.wixTransactionId, payment);
    const oldest = payments.keys().next().value;
    if (payments.size > PAYMENTS_MAX && oldest) payments.delete(oldest);
    return { payment: payment.wixTransactionId, ...answered(payment.answer) };
  }

  function failAtWix(name: string) {
    clearTimeout(healing);
    wix.heal();
    failure = name;
    for (const each of FAILURES[name] ?? []) wix.fail(each);
    if (name === 'is down for a minute') healing = setTimeout(() => failAtWix('none'), DOWN_MS).unref();
    return { failure };
  }

  const run: { [Name in keyof typeof COMMANDS]: (given: z.infer<(typeof COMMANDS)[Name]>) => Promise<object> } = {
    connect: async ({ currency, apiKey }) => {
      const credentials = { apiKey, account_ref: randomUUID() };
      const merchant = await wix.connect(gatewayUrl, { credentials, ...(currency && { currency }) });
      const { reasonCode } = merchant.answer.body ?? {};
      if (merchant.answer.status === 200 && reasonCode === undefined) merchants.set(merchant.merchantId, merchant);
      return { merchant: merchant.merchantId, ...answered(merchant.answer) };
    },
    pay: async ({ merchant: name, number, method, wallet, amount, currency, authorizeOnly }) => {
      const merchant = merchants.get(name);
      if (!merchant) throw new Refused('connect a merchant first');
      const wixTransactionId = randomUUID();
      const payment = await wix.pay(merchant, {
        ...{ wixTransactionId, amount: BigInt(amount), currency: currency.toUpperCase(), authorizeOnly },
        ...(number && { number }),
        ...(method !== undefined && { redirectMethod: method }),
        ...(wallet && { wallet }),
        change: (body) => {
          (body.order as JsonObject).returnUrls = Object.fromEntries(
            ['success', 'error', 'cancel', 'pending'].map((end) => [
              `${end}Url`,
              `${origin()}/workbench/?shop=${end}#${wixTransactionId}`,
            ]),
          );
        },
      });
      return keep(payment);
    },
    again: async ({ payment }) => keep(await wix.again(paymentOf(payment))),
    capture: async ({ payment, amount }) => answered(await wix.capture(paymentOf(payment), BigInt(amount))),
    void: async ({ payment }) => answered(await wix.void(paymentOf(payment))),
    refund: async ({ payment, amount, wixRefundId = randomUUID() }) => ({
      wixRefundId,
      ...answered(
        await wix.refund(paymentOf(payment), { wixRefundId, ...(amount !== undefined && { amount: BigInt(amount) }) }),
      ),
    }),
    wix: async ({ failure: name }) => failAtWix(name),
    engine: async ({ fault }) => {
      spoil(fault);
      return { fault };
    },
  };

  const state = () => ({
    ...{ means, failure, failures: Object.keys(FAILURES) },
    merchants: [...merchants.keys()],
    payments: [...payments.keys()],
    violations: wix.violations.length,
    untold: wix.untold.length,
  });

  async function command(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const schema = COMMANDS[name as keyof typeof COMMANDS];
    if (!schema) throw new Refused('there is no such command', 404);
    const given = schema.safeParse(JSON.parse(await readBody(request)));
    if (!given.success)
      throw new Refused(given.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`).join(', '));
    const ran = await (run[name as keyof typeof run] as (given: unknown) => Promise<object>)(given.data);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(ran));
  }

  /** The newest messages, then each as it happens, as server-sent events. */
  function stream(response: ServerResponse): void {
    response.writeHead(200, { ...HEADERS, 'content-type': 'text/event-stream' });
    const send = (entry: Entry) => response.write(`data: ${toJson(entry)}\n\n`);
    for (const entry of wix.recent(RECENT)) send(entry);
    response.write('event: now\ndata: {}\n\n');
    response.on('close', wix.listen(send));
  }

  return async (request: IncomingMessage, response: ServerResponse): Promise<boolean> => {
    const pathname = request.url?.split('?')[0] ?? '/';
    if (!pathname.startsWith('/workbench')) return false;
    const { method, headers } = request;
    const name = pathname.slice('/workbench/'.length);
    const file = files.get(name);
    if (pathname === '/workbench') response.writeHead(308, { location: '/workbench/' }).end();
    else if (method === 'GET' && file)
      response.writeHead(200, { ...HEADERS, 'content-type': file.type }).end(file.body);
    else if (method === 'GET' && name === 'wire') stream(response);
    else if (method === 'GET' && name === 'state')
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(state()));
    else if (method === 'POST' && headers['content-type'] === 'application/json')
      await command(name, request, response).catch((error: Error) => refuse(response, error));
    else response.writeHead(404).end();
    return true;
  };
}

class Refused extends Error {
  readonly status: number;
  constructor(message: string, status = 400) {
    super(message);
    this.status = status;
  }
}

function refuse(response: ServerResponse, error: Error): void {
  const isOurs = error instanceof Refused || error instanceof SyntaxError;
  const status = error instanceof Refused ? error.status : isOurs ? 400 : 502;
  const message = isOurs ? error.message : `no answer from the connector: ${error.message}`;
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ message }));
}

async function readBody(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > BODY_MAX) throw new Refused('the body is too long', 413);
  }
  return text;
}
