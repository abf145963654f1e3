import assert from 'node:assert/strict';
import type { Entry } from './history.ts';
import {
  APPROVED,
  answer,
  answered,
  authorized,
  call,
  captured,
  created,
  DECLINED,
  ON_FILE,
  PAGE,
  PENDING,
  paid,
  refundEvent,
  refunded,
  type Traffic,
  told,
  transaction,
} from './traffic.ts';
import { violationsOf } from './violations.ts';

describe('what messages to Wix must say to each other', () => {
  const legal: Record<string, Traffic> = {
    'approved, and told so': () => [paid()],
    'declined without an id': () => [created({ reasonCode: 3041 }), transaction({ reasonCode: 3041 })],
    'pending, then approved, both told': () => [created(PENDING), transaction(PENDING), transaction(APPROVED)],
    'pending, and told only when it was final': () => [created(PENDING), transaction(DECLINED)],
    'a page, then declined, and declined again when asked': () => [
      created(PAGE),
      created(PAGE),
      transaction(DECLINED),
      created(DECLINED),
    ],
    'no answer, then an event': () => [answered('create', {}, undefined, 503), transaction(APPROVED)],
    'a call that broke, then its repeat': () => [[call('create', {})], created(APPROVED), transaction(APPROVED)],
    'an event again, byte for byte': () => [paid(), transaction(APPROVED)],
    'an event that was not accepted, again': () => [
      created(APPROVED),
      transaction(APPROVED, false),
      transaction(APPROVED),
    ],
    'R27 a late pending event that the final one followed once more': () => [
      created(PENDING),
      transaction(APPROVED),
      transaction(PENDING),
      transaction(APPROVED),
    ],
    'a stranger who names the payment': () => [paid(), created({ reasonCode: 3041 }, { wixMerchantId: 'm-2' })],
    'a malformed repeat, not told of credentials': () => [
      created({ ...APPROVED, ...ON_FILE }),
      created(APPROVED, { order: {} }),
      transaction({ ...APPROVED, ...ON_FILE }),
    ],
    'a partial approval': () => [created(APPROVED), transaction({ ...APPROVED, authorizedAmount: '60' })],
    'two overlapping calls, the first answered last': () => {
      const [first, second] = [call('create', {}), call('create', {})];
      return [[first, second, answer(second, APPROVED), answer(first, PENDING)], transaction(APPROVED)];
    },
    'a capture, and refused ones after it': () => [
      authorized(),
      captured({}, 80),
      captured({ reasonCode: 3031, errorCode: 'ALREADY_CAPTURED' }),
      told('capture', { amount: '80' }),
    ],
    'a failed capture, then a good one': () => [
      authorized(),
      captured({ reasonCode: 6000, errorCode: 'E' }),
      told('capture', { amount: '100', reasonCode: 6000, errorCode: 'E' }),
      captured({}),
      told('capture', { amount: '100' }),
    ],
    'a capture without an answer': () => [
      authorized(),
      answered('capture', { captureAmount: 100 }, undefined, 503),
      told('capture', { amount: '100' }),
    ],
    'a void': () => [authorized(), answered('void', { voidAmount: 100 }, {}), told('void', { amount: '100' })],
    'refunds in parts': () => [
      paid(),
      refunded({ pluginRefundId: 'pr-1' }),
      refundEvent(),
      refunded({ pluginRefundId: 'pr-2' }, { wixRefundId: 'r-2', refundAmount: 60 }),
      refundEvent({ pluginRefundId: 'pr-2', wixRefundId: 'r-2', amount: '60' }),
    ],
    'a refund refused': () => [
      paid(),
      refunded({ pluginRefundId: 'pr-1', reasonCode: 3025 }),
      refundEvent({ reasonCode: 3025 }),
    ],
    'a refund that the PSP made': () => [paid(), told('refund', { pluginRefundId: 'own', amount: '100' })],
    'a refund refused before the capture': () => [
      authorized(),
      refunded({ pluginRefundId: 'pr-1', reasonCode: 3022 }),
      refundEvent({ reasonCode: 3022 }),
    ],
    'events alone': () => [transaction(APPROVED), told('capture', { amount: '100' })],
  };
  describe('finds nothing wrong with', () => {
    for (const [title, traffic] of Object.entries(legal))
      it(title, () => assert.deepEqual(violationsOf(traffic().flat()), []));
  });

  const illegal: Record<string, [Traffic, RegExp]> = {
    'an event that contradicts the answer': [
      () => [created(APPROVED), transaction(DECLINED)],
      /event says .*3012.* but the answer said/,
    ],
    'an event that leaves out a field of the answer': [
      () => [created(DECLINED), transaction({ ...DECLINED, errorCode: undefined })],
      /event says/,
    ],
    'an event without the credentials of the answer': [
      () => [created({ ...APPROVED, ...ON_FILE }), transaction(APPROVED)],
      /event says/,
    ],
    'an event with another id': [
      () => [created(APPROVED), transaction({ pluginTransactionId: 'p-2' })],
      /pluginTransactionId is/,
    ],
    'a repeat that is answered otherwise': [() => [created(APPROVED), created(DECLINED)], /answer says .*3012/],
    'a repeat with another id': [
      () => [created(PENDING), created({ pluginTransactionId: 'p-2' })],
      /pluginTransactionId is/,
    ],
    'a repeat with another pending code': [
      () => [created(PENDING), created({ ...PENDING, reasonCode: 5005 })],
      /answer says .*5005/,
    ],
    'a repeat with another page': [
      () => [created(PAGE), created({ ...PAGE, redirectUrl: 'https://a.b/2' })],
      /answer says/,
    ],
    'pending after it was approved': [
      () => [created(APPROVED), created(PENDING)],
      /pending after the answer said final/,
    ],
    'a page after it was pending': [() => [created(PENDING), created(PAGE)], /redirect after the answer said pending/],
    'a page after the final event': [
      () => [created(PAGE), transaction(APPROVED), created(PAGE)],
      /redirect after the event said final/,
    ],
    'approved, then declined': [() => [transaction(APPROVED), transaction(DECLINED)], /sent again with other bytes/],
    'declined, then approved': [() => [transaction(DECLINED), transaction(APPROVED)], /sent again with other bytes/],
    'a pending event after the final one': [
      () => [transaction(APPROVED), transaction(PENDING)],
      /pending event after the final one/,
    ],
    'two pending events that differ': [
      () => [transaction(PENDING), transaction({ ...PENDING, reasonCode: 5005 })],
      /other bytes/,
    ],
    'an event about a payment that Wix never made': [
      () => [paid(), told('transaction', { ...APPROVED, wixTransactionId: 'w-9' })],
      /w-9: event about a payment that Wix never asked for/,
    ],
    'a capture event before the approval': [
      () => [created(APPROVED), captured({}), told('capture', { amount: '100' })],
      /capture event before/,
    ],
    'a refund event before the approval was accepted': [
      () => [created(APPROVED), transaction(APPROVED, false), refunded({ pluginRefundId: 'pr-1' }), refundEvent()],
      /refund event before the approved one/,
    ],
    'a refund event after a decline': [
      () => [created(DECLINED), transaction(DECLINED), refundEvent({ reasonCode: 3022 })],
      /refund event before/,
    ],
    'two captures': [() => [authorized(), captured({}, 40), captured({}, 40)], /2 captures or voids/],
    'a capture and a void': [
      () => [authorized(), captured({}), answered('void', { voidAmount: 100 }, {})],
      /2 captures or voids/,
    ],
    'events of a capture and of a void': [
      () => [authorized(), told('capture', { amount: '100' }), told('void', { amount: '100' })],
      /both capture and void/,
    ],
    'a failure after the capture': [
      () => [
        authorized(),
        captured({}),
        told('capture', { amount: '100' }),
        told('capture', { amount: '100', reasonCode: 3035 }),
      ],
      /failed capture event after its success/,
    ],
    'two captured amounts': [
      () => [authorized(), captured({}), told('capture', { amount: '100' }), told('capture', { amount: '90' })],
      /capture event sent again with other bytes/,
    ],
    'more captured than asked': [
      () => [authorized(), captured({}, 80), told('capture', { amount: '81' })],
      /81, which was not asked/,
    ],
    'another amount of a failed capture': [
      () => [authorized(), captured({ reasonCode: 3035 }), told('capture', { amount: '99', reasonCode: 3035 })],
      /99, which was not asked/,
    ],
    'a capture event unlike its answer': [
      () => [authorized(), captured({ reasonCode: 3035 }), told('capture', { amount: '100', reasonCode: 6000 })],
      /which no answer said/,
    ],
    'a void of part': [
      () => [authorized(), answered('void', { voidAmount: 100 }, {}), told('void', { amount: '60' })],
      /60, which was not asked/,
    ],
    'a refund event unlike its answer': [
      () => [paid(), refunded({ pluginRefundId: 'pr-1' }), refundEvent({ reasonCode: 3025 })],
      /refund event says .*3025/,
    ],
    'a refund event with another id': [
      () => [paid(), refunded({ pluginRefundId: 'pr-1' }), refundEvent({ pluginRefundId: 'pr-2' })],
      /refund event says/,
    ],
    'a refund event with another amount': [
      () => [paid(), refunded({ pluginRefundId: 'pr-1' }), refundEvent({ amount: '41' })],
      /names 41, asked was 40/,
    ],
    'a refund told twice, not the same': [
      () => [paid(), refundEvent(), refundEvent({ reasonCode: 3025 })],
      /refund event sent again with other bytes/,
    ],
    'more refunded than captured': [
      () => [
        paid(),
        refunded({ pluginRefundId: 'pr-1' }, { refundAmount: 60 }),
        refundEvent({ amount: '60' }),
        refunded({ pluginRefundId: 'pr-2' }, { wixRefundId: 'r-2', refundAmount: 60 }),
        refundEvent({ pluginRefundId: 'pr-2', wixRefundId: 'r-2', amount: '60' }),
      ],
      /120 were refunded of 100/,
    ],
    'more refunded than was captured of an authorization': [
      () => [
        authorized(),
        captured({}, 30),
        told('capture', { amount: '30' }),
        refunded({ pluginRefundId: 'pr-1' }),
        refundEvent(),
      ],
      /40 were refunded of 30/,
    ],
    'a refund event before the capture event': [
      () => [
        authorized(),
        captured({}),
        refunded({ pluginRefundId: 'pr-1' }),
        refundEvent(),
        told('capture', { amount: '100' }),
      ],
      /refund event before the captured one/,
    ],
    'another account of the same merchant': [
      () => {
        const request = { wixMerchantId: 'm-1', credentials: { a: '1' } };
        return [answered('connect', request, { accountId: 'a-1' }), answered('connect', request, { accountId: 'a-2' })];
      },
      /accountId is a-1 and a-2/,
    ],
  };
  describe('finds', () => {
    for (const [title, [traffic, violation]] of Object.entries(illegal))
      it(title, () => assert.match(violationsOf(traffic().flat()).join('\n'), violation));

    it('what the shape checks of a message had found, on their place in history', () => {
      const [event] = transaction(APPROVED) as [Extract<Entry, { type: 'event' }>];
      assert.deepEqual(
        violationsOf([
          { ...event, violations: ['x'] },
          { type: 'violation', violations: ['y'] },
        ]),
        ['x', 'y'],
      );
    });
  });
});
