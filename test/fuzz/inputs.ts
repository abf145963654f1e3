import { readdirSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { type DescMethod, toBinary, toJsonString } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { DeliveriesService } from '../../proto/gen/relay/v1/deliveries_pb.js';
import { anyMessage } from '../support/any-message.ts';
import type { Operation } from '../wix/client.ts';
import { type JsonObject, toJson } from '../wix/json.ts';
import { sample } from '../wix/requests.ts';

// Whatever may come to the connector's doors: from what its callers send, with something else somewhere in it, to mere bytes.

export type Door = 'gateway' | 'gateway admin' | 'core' | 'relay';

export type Input =
  /** Bytes of a connection of their own. */
  | { readonly kind: 'bytes'; readonly door: Door | 'grpc'; readonly bytes: Buffer }
  /** A body that Wix signed. */
  | { readonly kind: 'signed'; readonly operation: Operation; readonly body: Buffer }
  /** One message to a method over gRPC; one that is not `framed` has a length that is another's. */
  | { readonly kind: 'grpc'; readonly path: string; readonly token: string; readonly message: Buffer; framed: boolean };

/** What strangers do not know: with it an input comes further. */
export interface Known {
  readonly merchantId: string;
  readonly credentials: Record<string, string>;
  readonly wixTransactionId: string;
  readonly pluginTransactionId: string;
  readonly tokens: readonly string[];
}

const NAMES: readonly Operation[] = ['connect', 'create', 'refund', 'capture', 'void'];
const FOLDER = path.join(import.meta.dirname, '../examples');
const EXAMPLES = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.request.json'))
  .map((file) => ({ file, operation: NAMES.find((name) => file.startsWith(`${name}-`)) }))
  .filter((example): example is { file: string; operation: Operation } => example.operation !== undefined);

const pathOf = ({ parent, name }: DescMethod) => `/${parent.typeName}/${name}`;
const doorOf = ({ parent }: DescMethod) => (parent === DeliveriesService ? 'relay' : 'core');

const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
const junk = fc.oneof(
  fc.constantFrom<unknown>(null, true, -1, 0, 1.5, 1e300, -0, 2n ** 63n, 10n ** 400n, '', '\0', '\ud800', [], {}, [
    [[]],
  ]),
  fc.constantFrom<unknown>({ __proto__: 1 }, { constructor: {} }, nested(30), nested(500), 'x'.repeat(2_000), '1e9'),
  fc.constantFrom<unknown>('4242424242424242', '4000000000009235', '4000000000000002', 'JPY', 'creditCard', 'paypal'),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.bigInt(),
  fc.jsonValue({ maxDepth: 3 }),
);
const chance = (percent: number) => fc.nat(99).map((number) => number < percent);
const bytes = (max: number) => fc.uint8Array({ maxLength: max }).map((array) => Buffer.from(array));

/** The same bytes with some cut out and others put in, here and there. */
const spoil = (whole: Buffer, times: number): fc.Arbitrary<Buffer> =>
  fc.array(fc.tuple(fc.nat(whole.length), fc.nat(8), bytes(8)), { minLength: 1, maxLength: times }).map((cuts) => {
    let spoiled = whole;
    for (const [at, length, put] of cuts)
      spoiled = Buffer.concat([spoiled.subarray(0, at), put, spoiled.subarray(at + length)]);
    return spoiled;
  });
const perhapsSpoiled = (percent: number, of: fc.Arbitrary<Buffer>) =>
  fc.tuple(of, chance(percent)).chain(([whole, isSpoiled]) => (isSpoiled ? spoil(whole, 4) : fc.constant(whole)));

/** Every object and list within a body, itself first. */
function partsOf(value: unknown): JsonObject[] {
  if (typeof value !== 'object' || value === null) return [];
  return [value as JsonObject, ...Object.values(value).flatMap(partsOf)];
}

/** A body of Wix's as in the examples, of a merchant that is connected more often than not, with other values here and there. */
function signed(known: Known): fc.Arbitrary<Input> {
  const { merchantId, credentials } = known;
  const changes = fc.array(
    fc.record({ part: fc.nat(), at: fc.nat(), how: fc.constantFrom('set', 'set', 'add', 'delete'), value: junk }),
    { maxLength: 3 },
  );
  const bodies = fc
    .record({ example: fc.constantFrom(...EXAMPLES), changes, id: fc.uuid(), isKnown: chance(30), isOurs: chance(80) })
    .map(({ example: { file, operation }, changes, id, isKnown, isOurs }) => {
      const body: JsonObject = structuredClone(sample(file));
      const named = {
        merchantCredentials: { ...credentials },
        ...(body.wixMerchantId !== undefined && { wixMerchantId: merchantId }),
      };
      if (isOurs && operation !== 'connect') Object.assign(body, named);
      if (operation !== 'connect') body.wixTransactionId = isKnown ? known.wixTransactionId : id;
      if (isKnown && 'pluginTransactionId' in body) body.pluginTransactionId = known.pluginTransactionId;
      if ('wixRefundId' in body) body.wixRefundId = id;
      for (const { part, at, how, value } of changes) {
        const parts = partsOf(body);
        const target = parts[part % parts.length]!;
        const names = Object.keys(target);
        const name = how === 'add' ? nameOf(value) : names[at % Math.max(1, names.length)];
        if (name === undefined) continue;
        if (how === 'delete') delete target[name];
        else
          Object.defineProperty(target, name, {
            value: structuredClone(value),
            enumerable: true,
            configurable: true,
            writable: true,
          });
      }
      return { operation, body: Buffer.from(toJson(body)) };
    });
  return bodies.chain(({ operation, body }) =>
    perhapsSpoiled(15, fc.constant(body)).map((body) => ({ kind: 'signed', operation, body })),
  );
}

/** Not of an object: one may say itself what text it is, and wrongly. */
const nameOf = (value: unknown) => (typeof value === 'object' ? 'added' : String(value).slice(0, 50));

/** A message to a method of the PSP's services, as bytes and as JSON. */
function messages(
  known: Known,
  methods: readonly DescMethod[],
): fc.Arbitrary<{ method: DescMethod; binary: Buffer; json: string }> {
  const text = fc.string({ unit: 'binary', maxLength: 250 });
  const oneOf = (...values: string[]) => fc.oneof(fc.constantFrom('', ...values), fc.uuid(), text);
  const enums = fc.array(fc.integer({ min: -1, max: 12 }), { maxLength: 5 });
  const override = {
    id: oneOf(known.pluginTransactionId),
    transaction_id: oneOf(known.pluginTransactionId),
    external_id: oneOf(known.wixTransactionId),
    call_id: fc.uuid(),
    values: fc.oneof(fc.constant(known.credentials), fc.dictionary(text, text, { maxKeys: 5 })),
    states: enums,
    items: fc.constant([]),
    seconds: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  };
  const each = methods.map((method) => {
    // The newest credentials of an account win, and the engine would refuse those that are known here (R11).
    const merchants = method.name === 'ConnectMerchantAccount' ? [] : [known.merchantId];
    const messages = anyMessage(method.input, { ...override, external_merchant_id: oneOf(...merchants) });
    return messages.map((message) => {
      let json = '{}';
      // Not all that has bytes has JSON: times out of range, numbers of no enum.
      try {
        json = toJsonString(method.input, message);
      } catch {}
      return { method, binary: Buffer.from(toBinary(method.input, message)), json };
    });
  });
  return fc.oneof(...each);
}

function grpc(known: Known): fc.Arbitrary<Input> {
  const message = messages(known, PaymentsService.methods);
  const token = fc.constantFrom(...known.tokens, ...known.tokens, '', 'x'.repeat(32));
  return fc.tuple(message, token, chance(98)).chain(([{ method, binary }, token, framed]) =>
    perhapsSpoiled(50, fc.constant(binary)).map((message) => ({
      kind: 'grpc',
      path: pathOf(method),
      token,
      message,
      framed,
    })),
  );
}

/** A request over HTTP/1.1 to a door, as it stands on the wire, and perhaps spoiled there. */
function http(known: Known): fc.Arbitrary<Input> {
  const message = messages(known, [...PaymentsService.methods, ...DeliveriesService.methods]);
  const paths = fc.oneof(
    fc.constantFrom(
      '/',
      '*',
      '//',
      '/wix/v1',
      '/wix/v1/create-transaction',
      '/wix/v1/refund-transaction/',
      '/health/live',
    ),
    fc.constantFrom(
      '/health/ready',
      '/metrics',
      '/wix/v1/%00',
      '/wix/v1/../x',
      '/return/',
      `/return/${'A'.repeat(22)}`,
      `/return/${'A'.repeat(21)}%00?x`,
      'http://[',
      'x',
      `/${'y'.repeat(9_000)}`,
    ),
    fc.webPath(),
  );
  const method = fc.oneof(
    { weight: 5, arbitrary: fc.constant('POST') },
    fc.constantFrom('GET', 'PUT', 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT', 'PATCH', 'PRI', 'get', ''),
  );
  const name = fc.constantFrom(
    ...[
      'Digest',
      'Authorization',
      'Content-Encoding',
      'Content-Type',
      'Accept',
      'Accept-Encoding',
      'TE',
      'Upgrade',
      'Cookie',
    ],
    ...['Connect-Protocol-Version', 'Connect-Timeout-Ms', 'Grpc-Timeout', 'Connect-Content-Encoding', 'Expect', 'Host'],
    ...['Connection', 'Transfer-Encoding', 'Content-Length', 'X-Forwarded-For', 'Origin', 'x-bin', 'Grpc-Encoding'],
  );
  const value = fc.oneof(
    fc.constantFrom(
      '',
      '0',
      '1',
      '-1',
      '9999999999999',
      '1, 1',
      'gzip',
      'br',
      'identity',
      'chunked',
      'close',
      'keep-alive',
    ),
    fc.constantFrom(
      '100-continue',
      'websocket',
      'Bearer ',
      'Bearer x',
      'JWT=',
      'JWT=a.b.c',
      'application/grpc',
      '*/*',
      '[',
    ),
    fc.string({ maxLength: 60 }),
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.base64String({ maxLength: 400 }).map((text) => `JWT=${text}`),
  );
  const types = ['application/json', 'application/proto', 'application/connect+json', 'application/connect+proto'];
  const type = fc.constantFrom(
    ...types,
    ...types,
    'application/grpc-web+proto',
    'application/grpc-web-text',
    'text/plain',
    '',
  );
  const parts = fc.record({
    ...{ message, method, type, paths },
    isCall: chance(80),
    door: fc.constantFrom<Door>('gateway', 'gateway', 'gateway admin', 'core', 'relay'),
    token: fc.constantFrom(...known.tokens, ''),
    headers: fc.array(fc.tuple(name, value), { maxLength: 4 }),
    body: fc.oneof(fc.constant(undefined), bytes(400)),
    isZipped: chance(5),
  });
  const rendered = parts.map(({ message: { method: rpc, binary, json }, isCall, ...parts }) => {
    const isRpc = isCall && parts.door !== 'gateway' && parts.door !== 'gateway admin';
    const door = isRpc ? doorOf(rpc) : parts.door;
    const target = isRpc ? pathOf(rpc) : parts.paths;
    const plain = parts.body ?? (/proto|text/.test(parts.type) ? binary : Buffer.from(json));
    const message = parts.isZipped ? gzipSync(plain) : plain;
    const framed = /connect\+|grpc/.test(parts.type) ? Buffer.concat([prefixOf(message.length), message]) : message;
    const lines = [
      `${parts.method} ${target} HTTP/1.1`,
      ...(parts.headers.some(([name]) => name === 'Host') ? [] : ['Host: x']),
      ...(parts.type ? [`Content-Type: ${parts.type}`] : []),
      ...(parts.token && isRpc ? [`Authorization: Bearer ${parts.token}`] : []),
      ...(parts.isZipped ? ['Content-Encoding: gzip'] : []),
      ...parts.headers.map(([name, value]) => `${name}: ${value}`),
      `Content-Length: ${framed.length}`,
    ];
    return { door, bytes: Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), framed]) };
  });
  return rendered.chain(({ door, bytes }) =>
    perhapsSpoiled(25, fc.constant(bytes)).map((bytes) => ({ kind: 'bytes', door, bytes })),
  );
}

/** The five bytes in front of a message of this length. */
export function prefixOf(length: number): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(length, 1);
  return prefix;
}

/** Whatever may come: signed bodies are few, since each of them may cost a payment. */
export function inputs(known: Known): fc.Arbitrary<Input> {
  const doors = fc.constantFrom<Door | 'grpc'>('gateway', 'gateway admin', 'core', 'relay', 'grpc');
  const noise = fc.tuple(doors, bytes(1_500)).map(([door, bytes]): Input => ({ kind: 'bytes', door, bytes }));
  return fc.oneof(
    { weight: 10, arbitrary: signed(known) },
    { weight: 45, arbitrary: http(known) },
    { weight: 30, arbitrary: grpc(known) },
    { weight: 15, arbitrary: noise },
  );
}
