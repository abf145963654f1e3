import { randomUUID } from 'node:crypto';
import type { Check } from '../check.ts';
import { demand, refused, same } from '../expect.ts';
import { canonical, isObject, type JsonObject } from '../json.ts';
import type { Payment, Wix } from '../wix.ts';
import { EVENT_KINDS, type SubmittedEvent } from '../wix-server.ts';

// The calls that a plugin makes: the token and the event (contract 8).

const firstEvent = async (wix: Wix): Promise<SubmittedEvent> => wix.event(await wix.paid());

async function tokenOf(wix: Wix) {
  const { tokenRequest } = await firstEvent(wix);
  demand(tokenRequest !== undefined, 'the event came with a token that Wix did not give');
  return tokenRequest;
}

/** Longer than two messages of this machine take to cross. */
const LATE_MS = 200;

const TOKEN_FIELDS: readonly [id: string, field: string, wanted: (wix: Wix) => string][] = [
  ['grant-type', 'grant_type', () => 'client_credentials'],
  ['scope', 'scope', () => 'CASHIER.GET_ACCESS'],
  ['client-id', 'client_id', ({ config }) => config.wix.appId],
  ['client-secret', 'client_secret', ({ config }) => config.wix.appSecret],
];

/** The event of a payment says what its answer said, and which payment it is about. */
async function saysTheSame(wix: Wix, payment: Payment): Promise<SubmittedEvent> {
  const { wixTransactionId, answer } = payment;
  const { reasonCode } = answer.body ?? {};
  const event = await wix.event(payment, 'transaction', (body) => body.reasonCode === reasonCode);
  const wanted = { ...answer.body, wixTransactionId };
  same('the event', canonical(event.body), canonical(wanted));
  return event;
}

const inner = ({ envelope }: SubmittedEvent): JsonObject => (isObject(envelope?.event) ? envelope.event : {});
const declinedCard = ({ config }: Wix) => Object.keys(config.cards.declined)[0] ?? '';

export const EVENT_CHECKS: readonly Check[] = [
  {
    id: 'token.json',
    section: '8.1',
    title: 'the token is asked for with a JSON body and Content-Type: application/json',
    fix: 'POST JSON to /oauth/access, not a form: in PHP json_encode, with the header set.',
    run: async (wix) => {
      const { contentType, body } = await tokenOf(wix);
      demand(/^application\/json(;|$)/i.test(contentType), `the content type is "${contentType}"`);
      demand(body !== undefined, 'the body is no JSON object');
    },
  },
  ...TOKEN_FIELDS.map(
    ([id, field, wanted]): Check => ({
      id: `token.${id}`,
      section: '8.1',
      title: `the request for a token has ${field}`,
      fix: 'Send {"grant_type":"client_credentials","scope":"CASHIER.GET_ACCESS","client_id":"<app id>","client_secret":"<app secret>"}.',
      run: async (wix) => {
        const { body } = await tokenOf(wix);
        demand(body?.[field] === wanted(wix), `${field} is not as it must be`);
      },
    }),
  ),
  {
    id: 'token.once',
    section: '8.1',
    title: 'every event has a token of its own',
    fix: 'Fetch a new token for each event; do not keep it.',
    run: async (wix) => {
      for (let i = 0; i < 3; i++) demand(!(await firstEvent(wix)).tokenUsedBefore, 'a token came for the second time');
    },
  },
  {
    id: 'event.bare-token',
    section: '8.2',
    title: 'Authorization is the bare token, without "Bearer "',
    fix: 'Send Authorization: <access_token>, nothing before it.',
    run: async (wix) => {
      const { headers } = await firstEvent(wix);
      demand(!/\s/.test(headers.authorization ?? ''), `it begins with "${headers.authorization?.split(/\s/)[0]} "`);
    },
  },
  {
    id: 'event.user-agent',
    section: '8.2',
    title: 'User-Agent is {PSP}/{version}',
    fix: 'Send User-Agent: your-psp/1.0.0 with every event.',
    run: async (wix) => {
      const agent = (await firstEvent(wix)).headers['user-agent'] ?? '';
      demand(/^[^\s/]+\/\d[^\s/]*$/.test(agent), `User-Agent is "${agent}"`);
    },
  },
  {
    id: 'event.content-type',
    section: '8.2',
    title: 'an event is sent as application/json',
    fix: 'Send Content-Type: application/json.',
    run: async (wix) => {
      const type = (await firstEvent(wix)).headers['content-type'] ?? '';
      demand(/^application\/json(;|$)/i.test(type), `the content type is "${type}"`);
    },
  },
  {
    id: 'event.envelope',
    section: '8.3',
    title: 'the body is {"event":{...}} and nothing beside it',
    fix: 'Put nothing beside event.',
    run: async (wix) => {
      const { envelope = {} } = await firstEvent(wix);
      same('the names in the body', Object.keys(envelope).join(', '), 'event');
    },
  },
  {
    id: 'event.one-member',
    section: '8.3',
    title: 'an event holds exactly one of transaction, refund, capture and void',
    fix: 'One event for each thing that happened; there is no "resource" around it.',
    run: async (wix) => {
      const event = inner(await firstEvent(wix));
      same('the number of members', EVENT_KINDS.filter((kind) => event[kind] !== undefined).length, 1);
      const strangers = Object.keys(event).filter((name) => ![...EVENT_KINDS, 'siteId', 'pluginId'].includes(name));
      demand(strangers.length === 0, `it also holds ${strangers.join(', ')}`);
    },
  },
  {
    id: 'event.no-plugin-id',
    section: '8.3',
    title: 'an event has no pluginId, and no siteId that is no GUID',
    fix: 'Leave both out: pluginId is deprecated, and no call tells you a site.',
    run: async (wix) => {
      const { pluginId, siteId } = inner(await firstEvent(wix));
      same('pluginId', pluginId, undefined);
      demand(
        siteId === undefined || /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(String(siteId)),
        `siteId is ${siteId}`,
      );
    },
  },
  {
    id: 'event.no-deprecated-fields',
    section: '15.7',
    title: 'a transaction event has no status and no errorDescription',
    fix: 'The state is told by reasonCode alone, the text by errorMessage.',
    run: async (wix) => {
      const { body } = await firstEvent(wix);
      const found = ['status', 'mode', 'errorDescription', 'redirectUrl'].filter((name) => name in body);
      demand(found.length === 0, `it has ${found.join(', ')}`);
    },
  },
  {
    id: 'event.approved',
    section: '8.7',
    title: 'an approved payment is told, with the fields of the answer',
    fix: 'Send {"event":{"transaction":{"wixTransactionId":"...", and every field of your answer}}}.',
    run: async (wix) => void (await saysTheSame(wix, await wix.paid())),
  },
  {
    id: 'event.authorized',
    section: '7.6',
    title: 'an authorized payment is told like an approved one',
    fix: 'Send the transaction event without a reasonCode; capture or void have events of their own.',
    needs: ['authorizeOnly'],
    run: async (wix) => void (await saysTheSame(wix, await wix.authorized())),
  },
  {
    id: 'event.declined',
    section: '8.7',
    title: 'a declined payment is told, with the error of the answer',
    fix: 'Send the transaction event for declines too, with the same reasonCode, errorCode and errorMessage.',
    needs: ['declined'],
    run: async (wix) => {
      const payment = await wix.pay({ card: declinedCard(wix) });
      refused(payment.answer);
      await saysTheSame(wix, payment);
    },
  },
  {
    id: 'event.declined-without-payment',
    section: '8.7',
    title: 'a decline for which the PSP has no payment is told too',
    fix: 'Send the event without pluginTransactionId if the answer had none.',
    run: async (wix) => {
      const payment = await wix.pay({ currency: 'XCG' });
      refused(payment.answer);
      await saysTheSame(wix, payment);
    },
  },
  {
    id: 'event.pending',
    section: '8.7',
    title: 'a pending payment is told as pending',
    fix: 'Send the transaction event with 5005 or 5009 right after answering; the final one later.',
    needs: ['pendingApproved'],
    run: async (wix) => void (await saysTheSame(wix, await wix.pay({ card: wix.config.cards.pendingApproved ?? '' }))),
  },
  {
    id: 'event.after-answer',
    section: '8.7',
    title: 'the answer comes first, the event after it',
    fix: 'Answer, then send. In PHP: fastcgi_finish_request() first, or a queue that a worker empties.',
    run: async (wix) => {
      const wixTransactionId = randomUUID();
      // Who tells before it answers waits for Wix, and answers later than this.
      wix.fail(wixTransactionId, { times: 1, lateMs: LATE_MS });
      const payment = await wix.paid({ change: (body) => Object.assign(body, { wixTransactionId }) });
      const { at } = await wix.event(payment);
      const early = payment.answer.endedAt - at;
      demand(early < LATE_MS / 2, `the event came ${early.toFixed(0)} ms before the answer`);
    },
  },
  {
    id: 'event.id-of-answer',
    section: '8.4',
    title: 'the event has the pluginTransactionId of the answer',
    fix: 'One payment has one id.',
    run: async (wix) => {
      const payment = await wix.paid();
      same('pluginTransactionId', (await wix.event(payment)).body.pluginTransactionId, payment.pluginTransactionId);
    },
  },
  {
    id: 'event.none-for-connect',
    section: '8.7',
    title: 'connecting a merchant sends no event',
    fix: 'Events are for payments, refunds, captures and voids.',
    run: async (wix) => {
      const { request } = await wix.connect();
      await wix.quiet();
      const about = wix.run.server.events.filter(({ text }) => text.includes(String(request.wixMerchantId)));
      same('the number of events', about.length, 0);
    },
  },
];
