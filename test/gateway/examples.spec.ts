import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import type { CreateTransactionRequest } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Transaction_State as State, type TransactionSchema } from '../../proto/gen/payments/v1/transaction_pb.js';
import {
  example,
  exampleJson,
  exampleNames,
  type Script,
  startGateway,
  stopGateways,
  type TestGateway,
} from './harness.ts';

// Every example message of the contract: each request reaches the core as what it says, and each answer is what the gateway writes.

// biome-ignore lint/suspicious/noExplicitAny: an example, whatever it holds
type Example = any;

const approved = { id: 'plugin-1', state: State.CAPTURED } as const;
const modeOf = ({ mode }: Example) => (mode === 'sandbox' ? Mode.SANDBOX : Mode.UNSPECIFIED);

describe('the example messages of the contract', () => {
  let gateway: TestGateway;
  before(async () => {
    gateway = await startGateway();
  });
  beforeEach(() => gateway.calls.splice(0));
  after(stopGateways);

  const send = async (call: string, name: string, script: Script) => {
    gateway.script = script;
    const answer = await gateway.post(call, example(name));
    assert.equal(answer.status, 200);
    return answer;
  };
  /** The one request that reached the core. */
  const asked = () => {
    assert.equal(gateway.calls.length, 1);
    return gateway.calls[0]!.request;
  };

  describe('connect-account requests', () => {
    for (const name of exampleNames('connect-account.', '.request.json'))
      it(name, async () => {
        const sent = exampleJson(name);
        await send('connect-account', name, { connectMerchantAccount: () => ({ account: { id: 'acct' } }) });
        const { externalMerchantId, credentials, country, currency, mode } = asked();
        assert.deepEqual(
          { externalMerchantId, credentials: credentials.values, country, currency, mode },
          {
            externalMerchantId: sent.wixMerchantId,
            credentials: sent.credentials,
            country: sent.country ?? '',
            currency: sent.currency ?? '',
            mode: modeOf(sent),
          },
        );
      });
  });

  describe('create-transaction requests', () => {
    const refused: Record<string, number> = { 'required-field-missing': 1004, 'method-unknown': 1012 };
    for (const name of exampleNames('create-transaction.', '.request.json'))
      it(name, async () => {
        const sent = exampleJson(name);
        await send('create-transaction', name, { createTransaction: () => ({ transaction: approved }) });
        const request: CreateTransactionRequest = asked();
        const { description } = sent.order;
        assert.match(request.callId, /^[0-9a-f-]{36}$/);
        assert.equal(request.externalId, sent.wixTransactionId);
        assert.equal(request.externalMerchantId, sent.wixMerchantId);
        assert.deepEqual(request.merchantCredentials?.values, sent.merchantCredentials);
        assert.equal(request.mode, modeOf(sent));
        assert.equal(request.amount, BigInt(description.totalAmount));
        assert.equal(request.currency, description.currency ?? '');
        const reason = refused[name.split('.')[1]!];
        assert.equal(request.refusal?.reason, reason);
        if (reason) return assert.equal(request.details, undefined);
        assert.equal(request.paymentMethod, sent.paymentMethod?.includes('-') ? '' : (sent.paymentMethod ?? ''));
        assert.equal(request.authorizeOnly, sent.authorizeOnly ?? false);
        assertDetails(request, sent);
      });
  });

  const assertDetails = ({ details }: CreateTransactionRequest, sent: Example) => {
    assert.ok(details);
    const { description } = sent.order;
    assert.equal(details.orderId, sent.order.id ?? '');
    assert.equal(details.buyerId, description.buyerInfo?.buyerId ?? '');
    assert.equal(details.buyerLanguage, description.buyerInfo?.buyerLanguage ?? '');
    assert.equal(details.remoteIp, sent.fraudInformation?.remoteIp ?? '');
    assert.equal(details.moto, sent.moto ?? false);
    assert.equal(details.offSession, sent.offSession ?? false);
    assert.equal(details.scaRequested, sent.scaRequested ?? false);
    assert.equal(details.setupCredentialsOnFile, sent.setupCredentialsOnFile?.offSession ?? false);
    assert.equal(details.installments, sent.installments ?? 0);
    assert.equal(details.billingAddress?.lastName, description.billingAddress?.lastName);
    assert.equal(details.billingAddress?.zipCode, description.billingAddress?.zipCode);
    assert.equal(details.charges?.tax, description.charges && BigInt(description.charges.tax));
    assert.equal(details.items.length, description.items?.length ?? 0);
    const [item] = details.items;
    if (item) {
      assert.equal(item.price, BigInt(description.items[0].price));
      assert.equal(item.weightInKg, '0.85');
      assert.equal(item.category, description.items[0].category);
    }
    assert.partialDeepStrictEqual(details.method, methodOf(sent.paymentMethodData ?? {}));
  };

  const methodOf = ({ card, reference, googlePay, applePay, ideal }: Example) => {
    if (reference) return { case: 'reference', value: { token: reference.token } };
    if (card) {
      const { number, cvv = '', holderName = '', networkTransactionId = '', dsTransactionId = '' } = card;
      const expiry = { expiryMonth: card.month, expiryYear: card.year };
      return { case: 'card', value: { number, cvv, holderName, networkTransactionId, dsTransactionId, ...expiry } };
    }
    const wallet = googlePay ?? applePay;
    if (!wallet) return { case: 'redirect', value: { issuerBank: ideal?.issuerBank ?? '' } };
    const { pan, cryptogram = '', eci, cardholderName: holderName = '' } = wallet;
    const { accountVerified = false, cardholderAuthenticated = false } = wallet;
    const expiry = { expiryMonth: wallet.expirationMonth, expiryYear: wallet.expirationYear };
    const authenticationMethod = ['PAN_ONLY', 'CRYPTOGRAM_3DS'].indexOf(wallet.authenticationMethod) + 1;
    const facts = { type: googlePay ? 1 : 2, authenticationMethod, accountVerified, cardholderAuthenticated };
    return { case: 'wallet', value: { pan, cryptogram, eci, holderName, ...expiry, ...facts } };
  };

  describe('refund-transaction requests', () => {
    const whys = ['', 'DUPLICATE', 'FRAUDULENT', 'REQUESTED_BY_CUSTOMER'];
    for (const name of exampleNames('refund-transaction.', '.request.json'))
      it(name, async () => {
        const sent = exampleJson(name);
        await send('refund-transaction', name, { refundTransaction: () => ({ operation: { id: 'refund-1' } }) });
        const request = asked();
        assert.equal(request.externalId, sent.wixTransactionId);
        assert.equal(request.externalRefundId, sent.wixRefundId);
        assert.equal(request.transactionId, sent.pluginTransactionId);
        assert.deepEqual(request.merchantCredentials.values, sent.merchantCredentials);
        assert.equal(request.amount, sent.refundAmount === undefined ? undefined : BigInt(sent.refundAmount));
        assert.equal(request.mode, modeOf(sent));
        assert.equal(request.why, whys.indexOf(sent.reason ?? ''));
        assert.equal(request.refusal, undefined);
      });
  });

  for (const kind of ['capture', 'void'] as const)
    describe(`${kind}-transaction requests`, () => {
      for (const name of exampleNames(`${kind}-transaction.`, '.request.json'))
        it(name, async () => {
          const sent = exampleJson(name);
          const { text } = await send(`${kind}-transaction`, name, { [`${kind}Transaction`]: () => ({}) });
          assert.equal(text, '{}');
          const request = asked();
          assert.equal(request.externalId, sent.wixTransactionId);
          assert.equal(request.transactionId, sent.pluginTransactionId);
          assert.equal(request.amount, BigInt(sent[`${kind}Amount`]));
          assert.deepEqual(request.merchantCredentials.values, sent.merchantCredentials);
        });
    });

  describe('answers', () => {
    const refusalOf = ({ reasonCode, errorCode = '', errorMessage = '' }: Example) => ({
      reason: reasonCode,
      errorCode,
      message: errorMessage,
    });
    /** What the core says when Wix is to hear this. */
    const transactionOf = (answer: Example): MessageInitShape<typeof TransactionSchema> => {
      const { pluginTransactionId, redirectUrl, reasonCode, cardDetails, credentialsOnFile: onFile } = answer;
      const isPending = reasonCode === 5005 || reasonCode === 5009;
      const state = redirectUrl
        ? State.AWAITING_BUYER
        : isPending
          ? State.PENDING
          : reasonCode
            ? State.DECLINED
            : State.AUTHORIZED;
      return {
        id: pluginTransactionId ?? 'withheld',
        idWithheld: pluginTransactionId === undefined,
        state,
        ...(reasonCode && { reason: reasonCode }),
        ...(redirectUrl && { redirectUrl }),
        ...(cardDetails && { cardDetails: { scheme: 'visa', ...cardDetails } }),
        ...(onFile && {
          credentialsOnFile: {
            info: onFile.cardReference
              ? { case: 'cardReference', value: onFile.cardReference }
              : { case: 'paymentMethodReference', value: onFile.paymentMethodReference },
            paymentMethod: onFile.paymentMethod ?? '',
          },
        }),
      };
    };
    const isRefusal = ({ reasonCode }: Example) =>
      reasonCode !== undefined && reasonCode !== 5005 && reasonCode !== 5009;

    for (const name of exampleNames('create-transaction.', '.response.json'))
      it(name, async () => {
        const expected = exampleJson(name);
        const { text } = await send('create-transaction', 'create-transaction.card-minimal.request.json', {
          createTransaction: () => ({
            transaction: transactionOf(expected),
            ...(isRefusal(expected) && { refusal: refusalOf(expected) }),
          }),
        });
        assert.equal(text, JSON.stringify(expected));
      });

    for (const name of ['create-transaction.required-field-missing', 'create-transaction.method-unknown'])
      it(`${name}.response.json is the answer to its own request`, async () => {
        const { text } = await send('create-transaction', `${name}.request.json`, {
          createTransaction: ({ refusal }) => ({
            transaction: { id: 'ours', idWithheld: true, state: State.DECLINED },
            refusal: { reason: refusal!.reason, errorCode: refusal!.errorCode, message: refusal!.message },
          }),
        });
        assert.equal(text, JSON.stringify(exampleJson(`${name}.response.json`)));
      });

    for (const name of exampleNames('connect-account.', '.response.json'))
      it(name, async () => {
        const expected = exampleJson(name);
        const request = name.includes('string-typed') ? 'string-typed-values' : 'basic';
        const { text } = await send('connect-account', `connect-account.${request}.request.json`, {
          connectMerchantAccount: () =>
            isRefusal(expected)
              ? { refusal: refusalOf(expected) }
              : {
                  account: { id: expected.accountId, name: expected.accountName },
                  credentials: { values: expected.credentials },
                },
        });
        assert.equal(text, JSON.stringify(expected));
      });

    for (const name of exampleNames('refund-transaction.', '.response.json'))
      it(name, async () => {
        const expected = exampleJson(name);
        const { text } = await send('refund-transaction', 'refund-transaction.full.request.json', {
          refundTransaction: () => ({
            ...(expected.pluginRefundId && { operation: { id: expected.pluginRefundId } }),
            ...(isRefusal(expected) && { refusal: refusalOf(expected) }),
          }),
        });
        assert.equal(text, JSON.stringify(expected));
      });

    for (const kind of ['capture', 'void'] as const)
      for (const name of exampleNames(`${kind}-transaction.`, '.response.json'))
        it(name, async () => {
          const expected = exampleJson(name);
          const { text } = await send(`${kind}-transaction`, `${kind}-transaction.full.request.json`, {
            [`${kind}Transaction`]: () => (isRefusal(expected) ? { refusal: refusalOf(expected) } : {}),
          });
          assert.equal(text, JSON.stringify(expected));
        });
  });
});
