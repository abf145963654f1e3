import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  HttpError,
  renderConnection,
  renderCreation,
  renderOperation,
  renderRefund,
  renderRefusal,
} from '../../gateway/wix-answer.ts';
import {
  CaptureTransactionResponseSchema,
  ConnectMerchantAccountResponseSchema,
  CreateTransactionResponseSchema,
  RefundTransactionResponseSchema,
} from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { Transaction_State as State, type TransactionSchema } from '../../proto/gen/payments/v1/transaction_pb.js';

type Init = MessageInitShape<typeof TransactionSchema>;

const answer = (transaction: Init, refusal?: { reason: Reason; errorCode?: string; message?: string }) =>
  renderCreation(create(CreateTransactionResponseSchema, { transaction, ...(refusal && { refusal }) }));
const unanswered = (code: number) => (error: unknown) => error instanceof HttpError && error.status === code;

describe('what Wix hears of a create', () => {
  const onFile = {
    cardDetails: { scheme: 'visa', bin: '411111', lastFour: '1111' },
    credentialsOnFile: {
      info: {
        case: 'cardReference',
        value: { networkTransactionId: 'n', dsTransactionId: 'd', transactionLinkId: 'l' },
      },
    },
  } as const;

  it('R5 is the same once approved, whatever became of the payment since', () => {
    const states = [State.AUTHORIZED, State.CAPTURING, State.VOIDING, State.CAPTURED, State.VOIDED, State.EXPIRED];
    for (const state of states)
      assert.deepEqual(answer({ id: 'p', state, ...onFile }), {
        pluginTransactionId: 'p',
        cardDetails: { bin: '411111', lastFour: '1111' },
        credentialsOnFile: {
          cardReference: { networkTransactionId: 'n', dsTransactionId: 'd', transactionLinkId: 'l' },
        },
      });
  });

  it('is never an approval when the state is none', () => {
    for (const state of [State.UNSPECIFIED, State.AUTHORIZING, State.DECLINED, 99 as State])
      assert.throws(() => answer({ id: 'p', state }), unanswered(503), State[state]);
    assert.throws(() => answer({ id: 'p', state: State.AWAITING_BUYER }), unanswered(503));
  });

  it('names the buyer’s page and no reason while the buyer acts', () => {
    const transaction = {
      id: 'p',
      state: State.AWAITING_BUYER,
      redirectUrl: 'https://page',
      reason: Reason.CARD_EXPIRED,
    };
    assert.deepEqual(answer({ ...transaction, ...onFile }), { pluginTransactionId: 'p', redirectUrl: 'https://page' });
  });

  it('names a reason and no page when it is pending or declined', () => {
    const page = { id: 'p', redirectUrl: 'https://page', ...onFile } as const;
    assert.deepEqual(answer({ ...page, state: State.PENDING, reason: Reason.PENDING_FRAUDULENT_TRANSACTION }), {
      pluginTransactionId: 'p',
      reasonCode: 5005,
    });
    assert.deepEqual(answer({ ...page, state: State.PENDING }), { pluginTransactionId: 'p', reasonCode: 5009 });
    assert.deepEqual(answer({ ...page, state: State.DECLINED }, { reason: Reason.BUYER_CANCELED }), {
      pluginTransactionId: 'p',
      reasonCode: 3030,
    });
  });

  it('leaves out an id that is withheld', () => {
    const withheld = { id: 'p', idWithheld: true, state: State.DECLINED } as const;
    assert.deepEqual(answer(withheld, { reason: Reason.INVALID_ACCOUNT }), { reasonCode: 3041 });
  });

  it('R9 is a refusal alone for a payment of another merchant', () => {
    const refusal = { reason: Reason.INVALID_ACCOUNT, errorCode: 'AUTH_FAILED', message: 'Not recognised' };
    assert.deepEqual(renderCreation(create(CreateTransactionResponseSchema, { refusal })), {
      reasonCode: 3041,
      errorCode: 'AUTH_FAILED',
      errorMessage: 'Not recognised',
    });
  });

  it('R2 is 400 for a malformed repeat of somebody’s payment', () => {
    assert.throws(() => renderCreation(create(CreateTransactionResponseSchema)), unanswered(400));
  });

  it('shows card details only when both parts are known', () => {
    for (const cardDetails of [{ bin: '411111' }, { lastFour: '1111' }, { scheme: 'visa' }])
      assert.deepEqual(answer({ id: 'p', state: State.CAPTURED, cardDetails }), { pluginTransactionId: 'p' });
  });

  it('never carries 0 as its reason', () => {
    assert.equal(renderRefusal({ reason: Reason.UNSPECIFIED, errorCode: '', message: '' }).reasonCode, 6000);
  });

  it('cuts code and text of the PSP to 50 and 300 without breaking a character', () => {
    const refusal = {
      reason: Reason.GENERAL_ERROR,
      errorCode: 'c'.repeat(51),
      message: `${'m'.repeat(299)}😀 and more`,
    };
    assert.deepEqual(renderRefusal(refusal), {
      reasonCode: 6000,
      errorCode: 'c'.repeat(50),
      errorMessage: 'm'.repeat(299),
    });
  });
});

describe('what Wix hears of the other calls', () => {
  it('names the refund of a success and of a failure', () => {
    const operation = { id: 'r' };
    const refusal = { reason: Reason.INSUFFICIENT_FUNDS_FOR_REFUND };
    const rendered = (init: MessageInitShape<typeof RefundTransactionResponseSchema>) =>
      renderRefund(create(RefundTransactionResponseSchema, init));
    assert.deepEqual(rendered({ operation }), { pluginRefundId: 'r' });
    assert.deepEqual(rendered({ operation, refusal }), { pluginRefundId: 'r', reasonCode: 3025 });
    assert.deepEqual(rendered({ refusal }), { reasonCode: 3025 });
    assert.throws(() => rendered({}), unanswered(503));
  });

  it('is an empty object for a capture or a void that succeeded', () => {
    assert.deepEqual(renderOperation(create(CaptureTransactionResponseSchema)), {});
    const refusal = { reason: Reason.TRANSACTION_EXPIRED };
    assert.deepEqual(renderOperation(create(CaptureTransactionResponseSchema, { refusal })), { reasonCode: 3035 });
  });

  it('is no connection without an account', () => {
    assert.throws(() => renderConnection(create(ConnectMerchantAccountResponseSchema), {}), unanswered(503));
  });
});
