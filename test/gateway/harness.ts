import assert from 'node:assert/strict';
import { createHash, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  createClient,
  createRouterTransport,
  type HandlerContext,
  type ServiceImpl,
} from '@connectrpc/connect';
import { type GatewayConfig, gatewayConfig } from '../../gateway/config.ts';
import { createGateway, type Gateway, type Limits } from '../../gateway/service.ts';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { parseConfig } from '../../proto/runtime/config.ts';
import { quietLog } from '../support/log.ts';

// A gateway on loopback, signed requests as Wix sends them, and a core that answers from a script.

type Methods = typeof PaymentsService.method;
type Input<M extends keyof Methods> = Methods[M] extends DescMethodUnary<infer I, infer _> ? MessageShape<I> : never;
type Output<M extends keyof Methods> =
  Methods[M] extends DescMethodUnary<infer _, infer O> ? MessageInitShape<O> : never;

export type Script = {
  [M in keyof Methods]?: (request: Input<M>, context: HandlerContext) => Output<M> | Promise<Output<M>>;
};

export interface CoreCall {
  readonly method: keyof Methods;
  // biome-ignore lint/suspicious/noExplicitAny: each test knows which request it looks at
  readonly request: any;
}

const METHODS = [
  'connectMerchantAccount',
  'createTransaction',
  'refundTransaction',
  'captureTransaction',
  'voidTransaction',
  'returnBuyer',
] as const;

/** A PaymentsService that records every call and then does what the script says; without one it is UNAVAILABLE. */
export function scriptedCore(script: Script): {
  calls: CoreCall[];
  service: Partial<ServiceImpl<typeof PaymentsService>>;
} {
  const calls: CoreCall[] = [];
  const answers = METHODS.map((method) => [
    method,
    (request: never, context: HandlerContext) => {
      calls.push({ method, request });
      const answer = script[method] as ((request: never, context: HandlerContext) => object) | undefined;
      if (!answer) throw new ConnectError('not scripted', Code.Unavailable);
      return answer(request, context);
    },
  ]);
  return { calls, service: Object.fromEntries(answers) };
}

/** Keys as Wix's app dashboard shows them; any two tests may share them. */
export const wixKeys = generateKeyPairSync('rsa', { modulusLength: 2048 });

export function pemOf(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

export function configOf(env: Record<string, string> = {}): GatewayConfig {
  return parseConfig(gatewayConfig, {
    GATEWAY_PORT: '0',
    GATEWAY_ADMIN_PORT: '0',
    WIX_PUBLIC_KEY: pemOf(wixKeys.publicKey),
    ...env,
  });
}

export interface TestGateway extends Gateway {
  readonly url: string;
  readonly calls: CoreCall[];
  readonly log: ReturnType<typeof quietLog>;
  /** What the core answers from now on. */
  script: Script;
  /** Posts a body, signed unless the headers say otherwise. */
  post(call: string, body: unknown, headers?: Record<string, string>): Promise<Answer>;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: each test knows which answer it looks at
  readonly json: any;
}

const running = new Set<Gateway>();

/** Stopped by stopGateways, which every file calls after its tests. */
export async function startGateway(
  options: { script?: Script; env?: Record<string, string>; now?: () => Date; limits?: Partial<Limits> } = {},
): Promise<TestGateway> {
  const log = quietLog();
  const script: Script = {};
  const core = scriptedCore(script);
  const transport = createRouterTransport((router) => router.service(PaymentsService, core.service));
  const gateway = createGateway(configOf(options.env), {
    payments: createClient(PaymentsService, transport),
    log,
    ...(options.now && { now: options.now }),
    ...(options.limits && { limits: options.limits }),
  });
  running.add(gateway);
  await gateway.start();
  const url = `http://127.0.0.1:${gateway.port}`;
  Object.assign(script, options.script);
  return {
    start: gateway.start,
    stop: gateway.stop,
    port: gateway.port,
    adminPort: gateway.adminPort,
    url,
    calls: core.calls,
    log,
    get script() {
      return script;
    },
    set script(next) {
      for (const method of METHODS) delete script[method];
      Object.assign(script, next);
    },
    post: (call, body, headers) => post(`${url}/wix/v1/${call}`, body, headers),
  };
}

export async function stopGateways(): Promise<void> {
  await Promise.all([...running].map((gateway) => gateway.stop()));
  running.clear();
}

async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const bytes = bytesOf(body);
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json; charset=utf-8', digest: digestOf(bytes), ...headers },
    body: bytes as Uint8Array<ArrayBuffer>,
  });
  const text = await response.text();
  return { status: response.status, text, headers: response.headers, json: text === '' ? undefined : JSON.parse(text) };
}

/** Bytes and texts go as they are, anything else as JSON. */
export function bytesOf(body: unknown): Uint8Array {
  if (body instanceof Uint8Array) return body;
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
}

/** The Digest header for a body, valid for two minutes from now. */
export function digestOf(body: Uint8Array): string {
  return `JWT=${tokenOf({ data: { SHA256: sha256(body) }, ...lifetime() })}`;
}

export function lifetime(): { iat: number; exp: number } {
  const iat = Math.floor(Date.now() / 1000);
  return { iat, exp: iat + 120 };
}

export function sha256(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

/** A compact JWS; how it is signed is the forger's choice. */
export function tokenOf(
  claims: unknown,
  header: object = { alg: 'RS256', typ: 'JWT' },
  sign: (input: string) => Buffer = (input) => createSign('RSA-SHA256').update(input).sign(wixKeys.privateKey),
): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${part(header)}.${part(claims)}`;
  return `${input}.${sign(input).toString('base64url')}`;
}

const EXAMPLES = path.join(import.meta.dirname, '../examples');

export function example(name: string): string {
  return readFileSync(path.join(EXAMPLES, name), 'utf8');
}

// biome-ignore lint/suspicious/noExplicitAny: each test knows which example it looks at
export function exampleJson(name: string): any {
  return JSON.parse(example(name));
}

export function exampleNames(start: string, end: string): string[] {
  const names = readdirSync(EXAMPLES).filter((name) => name.startsWith(start) && name.endsWith(end));
  assert.ok(names.length > 0, `no example is called ${start}*${end}`);
  return names;
}

/** A raw connection: what is sent is sent as it is, and `closed` resolves with all that came back. */
export function connect(port: number): {
  socket: net.Socket;
  send(text: string | Uint8Array): void;
  closed: Promise<string>;
} {
  const socket = net.connect(port, '127.0.0.1');
  let received = '';
  socket.setEncoding('utf8').on('data', (text) => {
    received += text;
  });
  // A reset is one of the ways in which a connection is closed.
  socket.on('error', () => undefined);
  const closed = new Promise<string>((resolve) => socket.on('close', () => resolve(received)));
  return { socket, send: (text) => socket.write(text), closed };
}

/** The head of a POST; the caller adds Content-Length or Transfer-Encoding. */
export function headOf(call: string, headers: Record<string, string>): string {
  const lines = Object.entries({ Host: '127.0.0.1', 'Content-Type': 'application/json', ...headers });
  return `POST /wix/v1/${call} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
}
