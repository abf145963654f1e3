import { createBuyer, press } from '../buyer.ts';
import type { Check, Need } from '../check.ts';
import { approved, demand, refused, same, succeeded } from '../expect.ts';
import { isObject, type JsonObject } from '../json.ts';
import type { PaymentOptions } from '../requests.ts';
import { PENDING } from '../tables.ts';
import { Blocked, type Payment, type Wix } from '../wix.ts';

// What buyers do at a page, and what becomes of it (contract 12.5).

type Button = 'approve' | 'decline' | 'cancel' | 'later';
type ReturnUrl = 'successUrl' | 'errorUrl' | 'cancelUrl' | 'pendingUrl';

interface Outcome {
  readonly button: Button;
  readonly need: Need;
  readonly returnUrl: ReturnUrl;
  /** Where the buyer goes if that URL is missing. */
  readonly else: ReturnUrl;
  readonly isTold: (reasonCode: unknown) => boolean;
  readonly told: string;
}

const OUTCOMES: readonly Outcome[] = [
  {
    ...{ button: 'approve', need: 'approveButton', returnUrl: 'successUrl', else: 'successUrl' },
    ...{ isTold: (code) => code === undefined, told: 'approved, without a reasonCode' },
  },
  {
    ...{ button: 'decline', need: 'declineButton', returnUrl: 'errorUrl', else: 'errorUrl' },
    ...{
      isTold: (code) => code !== undefined && !PENDING.has(code as number) && code !== 3030,
      told: 'declined, with the code of the decline',
    },
  },
  {
    ...{ button: 'cancel', need: 'cancelButton', returnUrl: 'cancelUrl', else: 'errorUrl' },
    ...{ isTold: (code) => code === 3030, told: 'canceled, with 3030' },
  },
  {
    ...{ button: 'later', need: 'laterButton', returnUrl: 'pendingUrl', else: 'successUrl' },
    ...{ isTold: (code) => PENDING.has(code as number), told: 'pending, with 5009 or 5005' },
  },
];

interface Came {
  readonly payment: Payment;
  /** Where the buyer was sent in the end. */
  readonly url: string;
}

const byMethod = ({ config }: Wix): PaymentOptions => ({ method: config.redirect.method, data: {} });
const urlsOf = ({ request }: Payment) => ((request.order as JsonObject).returnUrls ?? {}) as Record<ReturnUrl, string>;

/** Pays, and acts at the page as a buyer would. */
async function comes(wix: Wix, button: Button, options = byMethod(wix)): Promise<Came> {
  const payment = await wix.pay(options);
  const { redirectUrl } = payment.answer.body ?? {};
  if (typeof redirectUrl !== 'string') throw new Blocked(`needs a page, and got ${payment.answer.text.slice(0, 200)}`);
  const ends = Object.values(urlsOf(payment)).filter(Boolean);
  const isEnd = (url: string) => ends.some((end) => url.startsWith(end));
  const go = createBuyer(isEnd, wix.config.limits.answerSeconds * 1_000);
  const label = wix.config.redirect.buttons[button] ?? '';
  const visit = await press(go, await go(redirectUrl), label);
  if (!visit)
    throw new Blocked(`the page has no button or link "${label}"; a page that needs scripts cannot be used here`);
  return { payment, url: visit.url };
}

const told = (wix: Wix, { payment }: Came, { isTold }: Outcome) =>
  wix.event(payment, 'transaction', ({ reasonCode }) => isTold(reasonCode));

const checksOf = (outcome: Outcome): Check[] => {
  const { button, need, returnUrl } = outcome;
  const missing = { [returnUrl]: null };
  return [
    {
      id: `buyer.${button}-event`,
      section: '12.5',
      title: `a buyer at the page: ${button}. The payment is told as ${outcome.told}`,
      fix: 'Send the transaction event as soon as the outcome is known: the state at Wix changes with the event alone.',
      needs: [need],
      run: async (wix) => {
        const { body } = await told(wix, await comes(wix, button), outcome);
        same('redirectUrl of the event', body.redirectUrl, undefined);
      },
    },
    {
      id: `buyer.${button}-return`,
      section: '12.5',
      title: `a buyer at the page: ${button}. The browser is sent to ${returnUrl}`,
      fix: `Redirect the browser to order.returnUrls.${returnUrl} of the request.`,
      needs: [need],
      run: async (wix) => {
        const { payment, url } = await comes(wix, button);
        const wanted = urlsOf(payment)[returnUrl];
        demand(url.startsWith(wanted), `it ended at ${url}`);
      },
    },
    ...(outcome.else === returnUrl
      ? []
      : [
          {
            id: `buyer.${button}-return-elsewhere`,
            section: '5.3',
            title: `a buyer at the page: ${button}. Without ${returnUrl} the browser is sent to ${outcome.else} (derived)`,
            fix: `${returnUrl} may be null: fall back to ${outcome.else}.`,
            needs: [need],
            run: async (wix: Wix) => {
              const change = (body: JsonObject) =>
                Object.assign((body.order as JsonObject).returnUrls as JsonObject, missing);
              const { payment, url } = await comes(wix, button, { ...byMethod(wix), change });
              demand(url.startsWith(urlsOf(payment)[outcome.else]), `it ended at ${url}`);
            },
          },
        ]),
  ];
};

export const BUYER_CHECKS: readonly Check[] = [
  ...OUTCOMES.flatMap(checksOf),
  {
    id: 'buyer.approve-repeat',
    section: '9.2',
    title: 'a repeat after the buyer approved is answered as approved, without a page',
    fix: 'Answer the present state: pluginTransactionId alone.',
    needs: ['approveButton'],
    run: async (wix) => {
      const came = await comes(wix, 'approve');
      await told(wix, came, OUTCOMES[0] as Outcome);
      same(
        'pluginTransactionId',
        approved((await wix.again(came.payment)).answer).pluginTransactionId,
        came.payment.pluginTransactionId,
      );
    },
  },
  {
    id: 'buyer.decline-repeat',
    section: '9.2',
    title: 'a repeat after the payment failed at the page gets the reasonCode, without a page',
    fix: 'Answer the present state: the error, and no redirectUrl.',
    needs: ['declineButton'],
    run: async (wix) => {
      const came = await comes(wix, 'decline');
      const { body } = await told(wix, came, OUTCOMES[1] as Outcome);
      const again = refused((await wix.again(came.payment)).answer);
      same('reasonCode', again.reasonCode, body.reasonCode);
      same('redirectUrl', again.redirectUrl, undefined);
    },
  },
  {
    id: 'buyer.approve-refund',
    section: '6.3',
    title: 'a payment that a buyer approved at the page can be refunded',
    fix: 'After its approval a payment is like any other.',
    needs: ['approveButton'],
    run: async (wix) => {
      const came = await comes(wix, 'approve');
      await told(wix, came, OUTCOMES[0] as Outcome);
      succeeded(await wix.refund(came.payment, 1));
    },
  },
  {
    id: 'buyer.challenge-approved',
    section: '12.5',
    title: 'a card whose 3-D Secure challenge succeeds is told as approved',
    fix: 'Charge once the challenge has succeeded, and send the event.',
    needs: ['challenged', 'approveButton'],
    run: async (wix) => {
      const came = await comes(wix, 'approve', { card: wix.config.cards.challenged ?? '' });
      await told(wix, came, OUTCOMES[0] as Outcome);
    },
  },
  {
    id: 'buyer.challenge-failed',
    section: '12.5',
    title: 'a card whose 3-D Secure challenge fails is told with 3004',
    fix: 'Send the event with reasonCode 3004.',
    needs: ['challenged', 'declineButton'],
    run: async (wix) => {
      const came = await comes(wix, 'decline', { card: wix.config.cards.challenged ?? '' });
      same('reasonCode', (await told(wix, came, OUTCOMES[1] as Outcome)).body.reasonCode, 3004);
    },
  },
  {
    id: 'buyer.challenge-set-up',
    section: '12.6',
    title: 'a set-up payment with 3-D Secure gives its credentialsOnFile with the event',
    fix: 'Send credentialsOnFile with the approved event; a cardReference with its dsTransactionId.',
    needs: ['challenged', 'approveButton', 'credentialsOnFile'],
    run: async (wix) => {
      const came = await comes(wix, 'approve', { card: wix.config.cards.challenged ?? '', setup: true });
      const { credentialsOnFile } = (await told(wix, came, OUTCOMES[0] as Outcome)).body;
      demand(isObject(credentialsOnFile), 'the event has none');
      const { cardReference } = credentialsOnFile;
      demand(
        !isObject(cardReference) || typeof cardReference.dsTransactionId === 'string',
        'cardReference has no dsTransactionId',
      );
    },
  },
];
