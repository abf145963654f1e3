import type { Check } from '../check.ts';
import { demand, errorShape, textsIn } from '../expect.ts';
import { canonical, isObject, type JsonObject, parseObject } from '../json.ts';
import { cardNumbers } from '../mask.ts';
import { CODES_OF, LEGACY, PENDING } from '../tables.ts';
import type { Call, Wix } from '../wix.ts';

// What must hold over everything that was said during the run, whoever asked for it. These come last.

const PROBLEMS_MAX = 5;

/** The first few of what is wrong, each with the message it stands in. */
function none(problems: readonly string[]): void {
  const more = problems.length > PROBLEMS_MAX ? ` and ${problems.length - PROBLEMS_MAX} more` : '';
  demand(problems.length === 0, `${problems.slice(0, PROBLEMS_MAX).join('; ')}${more}`);
}

interface Said {
  readonly where: string;
  readonly kind: keyof typeof CODES_OF;
  readonly body: JsonObject;
}

const answered = ({ run }: Wix): (Call & { answer: NonNullable<Call['answer']> })[] =>
  run.calls.filter(
    (call): call is Call & { answer: NonNullable<Call['answer']> } => call.genuine && call.answer !== undefined,
  );

/** Every answer and every event. */
function said(wix: Wix): Said[] {
  const answers = answered(wix).flatMap(({ operation, answer: { status, body } }): Said[] =>
    status === 200 && body ? [{ where: `an answer to ${operation}`, kind: operation, body }] : [],
  );
  const events = wix.run.server.events.flatMap(({ kind, body }): Said[] =>
    kind ? [{ where: `a ${kind} event`, kind: kind === 'transaction' ? 'create' : kind, body }] : [],
  );
  return [...answers, ...events];
}

const idOf = ({ text }: Call) => String(parseObject(text)?.wixTransactionId ?? '');
const paymentsOf = (wix: Wix) => Map.groupBy(wix.run.server.events, ({ wixTransactionId }) => wixTransactionId);

/** [whose id, the plugin's id for it], from answers and events. */
function named(wix: Wix, pluginName: string, wixName: string, operation: string, kind: string): [string, string][] {
  const pairs = [
    ...answered(wix)
      .filter((call) => call.operation === operation)
      .map((call) => [parseObject(call.text)?.[wixName], call.answer.body?.[pluginName]]),
    ...wix.run.server.events
      .filter((event) => event.kind === kind)
      .map(({ body }) => [body[wixName], body[pluginName]]),
  ];
  return pairs.filter((pair): pair is [string, string] => pair.every((id) => typeof id === 'string'));
}

/** Each of the first has one of the second. */
function oneEach(pairs: readonly [string, string][], says: string): string[] {
  return [...Map.groupBy(pairs, ([key]) => key)]
    .filter(([, group]) => new Set(group.map(([, value]) => value)).size > 1)
    .map(([key]) => `${key} ${says}`);
}

const flip = (pairs: readonly [string, string][]) => pairs.map(([one, other]): [string, string] => [other, one]);

export const HISTORY_CHECKS: readonly Check[] = (
  [
    {
      id: 'all.codes-current',
      section: '11',
      title: 'no answer and no event has a reason code of old pages, or one that is in no table',
      fix: 'Map what you have to a current code, or to 6000 with both texts.',
      run: (wix) =>
        none(
          said(wix).flatMap(({ where, kind, body: { reasonCode } }) => {
            if (reasonCode === undefined) return [];
            if (LEGACY.has(reasonCode as number)) return [`${where} has the old code ${reasonCode}`];
            return CODES_OF[kind].has(reasonCode as number) ? [] : [`${where} has ${JSON.stringify(reasonCode)}`];
          }),
        ),
    },
    {
      id: 'all.error-shape',
      section: '10',
      title: 'every error has the shape of the contract',
      fix: 'reasonCode is a number, errorCode has at most 50 characters, errorMessage at most 300.',
      run: (wix) =>
        none(
          said(wix).flatMap(({ where, body }) => {
            try {
              if (body.reasonCode !== undefined) errorShape(body);
              return [];
            } catch (error) {
              return [`${where}: ${(error as Error).message}`];
            }
          }),
        ),
    },
    {
      id: 'all.no-texts-without-error',
      section: '5.5',
      title: 'errorCode and errorMessage come with declines only',
      fix: 'Leave both out of approvals and pending payments.',
      run: (wix) =>
        none(
          said(wix).flatMap(({ where, body: { reasonCode, errorCode, errorMessage } }) =>
            (reasonCode === undefined || PENDING.has(reasonCode as number)) && (errorCode ?? errorMessage) !== undefined
              ? [`${where} has error texts and no error`]
              : [],
          ),
        ),
    },
    {
      id: 'all.no-page-with-code',
      section: '5.5',
      title: 'no answer has both redirectUrl and reasonCode (derived)',
      fix: 'A payment waits for its buyer, or it is pending, or it is declined.',
      run: (wix) =>
        none(
          said(wix).flatMap(({ where, body: { redirectUrl, reasonCode } }) =>
            redirectUrl !== undefined && reasonCode !== undefined ? [`${where} has both`] : [],
          ),
        ),
    },
    {
      id: 'all.no-card-numbers',
      section: '10',
      title: 'no answer and no event holds a card number',
      fix: 'Never send a card number back: bin and lastFour are all that Wix takes.',
      run: (wix) => {
        const numbers = cardNumbers(wix.config);
        const isTold = (text: string) => numbers.some((number) => text.replaceAll(/[ -]/g, '').includes(number));
        none(
          said(wix).flatMap(({ where, body }) =>
            textsIn(body)
              .filter(([, text]) => isTold(text))
              .map(([path]) => `${where} has one in ${path}`),
          ),
        );
      },
    },
    {
      id: 'all.no-secrets',
      section: '10',
      title: 'no event holds credentials of a merchant or the secret of the app',
      fix: 'Send what section 8.4 lists and nothing else.',
      run: (wix) => {
        const { merchant, wix: app } = wix.config;
        const secrets = [app.appSecret, ...Object.values(merchant.credentials)].filter(({ length }) => length >= 8);
        none(
          wix.run.server.events.flatMap(({ kind, text }) =>
            secrets.some((secret) => text.includes(secret)) ? [`a ${kind} event does`] : [],
          ),
        );
      },
    },
    {
      id: 'all.one-id-per-payment',
      section: '9.1',
      title: 'each payment had one pluginTransactionId in all answers and events',
      fix: 'Make the id once, with the payment, and keep it.',
      run: (wix) =>
        none(oneEach(named(wix, 'pluginTransactionId', 'wixTransactionId', 'create', 'transaction'), 'had several')),
    },
    {
      id: 'all.one-payment-per-id',
      section: '5.5',
      title: 'no pluginTransactionId was used for two payments',
      fix: 'Use ids that are unique over all merchants.',
      run: (wix) =>
        none(
          oneEach(
            flip(named(wix, 'pluginTransactionId', 'wixTransactionId', 'create', 'transaction')),
            'was used twice',
          ),
        ),
    },
    {
      id: 'all.one-refund-per-id',
      section: '9.4',
      title: 'no pluginRefundId was used for two refunds',
      fix: 'Each partial refund needs an id of its own: Wix takes two with the same id for one.',
      run: (wix) =>
        none(oneEach(flip(named(wix, 'pluginRefundId', 'wixRefundId', 'refund', 'refund')), 'was used twice')),
    },
    {
      id: 'all.refund-events-agree',
      section: '9.4',
      title: 'refund events with the same pluginRefundId say the same',
      fix: 'A refund event that is sent again has the same body, reasonCode above all.',
      run: (wix) => {
        const refunds = wix.run.server.events.filter(
          ({ kind, body }) => kind === 'refund' && body.pluginRefundId !== undefined,
        );
        none(
          oneEach(
            refunds.map(({ body }) => [String(body.pluginRefundId), canonical(body)]),
            'was told in two ways',
          ),
        );
      },
    },
    {
      id: 'all.amounts-are-digits',
      section: '13.1',
      title: 'amounts in events are strings of digits, at least "1"',
      fix: 'Write "4590": a string without sign, point, separator or leading zeros.',
      run: (wix) =>
        none(
          wix.run.server.events.flatMap(({ kind, body }) =>
            kind === undefined ||
            kind === 'transaction' ||
            /^[1-9]\d*$/.test(typeof body.amount === 'string' ? body.amount : '')
              ? []
              : [`a ${kind} event has ${JSON.stringify(body.amount)}`],
          ),
        ),
    },
    {
      id: 'all.order',
      section: '9.3',
      title: 'no payment was told approved and declined, or pending after its end',
      fix: 'Send an unknown outcome as pending, and a final one only when it cannot change.',
      run: (wix) =>
        none(
          [...paymentsOf(wix)].flatMap(([id, events]) => {
            const taken = events
              .filter(({ accepted, kind }) => accepted && kind === 'transaction')
              .map(({ body }) => body);
            const end = taken.findIndex(({ reasonCode }) => !PENDING.has(reasonCode as number));
            const after = end < 0 ? [] : taken.slice(end);
            return after.some(({ reasonCode }) => reasonCode !== after[0]?.reasonCode)
              ? [`${id} was told in two ways`]
              : [];
          }),
        ),
    },
    {
      id: 'all.approval-first',
      section: '9.5',
      title: 'no capture, void or refund was told as done before its payment was (derived)',
      fix: 'Deliver the events of one payment one after the other.',
      run: (wix) =>
        none(
          [...paymentsOf(wix)].flatMap(([id, events]) => {
            const taken = events.filter(({ accepted }) => accepted);
            const approval = taken.findIndex(
              ({ kind, body }) => kind === 'transaction' && body.reasonCode === undefined,
            );
            const other = taken.findIndex(({ kind, body }) => kind !== 'transaction' && body.reasonCode === undefined);
            return other >= 0 && (approval < 0 || other < approval)
              ? [`${id}: a ${taken[other]?.kind} came first`]
              : [];
          }),
        ),
    },
    {
      id: 'all.tokens-once',
      section: '8.1',
      title: 'no token was used for two events',
      fix: 'Fetch a new token for each event, and for each attempt.',
      run: (wix) =>
        none(
          wix.run.server.events.flatMap(({ kind, tokenUsedBefore }) =>
            tokenUsedBefore ? [`a ${kind} event came with an old token`] : [],
          ),
        ),
    },
    {
      id: 'all.calls-known',
      section: '8',
      title: 'the plugin called nothing that Wix does not have',
      fix: 'POST /oauth/access and POST /payments/v1/provider-platform-events are all there is.',
      run: (wix) => none(wix.run.server.strangers),
    },
    {
      id: 'all.events-readable',
      section: '8.3',
      title: 'every event can be read, and is about a payment that Wix asked for',
      fix: 'Each event names its wixTransactionId, as Wix gave it.',
      run: (wix) => {
        const known = new Set(wix.run.calls.filter(({ genuine }) => genuine).map(idOf));
        none(
          wix.run.server.events.flatMap(({ kind, wixTransactionId, text }) =>
            kind && known.has(wixTransactionId) ? [] : [`${text.slice(0, 120)}`],
          ),
        );
      },
    },
    {
      id: 'all.told',
      section: '8.7',
      title: 'every outcome that was answered was told by an event',
      fix: 'Write the event in the transaction that writes the outcome (an outbox), so that neither is there without the other.',
      run: async (wix) => {
        const finals = answered(wix).filter(
          ({ operation, answer: { status, body } }) =>
            operation === 'create' && status === 200 && body && body.redirectUrl === undefined,
        );
        const missing = async (call: Call) => {
          const payment = { wixTransactionId: idOf(call), pluginTransactionId: '', merchant: wix.merchant };
          if (payment.wixTransactionId === '') return [];
          return wix.event(payment).then(
            () => [],
            () => [`${payment.wixTransactionId} was not`],
          );
        };
        const once = new Map(finals.map((call) => [idOf(call), call]));
        none((await Promise.all([...once.values()].map(missing))).flat());
      },
    },
    {
      id: 'all.json-answers',
      section: '2',
      title: 'every answer with status 200 is a JSON object of type application/json',
      fix: 'No warnings, no empty bodies, no pages of a framework: JSON, always.',
      run: (wix) =>
        none(
          answered(wix).flatMap(({ operation, answer: { status, body, headers } }) =>
            status !== 200 || (isObject(body) && /application\/json/i.test(headers['content-type'] ?? ''))
              ? []
              : [`an answer to ${operation} is not`],
          ),
        ),
    },
  ] satisfies Omit<Check, 'when'>[]
).map((check) => ({ ...check, when: 'after' }));
