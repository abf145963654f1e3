import assert from 'node:assert/strict';
import { approved } from '../engine/outcomes.ts';
import { useStage } from '../support/stage.ts';
import type { JsonObject } from '../wix/json.ts';
import type { PaymentOptions } from '../wix/requests.ts';

const NUMBER = '5105105105105100';
const OWN = { bin: '510510', lastFour: '5100' };
const FUNDING = { bin: '411111', lastFour: '1111' };

const nameless = (body: JsonObject) => void delete body.paymentMethod;
const withCryptogram = (body: JsonObject) =>
  Object.assign((body.paymentMethodData as { googlePay: object }).googlePay, { authenticationMethod: 'PAN_ONLY' });

describe('what Wix hears of the card behind a wallet', () => {
  const stage = useStage();
  /** In the answer, in its repeat and in the event. */
  const heard = async (options: PaymentOptions, card?: typeof FUNDING) => {
    stage.once('authorize', approved({ ...(card && { cardDetails: card as never }) }));
    const payment = await stage.pay({ number: NUMBER, ...options });
    const { body } = await stage.told(payment, 'transaction');
    const { text } = (await stage.wix.again(payment)).answer;
    assert.equal(text, payment.answer.text);
    assert.deepEqual(body.cardDetails, payment.answer.body?.cardDetails);
    const [kept] = await stage.db.query<{ bin: string | null }>(
      'select card_bin as bin from transactions where external_id = $1',
      [payment.wixTransactionId],
    );
    return { card: body.cardDetails, kept: kept?.bin };
  };

  for (const wallet of ['googlePay', 'applePay'] as const)
    it(`is its digits, of ${wallet} that is known by its data alone`, async () => {
      assert.deepEqual((await heard({ wallet, change: nameless }, FUNDING)).card, FUNDING);
    });

  it('is its own digits where Wix sent its number and the engine says nothing of it', async () => {
    assert.deepEqual((await heard({ wallet: 'googlePay', authenticationMethod: 'PAN_ONLY' })).card, OWN);
  });

  it('is what the engine says of it, whatever number Wix sent', async () => {
    const { card } = await heard({ wallet: 'googlePay', authenticationMethod: 'PAN_ONLY' }, FUNDING);
    assert.deepEqual(card, FUNDING);
  });

  for (const [what, options] of [
    ['a device’s number', { wallet: 'googlePay' }],
    ['a number that came with a cryptogram, whatever it is called', { wallet: 'googlePay', change: withCryptogram }],
    ['Apple’s, whose numbers are devices’', { wallet: 'applePay', change: nameless }],
  ] as [string, PaymentOptions][])
    it(`is nothing of ${what}`, async () => {
      assert.deepEqual(await heard(options), { card: undefined, kept: null });
    });

  it('is nothing of a card that is no wallet’s, named or not', async () => {
    assert.equal((await heard({}, FUNDING)).card, undefined);
    assert.equal((await heard({ change: nameless }, FUNDING)).card, undefined);
  });
});
