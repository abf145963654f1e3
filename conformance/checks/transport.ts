import type { Check, Need } from '../check.ts';
import type { Operation } from '../config.ts';
import { bodyOf, demand, errorShape, refused, succeeded, textsIn } from '../expect.ts';
import type { JsonObject } from '../json.ts';
import { AMOUNT, captureBody, connectBody, refundBody, voidBody } from '../requests.ts';
import { CODES_OF, LEGACY } from '../tables.ts';
import type { CallOptions, Wix } from '../wix.ts';

// What holds for every operation (contract 2, 10, 11): one check each for each of the five.

interface Call {
  readonly operation: Operation;
  /** Where its answer stands in the contract. */
  readonly section: string;
  readonly needs: readonly Need[];
  /** A body that succeeds, with what has to be there before it. */
  readonly good: (wix: Wix) => Promise<JsonObject>;
  readonly optional: readonly string[];
  /** A body that is refused as a matter of business. */
  readonly bad: (wix: Wix) => Promise<JsonObject>;
  readonly badNeeds: readonly Need[];
}

const CALLS: readonly Call[] = [
  {
    ...{ operation: 'connect', section: '4.3', needs: [], optional: ['country', 'currency', 'mode'] },
    good: async ({ config }) => connectBody(config),
    bad: async ({ config }) => connectBody(config, { credentials: config.merchant.wrongCredentials }),
    badNeeds: ['wrongCredentials'],
  },
  {
    ...{ operation: 'create', section: '5.5', needs: [] },
    optional: ['installments', 'fraudInformation', 'setupCredentialsOnFile', 'offSession', 'moto', 'scaRequested'],
    good: async (wix) => wix.bodyOf(),
    bad: async (wix) => wix.bodyOf({ card: Object.keys(wix.config.cards.declined)[0] ?? '' }),
    badNeeds: ['declined'],
  },
  {
    ...{ operation: 'refund', section: '6.2', needs: [], optional: ['mode', 'reason'] },
    good: async (wix) => refundBody(wix.config, await wix.paid(), AMOUNT),
    bad: async (wix) => refundBody(wix.config, await wix.paid(), AMOUNT + 1),
    badNeeds: [],
  },
  {
    ...{ operation: 'capture', section: '7.3', needs: ['authorizeOnly'], optional: [] },
    good: async (wix) => captureBody(await wix.authorized(), AMOUNT),
    bad: async (wix) => captureBody(await wix.authorized(), AMOUNT + 1),
    badNeeds: ['authorizeOnly'],
  },
  {
    ...{ operation: 'void', section: '7.3', needs: ['authorizeOnly'], optional: [] },
    good: async (wix) => voidBody(await wix.authorized(), AMOUNT),
    bad: async (wix) => voidBody(await wix.authorized(), AMOUNT + 1),
    badNeeds: ['authorizeOnly'],
  },
];

/** Deprecated, or never there: Wix ignores them, and says not to send them. */
const NOT_TO_SEND = ['status', 'mode', 'errorDescription', 'pluginId'];

const ask = async (wix: Wix, { operation, good }: Call, options?: CallOptions) =>
  wix.call(operation, await good(wix), options);

const checksOf = (call: Call): Check[] => {
  const { operation, section, needs, good, bad, badNeeds, optional } = call;
  const refuse = async (wix: Wix) => refused(await wix.call(operation, await bad(wix)));
  return [
    {
      id: `${operation}.status`,
      section: '2',
      title: `${operation}: success is status 200 and a JSON object in UTF-8 without reasonCode`,
      fix: 'Answer 200 with a JSON object. Anything else, a PHP warning before the JSON for example, is a failed call to Wix.',
      needs,
      run: async (wix) => void succeeded(await ask(wix, call)),
    },
    {
      id: `${operation}.content-type`,
      section: '2',
      title: `${operation}: the answer's content type is application/json`,
      fix: "Send the header Content-Type: application/json with every answer. In PHP: header('Content-Type: application/json').",
      needs,
      run: async (wix) => {
        const { headers } = await ask(wix, call);
        const type = headers['content-type'] ?? '';
        demand(/application\/json/i.test(type), `the content type is "${type}"`);
      },
    },
    {
      id: `${operation}.no-deprecated-fields`,
      section,
      title: `${operation}: the answer has no status, mode or other deprecated field`,
      fix: 'Leave the field out: the state is told by reasonCode and redirectUrl alone.',
      needs,
      run: async (wix) => {
        const body = bodyOf(await ask(wix, call));
        const found = NOT_TO_SEND.filter((name) => name in body);
        demand(found.length === 0, `the answer has ${found.join(', ')}`);
      },
    },
    {
      id: `${operation}.unknown-properties`,
      section: '2',
      title: `${operation}: properties that the plugin does not know are ignored`,
      fix: 'Wix adds properties over time. Read what you know, and do not refuse a body for what you do not.',
      needs,
      run: async (wix) => {
        const body = { ...(await good(wix)), addedByWixLater: { deep: [1, { more: null }] }, anotherOne: 'x' };
        succeeded(await wix.call(operation, body));
      },
    },
    {
      id: `${operation}.media-type`,
      section: '2',
      title: `${operation}: Content-Type: application/json without a charset is taken too`,
      fix: 'Compare the media type alone, without its parameters and in any case.',
      needs,
      run: async (wix) => void succeeded(await ask(wix, call, { headers: { 'Content-Type': 'Application/JSON' } })),
    },
    ...(optional.length === 0
      ? []
      : [
          {
            id: `${operation}.null-is-absent`,
            section: '2',
            title: `${operation}: null in an optional field counts as absent (derived)`,
            fix: `Treat null like a missing field: ${optional.join(', ')}.`,
            needs,
            run: async (wix: Wix) => {
              const nulls = Object.fromEntries(optional.map((name) => [name, null]));
              succeeded(await wix.call(operation, { ...(await good(wix)), ...nulls }));
            },
          },
        ]),
    {
      id: `${operation}.refusal-is-200`,
      section: '2',
      title: `${operation}: a refusal is status 200 with a reasonCode`,
      fix: 'Answer 200 for business failures too. Any other status says that the call itself failed.',
      needs: badNeeds,
      run: async (wix) => void (await refuse(wix)),
    },
    {
      id: `${operation}.error-shape`,
      section: '10',
      title: `${operation}: a refusal has a whole reasonCode, and texts of at most 50 and 300 characters`,
      fix: 'reasonCode is a JSON number. errorCode has 1 to 50 characters, errorMessage 1 to 300; 6000 needs both.',
      needs: badNeeds,
      run: async (wix) => errorShape(await refuse(wix)),
    },
    {
      id: `${operation}.current-code`,
      section: '11',
      title: `${operation}: a refusal's reasonCode is current, and may stand in this answer`,
      fix: `Take a code of the group for ${operation}, or a general one (1002 to 1013), or 6000 with both texts.`,
      needs: badNeeds,
      run: async (wix) => {
        const code = (await refuse(wix)).reasonCode as number;
        demand(!LEGACY.has(code), `${code} is a code of old pages that is not to be sent any more`);
        demand(CODES_OF[operation].has(code), `${code} is no code of ${operation}`);
      },
    },
    {
      id: `${operation}.refusal-is-bare`,
      section: '10',
      title: `${operation}: a refusal's texts tell no secret and no card`,
      fix: 'errorMessage reaches merchants: no credentials, no card numbers, no stack traces.',
      needs: badNeeds,
      run: async (wix) => {
        const body = await refuse(wix);
        const { credentials, wrongCredentials = {} } = wix.config.merchant;
        const secrets = [
          ...Object.values({ ...credentials, ...wrongCredentials }),
          ...Object.keys(wix.config.cards.declined),
        ];
        const long = secrets.filter((secret) => secret.length >= 6);
        for (const [path, text] of textsIn({ errorCode: body.errorCode, errorMessage: body.errorMessage })) {
          const told = long.find((secret) => text.includes(secret));
          demand(told === undefined, `${path} holds a credential or a card number`);
          demand(!/\n\s+at |stack trace|^#0 /i.test(text), `${path} holds a stack trace`);
        }
      },
    },
  ];
};

export const TRANSPORT_CHECKS: readonly Check[] = CALLS.flatMap(checksOf);
