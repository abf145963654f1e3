import type { Books } from './engine/books.ts';
import type { PaymentOptions } from './wix/requests.ts';
import type { Payment, Wix } from './wix/wix.ts';

// Every flow of cards and of buyers who are sent to a page, driven as Wix drives it, each with a verdict: the answer, the events, the engine's books and the contract.

export interface Stage {
  readonly wix: Wix;
  readonly engine: { readonly books: Books };
  readonly gatewayUrl: string;
}

export interface Verdict {
  readonly flow: string;
  readonly answer: string;
  readonly event: string;
  readonly problems: readonly string[];
}

/** What a flow shows; it throws if the product did not do what it should. */
type Flow = (
  stage: Stage,
  merchant: Awaited<ReturnType<Wix['connect']>>,
) => Promise<{ answer: unknown; event: string }>;

function ensure(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

const reasonOf = (payment: Payment) => payment.answer.body?.reasonCode;

/** Waits for the event about a payment with this reason code (undefined: none), and shows it. */
async function told({ wix }: Stage, payment: Payment, kind: string, reasonCode?: number): Promise<string> {
  const event = await wix.eventFor(
    payment.wixTransactionId,
    (candidate) => candidate.kind === kind && candidate.body.reasonCode === reasonCode,
  );
  return event.text;
}

/** A payment that is decided at once. */
const decided =
  (number: string, reasonCode: number | undefined, charged: bigint): Flow =>
  async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant, { number });
    ensure(reasonOf(payment) === reasonCode, `answered ${reasonOf(payment)} instead of ${reasonCode}`);
    const event = await told(stage, payment, 'transaction', reasonCode);
    ensure(stage.engine.books.charged(payment.pluginTransactionId) === charged, `the engine did not charge ${charged}`);
    return { answer: payment.answer.body, event };
  };

/** A payment that is pending first. */
const pending =
  (number: string, first: number, last: number | undefined): Flow =>
  async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant, { number });
    ensure(reasonOf(payment) === first, `answered ${reasonOf(payment)} instead of ${first}`);
    await told(stage, payment, 'transaction', first);
    return { answer: payment.answer.body, event: await told(stage, payment, 'transaction', last) };
  };

const AMOUNT = 4590n;

/** What Wix calls the pages of the shop. */
type Landing = 'successUrl' | 'errorUrl' | 'cancelUrl' | 'pendingUrl';

interface Visit {
  /** The button of the engine's page. */
  readonly choice: string;
  readonly fields?: Record<string, string>;
  readonly landing: Landing;
  /** What Wix is told at first, and in the end where that is something else. */
  readonly reasonCode?: number;
  readonly final?: { readonly reasonCode?: number };
}

/** A payment whose buyer is sent to the engine's page, decides there, and comes to the page of the shop that fits. */
const visited =
  (options: PaymentOptions, { choice, fields, landing, reasonCode, final }: Visit): Flow =>
  async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant, options);
    const { redirectUrl } = payment.answer.body ?? {};
    ensure(typeof redirectUrl === 'string', 'answered without a page for the buyer');
    const page = String(redirectUrl);
    ensure((await fetch(page)).ok, 'the page is not there');
    const form = new URLSearchParams({ ...fields, choice });
    const decision = await fetch(page, { method: 'POST', body: form, redirect: 'manual' });
    const back = await fetch(decision.headers.get('location') ?? '', { redirect: 'manual' });
    const { returnUrls } = payment.request.order as { returnUrls: Record<Landing, string> };
    const shop = back.headers.get('location');
    ensure(shop === returnUrls[landing], `the buyer came to ${shop} instead of the ${landing}`);
    let event = await told(stage, payment, 'transaction', reasonCode);
    if (final) event = await told(stage, payment, 'transaction', final.reasonCode);
    const isPaid = (final ?? { reasonCode }).reasonCode === undefined;
    const { charged } = stage.engine.books;
    ensure(charged(payment.pluginTransactionId) === (isPaid ? AMOUNT : 0n), 'the engine charged another sum');
    return { answer: payment.answer.body, event };
  };

const challenged: PaymentOptions = { number: '4000000000003220' };
const card = { number: '4242424242424242', expiry: '09/31', cvv: '737', holder: 'Ines Carvalho' };

export const FLOWS: Readonly<Record<string, Flow>> = {
  'connect a merchant again': async ({ wix, gatewayUrl }, { merchantId, credentials, accountId }) => {
    const again = await wix.connect(gatewayUrl, { merchantId, credentials });
    ensure(again.accountId === accountId, 'the account id changed');
    return { answer: again.answer.body, event: 'none' };
  },
  'connect with wrong credentials': async ({ wix, gatewayUrl }) => {
    const { answer } = await wix.connect(gatewayUrl, { credentials: { apiKey: 'invalid' } });
    ensure(answer.body?.reasonCode === 2002, 'not refused with 2002');
    return { answer: answer.body, event: 'none' };
  },
  'sale, approved': decided('4242424242424242', undefined, AMOUNT),
  'sale, declined by the bank': decided('4000000000000002', 3000, 0n),
  'sale, insufficient funds': decided('4000000000009995', 3012, 0n),
  'sale, review, then approved': pending('4000000000009235', 5005, undefined),
  'sale, review, then declined': pending('4000000000004954', 5005, 5001),
  'sale, no answer, found approved': pending('4000000000000119', 5009, undefined),
  'sale, no answer, never happened': pending('4000000000000259', 5009, 1003),
  'sale, repeated ten times at once': async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant);
    const again = await Promise.all(Array.from({ length: 10 }, () => stage.wix.again(payment)));
    ensure(
      again.every(({ answer }) => answer.text === payment.answer.text),
      'a repeat was answered differently',
    );
    ensure(stage.engine.books.charged(payment.pluginTransactionId) === AMOUNT, 'not charged exactly once');
    return { answer: payment.answer.body, event: await told(stage, payment, 'transaction') };
  },
  'currency that Wix does not know': async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant, { currency: 'XCG' });
    ensure(reasonOf(payment) === 3003, 'not declined with 3003');
    return { answer: payment.answer.body, event: await told(stage, payment, 'transaction', 3003) };
  },
  'credentials of nobody': async (stage, merchant) => {
    const payment = await stage.wix.pay({ ...merchant, credentials: { apiKey: 'somebody else' } });
    ensure(reasonOf(payment) === 3041, 'not declined with 3041');
    return { answer: payment.answer.body, event: await told(stage, payment, 'transaction', 3041) };
  },
  'a field is missing': async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant, {
      change: (body) =>
        delete ((body.order as Record<string, unknown>).description as Record<string, unknown>).currency,
    });
    ensure(reasonOf(payment) === 1004, 'not declined with 1004');
    return { answer: payment.answer.body, event: await told(stage, payment, 'transaction', 1004) };
  },
  'authorize, capture': async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant, { authorizeOnly: true });
    await told(stage, payment, 'transaction');
    const { body } = await stage.wix.capture(payment);
    ensure(body?.reasonCode === undefined, 'the capture was refused');
    ensure(stage.engine.books.charged(payment.pluginTransactionId) === AMOUNT, 'the engine did not capture');
    return { answer: body, event: await told(stage, payment, 'capture') };
  },
  'authorize, capture a part, once': async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant, { authorizeOnly: true });
    await stage.wix.capture(payment, 3000);
    const { body } = await stage.wix.capture(payment, 1590);
    ensure(body?.errorCode === 'ALREADY_CAPTURED', 'the second capture was not refused');
    ensure(stage.engine.books.charged(payment.pluginTransactionId) === 3000n, 'the engine did not capture the part');
    return { answer: body, event: await told(stage, payment, 'capture') };
  },
  'authorize, capture fails': async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant, { authorizeOnly: true, number: '4000000000000341' });
    const { body } = await stage.wix.capture(payment);
    ensure(body?.reasonCode !== undefined, 'the capture was not refused');
    return { answer: body, event: await told(stage, payment, 'capture', Number(body?.reasonCode)) };
  },
  'authorize, void': async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant, { authorizeOnly: true });
    const { body } = await stage.wix.void(payment);
    ensure(body?.reasonCode === undefined, 'the void was refused');
    ensure(stage.engine.books.charged(payment.pluginTransactionId) === 0n, 'the engine charged');
    return { answer: body, event: await told(stage, payment, 'void') };
  },
  'refund, whole': async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant);
    const { body } = await stage.wix.refund(payment, { amount: AMOUNT });
    ensure(body?.reasonCode === undefined, 'the refund was refused');
    ensure(stage.engine.books.charged(payment.pluginTransactionId) === 0n, 'the engine did not refund');
    return { answer: body, event: await told(stage, payment, 'refund') };
  },
  'refund, in parts at once': async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant);
    const answers = await Promise.all([2000, 2000, 2000].map((amount) => stage.wix.refund(payment, { amount })));
    const refused = answers.filter(({ body }) => body?.reasonCode !== undefined);
    ensure(refused.length === 1, `${refused.length} of three refunds were refused`);
    ensure(stage.engine.books.charged(payment.pluginTransactionId) === 590n, 'the engine refunded another sum');
    return { answer: refused[0]?.body, event: await told(stage, payment, 'refund') };
  },
  'refund, declined': async (stage, merchant) => {
    const payment = await stage.wix.pay(merchant, { number: '4000000000005126' });
    const { body } = await stage.wix.refund(payment);
    ensure(body?.reasonCode === 3025, 'not declined with 3025');
    return { answer: body, event: await told(stage, payment, 'refund', 3025) };
  },
  'a bad signature': async ({ wix, gatewayUrl }) => {
    const answer = await wix.call(gatewayUrl, 'create', {}, { forgery: 'wrong key' });
    ensure(answer.status === 401 && answer.text === '', 'not refused with an empty 401');
    return { answer: 401, event: 'none' };
  },
  '3-D Secure, confirmed': visited(challenged, { choice: 'approve', landing: 'successUrl' }),
  '3-D Secure, failed': visited(challenged, { choice: 'decline', landing: 'errorUrl', reasonCode: 3004 }),
  '3-D Secure, cancelled': visited(challenged, { choice: 'cancel', landing: 'cancelUrl', reasonCode: 3030 }),
  '3-D Secure, asked for by the shop': visited({ scaRequested: true }, { choice: 'approve', landing: 'successUrl' }),
  'wallet, 3-D Secure': visited(
    { ...challenged, wallet: 'googlePay', authenticationMethod: 'PAN_ONLY' },
    { choice: 'approve', landing: 'successUrl' },
  ),
  'redirect method, paid': visited({ redirectMethod: 'iDeal' }, { choice: 'approve', landing: 'successUrl' }),
  'redirect method, decided later': visited(
    { redirectMethod: 'iDeal' },
    { choice: 'later', landing: 'pendingUrl', reasonCode: 5009, final: {} },
  ),
  'hosted page, paid by card': visited(
    { redirectMethod: '' },
    { choice: 'approve', fields: card, landing: 'successUrl' },
  ),
  'voucher, paid later': visited(
    { redirectMethod: 'multibanco' },
    { choice: 'approve', landing: 'pendingUrl', reasonCode: 5009, final: {} },
  ),
  'voucher, never paid': visited(
    { redirectMethod: 'multibanco' },
    { choice: 'expire', landing: 'pendingUrl', reasonCode: 5009, final: { reasonCode: 3035 } },
  ),
};

/** Runs every flow, and says of each what came and what was wrong. The contract's checks over the whole history come last. */
export async function* runFlows(stage: Stage): AsyncGenerator<Verdict> {
  const merchant = await stage.wix.connect(stage.gatewayUrl, {});
  for (const [flow, run] of Object.entries(FLOWS)) {
    const before = stage.wix.violations.length;
    const shown = await run(stage, merchant).catch((error: Error) => ({ answer: '-', event: '-', error }));
    const problems = ['error' in shown ? shown.error.message : '', ...stage.wix.violations.slice(before)].filter(
      Boolean,
    );
    yield { flow, answer: JSON.stringify(shown.answer), event: shown.event, problems };
  }
}
