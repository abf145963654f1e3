import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bug } from './bugs.ts';
import { endingOf, pageOf } from './small-page.ts';
import { createTeller, type Message } from './small-teller.ts';
import { isSigned } from './small-verifier.ts';
import { type Asked, parseAsked, readAll } from './small-wire.ts';

// A whole plugin, as an author might write it: in memory, over node:http. Sound without a bug; with one it has that bug.

interface Payment {
  readonly id: string;
  readonly asked: Asked;
  readonly amount: bigint;
  readonly ready: Promise<void>;
  state: 'approved' | 'authorized' | 'voided' | 'declined' | 'pending' | 'waiting';
  answer: Message;
  /** Of its card: what will not work later. */
  flaw: 'captures fail' | 'refunds fail' | undefined;
  captured: bigint;
  refunded: bigint;
}

const DECIMALS: Record<string, number> = { EUR: 2, USD: 2, JPY: 0, KWD: 3 };
const OPERATIONS = ['connect', 'create', 'refund', 'capture', 'void'] as const;
type Operation = (typeof OPERATIONS)[number];

/** The engine's part: what becomes of a card is in its last four digits. */
const REVIEW_MS = 60;
const BUYER_MS = 2_000;
const ENGINE_MS = 10;
const EXTERNAL_ID = /^[0-9a-f-]{36}$/;
const INT64_MAX = 2n ** 63n - 1n;

const FLAWS: Record<string, Payment['flaw']> = {
  '4000000000000341': 'captures fail',
  '4000000000005126': 'refunds fail',
};

const error = (reasonCode: number, errorMessage = 'Refused') => ({ reasonCode, errorCode: 'SMALL', errorMessage });

/** Ends a call with an error. */
class Refused extends Error {
  readonly answer: Message;
  constructor(reasonCode: number, message?: string) {
    super(message);
    this.answer = error(reasonCode, message);
  }
}

export interface SmallPlugin {
  readonly url: string;
  /** Where Wix is. */
  wixUrl: string;
  stop(): Promise<void>;
}

export async function startSmallPlugin(options: {
  readonly publicKeyPem: string;
  readonly appId: string;
  readonly appSecret: string;
  readonly bug?: Bug | undefined;
}): Promise<SmallPlugin> {
  const has = (bug: Bug) => options.bug === bug;
  const payments = new Map<string, Payment>();
  const refunds = new Map<string, Promise<Message>>();
  const amounts = new Map<string, string>();
  const accounts = new Map<string, string>();
  const tokens = new Set<string>();
  const stopping = new AbortController();
  const plugin = { url: '', wixUrl: '', stop };
  const teller = createTeller({ ...options, has, urlOf: () => plugin.wixUrl, signal: stopping.signal });
  /** What is done once the answer is on its way. */
  const later = new Map<string, (() => void)[]>();
  const tell = (wixId: string, kind: string, body: Message) => {
    if (has('tells before it answers')) teller.tell(wixId, kind, body);
    else later.set(wixId, [...(later.get(wixId) ?? []), () => teller.tell(wixId, kind, body)]);
  };

  function readAmount(value: unknown, code: number): bigint {
    if (has('reads amounts as PHP does')) return BigInt(Math.trunc(Number(value)) || 0);
    const text =
      typeof value === 'bigint' || typeof value === 'number' || typeof value === 'string' ? String(value) : '';
    if (!/^\d{1,19}$/.test(text) || BigInt(text) > INT64_MAX || BigInt(text) === 0n)
      throw new Refused(value === undefined ? 1004 : code);
    if (has('counts in whole units')) return (BigInt(text) / 100n) * 100n;
    return has('counts in floating point') ? BigInt(Number(text)) : BigInt(text);
  }

  function connect({ credentials, wixMerchantId, currency, mode }: Asked): Message {
    if (!credentials || !wixMerchantId) throw new Refused(1004);
    if (credentials.apiKey === 'invalid' && !has('connects anybody'))
      throw new Refused(has('refuses merchants with an old code') ? 2004 : 2002);
    if (credentials.apiKey === 'blocked') throw new Refused(2001);
    if (credentials.apiKey === 'inactive') throw new Refused(2000);
    if (mode === 'live') throw new Refused(2008);
    if (currency === undefined && has('demands a currency to connect')) throw new Refused(1004);
    if (currency && !(currency in DECIMALS)) throw new Refused(2009);
    const key = has('has an account for each call') ? randomUUID() : String(credentials.apiKey);
    const accountId = accounts.get(key) ?? randomUUID();
    accounts.set(key, accountId);
    const kept = has('drops credentials') ? { apiKey: credentials.apiKey } : credentials;
    const more = has('writes credentials as booleans') ? { isTest: true } : { grant: 'small-grant' };
    return {
      credentials: { ...kept, ...more },
      accountId,
      accountName: has('takes Latin-1 for UTF-8') ? '\xe9' : 'Small é',
    };
  }

  /** Throws what the payment is refused with, or says what it is about. */
  function readPayment(asked: Asked) {
    const { order, merchantCredentials, paymentMethodData: data, paymentMethod, wixTransactionId = '' } = asked;
    if (has('breaks without an order') && !order) throw new TypeError('order is undefined');
    if (has('takes null for a value') && asked.installments === null) throw new Refused(1007);
    const { totalAmount, currency, billingAddress } = order?.description ?? {};
    if (!order || !merchantCredentials || currency === undefined) throw new Refused(1004);
    if (has('demands GUIDs') && !EXTERNAL_ID.test(wixTransactionId)) throw new Refused(1007);
    if (has('demands addresses') && !billingAddress) throw new Refused(4001);
    if (merchantCredentials.apiKey === 'invalid' && !has('does not know its merchants')) throw new Refused(3041);
    if (has('takes any three letters') ? currency.length !== 3 : !(currency in DECIMALS)) throw new Refused(3003);
    const read = readAmount(totalAmount, 3001);
    const amount = has('counts every currency in cents')
      ? (read * 100n) / 10n ** BigInt(DECIMALS[currency] ?? 2)
      : read;
    const method = (paymentMethod ?? '').toLowerCase();
    const page = method === 'ideal' || method === '' || method === options.appId;
    const wallet = data?.googlePay ?? data?.applePay;
    const number = data?.card?.number ?? wallet?.pan ?? '';
    const token = data?.reference?.token;
    if (!page && !['creditcard', 'googlepay', 'applepay'].includes(method)) throw new Refused(1012);
    if (!page && !number && !token) throw new Refused(1004);
    if (token && !tokens.has(token)) throw new Refused(3043);
    if (wallet && asked.offSession && has('refuses wallets off session')) throw new Refused(3002);
    return { amount, number, page, wallet };
  }

  function newPayment(asked: Asked): Payment {
    const { wixTransactionId: wixId = '', order } = asked;
    const id = has('names payments by their order') ? String(order?.id) : randomUUID();
    let refusal: Message | undefined;
    let read: ReturnType<typeof readPayment> = { amount: 0n, number: '', page: false, wallet: undefined };
    try {
      read = readPayment(asked);
    } catch (thrown) {
      if (!(thrown instanceof Refused)) throw thrown;
      refusal = thrown.answer;
    }
    const payment: Payment = {
      ...{
        id,
        asked,
        amount: read.amount,
        ready: delay(ENGINE_MS),
        state: 'approved',
        answer: { pluginTransactionId: id },
      },
      ...{ flaw: FLAWS[read.number], captured: read.amount, refunded: 0n },
    };
    if (refusal) Object.assign(payment, { state: 'declined', answer: refusal });
    else decide(asked, payment, read);
    if (payment.state !== 'approved') payment.captured = 0n;
    payments.set(wixId, payment);
    const isDecline = payment.state === 'declined';
    const waits = payment.state === 'waiting' && !has('tells while the buyer is away');
    const { redirectUrl, ...body } = payment.answer;
    if (!waits && !(isDecline && has('is silent about declines')))
      tell(wixId, 'transaction', {
        wixTransactionId: wixId,
        ...body,
        ...(has('tells another id') && { pluginTransactionId: randomUUID() }),
      });
    return payment;
  }

  function decide(asked: Asked, payment: Payment, { number, page, wallet }: ReturnType<typeof readPayment>): void {
    const { wixTransactionId: wixId = '', authorizeOnly, moto, setupCredentialsOnFile: setUp } = asked;
    const { id } = payment;
    const challenged = number.endsWith('3155') && !moto;
    if (number.endsWith('0002')) {
      const story = has('tells card numbers') ? `Card ${number}` : 'Declined';
      Object.assign(payment, { state: 'declined', answer: { pluginTransactionId: id, ...error(3000, story) } });
    } else if (page || challenged || has('sends everybody to a page')) {
      const answer = { pluginTransactionId: id, redirectUrl: `${plugin.url}/page/${id}` };
      Object.assign(payment, {
        state: 'waiting',
        answer: has('sends a code with a page') ? { ...answer, reasonCode: 5009 } : answer,
      });
      if (!has('waits for ever')) end(wixId, payment, BUYER_MS, error(3030, 'The buyer left'));
    } else if (/(9235|4954)$/.test(number)) {
      Object.assign(payment, { state: 'pending', answer: { pluginTransactionId: id, reasonCode: 5005 } });
      if (!has('never decides'))
        end(wixId, payment, REVIEW_MS, number.endsWith('4954') ? error(5001, 'Risk') : undefined);
    } else {
      if (authorizeOnly) payment.state = 'authorized';
      const fromWallet = {
        cardDetails: { bin: has('writes a bin as a number') ? 424242 : '424242', lastFour: '4242' },
      };
      Object.assign(payment.answer, {
        ...(has('says reasonCode 0') && { reasonCode: 0 }),
        ...(wallet && fromWallet),
        ...(setUp?.offSession && { credentialsOnFile: onFile() }),
      });
    }
  }

  function onFile(): Message {
    const token = randomUUID();
    tokens.add(token);
    const paymentMethodReference = { token };
    return has('answers both references')
      ? { paymentMethodReference, cardReference: { networkTransactionId: 'N1' } }
      : { paymentMethodReference };
  }

  /** What waits is decided after a while, if it still is. */
  async function end(wixId: string, payment: Payment, afterMs: number, ending: Message | undefined): Promise<void> {
    const { state } = payment;
    await delay(afterMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    if (!stopping.signal.aborted && payment.state === state)
      become(wixId, payment, ending ? 'declined' : 'approved', ending);
  }

  function become(wixId: string, payment: Payment, state: Payment['state'], more: Message = {}): void {
    const isStale = has(payment.state === 'pending' ? 'answers pending for ever' : 'answers the page for ever');
    const answer = { pluginTransactionId: payment.id, ...more };
    if (!isStale) payment.answer = answer;
    payment.state = state;
    if (state === 'approved') payment.captured = payment.amount;
    teller.tell(wixId, 'transaction', { wixTransactionId: wixId, ...answer });
  }

  /** The buyer is at the page: looks, or has pressed something. */
  async function servePage(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const id = url.pathname.split('/')[2] ?? '';
    const [wixId, payment] = [...payments].find(([, each]) => each.id === id) ?? [];
    const form = new URLSearchParams(String(await readAll(request)));
    const pressed = url.searchParams.get('outcome') ?? form.get('outcome');
    if (pressed === null || !wixId || !payment)
      return void response.writeHead(200, has('forbids frames') ? { 'X-Frame-Options': 'DENY' } : {}).end(pageOf(id));
    const { order, paymentMethodData: data, setupCredentialsOnFile: setUp } = payment.asked;
    const ending = endingOf(pressed, { urls: order?.returnUrls ?? {}, isChallenge: data?.card !== undefined, has });
    const isSetUp = setUp?.offSession === true && ending.state === 'approved' && !has('forgets set-ups at a challenge');
    if (payment.state === 'waiting')
      become(wixId, payment, ending.state, { ...ending.error, ...(isSetUp && { credentialsOnFile: onFile() }) });
    if (payment.state === 'pending') void end(wixId, payment, REVIEW_MS, undefined);
    response.writeHead(303, { Location: ending.location }).end();
  }

  async function create(asked: Asked): Promise<Message> {
    const { wixTransactionId: wixId, wixMerchantId } = asked;
    if (!wixId || !wixMerchantId) throw new Refused(1004);
    const known = payments.get(wixId);
    if (has('looks before it charges')) await delay(ENGINE_MS);
    const isAgain = known?.state === 'declined' && has('tries declined payments again');
    const payment = known && !isAgain && !has('charges every call') ? known : newPayment(asked);
    await payment.ready;
    if (payment.state !== 'waiting' || !has('has a page for each call')) return payment.answer;
    return { ...payment.answer, redirectUrl: `${plugin.url}/page/${randomUUID()}` };
  }

  async function refund(asked: Asked): Promise<Message> {
    const { wixTransactionId: wixId = '', wixRefundId = '' } = asked;
    const payment = payments.get(wixId);
    if (!payment || !wixRefundId) throw new Refused(3022);
    const sum = `${wixId} ${asked.refundAmount}`;
    const key = has('takes the same amount for a repeat') ? (amounts.get(sum) ?? wixRefundId) : wixRefundId;
    amounts.set(sum, key);
    const known = refunds.get(key);
    if (known && !has('refunds again')) return known;
    const made = makeRefund(asked, wixId, payment);
    refunds.set(key, made);
    return made;
  }

  async function makeRefund(asked: Asked, wixTransactionId: string, payment: Payment): Promise<Message> {
    const left = payment.captured - payment.refunded;
    const amount = asked.refundAmount === undefined ? left : readAmount(asked.refundAmount, 1009);
    const isHeld = payment.state === 'authorized' && has('refunds what was not captured');
    const isThere = amount <= left || isHeld || has('refunds what is not there');
    const isMade = isThere && payment.state !== 'declined' && payment.flaw !== 'refunds fail';
    if (has('looks before it refunds')) await delay(ENGINE_MS);
    if (isMade) payment.refunded += amount;
    const story = has('tells long stories') ? 'x'.repeat(400) : 'Not refunded';
    const answer = { pluginRefundId: randomUUID(), ...(!isMade && error(3025, story)) };
    const told = {
      wixTransactionId,
      wixRefundId: asked.wixRefundId,
      ...answer,
      amount: has('writes amounts as numbers') ? Number(amount) : String(amount),
    };
    if (isMade || !has('is silent about refused refunds')) tell(wixTransactionId, 'refund', told);
    return has('answers refunds as pending') ? { ...answer, reasonCode: 5009 } : answer;
  }

  function settle(asked: Asked, kind: 'capture' | 'void'): Message {
    const { wixTransactionId = '' } = asked;
    const payment = payments.get(wixTransactionId);
    if (!payment) throw new Refused(3031, 'Unknown');
    const amount = readAmount(kind === 'capture' ? asked.captureAmount : asked.voidAmount, 3001);
    const again = (kind === 'capture' && has('captures twice')) || (kind === 'void' && has('voids what is captured'));
    const isOpen = payment.state === 'authorized' || (again && payment.state === 'approved');
    const isWhole =
      amount === payment.amount || (amount < payment.amount && (kind === 'capture' || has('voids a part')));
    let refusal: Message | undefined;
    if (!isOpen) refusal = error(3031, 'Already captured or voided');
    else if (!isWhole) refusal = error(3001, 'Amount');
    else if (kind === 'capture' && payment.flaw === 'captures fail') refusal = error(3000, 'Not captured');
    else {
      payment.state = kind === 'capture' ? 'approved' : 'voided';
      payment.captured = kind === 'capture' ? amount : 0n;
    }
    const told = has('tells the authorized amount') ? payment.amount : amount;
    tell(wixTransactionId, kind, { wixTransactionId, amount: String(told), ...refusal });
    return refusal ?? (has('has capture ids') ? { pluginCaptureId: randomUUID() } : {});
  }

  async function perform(operation: Operation, asked: Asked): Promise<Message> {
    if (operation === 'connect') return connect(asked);
    if (operation === 'create') return create(asked);
    if (operation === 'refund') return refund(asked);
    return settle(asked, operation);
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const operation = OPERATIONS.find((name) => path === `/${name}`);
    if (path.startsWith('/page/')) return servePage(request, response, new URL(path, plugin.url));
    if (!operation || request.method !== 'POST') return void response.writeHead(404).end();
    const raw = await readAll(request);
    const signed = isSigned({
      publicKeyPem: options.publicKeyPem,
      has,
      operation,
      raw,
      digest: request.headers.digest,
    });
    if (!signed && has('writes down what is forged'))
      payments.set(JSON.parse(String(raw)).wixTransactionId, {
        ...newPayment({}),
        answer: error(3000),
        state: 'declined',
      });
    if (!signed) return void response.writeHead(has('answers 200 to forgers') ? 200 : 401).end();
    const type = request.headers['content-type'] ?? '';
    const isJson = has('compares the whole content type')
      ? type === 'application/json; charset=utf-8'
      : /^application\/json/i.test(type);
    if (!isJson) return void response.writeHead(415).end();
    const asked = parseAsked(String(raw));
    const isStranger = has('refuses properties that it does not know') && asked.addedByWixLater;
    const answer = await (isStranger ? Promise.reject(new Refused(1007)) : perform(operation, asked)).catch(
      (thrown) => {
        if (thrown instanceof Refused) return thrown.answer;
        throw thrown;
      },
    );
    send(response, answer, asked.wixTransactionId ?? '');
  }

  function send(response: ServerResponse, answer: Message, wixId: string): void {
    const { reasonCode } = answer;
    const changed = {
      ...answer,
      ...(has('sends a status') && { status: 'APPROVED' }),
      ...(has('writes reason codes as strings') && reasonCode !== undefined && { reasonCode: String(reasonCode) }),
    };
    const isRefused = reasonCode !== undefined && has('declines with status 402');
    const type = has('answers as text/html') ? 'text/html' : 'application/json';
    response.writeHead(isRefused ? 402 : 200, { 'Content-Type': type });
    const due = later.get(wixId) ?? [];
    later.delete(wixId);
    const text = JSON.stringify(changed);
    if (has('tells before it answers')) setTimeout(() => response.end(text), 200);
    else
      response.end(Buffer.from(text, has('takes Latin-1 for UTF-8') ? 'latin1' : 'utf8'), () =>
        due.forEach((each) => void each()),
      );
  }

  const server = createServer((request, response) => {
    serve(request, response).catch(() => void response.writeHead(500).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  plugin.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  function stop(): Promise<void> {
    stopping.abort();
    return new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }
  return plugin;
}
