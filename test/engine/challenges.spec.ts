import assert from 'node:assert/strict';
import type { Outcome } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Wallet_AuthenticationMethod } from '../../proto/gen/payments/v1/payment_details_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { authorizeOrder, type PaymentOptions } from './orders.ts';
import { reasonOf } from './outcomes.ts';
import { CHALLENGED, choose, redirect, usePages } from './pages-kit.ts';

describe('who the simulated engine sends to a page', () => {
  const { authorize, sent, now } = usePages();
  const wallet = (authenticationMethod: number, scaRequested = false): PaymentOptions => ({
    details: { method: { case: 'wallet', value: { pan: CHALLENGED, authenticationMethod } }, scaRequested },
  });
  const { PAN_ONLY, CRYPTOGRAM_3DS } = Wallet_AuthenticationMethod;
  const card = (number: string, details: object = {}): PaymentOptions => {
    const { method } = authorizeOrder({ number }).details!;
    return { details: { method, ...details } };
  };
  const cases: [string, PaymentOptions, number | string][] = [
    ['a card that is always checked', { number: CHALLENGED }, 'buyerAction'],
    ['any card, where the merchant asks', card('4242424242424242', { scaRequested: true }), 'buyerAction'],
    ['a card whose bank needs no page', card('4000000000003055', { scaRequested: true }), 'approved'],
    ['a card that is not enrolled', card('378282246310005', { scaRequested: true }), 'approved'],
    ['a card that is declined anyhow', card('4000000000000002', { scaRequested: true }), 3000],
    ['a mail order', card(CHALLENGED, { moto: true, scaRequested: true }), 'approved'],
    ['a charge without its buyer', { number: CHALLENGED, merchantInitiated: true }, 3004],
    ['a charge off session', card(CHALLENGED, { offSession: true }), 3004],
    ['a wish while no buyer is there', card('4242424242424242', { offSession: true, scaRequested: true }), 'approved'],
    ['Google Pay with the number of the card', wallet(PAN_ONLY), 'buyerAction'],
    ['Google Pay with a cryptogram', wallet(CRYPTOGRAM_3DS, true), 'approved'],
    ['a method without its buyer', { ...redirect('iDeal'), merchantInitiated: true }, 1012],
  ];
  for (const [who, options, end] of cases)
    it(`${who}: ${end}`, async () => {
      const { outcome } = await authorize(options);
      assert.equal(reasonOf(outcome), end);
    });

  it('Google Pay off session as well: Wix says so while the buyer is there', async () => {
    const { details } = wallet(PAN_ONLY);
    assert.equal(reasonOf((await authorize({ details: { ...details!, offSession: true } })).outcome), 'buyerAction');
  });

  it('a card fails its check, or is declined after it, whatever the buyer says', async () => {
    for (const [number, reason] of [
      ['4000008400001280', Reason.THREE_D_SECURE_FAILED],
      ['4000008260003178', Reason.INSUFFICIENT_FUNDS],
    ] as const) {
      const { order, link } = await sent({ number });
      await choose(link, 'approve');
      assert.equal(reasonOf(await now(order)), reason);
    }
  });

  it('says how a card was checked, with or without a page', async () => {
    const eci = ({ kind }: Outcome) => kind.case === 'approved' && [kind.value.threeDSecureResult, kind.value.eci];
    assert.deepEqual(eci((await authorize({ number: '4000000000003055' })).outcome), ['Y', '05']);
    assert.deepEqual(eci((await authorize({ number: '378282246310005' })).outcome), ['', '07']);
    const { order, link } = await sent(card('5555555555554444', { scaRequested: true }));
    await choose(link, 'approve');
    assert.deepEqual(eci(await now(order)), ['Y', '02']);
  });

  it('sets up later charges with the id of the check, and then needs none', async () => {
    const { order, link } = await sent(card('4000002500003155', { setupCredentialsOnFile: true }));
    await choose(link, 'approve');
    const { kind } = await now(order);
    assert.ok(kind.case === 'approved');
    const { info } = kind.value.credentialsOnFile!;
    assert.ok(info.case === 'cardReference');
    assert.match(info.value.dsTransactionId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
    const { method } = authorizeOrder({ number: '4000002500003155' }).details!;
    assert.ok(method.case === 'card');
    Object.assign(method.value, { networkTransactionId: info.value.networkTransactionId, cvv: '' });
    const later = await authorize({ merchantInitiated: true, details: { method, offSession: true } });
    assert.equal(reasonOf(later.outcome), 'approved');
  });

  it('sets up later charges of a redirect method by a token, once its buyer has paid', async () => {
    const token = async (order: Parameters<typeof now>[0]) => {
      const { kind } = await now(order);
      const info = kind.case === 'approved' ? kind.value.credentialsOnFile?.info : undefined;
      return info?.case === 'paymentMethodReference' ? info.value.token : '';
    };
    const options = redirect('iDeal');
    const { order, link } = await sent({ ...options, details: { ...options.details!, setupCredentialsOnFile: true } });
    const charge = async (value: string) =>
      reasonOf((await authorize({ details: { method: { case: 'reference', value: { token: value } } } })).outcome);
    assert.equal(await token(order), '');
    await choose(link, 'approve');
    assert.equal(await charge(await token(order)), 'approved');
  });
});
