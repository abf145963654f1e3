import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import { capture, voiding } from '../gateway/capture-or-void.ts';
import { connection } from '../gateway/connect-account.ts';
import { creation } from '../gateway/create-transaction.ts';
import { refund } from '../gateway/refund-transaction.ts';
import { onTheWire } from '../gateway/wix-schemas.ts';

// docs/openapi.yaml: what the gateway serves, from the schemas by which it reads. npm run openapi writes it anew.

const ROOT = path.join(import.meta.dirname, '..');
export const OPENAPI_FILE = path.join(ROOT, 'docs/openapi.yaml');

type Json = Record<string, unknown>;

/** How a request looks on the wire. A member that may be left out, or counts as absent when it is malformed, is not required. */
function wireSchema(schema: z.ZodType): Json {
  const json = z.toJSONSchema(schema, {
    ...{ io: 'input', unrepresentable: 'any', reused: 'inline' },
    override: ({ zodSchema, jsonSchema }) => {
      const { def } = zodSchema._zod as unknown as {
        def: { type: string; in?: z.ZodType; shape?: Record<string, z.ZodType> };
      };
      Object.assign(jsonSchema, onTheWire.get((def.type === 'pipe' ? def.in : zodSchema) as z.ZodType));
      if (!def.shape) return;
      const required = Object.entries(def.shape).flatMap(([name, member]) =>
        member.safeParse(undefined).success ? [] : [name],
      );
      delete jsonSchema.required;
      if (required.length > 0) jsonSchema.required = required;
    },
  }) as Json;
  delete json.$schema;
  return json;
}

const example = (name: string): Json =>
  JSON.parse(readFileSync(path.join(ROOT, 'test/examples', `${name}.json`), 'utf8'));
const ID = { type: 'string', minLength: 1 };
const REFUSAL = {
  type: 'object',
  description: 'Refused: the reason is one of Wix’s codes (Wix contract, 10).',
  properties: {
    reasonCode: { type: 'integer', minimum: 1000, maximum: 9999 },
    errorCode: { type: 'string', maxLength: 50 },
    errorMessage: { type: 'string', maxLength: 300 },
  },
  required: ['reasonCode'],
};
const refusable = (properties: Json, required: string[] = []) => ({
  anyOf: [
    { type: 'object', properties, ...(required.length > 0 && { required }), not: { required: ['reasonCode'] } },
    { ...REFUSAL, properties: { ...REFUSAL.properties, ...properties } },
  ],
});

interface Call {
  readonly summary: string;
  readonly description: string;
  readonly request: z.ZodType;
  readonly answer: Json;
  readonly requests: readonly string[];
  readonly answers: readonly string[];
}

const CALLS: Readonly<Record<string, Call>> = {
  'connect-account': {
    summary: 'Connects a merchant’s account',
    description: 'The engine verifies the credentials. The answer is what Wix is to send from then on.',
    request: connection,
    answer: refusable(
      {
        credentials: { type: 'object', additionalProperties: { type: 'string' } },
        accountId: ID,
        accountName: { type: 'string' },
      },
      ['credentials', 'accountId'],
    ),
    requests: ['connect-account.basic.request'],
    answers: ['connect-account.basic.response', 'connect-account.blocked.response'],
  },
  'create-transaction': {
    summary: 'Charges or authorizes a payment',
    description:
      'Idempotent by wixTransactionId. An answer with pluginTransactionId alone is an approval; redirectUrl sends the buyer to a page; reasonCode 5005 and 5009 are pending. totalAmount is in minor units.',
    request: creation,
    answer: refusable(
      {
        pluginTransactionId: ID,
        redirectUrl: { type: 'string', format: 'uri' },
        credentialsOnFile: { type: 'object' },
      },
      ['pluginTransactionId'],
    ),
    requests: ['create-transaction.card-approve.request'],
    answers: ['create-transaction.card-approve.response'],
  },
  'refund-transaction': {
    summary: 'Refunds a captured payment, in whole or in part',
    description: 'Idempotent by wixRefundId. refundAmount is in minor units; without it what remains is refunded.',
    request: refund,
    answer: refusable({ pluginRefundId: ID }),
    requests: ['refund-transaction.full.request'],
    answers: ['refund-transaction.full.response'],
  },
  'capture-transaction': {
    summary: 'Captures an authorized payment, once',
    description: 'captureAmount is in minor units, 1 to what was authorized.',
    request: capture,
    answer: refusable({}),
    requests: ['capture-transaction.full.request'],
    answers: ['capture-transaction.full.response', 'capture-transaction.declined.response'],
  },
  'void-transaction': {
    summary: 'Releases an authorized payment',
    description: 'voidAmount is in minor units, and must be what was authorized.',
    request: voiding,
    answer: refusable({}),
    requests: ['void-transaction.full.request'],
    answers: ['void-transaction.full.response'],
  },
};

const empty = (description: string) => ({ description });
const FAILED = {
  400: empty('No JSON object, or a malformed repeat of a known id. Nothing is said of the money.'),
  401: empty('The Digest is missing, expired, by no key of Wix, or of another body. No body is read before.'),
  405: empty('Only POST.'),
  413: empty('The body is longer than 1 MiB.'),
  415: empty('Not application/json, or an encoded body.'),
  503: {
    description: 'Not known now, or too much to do: the same call again is answered from what was recorded.',
    headers: { 'Retry-After': { schema: { type: 'integer' } } },
  },
};

const named = (names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name.replaceAll('.', '-'), { value: example(name) }]));

export function openapi(): string {
  const paths: Json = Object.fromEntries(
    Object.entries(CALLS).map(([name, { summary, description, request, answer, requests, answers }]) => [
      `/wix/v1/${name}`,
      {
        post: {
          operationId: name.replace(/-(\w)/, (_, letter: string) => letter.toUpperCase()),
          ...{ summary, description },
          requestBody: {
            required: true,
            content: { 'application/json': { schema: wireSchema(request), examples: named(requests) } },
          },
          responses: {
            200: {
              description: 'Done, or refused with a reason.',
              content: { 'application/json': { schema: answer, examples: named(answers) } },
            },
            ...FAILED,
          },
        },
      },
    ]),
  );
  paths['/return/{token}'] = {
    get: {
      operationId: 'returnBuyer',
      summary: 'Sends a buyer who comes back from a page of the engine on to the shop',
      security: [],
      parameters: [
        { name: 'token', in: 'path', required: true, schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{22}$' } },
      ],
      responses: {
        303: {
          description: 'To the page of the shop that fits.',
          headers: { Location: { schema: { type: 'string', format: 'uri' } } },
        },
        404: empty('No such link, or one that has ended: a page that says so.'),
        503: empty('Not known now: a page that says so.'),
      },
    },
  };
  const document = {
    openapi: '3.1.0',
    info: {
      title: 'Wix payments connector: gateway',
      version: '1.0.0',
      description:
        'What Wix calls (Wix contract, 3 to 7). Every call is signed: the Digest header holds a JWT (RS256) over the SHA-256 of the body. Members that no schema names are ignored.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: 'https://pay.your-psp.com' }],
    security: [{ digest: [] }],
    paths,
    components: {
      securitySchemes: {
        digest: { type: 'apiKey', in: 'header', name: 'Digest', description: 'JWT=<token> with the claim data.SHA256' },
      },
    },
  };
  return `# Written by npm run openapi from the gateway's schemas.\n${stringify(document, { lineWidth: 140, aliasDuplicateObjects: false })}`;
}

if (import.meta.main) writeFileSync(OPENAPI_FILE, openapi());
