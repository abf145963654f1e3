import type { Check } from '../check.ts';
import { approved, demand, refused, same, succeeded } from '../expect.ts';
import type { JsonObject } from '../json.ts';
import { canonical } from '../json.ts';
import type { PaymentOptions } from '../requests.ts';
import type { Payment, Wix } from '../wix.ts';

// Buyers who are sent to a page: redirect methods, 3-D Secure, hosted pages (contract 5.5, 5.6, 9.2, 12.5).

const CANCELED = 3030;
const PAGE_MAX_BYTES = 4_000_000;

const byMethod = ({ config }: Wix): PaymentOptions => ({ method: config.redirect.method, data: {} });
const challenged = ({ config }: Wix): PaymentOptions => ({ card: config.cards.challenged ?? '' });

async function sentAway(wix: Wix, options: PaymentOptions): Promise<{ payment: Payment; body: JsonObject; url: URL }> {
  const payment = await wix.pay(options);
  const body = succeeded(payment.answer);
  const { redirectUrl } = body;
  demand(typeof redirectUrl === 'string' && URL.canParse(redirectUrl), `redirectUrl is ${JSON.stringify(redirectUrl)}`);
  return { payment, body, url: new URL(redirectUrl) };
}

/** The page as Wix's frame gets it. */
async function pageOf(wix: Wix, url: URL): Promise<Response> {
  const response = await fetch(url, { signal: AbortSignal.timeout(wix.config.limits.answerSeconds * 1_000) });
  demand(Number(response.headers.get('content-length') ?? 0) < PAGE_MAX_BYTES, 'the page is larger than 4 MB');
  await response.body?.cancel();
  return response;
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

export const PAGE_CHECKS: readonly Check[] = [
  {
    id: 'page.method',
    section: '12.5',
    title: 'a redirect method is answered with redirectUrl',
    fix: 'Answer {"pluginTransactionId":"...","redirectUrl":"https://..."}.',
    needs: ['redirect'],
    run: async (wix) => void (await sentAway(wix, byMethod(wix))),
  },
  {
    id: 'page.hosted',
    section: '12.5',
    title: 'a payment without paymentMethod is answered with your hosted page',
    fix: 'An absent paymentMethod, or your app id, stands for the hosted page.',
    needs: ['hostedPage'],
    run: async (wix) => void (await sentAway(wix, { method: null, data: {} })),
  },
  {
    id: 'page.hosted-by-app-id',
    section: '5.2',
    title: 'a payment whose paymentMethod is an app id is answered with your hosted page',
    fix: 'An absent paymentMethod, or your app id, stands for the hosted page.',
    needs: ['hostedPage'],
    run: async (wix) => void (await sentAway(wix, { method: wix.config.wix.appId, data: {} })),
  },
  {
    id: 'page.challenge',
    section: '12.5',
    title: 'a card that needs 3-D Secure is answered with redirectUrl',
    fix: 'Answer your page that runs the challenge.',
    needs: ['challenged'],
    run: async (wix) => void (await sentAway(wix, challenged(wix))),
  },
  {
    id: 'page.has-id',
    section: '5.5',
    title: 'an answer with a page has pluginTransactionId too',
    fix: 'Answer the id that the later events will carry.',
    needs: ['redirect'],
    run: async (wix) => {
      const { pluginTransactionId: id } = (await sentAway(wix, byMethod(wix))).body;
      demand(typeof id === 'string' && id !== '', `pluginTransactionId is ${JSON.stringify(id)}`);
    },
  },
  {
    id: 'page.without-code',
    section: '5.5',
    title: 'an answer with a page has no reasonCode (derived)',
    fix: 'Waiting for the buyer is not pending: leave reasonCode out.',
    needs: ['redirect'],
    run: async (wix) => same('reasonCode', (await wix.pay(byMethod(wix))).answer.body?.reasonCode, undefined),
  },
  {
    id: 'page.https',
    section: '5.5',
    title: 'redirectUrl is an absolute https URL',
    fix: 'Serve the page over https (http is let pass on this machine only).',
    needs: ['redirect'],
    run: async (wix) => {
      const { url } = await sentAway(wix, byMethod(wix));
      demand(url.protocol === 'https:' || LOOPBACK.test(url.hostname), `it is ${url.protocol}//${url.host}`);
    },
  },
  {
    id: 'page.answers',
    section: '12.5',
    title: 'the page is there',
    fix: 'redirectUrl must answer 200 to a GET from any browser.',
    needs: ['redirect'],
    run: async (wix) => {
      const { status } = await pageOf(wix, (await sentAway(wix, byMethod(wix))).url);
      demand(status === 200, `its status is ${status}`);
    },
  },
  {
    id: 'page.framing',
    section: '5.5',
    title: 'the page may be shown in a frame',
    fix: 'Send no X-Frame-Options, and no frame-ancestors that keeps Wix out: Wix opens the page in an iframe or a window.',
    needs: ['redirect'],
    run: async (wix) => {
      const { headers } = await pageOf(wix, (await sentAway(wix, byMethod(wix))).url);
      same('X-Frame-Options', headers.get('x-frame-options'), null);
      const ancestors = /frame-ancestors\s+([^;]*)/i.exec(headers.get('content-security-policy') ?? '')?.[1]?.trim();
      demand(ancestors !== "'none'" && ancestors !== "'self'", `frame-ancestors is ${ancestors}`);
    },
  },
  {
    id: 'page.no-event',
    section: '8.7',
    title: 'no event comes while the buyer is at the page',
    fix: 'Send nothing until the buyer is done.',
    needs: ['redirect'],
    run: async (wix) => {
      const { payment } = await sentAway(wix, byMethod(wix));
      await wix.quiet();
      same('the number of events', wix.events(payment).length, 0);
    },
  },
  {
    id: 'page.repeat',
    section: '9.2',
    title: 'a repeat while the buyer is at the page is answered with the same page',
    fix: 'The state has not changed: give the previous answer again.',
    needs: ['redirect'],
    run: async (wix) => {
      const { payment, body } = await sentAway(wix, byMethod(wix));
      same('the repeat', canonical((await wix.again(payment)).answer.body), canonical(body));
    },
  },
  {
    id: 'page.no-refund-yet',
    section: '6.3',
    title: 'a payment whose buyer is still at the page is not refunded',
    fix: 'Answer 3022: nothing was taken yet.',
    needs: ['redirect'],
    run: async (wix) => void refused(await wix.refund((await sentAway(wix, byMethod(wix))).payment, 1)),
  },
  {
    id: 'page.without-cancel-url',
    section: '5.3',
    title: 'cancelUrl and pendingUrl may be missing (derived)',
    fix: 'Fall back to errorUrl and successUrl.',
    needs: ['redirect'],
    run: async (wix) => {
      const change = (body: JsonObject) => {
        const { returnUrls } = body.order as { returnUrls: JsonObject };
        Object.assign(returnUrls, { cancelUrl: null, pendingUrl: null });
      };
      await sentAway(wix, { ...byMethod(wix), change });
    },
  },
  {
    id: 'page.installments',
    section: '5.2',
    title: 'installments: 1 with a redirect method is no reason to refuse',
    fix: 'Ignore installments where they mean nothing: 1 is none.',
    needs: ['redirect'],
    run: async (wix) =>
      void (await sentAway(wix, { ...byMethod(wix), change: (body) => Object.assign(body, { installments: 1 }) })),
  },
  {
    id: 'page.moto-never',
    section: '5.6',
    title: 'moto never gets a page, not even with a card that needs 3-D Secure',
    fix: 'No buyer is there: approve or decline.',
    needs: ['challenged', 'moto'],
    run: async (wix) => {
      const { answer } = await wix.pay({ ...challenged(wix), moto: true });
      same('redirectUrl', answer.body?.redirectUrl, undefined);
    },
  },
  {
    id: 'page.no-credentials-yet',
    section: '12.6',
    title: 'a set-up payment with 3-D Secure is answered without credentialsOnFile',
    fix: 'They travel in the event alone, once the buyer is done.',
    needs: ['challenged', 'credentialsOnFile'],
    run: async (wix) =>
      same(
        'credentialsOnFile',
        (await sentAway(wix, { ...challenged(wix), setup: true })).body.credentialsOnFile,
        undefined,
      ),
  },
  {
    id: 'page.frictionless',
    section: '5.6',
    title: 'a card that needs no 3-D Secure gets no page',
    fix: 'Answer the outcome at once.',
    needs: ['challenged'],
    run: async (wix) => void approved((await wix.pay()).answer),
  },
  {
    id: 'page.buyer-leaves',
    section: '12.5',
    title: 'a buyer who never comes is told as canceled: 3030',
    fix: 'After a time-out of your own, end the payment and send the event with 3030.',
    needs: ['buyerTimeout'],
    limitSeconds: ({ eventSeconds, answerSeconds }) => 3_600 + eventSeconds + answerSeconds,
    run: async (wix) => {
      const { payment } = await sentAway(wix, byMethod(wix));
      const { redirect, limits } = wix.config;
      const within = (redirect.buyerTimeoutSeconds ?? 0) + limits.eventSeconds;
      same('reasonCode', (await wix.event(payment, 'transaction', () => true, within)).body.reasonCode, CANCELED);
      refused((await wix.again(payment)).answer, CANCELED);
    },
  },
];
