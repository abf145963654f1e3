import { randomUUID } from 'node:crypto';
import type { Check } from '../check.ts';
import { demand, notDone, refused, same, sameError, succeeded } from '../expect.ts';
import type { Answer } from '../http.ts';
import { AMOUNT } from '../requests.ts';
import { PENDING } from '../tables.ts';
import type { Wix } from '../wix.ts';

// Refunds that Wix asks for (contract 6, 12.9).

const PART = 1_000;
const REST = AMOUNT - PART;

const idOf = ({ body }: Answer) => body?.pluginRefundId;
const declinedCard = ({ config }: Wix) => Object.keys(config.cards.declined)[0] ?? '';

export const REFUND_CHECKS: readonly Check[] = [
  {
    id: 'refund.whole',
    section: '6.2',
    title: 'a refund of the whole payment is answered with its pluginRefundId, a string',
    fix: 'Answer {"pluginRefundId":"..."} once the refund is certain.',
    run: async (wix) => {
      const { pluginRefundId: id } = succeeded(await wix.refund(await wix.paid(), AMOUNT));
      demand(typeof id === 'string' && id !== '', `pluginRefundId is ${JSON.stringify(id)}`);
    },
  },
  {
    id: 'refund.id-length',
    section: '6.2',
    title: 'pluginRefundId has at most 100 characters',
    fix: 'Use a short id: Wix cuts a longer one.',
    run: async (wix) => {
      const { pluginRefundId: id } = succeeded(await wix.refund(await wix.paid(), AMOUNT));
      demand(String(id).length <= 100, `it has ${String(id).length} characters`);
    },
  },
  {
    id: 'refund.parts',
    section: '6.3',
    title: 'a payment can be refunded in parts, each with a pluginRefundId of its own',
    fix: 'One refund for each wixRefundId, until nothing is left.',
    needs: ['partialRefund'],
    run: async (wix) => {
      const payment = await wix.paid();
      const first = succeeded(await wix.refund(payment, PART));
      const second = succeeded(await wix.refund(payment, REST));
      demand(first.pluginRefundId !== second.pluginRefundId, `both are ${JSON.stringify(first.pluginRefundId)}`);
    },
  },
  {
    id: 'refund.same-amount-twice',
    section: '9.1',
    title: 'two refunds of the same amount are two refunds',
    fix: 'wixRefundId alone tells a repeat from a new refund: not the amount.',
    needs: ['partialRefund'],
    run: async (wix) => {
      const payment = await wix.paid();
      const first = succeeded(await wix.refund(payment, PART));
      const second = succeeded(await wix.refund(payment, PART));
      demand(first.pluginRefundId !== second.pluginRefundId, `both are ${JSON.stringify(first.pluginRefundId)}`);
    },
  },
  {
    id: 'refund.too-much',
    section: '6.3',
    title: 'more than was paid is not refunded',
    fix: 'Compare with what is left, and answer 3025 or another code of the refund group.',
    run: async (wix) => void refused(await wix.refund(await wix.paid(), AMOUNT + 1)),
  },
  {
    id: 'refund.too-much-in-parts',
    section: '6.3',
    title: 'parts are not refunded beyond what is left',
    fix: 'Count all refunds of the payment that were made, under a lock.',
    needs: ['partialRefund'],
    run: async (wix) => {
      const payment = await wix.paid();
      succeeded(await wix.refund(payment, PART));
      refused(await wix.refund(payment, REST + 1));
    },
  },
  {
    id: 'refund.too-much-at-once',
    section: '6.3',
    title: 'three refunds at once do not add up to more than was paid',
    fix: 'Check and write in one transaction, with the payment locked (SELECT ... FOR UPDATE).',
    needs: ['partialRefund'],
    run: async (wix) => {
      const payment = await wix.paid();
      const answers = await Promise.all([2_000, 2_000, 2_000].map((amount) => wix.refund(payment, amount)));
      const done = answers.filter(({ status, body }) => status === 200 && body?.reasonCode === undefined);
      demand(done.length < 3, '6000 were refunded of 4590');
    },
  },
  {
    id: 'refund.twice',
    section: '6.3',
    title: 'a payment that was refunded whole is not refunded again',
    fix: 'Answer 3023, payment already refunded.',
    run: async (wix) => {
      const payment = await wix.paid();
      succeeded(await wix.refund(payment, AMOUNT));
      refused(await wix.refund(payment, AMOUNT));
    },
  },
  {
    id: 'refund.of-declined',
    section: '6.3',
    title: 'a declined payment is not refunded',
    fix: 'Answer 3022, refund not allowed.',
    needs: ['declined'],
    run: async (wix) => {
      const payment = await wix.pay({ card: declinedCard(wix) });
      refused(await wix.refund({ ...payment, pluginTransactionId: payment.pluginTransactionId || 'none' }, AMOUNT));
    },
  },
  {
    id: 'refund.of-unknown',
    section: '6.1',
    title: 'a payment that the plugin does not know is not refunded',
    fix: 'Find the payment in your own records; without it answer 3022.',
    run: async (wix) => {
      const payment = { wixTransactionId: randomUUID(), pluginTransactionId: 'kit-unknown', merchant: wix.merchant };
      notDone(await wix.refund(payment, AMOUNT));
    },
  },
  {
    id: 'refund.of-authorized',
    section: '6.3',
    title: 'money that was not captured is not refunded',
    fix: 'Answer 3022: an authorization is voided, not refunded.',
    needs: ['authorizeOnly'],
    run: async (wix) => void refused(await wix.refund(await wix.authorized(), AMOUNT)),
  },
  {
    id: 'refund.without-amount',
    section: '6.1',
    title: 'without refundAmount what remains is refunded (derived)',
    fix: 'Treat an absent refundAmount as the remaining amount.',
    run: async (wix) => {
      const payment = await wix.paid();
      succeeded(await wix.refund(payment));
      same('the amount of the event', (await wix.event(payment, 'refund')).body.amount, String(AMOUNT));
    },
  },
  {
    id: 'refund.without-mode-and-reason',
    section: '6.1',
    title: 'mode and reason may be missing',
    fix: 'Take the mode from your own record of the payment.',
    run: async (wix) =>
      void succeeded(await wix.refund(await wix.paid(), AMOUNT, { mode: undefined, reason: undefined })),
  },
  {
    id: 'refund.unknown-reason',
    section: '2',
    title: 'a reason that is not known yet does no harm (derived)',
    fix: 'Treat it like UNKNOWN.',
    run: async (wix) => void succeeded(await wix.refund(await wix.paid(), AMOUNT, { reason: 'KIT_REASON' })),
  },
  {
    id: 'refund.amount-as-string',
    section: '13.1',
    title: 'refundAmount may come as a string of digits (derived)',
    fix: 'Read "4590" like 4590.',
    run: async (wix) => void succeeded(await wix.refund(await wix.paid(), String(AMOUNT))),
  },
  ...[0, -100, 10.5].map(
    (amount): Check => ({
      id: `refund.amount-${amount === 0 ? 'zero' : amount < 0 ? 'negative' : 'fraction'}`,
      section: '13.1',
      title: `a refund of ${amount} is not made`,
      fix: 'Take a whole number of at least 1.',
      run: async (wix) => notDone(await wix.refund(await wix.paid(), amount)),
    }),
  ),
  {
    id: 'refund.fails',
    section: '6.2',
    title: 'a refund that the acquirer declines is answered with a code of the refund group',
    fix: 'Answer 3022 to 3025, 3032, 3033, or 1013 for technical trouble.',
    needs: ['refundFails'],
    run: async (wix) => {
      const payment = await wix.paid({ card: wix.config.cards.refundFails ?? '' });
      refused(await wix.refund(payment, AMOUNT), 3022, 3023, 3024, 3025, 3032, 3033, 1013, 1002, 1003, 6000);
    },
  },
  {
    id: 'refund.never-pending',
    section: '6.3',
    title: 'a refund is never answered as pending',
    fix: 'Refunds are synchronous: Wix reads 5005 and 5009 as a failure. Answer success only when it is certain.',
    run: async (wix) => {
      const { body } = await wix.refund(await wix.paid(), AMOUNT);
      demand(!PENDING.has(body?.reasonCode as number), `reasonCode is ${body?.reasonCode}`);
    },
  },
  {
    id: 'refund.repeat',
    section: '9.2',
    title: 'the same wixRefundId again is answered as before',
    fix: 'Keep the answer by wixRefundId, and give it again.',
    needs: ['partialRefund'],
    run: async (wix) => {
      const payment = await wix.paid();
      const change = { wixRefundId: randomUUID() };
      const first = await wix.refund(payment, PART, change);
      succeeded(first);
      same('the repeat', JSON.stringify((await wix.refund(payment, PART, change)).body), JSON.stringify(first.body));
    },
  },
  {
    id: 'refund.repeat-moves-no-money',
    section: '9.2',
    title: 'a repeated refund is not made twice',
    fix: 'Let a unique index on wixRefundId decide, before your acquirer is called.',
    needs: ['partialRefund'],
    run: async (wix) => {
      const payment = await wix.paid();
      const change = { wixRefundId: randomUUID() };
      for (let i = 0; i < 3; i++) succeeded(await wix.refund(payment, 2_000, change));
      succeeded(await wix.refund(payment, AMOUNT - 2_000));
    },
  },
  {
    id: 'refund.repeat-at-once',
    section: '9.2',
    title: 'the same refund five times at once is one refund',
    fix: 'A repeat that comes while the first is running starts nothing: let it wait for the first.',
    needs: ['partialRefund'],
    run: async (wix) => {
      const payment = await wix.paid();
      const change = { wixRefundId: randomUUID() };
      const answers = await Promise.all(Array.from({ length: 5 }, () => wix.refund(payment, PART, change)));
      const ids = new Set(answers.filter(({ status }) => status === 200).map(idOf));
      same('the number of pluginRefundIds', ids.size, 1);
      succeeded(await wix.refund(payment, REST));
    },
  },
  {
    id: 'refund.repeat-with-another-amount',
    section: '9.2',
    title: 'the same wixRefundId with another amount moves no more money (derived)',
    fix: 'The first body wins; log the difference.',
    needs: ['partialRefund'],
    run: async (wix) => {
      const payment = await wix.paid();
      const change = { wixRefundId: randomUUID() };
      const first = await wix.refund(payment, PART, change);
      succeeded(first);
      const again = await wix.refund(payment, PART * 2, change);
      if (again.body?.reasonCode === undefined) same('pluginRefundId of the repeat', idOf(again), idOf(first));
      succeeded(await wix.refund(payment, REST));
    },
  },
  {
    id: 'refund.leaves-payment',
    section: '9.2',
    title: 'a refund does not change what a repeat of the payment is answered',
    fix: 'The payment stays approved.',
    run: async (wix) => {
      const payment = await wix.paid();
      succeeded(await wix.refund(payment, AMOUNT));
      const again = await wix.again(payment);
      same('the repeat', JSON.stringify(again.answer.body), JSON.stringify(payment.answer.body));
    },
  },
  {
    id: 'refund.event',
    section: '6.3',
    title: 'a refund is told: wixRefundId of the request, pluginRefundId of the answer, the amount',
    fix: 'Send {"event":{"refund":{"wixTransactionId","wixRefundId","pluginRefundId","amount":"4590"}}} after answering.',
    run: async (wix) => {
      const payment = await wix.paid();
      const wixRefundId = randomUUID();
      const answer = succeeded(await wix.refund(payment, AMOUNT, { wixRefundId }));
      const { body } = await wix.event(payment, 'refund');
      same('wixRefundId', body.wixRefundId, wixRefundId);
      same('pluginRefundId', body.pluginRefundId, answer.pluginRefundId);
      same('reasonCode', body.reasonCode, undefined);
    },
  },
  {
    id: 'refund.event-amount',
    section: '8.4',
    title: 'the amount of a refund event is a string of digits, and that of the refund',
    fix: 'Write "amount":"1000": a string, in minor units.',
    needs: ['partialRefund'],
    run: async (wix) => {
      const payment = await wix.paid();
      succeeded(await wix.refund(payment, PART));
      same('amount', (await wix.event(payment, 'refund')).body.amount, String(PART));
    },
  },
  {
    id: 'refund.event-of-refusal',
    section: '6.3',
    title: 'a refused refund is told too, with the amount that was asked for',
    fix: 'Send the refund event with wixRefundId, the amount asked for and the same error as the answer.',
    run: async (wix) => {
      const payment = await wix.paid();
      const wixRefundId = randomUUID();
      const answer = refused(await wix.refund(payment, AMOUNT + 1, { wixRefundId }));
      const { body } = await wix.event(payment, 'refund', ({ reasonCode }) => reasonCode !== undefined);
      same('amount', body.amount, String(AMOUNT + 1));
      same('wixRefundId', body.wixRefundId, wixRefundId);
      sameError(body, answer);
    },
  },
];
