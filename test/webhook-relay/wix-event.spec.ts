import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Event, Event_Type, EventSchema } from '../../proto/gen/payments/v1/event_pb.js';
import { CredentialsOnFileSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { createKeyRing } from '../../proto/runtime/seal.ts';
import { renderEvent } from '../../webhook-relay/wix-event.ts';
import { KEYS, newPayment } from './relay-kit.ts';

const EXAMPLES = path.join(import.meta.dirname, '../examples');
/** Not bodies of events as they travel, and one that stays behind a switch of the core (U4). */
const NOT_BODIES = ['submit-event.envelope.json', 'submit-event.accepted.response.json'];

interface Body {
  wixTransactionId: string;
  pluginTransactionId?: string;
  pluginRefundId?: string;
  wixRefundId?: string;
  amount?: string;
  authorizedAmount?: string;
  reasonCode?: number;
  errorCode?: string;
  errorMessage?: string;
  cardDetails?: { bin: string; lastFour: string };
  credentialsOnFile?: {
    cardReference?: MessageInitShape<typeof CredentialsOnFileSchema>;
    paymentMethodReference?: { token: string };
    paymentMethod?: string;
  };
}

/** The event that the core would have published for this body. */
function eventFor(kind: string, body: Body): Event {
  const transactionId = body.pluginTransactionId ?? 'withheld';
  const { cardDetails, credentialsOnFile } = body;
  return create(EventSchema, {
    type: typeOf(kind, body.reasonCode),
    forWix: true,
    transactionId,
    externalId: body.wixTransactionId,
    idWithheld: body.pluginTransactionId === undefined,
    operationId: body.pluginRefundId ?? 'operation',
    externalRefundId: body.wixRefundId ?? '',
    ...(body.amount && { operationAmount: BigInt(body.amount) }),
    authorizedAmount: BigInt(body.authorizedAmount ?? 4590),
    partiallyAuthorized: body.authorizedAmount !== undefined,
    reason: body.reasonCode ?? Reason.UNSPECIFIED,
    errorCode: body.errorCode ?? '',
    errorMessage: body.errorMessage ?? '',
    ...(cardDetails && { cardDetails: { ...cardDetails, scheme: 'visa' } }),
    ...(credentialsOnFile && { sealedCredentialsOnFile: sealed(credentialsOnFile, transactionId) }),
  });
}

function typeOf(kind: string, reason: number | undefined): Event_Type {
  if (kind !== 'transaction') {
    const outcome = reason === undefined ? 'SUCCEEDED' : 'FAILED';
    return Event_Type[`${kind.toUpperCase()}_${outcome}` as keyof typeof Event_Type];
  }
  if (reason === undefined) return Event_Type.TRANSACTION_APPROVED;
  return reason === 5005 || reason === 5009 ? Event_Type.TRANSACTION_PENDING : Event_Type.TRANSACTION_DECLINED;
}

function sealed(credentials: NonNullable<Body['credentialsOnFile']>, transactionId: string): Uint8Array {
  const { cardReference, paymentMethodReference, paymentMethod = '' } = credentials;
  const message = create(CredentialsOnFileSchema, {
    paymentMethod,
    info: cardReference
      ? { case: 'cardReference', value: cardReference }
      : { case: 'paymentMethodReference', value: paymentMethodReference! },
  } as MessageInitShape<typeof CredentialsOnFileSchema>);
  return KEYS.seal(toBinary(CredentialsOnFileSchema, message), transactionId);
}

const rendered = (event: Event) => Buffer.from(renderEvent(event, KEYS)).toString();
const told = (event: Event) => Object.values(JSON.parse(rendered(event)).event)[0] as Body;

describe('the body of an event for Wix', () => {
  const files = readdirSync(EXAMPLES).filter((file) => file.startsWith('submit-event.') && !NOT_BODIES.includes(file));

  it('has examples to be held against', () => assert.ok(files.length > 60, `${files.length} examples`));

  for (const file of files) {
    it(`is ${file}, property by property`, () => {
      const example = JSON.parse(readFileSync(path.join(EXAMPLES, file), 'utf8'));
      const [kind, body] = Object.entries<Body>(example.event)[0]!;
      assert.equal(rendered(eventFor(kind, body)), JSON.stringify(example));
    });
  }

  it('carries amounts above 2^53 to the last digit', () => {
    const event = newPayment()('REFUND_SUCCEEDED', { operationAmount: 9223372036854775807n });
    assert.equal(told(event).amount, '9223372036854775807');
  });

  it('carries at most 50 characters of error code and 300 of error message', () => {
    const failure = told(newPayment()('VOID_FAILED', { errorCode: 'c'.repeat(51), errorMessage: '😀'.repeat(151) }));
    assert.equal(failure.errorCode, 'c'.repeat(50));
    assert.equal(failure.errorMessage, '😀'.repeat(150));
  });

  it('tells the authorised amount only of a partial authorization', () => {
    const whole = newPayment()('TRANSACTION_APPROVED', { authorizedAmount: 4590n });
    assert.deepEqual(Object.keys(told(whole)), ['wixTransactionId', 'pluginTransactionId']);
  });

  it('carries no reason in an approval, whatever the event says', () => {
    const approved = newPayment()('TRANSACTION_APPROVED', { reason: Reason.GENERAL_ERROR, errorCode: 'E' });
    assert.deepEqual(Object.keys(told(approved)), ['wixTransactionId', 'pluginTransactionId']);
  });

  const untold: [string, Event][] = [
    [
      'a decline without its reason, which Wix would read as an approval',
      newPayment()('TRANSACTION_DECLINED', { reason: 0 }),
    ],
    ['a pending event without its reason', newPayment()('TRANSACTION_PENDING', { reason: 0 })],
    ['a payment without the id by which Wix knows it', newPayment()('TRANSACTION_APPROVED', { externalId: '' })],
    ['a refund without its id', newPayment()('REFUND_SUCCEEDED', { operationId: '' })],
    ['an event of a kind that Wix never hears', newPayment()('TRANSACTION_REVERSED')],
    [
      'credentials that are sealed for another payment',
      newPayment()('TRANSACTION_APPROVED', {
        sealedCredentialsOnFile: sealed({ paymentMethodReference: { token: 't' } }, 'another'),
      }),
    ],
  ];
  for (const [what, event] of untold) it(`is refused for ${what}`, () => assert.throws(() => renderEvent(event, KEYS)));

  it('is refused for a capture without its amount', () => {
    const { operationAmount, ...event } = newPayment()('CAPTURE_SUCCEEDED');
    assert.throws(() => renderEvent(event as Event, KEYS), /operation_amount/);
  });

  it('R31 opens credentials under any key of the ring', () => {
    const event = newPayment()('TRANSACTION_APPROVED', {});
    const credentials = sealed({ paymentMethodReference: { token: 'hp_pm_1' } }, event.transactionId);
    const rotated = createKeyRing(
      `k2:${Buffer.alloc(32, 'key 2').toString('base64')},k1:${Buffer.alloc(32, 'key 1').toString('base64')}`,
    );
    const body = Buffer.from(renderEvent({ ...event, sealedCredentialsOnFile: credentials }, rotated)).toString();
    assert.match(body, /hp_pm_1/);
  });
});
