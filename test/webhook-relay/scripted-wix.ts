import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { closeHttp, listen } from '../../proto/runtime/lifecycle.ts';

// The two endpoints of Wix that the relay calls, answering what a test tells them to.

export type Reply = { status?: number; headers?: Record<string, string>; body?: string } | 'reset' | 'hang' | 'half';

/** One Submit Event call, in the order in which they came. */
export interface SubmittedEvent {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The one member of `event`. */
  readonly kind: string;
  readonly wixTransactionId: string;
}

export interface ScriptedWix {
  readonly url: string;
  readonly events: SubmittedEvent[];
  readonly tokenRequests: string[];
  /** Broken promises of the caller: a token used twice or unknown, two events of a payment at once. */
  readonly problems: string[];
  /** How many events are being answered, and at most so far. */
  readonly inFlight: { now: number; max: number };
  answerToken(reply: () => Reply | Promise<Reply> | undefined): void;
  /** Undefined: 200 with `{}`. */
  answerEvent(reply: (event: SubmittedEvent) => Reply | Promise<Reply | undefined> | undefined): void;
  close(): Promise<void>;
}

export async function startScriptedWix(): Promise<ScriptedWix> {
  const events: SubmittedEvent[] = [];
  const tokenRequests: string[] = [];
  const problems: string[] = [];
  const inFlight = { now: 0, max: 0 };
  const unusedTokens = new Set<string>();
  const busyPayments = new Set<string>();
  let tokenReply: () => Reply | Promise<Reply> | undefined = () => undefined;
  let eventReply: (event: SubmittedEvent) => Reply | Promise<Reply | undefined> | undefined = () => undefined;

  async function giveToken(request: IncomingMessage, response: ServerResponse): Promise<void> {
    tokenRequests.push(await text(request));
    const token = `OAUTH2.token-${tokenRequests.length}`;
    unusedTokens.add(token);
    send(response, (await tokenReply()) ?? { body: JSON.stringify({ refresh_token: null, access_token: token }) });
  }

  async function takeEvent(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const [[kind, content]] = Object.entries(JSON.parse(body).event) as [[string, { wixTransactionId: string }]];
    const event = { headers: request.headers, body, kind, wixTransactionId: content.wixTransactionId };
    const { authorization = '' } = request.headers;
    if (!unusedTokens.delete(authorization)) problems.push(`a token used twice or unknown: ${authorization}`);
    if (busyPayments.has(event.wixTransactionId)) problems.push(`two events at once: ${event.wixTransactionId}`);
    busyPayments.add(event.wixTransactionId);
    inFlight.max = Math.max(inFlight.max, ++inFlight.now);
    const ended = () => {
      busyPayments.delete(event.wixTransactionId);
      inFlight.now--;
    };
    response.once('close', ended);
    events.push(event);
    const reply = (await eventReply(event)) ?? {};
    // The payment is free once its answer is on its way: the next event may come before the connection is seen to end.
    response.off('close', ended);
    if (reply === 'hang' || reply === 'half') response.once('close', ended);
    else ended();
    send(response, reply);
  }

  const server = createServer((request, response) => {
    if (request.url === '/oauth/access') void giveToken(request, response);
    else if (request.url === '/payments/v1/provider-platform-events') void takeEvent(request, response);
    else response.writeHead(404).end();
  });
  const port = await listen(server, 0, '127.0.0.1');
  return {
    url: `http://127.0.0.1:${port}`,
    events,
    tokenRequests,
    problems,
    inFlight,
    answerToken: (reply) => {
      tokenReply = reply;
    },
    answerEvent: (reply) => {
      eventReply = reply;
    },
    close: () => closeHttp(server, 0),
  };
}

function send(response: ServerResponse, reply: Reply): void {
  if (reply === 'hang') return;
  if (reply === 'half') {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '2' }).write('{');
    return;
  }
  if (reply === 'reset') {
    response.socket?.resetAndDestroy();
    return;
  }
  const { status = 200, headers = {}, body = '{}' } = reply;
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
}
