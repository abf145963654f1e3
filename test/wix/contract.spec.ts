import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Operation } from './client.ts';
import { answerViolations, eventViolations } from './contract.ts';
import { type JsonObject, toJson } from './json.ts';
import { sample } from './requests.ts';

const EXAMPLES = join(import.meta.dirname, '../examples');
const HEADERS = { 'content-type': 'application/json', 'user-agent': 'harbor-pay/1.4.0', authorization: 'OAUTH2.token' };
const OPERATIONS: Record<string, Operation> = {
  'connect-account': 'connect',
  'create-transaction': 'create',
  'refund-transaction': 'refund',
  'capture-transaction': 'capture',
  'void-transaction': 'void',
};

const answered = (operation: Operation, body: unknown, request: JsonObject = {}, answer = {}) =>
  answerViolations(operation, request, { status: 200, contentType: 'application/json', text: toJson(body), ...answer });
const told = (event: unknown, headers = {}) => eventViolations({ ...HEADERS, ...headers }, toJson({ event }));

describe('the shape of one message to Wix', () => {
  describe('finds nothing wrong with the sample messages', () => {
    for (const name of readdirSync(EXAMPLES)) {
      const [, place, stem] = /^([a-z-]+)\.(.+?)(?:\.response)?\.json$/.exec(name) ?? [];
      const operation = OPERATIONS[place ?? ''];
      if (operation && name.endsWith('.response.json'))
        it(name, () => {
          const request = `${place}.${stem}.request.json`;
          assert.deepEqual(
            answered(operation, sample(name), existsSync(join(EXAMPLES, request)) ? sample(request) : {}),
            [],
          );
        });
      if (place === 'submit-event' && stem !== 'envelope' && !name.endsWith('.response.json'))
        it(name, () => assert.deepEqual(eventViolations(HEADERS, toJson(sample(name))), []));
    }
  });

  describe('finds what is wrong with an answer', () => {
    const ok = { pluginTransactionId: 'p-1' };
    const decline = { ...ok, reasonCode: 3012 };
    const wallet = { paymentMethodData: { googlePay: {} } };
    const card = { bin: '411111', lastFour: '1111' };
    const onFile = { cardReference: { networkTransactionId: 'N1' } };
    const setUp = { setupCredentialsOnFile: { offSession: true } };
    const connected = { credentials: { k: 'v' }, accountId: 'a', accountName: 'n' };
    const cases: [title: string, Operation, body: unknown, problem: RegExp, request?: JsonObject, answer?: object][] = [
      ['a status that is neither 200 nor no answer', 'create', ok, /has status 500/, {}, { status: 500 }],
      ['a redirect', 'create', ok, /has status 302/, {}, { status: 302 }],
      ['another content type', 'create', ok, /content type text\/html/, {}, { contentType: 'text/html' }],
      ['no JSON', 'create', ok, /not a JSON object/, {}, { text: '<html>' }],
      ['a list', 'capture', [], /not a JSON object/],
      ['approval without an id', 'create', {}, /pluginTransactionId is missing/],
      ['pending without an id', 'create', { reasonCode: 5009 }, /pluginTransactionId is missing/],
      [
        'an id that is too long',
        'create',
        { pluginTransactionId: 'x'.repeat(201) },
        /pluginTransactionId is not a text/,
      ],
      ['an empty id', 'create', { pluginTransactionId: '' }, /pluginTransactionId is not a text/],
      ['null', 'create', { ...ok, errorCode: null }, /errorCode is not a text/],
      ['a deprecated member', 'create', { ...ok, status: 'APPROVED' }, /status is not part of the contract/],
      ['reasonCode 0', 'create', { ...ok, reasonCode: 0 }, /no current reason code/],
      ['a reasonCode in quotes', 'create', { ...ok, reasonCode: '3012' }, /no current reason code/],
      ['a legacy reasonCode', 'create', { ...ok, reasonCode: 3027 }, /no current reason code/],
      ['an unknown reasonCode', 'create', { ...ok, reasonCode: 1014 }, /no current reason code/],
      ['a refund code for a payment', 'create', { ...ok, reasonCode: 3025 }, /no current reason code of create/],
      ['a connection code for a payment', 'create', { ...ok, reasonCode: 2002 }, /no current reason code of create/],
      [
        'a page together with a decline',
        'create',
        { ...decline, redirectUrl: 'https://a.b/' },
        /redirectUrl and reasonCode/,
      ],
      ['a page without TLS', 'create', { ...ok, redirectUrl: 'http://a.b/' }, /not an absolute https URL/],
      ['a page of another network', 'create', { ...ok, redirectUrl: 'http://127.0.0.1.b/' }, /not an absolute https/],
      [
        'a page for a telephone order',
        'create',
        { ...ok, redirectUrl: 'https://a.b/' },
        /no buyer is there/,
        { moto: true },
      ],
      [
        'a page for a later charge',
        'create',
        { ...ok, redirectUrl: 'https://a.b/' },
        /no buyer is there/,
        { offSession: true },
      ],
      ['error texts of a success', 'create', { ...ok, errorCode: 'E' }, /error texts, but no error/],
      ['error texts of a pending payment', 'create', { ...ok, reasonCode: 5005, errorMessage: 'm' }, /but no error/],
      ['an errorCode that is too long', 'create', { ...decline, errorCode: 'x'.repeat(51) }, /errorCode is not a text/],
      [
        'an errorMessage that is too long',
        'create',
        { ...decline, errorMessage: 'x'.repeat(301) },
        /errorMessage is not/,
      ],
      [
        'a card number in a text',
        'create',
        { ...decline, errorMessage: 'card 4242 4242 4242 4242' },
        /holds a card number/,
      ],
      ['6000 without texts', 'capture', { reasonCode: 6000, errorCode: 'E' }, /6000 without/],
      ['card digits of a card', 'create', { ...ok, cardDetails: card }, /this is no wallet/],
      [
        'a whole card number as digits',
        'create',
        { ...ok, cardDetails: { ...card, bin: '4242424242' } },
        /bin is not/,
        wallet,
      ],
      [
        'last four of five',
        'create',
        { ...ok, cardDetails: { ...card, lastFour: '11111' } },
        /lastFour is not/,
        wallet,
      ],
      ['credentials that nobody asked for', 'create', { ...ok, credentialsOnFile: onFile }, /nobody asked for/],
      ['credentials of a decline', 'create', { ...decline, credentialsOnFile: onFile }, /is not approved/, setUp],
      [
        'both kinds of credentials',
        'create',
        { ...ok, credentialsOnFile: { ...onFile, paymentMethodReference: { token: 't' } } },
        /has 2 of/,
        setUp,
      ],
      ['no kind of credentials', 'create', { ...ok, credentialsOnFile: {} }, /has 0 of/, setUp],
      ['a refund without an id', 'refund', {}, /pluginRefundId is missing/],
      ['a refund id that is too long', 'refund', { pluginRefundId: 'x'.repeat(101) }, /pluginRefundId is not a text/],
      ['a pending refund', 'refund', { pluginRefundId: 'r', reasonCode: 5009 }, /no current reason code of refund/],
      ['an id in a capture', 'capture', { captureId: 'c' }, /captureId is not part/],
      ['a decline code for a void', 'void', { reasonCode: 3012 }, /no current reason code of void/],
      ['a connection without a name', 'connect', { ...connected, accountName: undefined }, /accountName is missing/],
      ['a connection with a number', 'connect', { ...connected, credentials: { k: 1 } }, /not an object of strings/],
      [
        'a credential lost',
        'connect',
        connected,
        /credentials.k2 is not as it came/,
        { credentials: { k: 'v', k2: 'w' } },
      ],
      ['a credential changed', 'connect', connected, /credentials.k is not as it came/, { credentials: { k: 'w' } }],
      ['an account of a refused connection', 'connect', { accountId: 'a', reasonCode: 2002 }, /accountId is not part/],
      ['a decline code for a connection', 'connect', { reasonCode: 3041 }, /no current reason code of connect/],
    ];
    for (const [title, operation, body, problem, request, answer] of cases)
      it(title, () => assert.match(answered(operation, body, request, answer).join('\n'), problem));

    it('and nothing with an error status that says nothing of the money', () => {
      for (const status of [400, 413, 415, 503]) assert.deepEqual(answered('create', {}, {}, { status, text: '' }), []);
    });
  });

  describe('finds what is wrong with an event', () => {
    const transaction = { wixTransactionId: 'w', pluginTransactionId: 'p' };
    const refund = { wixTransactionId: 'w', pluginRefundId: 'r', amount: '1' };
    const capture = { wixTransactionId: 'w', amount: '1' };
    const cases: [title: string, event: unknown, problem: RegExp, headers?: object][] = [
      ['no member', {}, /has 0 of/],
      ['two members', { transaction, refund }, /has 2 of/],
      ['the deprecated plugin id', { transaction, pluginId: 'x' }, /pluginId is not part/],
      ['a site id that is none', { transaction, siteId: 'x' }, /siteId is not a GUID/],
      ['no payment', { transaction: { pluginTransactionId: 'p' } }, /wixTransactionId is missing/],
      ['approval without an id', { transaction: { wixTransactionId: 'w' } }, /pluginTransactionId is missing/],
      ['a page', { transaction: { ...transaction, redirectUrl: 'https://a.b/' } }, /redirectUrl is not part/],
      ['a refund code of a payment', { transaction: { ...transaction, reasonCode: 3022 } }, /of event.transaction/],
      [
        'an authorised amount as a number',
        { transaction: { ...transaction, authorizedAmount: 1 } },
        /string of digits/,
      ],
      ['an amount as a number', { capture: { ...capture, amount: 1 } }, /string of digits/],
      ['an amount with a leading zero', { refund: { ...refund, amount: '01' } }, /string of digits/],
      ['an amount with a point', { void: { ...capture, amount: '1.0' } }, /string of digits/],
      ['an amount of zero', { capture: { ...capture, amount: '0' } }, /amount is zero/],
      ['no amount', { refund: { ...refund, amount: undefined } }, /amount is missing/],
      ['no refund id', { refund: { ...refund, pluginRefundId: undefined } }, /pluginRefundId is missing/],
      ['a plugin id of a capture', { capture: { ...capture, pluginTransactionId: 'p' } }, /is not part/],
      ['a decline code of a capture', { capture: { ...capture, reasonCode: 3012 } }, /of event.capture/],
      ['the old name of a text', { refund: { ...refund, reasonCode: 3025, errorDescription: 'x' } }, /is not part/],
      ['a bearer token', { transaction }, /not the bare token/, { authorization: 'Bearer x' }],
      ['no token', { transaction }, /authorization is missing/, { authorization: undefined }],
      ['no user agent', { transaction }, /user-agent is missing/, { 'user-agent': undefined }],
      ['a user agent without a version', { transaction }, /\{PSP\}\/\{version\}/, { 'user-agent': 'node' }],
      ['another content type', { transaction }, /is not application\/json/, { 'content-type': 'text/plain' }],
    ];
    for (const [title, event, problem, headers] of cases)
      it(title, () => assert.match(told(event, headers).join('\n'), problem));

    it('a body that is no JSON, or has more than an event', () => {
      assert.match(eventViolations(HEADERS, 'x').join(), /is not an object/);
      assert.match(eventViolations(HEADERS, toJson({ event: { transaction }, more: 1 })).join(), /more is not part/);
    });
  });
});
