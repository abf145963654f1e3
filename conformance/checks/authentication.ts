import type { Check } from '../check.ts';
import type { Operation } from '../config.ts';
import { approved, demand, notDone, turnedAway } from '../expect.ts';
import { type JsonObject, toJson } from '../json.ts';
import { AMOUNT, captureBody, connectBody, refundBody, voidBody } from '../requests.ts';
import type { Signing } from '../signature.ts';
import type { Wix } from '../wix.ts';

// Who is believed to be Wix (contract 3). What is not signed as Wix signs must be turned away, and nothing may come of it.

const FORGERIES: readonly [id: string, section: string, title: string, fix: string, signing: Signing][] = [
  [
    'no-prefix',
    '3.1',
    'the value begins with JWT=',
    'Strip exactly "JWT=", and refuse what does not begin so.',
    { header: 'without JWT=' },
  ],
  [
    'garbage',
    '3.3',
    'a token that is none is refused',
    'Refuse what cannot be read as a JSON Web Token.',
    { header: 'garbage' },
  ],
  [
    'another-key',
    '3.3',
    'a signature of another key is refused',
    "Verify the signature with your app's public key.",
    { key: 'another' },
  ],
  [
    'alg-none',
    '3.2',
    'a token with alg none is refused',
    "Pin RS256; never believe the token's own alg.",
    { algorithm: 'none' },
  ],
  [
    'hs256',
    '3.2',
    'HS256 with the public key as its secret is refused',
    "Pin RS256; never believe the token's own alg.",
    { algorithm: 'HS256' },
  ],
  ['ps256', '3.2', 'PS256 is refused', 'Pin RS256 alone.', { algorithm: 'PS256' }],
  ['rs512', '3.2', 'RS512 is refused', 'Pin RS256 alone.', { algorithm: 'RS512' }],
  ['expired', '3.3', 'a token that has expired is refused', 'Refuse a token whose exp has passed.', { issued: -3_600 }],
  [
    'expired-a-minute-ago',
    '3.4',
    'a token that expired a minute ago is refused',
    'Allow a skew of seconds, no more.',
    { issued: -180 },
  ],
  [
    'no-exp',
    '3.3',
    'a token without exp is refused',
    'Demand exp: most libraries take a token without it.',
    { life: null },
  ],
  ['no-hash', '3.3', 'a token without the hash of the body is refused', 'Demand data.SHA256.', { data: () => ({}) }],
  [
    'other-hash',
    '3.3',
    'a token with the hash of another body is refused',
    'Hash the bytes that came, and compare.',
    { data: () => ({ SHA256: '0'.repeat(64) }) },
  ],
  [
    'short-hash',
    '3.3',
    'a token with the beginning of the right hash is refused',
    'Compare the whole hash.',
    { data: (hash) => ({ SHA256: hash.slice(0, 8) }) },
  ],
  [
    'empty-hash',
    '3.3',
    'a token with an empty hash is refused',
    'An empty hash is no hash.',
    { data: () => ({ SHA256: '' }) },
  ],
  [
    'hash-by-another-name',
    '3.4',
    'a hash under another name than SHA256 is refused',
    'Refuse any other.',
    { data: (hash) => ({ SHA1: hash }) },
  ],
  [
    'appended',
    '3.3',
    'a body with one blank more than was signed is refused',
    'Hash the raw bytes as received, before any parsing.',
    { appended: ' ' },
  ],
];

/** Nothing may come of it: no answer as if it were Wix, and no event. */
async function forged(wix: Wix, signing: Signing): Promise<void> {
  const request = wix.bodyOf();
  turnedAway(await wix.call('create', request, { signing }));
  await wix.quiet();
  const wixTransactionId = String(request.wixTransactionId);
  demand(wix.events({ wixTransactionId }).length === 0, 'an event came about a payment that Wix never asked for');
}

/** A body for each operation that would succeed. */
const BODIES: Record<Operation, (wix: Wix) => Promise<JsonObject>> = {
  connect: async ({ config }) => connectBody(config),
  create: async (wix) => wix.bodyOf(),
  refund: async (wix) => refundBody(wix.config, await wix.paid(), AMOUNT),
  capture: async (wix) => captureBody(await wix.authorized(), AMOUNT),
  void: async (wix) => voidBody(await wix.authorized(), AMOUNT),
};
const OPERATIONS = Object.keys(BODIES) as Operation[];

/** A create as text that means the same to a JSON parser, and is other bytes than the parser would write. */
const RAW: readonly [id: string, title: string, write: (body: JsonObject) => string][] = [
  ['blanks', 'blanks and line ends in a body', (body) => `\n${JSON.stringify(body, null, 2)}\r\n`],
  [
    'escapes',
    'escapes in a body',
    (body) =>
      toJson(body)
        .replaceAll(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
        .replaceAll('/', '\\/'),
  ],
  ['utf8', 'characters beyond ASCII in a body', (body) => toJson({ ...body, note: 'Ünïcode ₿ 日本 🍣' })],
  ['numbers', 'a number that is written as 0.750', (body) => toJson(body).replace('0.75', '0.750')],
  ['duplicates', 'a property that comes twice', (body) => toJson(body).replace('{', '{"extra":1,"extra":2,')],
  ['order', 'properties in another order', (body) => toJson(Object.fromEntries(Object.entries(body).reverse()))],
];

const TAKEN: readonly [id: string, section: string, title: string, fix: string, signing: Signing][] = [
  ['upper-header', '3.1', 'the header may be written DIGEST', 'Header names have no case.', { headerName: 'DIGEST' }],
  ['lower-header', '3.1', 'the header may be written digest', 'Header names have no case.', { headerName: 'digest' }],
  [
    'upper-hash',
    '3.3',
    'the hash may be in upper case',
    'Compare hashes without regard to case.',
    { data: (hash) => ({ SHA256: hash.toUpperCase() }) },
  ],
  [
    'life-of-100-seconds',
    '3.4',
    'a token of 100 seconds is taken',
    'Go by exp; do not demand a certain life.',
    { life: 100 },
  ],
  [
    'old-but-alive',
    '3.4',
    'a token that was issued 90 seconds ago and is still alive is taken',
    'Go by exp, not by the age of iat.',
    { issued: -90 },
  ],
];

export const AUTHENTICATION_CHECKS: readonly Check[] = [
  ...OPERATIONS.map(
    (operation): Check => ({
      id: `auth.${operation}-unsigned`,
      section: '3.3',
      title: `${operation} without a Digest header is refused`,
      fix: `Verify the signature at the ${operation} endpoint too, before anything else is done.`,
      ...((operation === 'capture' || operation === 'void') && { needs: ['authorizeOnly'] }),
      run: async (wix) =>
        turnedAway(await wix.call(operation, await BODIES[operation](wix), { signing: { header: 'absent' } })),
    }),
  ),
  ...OPERATIONS.map(
    (operation): Check => ({
      id: `auth.${operation}-tampered`,
      section: '3.3',
      title: `${operation} with another body than was signed is refused`,
      fix: `Compare the hash of the raw body at the ${operation} endpoint too.`,
      ...((operation === 'capture' || operation === 'void') && { needs: ['authorizeOnly'] }),
      run: async (wix) =>
        turnedAway(await wix.call(operation, await BODIES[operation](wix), { signing: { appended: '\n' } })),
    }),
  ),
  ...FORGERIES.map(
    ([id, section, title, fix, signing]): Check => ({
      ...{ id: `auth.${id}`, section, title, fix },
      run: (wix) => forged(wix, signing),
    }),
  ),
  {
    id: 'auth.status',
    section: '2',
    title: 'a call without a good signature is answered 400 or 401 (recommended)',
    fix: 'Answer 401, or 400, with an empty body. A 200 is an answer to Wix, and a 500 sets off your alarms.',
    run: async (wix) => {
      const { status } = await wix.call('create', wix.bodyOf(), { signing: { key: 'another' } });
      demand(status === 400 || status === 401 || status === 403, `the status is ${status}`);
    },
  },
  {
    id: 'auth.silent',
    section: '2',
    title: 'the refusal of an unsigned call tells nothing (recommended)',
    fix: 'Answer without a body: what was wrong with a signature helps nobody but a forger.',
    run: async (wix) => {
      const request = wix.bodyOf();
      const { text } = await wix.call('create', request, { signing: { key: 'another' } });
      demand(
        !/plugin\w+Id|stack|Exception|\.(php|js|py|rb|java):?\d*/i.test(text),
        `the body tells ${text.slice(0, 200)}`,
      );
    },
  },
  {
    id: 'auth.forged-id-stays-free',
    section: '3.3',
    title: 'a payment that was forged first is charged when Wix asks for it',
    fix: 'Write nothing down before the signature is verified.',
    run: async (wix) => {
      const request = wix.bodyOf();
      await wix.call('create', request, { signing: { key: 'another' } });
      approved(await wix.call('create', request));
    },
  },
  ...TAKEN.map(
    ([id, section, title, fix, signing]): Check => ({
      ...{ id: `auth.${id}`, section, title, fix },
      run: async (wix) => void approved(await wix.call('create', wix.bodyOf(), { signing, genuine: true })),
    }),
  ),
  ...RAW.map(
    ([id, title, write]): Check => ({
      ...{ id: `auth.raw-${id}`, section: '3.4', title: `the hash is taken over raw bytes: ${title}` },
      fix: "Hash the bytes as they came (PHP: file_get_contents('php://input')), not what a JSON library writes from them.",
      run: async (wix) => void approved(await wix.call('create', write(wix.bodyOf()))),
    }),
  ),
  ...(
    [
      ['refund', 'create'],
      ['create', 'refund'],
      ['connect', 'create'],
    ] as const
  ).map(
    ([from, at]): Check => ({
      id: `auth.${from}-at-${at}`,
      section: '3.4',
      title: `a body signed for ${from} does nothing at ${at} (derived)`,
      fix: 'The signature does not cover the path: demand the fields of the endpoint that the body arrived at.',
      run: async (wix) => notDone(await wix.call(at, await BODIES[from](wix))),
    }),
  ),
];
