import type { Check } from '../check.ts';
import { approved, demand, errorShape, pending, refused, same } from '../expect.ts';
import { isObject, type JsonObject } from '../json.ts';
import { AMOUNT, cardOf, type PaymentOptions, walletOf } from '../requests.ts';
import type { Wix } from '../wix.ts';

// What a payment is answered (contract 5.5, 5.6, 12.2 to 12.8).

const LENGTH_MAX = 200;

const declinedCard = ({ config }: Wix) => Object.keys(config.cards.declined)[0] ?? '';
const pendingCard = ({ config: { cards } }: Wix) => cards.pendingApproved ?? '';

/** The payment's answer by the time Wix may rely on it: whatever the answer says, there is one, and no page. */
async function decidedAtOnce(wix: Wix, options: PaymentOptions): Promise<JsonObject> {
  return approved((await wix.pay(options)).answer);
}

/** `cardDetails` of a wallet: of the funding card, whose digits are not those of the device's number. */
function cardDetails({ cardDetails: details }: JsonObject): void {
  demand(isObject(details), 'there are no cardDetails');
  const { bin, lastFour } = details;
  demand(
    typeof bin === 'string' && /^\d{6,8}$/.test(bin),
    `bin is ${JSON.stringify(bin)}, not a string of 6 to 8 digits`,
  );
  demand(
    typeof lastFour === 'string' && /^\d{4}$/.test(lastFour),
    `lastFour is ${JSON.stringify(lastFour)}, not 4 digits`,
  );
}

/** Exactly one way to charge again. */
function onFile({ credentialsOnFile }: JsonObject): JsonObject {
  demand(isObject(credentialsOnFile), 'there are no credentialsOnFile');
  const { cardReference, paymentMethodReference } = credentialsOnFile;
  const ways = [cardReference, paymentMethodReference].filter((way) => way !== undefined);
  same('the number of cardReference and paymentMethodReference', ways.length, 1);
  const id = isObject(cardReference) ? cardReference.networkTransactionId : undefined;
  const token = isObject(paymentMethodReference) ? paymentMethodReference.token : undefined;
  demand(
    [id, token].some((text) => typeof text === 'string' && text !== ''),
    'neither cardReference.networkTransactionId nor paymentMethodReference.token is a text',
  );
  return credentialsOnFile;
}

/** Charges what a set-up payment left, as Wix does later on. */
async function chargeAgain(wix: Wix): Promise<JsonObject> {
  const { cardReference, paymentMethodReference } = onFile((await wix.paid({ setup: true })).answer.body ?? {});
  const { cvv, ...card } = cardOf(wix.config, wix.config.cards.approved);
  const data = paymentMethodReference
    ? { reference: paymentMethodReference }
    : { card: { ...card, ...(cardReference as JsonObject) } };
  return decidedAtOnce(wix, { data, offSession: true });
}

export const CREATE_CHECKS: readonly Check[] = [
  {
    id: 'create.approved',
    section: '5.5',
    title: 'an approved payment is answered with its pluginTransactionId',
    fix: 'Answer {"pluginTransactionId":"..."}: a string, your id of the payment.',
    run: async (wix) => void approved((await wix.pay()).answer),
  },
  {
    id: 'create.approved-without-code',
    section: '5.5',
    title: 'an approved payment has no reasonCode, not even 0 or null',
    fix: 'Leave reasonCode out.',
    run: async (wix) => {
      const body = (await wix.pay()).answer.body ?? {};
      demand(!('reasonCode' in body), `reasonCode is ${JSON.stringify(body.reasonCode)}`);
    },
  },
  {
    id: 'create.id-length',
    section: '15.8',
    title: 'pluginTransactionId has 1 to 200 characters',
    fix: 'Use a short id: Wix refuses a longer one in later calls.',
    run: async (wix) => {
      const { pluginTransactionId: id } = approved((await wix.pay()).answer);
      demand(String(id).length <= LENGTH_MAX, `it has ${String(id).length} characters`);
    },
  },
  {
    id: 'create.ids-distinct',
    section: '5.5',
    title: 'every payment has a pluginTransactionId of its own',
    fix: 'Make a new id for each wixTransactionId, also for two payments of one order.',
    run: async (wix) => {
      const order = wix.bodyOf().order;
      const payments = await Promise.all(
        Array.from({ length: 5 }, () => wix.pay({ change: (body) => Object.assign(body, { order }) })),
      );
      same('the number of ids of 5 payments', new Set(payments.map(({ pluginTransactionId: id }) => id)).size, 5);
    },
  },
  {
    id: 'create.declined',
    section: '5.5',
    title: 'a declined payment is answered with a reasonCode of the decline group',
    fix: 'Answer 200 with {"pluginTransactionId":"...","reasonCode":3012,"errorCode":"...","errorMessage":"..."}.',
    needs: ['declined'],
    run: async (wix) => errorShape(refused((await wix.pay({ card: declinedCard(wix) })).answer)),
  },
  {
    id: 'create.declined-codes',
    section: '11',
    title: 'each test card is declined with the reason code that it stands for',
    fix: "Map your acquirer's answers to Wix's codes: the buyer reads the text of the code.",
    needs: ['declined'],
    run: async (wix) => {
      for (const [card, code] of Object.entries(wix.config.cards.declined))
        refused((await wix.pay({ card })).answer, code);
    },
  },
  {
    id: 'create.declined-without-page',
    section: '5.5',
    title: 'a declined payment has no redirectUrl',
    fix: 'A buyer who is declined is not sent anywhere: leave redirectUrl out.',
    needs: ['declined'],
    run: async (wix) =>
      same('redirectUrl', refused((await wix.pay({ card: declinedCard(wix) })).answer).redirectUrl, undefined),
  },
  {
    id: 'create.declined-without-credentials',
    section: '12.6',
    title: 'a declined set-up payment has no credentialsOnFile',
    fix: 'Give credentials back for approved payments only.',
    needs: ['credentialsOnFile', 'declined'],
    run: async (wix) => {
      const { answer } = await wix.pay({ card: declinedCard(wix), setup: true });
      same('credentialsOnFile', refused(answer).credentialsOnFile, undefined);
    },
  },
  {
    id: 'create.pending',
    section: '5.5',
    title: 'a pending payment is answered 5005 or 5009',
    fix: 'Answer 5005 for a review of fraud, 5009 for everything else that is not known yet.',
    needs: ['pendingApproved'],
    run: async (wix) => void pending((await wix.pay({ card: pendingCard(wix) })).answer),
  },
  {
    id: 'create.pending-has-id',
    section: '5.5',
    title: 'a pending payment has its pluginTransactionId',
    fix: 'Answer the id that the later events will carry.',
    needs: ['pendingApproved'],
    run: async (wix) => {
      const { pluginTransactionId: id } = pending((await wix.pay({ card: pendingCard(wix) })).answer);
      demand(typeof id === 'string' && id !== '', `pluginTransactionId is ${JSON.stringify(id)}`);
    },
  },
  {
    id: 'create.pending-without-page',
    section: '5.5',
    title: 'a pending payment has no redirectUrl (derived)',
    fix: 'Never send redirectUrl together with a reasonCode.',
    needs: ['pendingApproved'],
    run: async (wix) =>
      same('redirectUrl', pending((await wix.pay({ card: pendingCard(wix) })).answer).redirectUrl, undefined),
  },
  {
    id: 'create.moto',
    section: '5.6',
    title: 'a mail or telephone order is decided at once, without a page',
    fix: 'With moto: true no buyer is there: never answer a redirectUrl.',
    needs: ['moto'],
    run: async (wix) => void (await decidedAtOnce(wix, { moto: true })),
  },
  {
    id: 'create.moto-with-sca',
    section: '5.6',
    title: 'moto wins over scaRequested (derived)',
    fix: 'Authentication cannot be asked of a buyer who is not there.',
    needs: ['moto'],
    run: async (wix) => void (await decidedAtOnce(wix, { moto: true, scaRequested: true })),
  },
  {
    id: 'create.authorized',
    section: '5.5',
    title: 'an authorizeOnly payment is answered like an approved one',
    fix: 'Answer {"pluginTransactionId":"..."} without a code once the money is held.',
    needs: ['authorizeOnly'],
    run: async (wix) => void (await decidedAtOnce(wix, { authorizeOnly: true })),
  },
  {
    id: 'create.authorize-only-false',
    section: '12.10',
    title: 'authorizeOnly: false captures at once: the payment can be refunded',
    fix: 'Only true asks for an authorization alone.',
    run: async (wix) => {
      const payment = await wix.paid({ change: (body) => Object.assign(body, { authorizeOnly: false }) });
      const { body } = await wix.refund(payment, AMOUNT);
      demand(body !== undefined && body.reasonCode === undefined, `the refund was refused: ${JSON.stringify(body)}`);
    },
  },
  {
    id: 'create.no-card-details',
    section: '5.5',
    title: 'cardDetails are for wallets only: a card payment has none',
    fix: 'Leave cardDetails out where Wix knows the card.',
    run: async (wix) => same('cardDetails', approved((await wix.pay()).answer).cardDetails, undefined),
  },
  {
    id: 'create.no-credentials-unasked',
    section: '5.5',
    title: 'credentialsOnFile come only where they were asked for',
    fix: 'Answer them only if setupCredentialsOnFile.offSession is true.',
    run: async (wix) => same('credentialsOnFile', approved((await wix.pay()).answer).credentialsOnFile, undefined),
  },
  {
    id: 'create.set-up',
    section: '8.5',
    title: 'a set-up payment is answered with cardReference or paymentMethodReference, never both',
    fix: 'Answer credentialsOnFile with {"cardReference":{"networkTransactionId":...}} or {"paymentMethodReference":{"token":...}}.',
    needs: ['credentialsOnFile'],
    run: async (wix) => void onFile(approved((await wix.pay({ setup: true })).answer)),
  },
  {
    id: 'create.set-up-in-event',
    section: '12.6',
    title: 'the event of a set-up payment has the same credentialsOnFile',
    fix: 'Send with the event what was answered.',
    needs: ['credentialsOnFile'],
    run: async (wix) => {
      const payment = await wix.paid({ setup: true });
      const answered = onFile(payment.answer.body ?? {});
      const { body } = await wix.event(payment);
      same('credentialsOnFile of the event', JSON.stringify(body.credentialsOnFile), JSON.stringify(answered));
    },
  },
  {
    id: 'create.charge-again',
    section: '12.6',
    title: 'what a set-up payment left can be charged off session, without a CVV and without a page',
    fix: 'With offSession: true expect networkTransactionId or reference.token, and no cvv; never answer a redirectUrl.',
    needs: ['credentialsOnFile'],
    run: async (wix) => void (await chargeAgain(wix)),
  },
  {
    id: 'create.unknown-token',
    section: '5.4',
    title: 'a token that was never given out is not charged',
    fix: 'Decline a reference.token that you do not know, 3043 for example.',
    needs: ['credentialsOnFile'],
    run: async (wix) => {
      const data = { reference: { token: 'kit-token-of-nobody' } };
      refused((await wix.pay({ data, offSession: true })).answer);
    },
  },
  {
    id: 'create.google-pay-cryptogram',
    section: '12.8',
    title: 'Google Pay with a cryptogram is approved at once',
    fix: 'Read paymentMethodData.googlePay: the card comes decrypted, without a CVV.',
    needs: ['googlePay'],
    run: async (wix) => {
      const data = { googlePay: walletOf(wix.config, 'CRYPTOGRAM_3DS') };
      await decidedAtOnce(wix, { method: 'googlePay', data });
    },
  },
  {
    id: 'create.google-pay-off-session',
    section: '5.6',
    title: 'Google Pay is not refused because of offSession: true',
    fix: "Wix's own samples carry offSession: true on ordinary Google Pay payments: do not go by it there.",
    needs: ['googlePay'],
    run: async (wix) => {
      const data = { googlePay: walletOf(wix.config, 'CRYPTOGRAM_3DS') };
      await decidedAtOnce(wix, { method: 'googlePay', data, offSession: true });
    },
  },
  {
    id: 'create.google-pay-card-details',
    section: '5.5',
    title: 'a wallet payment is answered with bin and lastFour of the real card',
    fix: 'Answer cardDetails {"bin":"6 to 8 digits","lastFour":"4 digits"} as strings.',
    needs: ['googlePay'],
    run: async (wix) => {
      const data = { googlePay: walletOf(wix.config, 'CRYPTOGRAM_3DS') };
      cardDetails(await decidedAtOnce(wix, { method: 'googlePay', data }));
    },
  },
  {
    id: 'create.google-pay-event',
    section: '8.4',
    title: 'the event of a wallet payment has the cardDetails too',
    fix: 'Send with the event what was answered.',
    needs: ['googlePay'],
    run: async (wix) => {
      const data = { googlePay: walletOf(wix.config, 'CRYPTOGRAM_3DS') };
      cardDetails((await wix.event(await wix.paid({ method: 'googlePay', data }))).body);
    },
  },
  {
    id: 'create.apple-pay',
    section: '5.4',
    title: 'Apple Pay is approved at once, with cardDetails',
    fix: 'Read paymentMethodData.applePay like googlePay.',
    needs: ['applePay'],
    run: async (wix) => {
      const { authenticationMethod, accountVerified, cardholderAuthenticated, ...wallet } = walletOf(
        wix.config,
        'CRYPTOGRAM_3DS',
      );
      const data = { applePay: { ...wallet, cardholderName: 'ANA CONCEICAO' } };
      cardDetails(await decidedAtOnce(wix, { method: 'applePay', data }));
    },
  },
];
