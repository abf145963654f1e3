import { randomUUID } from 'node:crypto';
import type { Check } from '../check.ts';
import { approved, demand, pending, refused, same } from '../expect.ts';
import { canonical } from '../json.ts';
import { AMOUNT } from '../requests.ts';
import { PENDING } from '../tables.ts';
import { descriptionOf, type Payment, type Wix } from '../wix.ts';

// Repeated payments, and what becomes of pending ones (contract 9, 12.4).

const declinedCard = ({ config }: Wix) => Object.keys(config.cards.declined)[0] ?? '';
const isFinal = ({ reasonCode }: Record<string, unknown>) => !PENDING.has(reasonCode as number);

/** A pending payment, and its final event. */
async function decidedLater(wix: Wix, card = ''): Promise<{ payment: Payment; reasonCode: unknown }> {
  const payment = await wix.pay({ card });
  pending(payment.answer);
  const { body } = await wix.event(payment, 'transaction', isFinal, wix.config.limits.pendingSeconds);
  return { payment, reasonCode: body.reasonCode };
}

const pendingLimit: NonNullable<Check['limitSeconds']> = ({
  pendingSeconds,
  retrySeconds,
  answerSeconds,
  quietSeconds,
}) => pendingSeconds + 4 * retrySeconds + 3 * answerSeconds + quietSeconds;

export const IDEMPOTENCY_CHECKS: readonly Check[] = [
  {
    id: 'repeat.approved',
    section: '9.2',
    title: 'the same payment again is answered as before',
    fix: 'Keep the answer by wixTransactionId, and give it again.',
    run: async (wix) => {
      const payment = await wix.paid();
      const again = await wix.again(payment);
      same('the repeat', canonical(again.answer.body), canonical(payment.answer.body));
    },
  },
  {
    id: 'repeat.at-once',
    section: '9.2',
    title: 'the same payment ten times at once is one payment',
    fix: 'Let a unique index on wixTransactionId decide, before your acquirer is called; let a repeat wait for the first, or answer 5009.',
    run: async (wix) => {
      const request = wix.bodyOf();
      const answers = await Promise.all(Array.from({ length: 10 }, () => wix.call('create', request)));
      const bad = answers.find(({ status }) => status !== 200);
      demand(bad === undefined, `a repeat was answered ${bad?.status}`);
      const ids = new Set(answers.flatMap(({ body }) => (body?.pluginTransactionId ? [body.pluginTransactionId] : [])));
      same('the number of pluginTransactionIds', ids.size, 1);
      const declined = answers.find(({ body }) => body?.reasonCode !== undefined && isFinal(body));
      demand(declined === undefined, `a repeat was declined: ${declined?.text}`);
    },
  },
  {
    id: 'repeat.declined',
    section: '9.2',
    title: 'a declined payment stays declined: a repeat gets the same error',
    fix: 'A decline is kept like an approval: a new attempt of the buyer has a new wixTransactionId.',
    needs: ['declined'],
    run: async (wix) => {
      const payment = await wix.pay({ card: declinedCard(wix) });
      refused(payment.answer);
      const again = await wix.again(payment);
      same('the repeat', canonical(again.answer.body), canonical(payment.answer.body));
    },
  },
  {
    id: 'repeat.declined-with-a-good-card',
    section: '9.2',
    title: 'a declined payment is not charged when it comes again with a good card',
    fix: 'The key wins: a declined wixTransactionId stays declined.',
    needs: ['declined'],
    run: async (wix) => {
      const payment = await wix.pay({ card: declinedCard(wix) });
      refused(payment.answer);
      const { paymentMethodData } = wix.bodyOf();
      refused(await wix.call('create', { ...payment.request, paymentMethodData }));
    },
  },
  {
    id: 'repeat.another-amount',
    section: '9.2',
    title: 'the same wixTransactionId with another amount is not charged again (derived)',
    fix: 'The first body wins: answer as before, and log the difference.',
    run: async (wix) => {
      const payment = await wix.paid();
      const request = structuredClone(payment.request);
      descriptionOf(request).totalAmount = AMOUNT * 2;
      const { body } = await wix.call('create', request);
      if (body?.reasonCode === undefined)
        same('pluginTransactionId', body?.pluginTransactionId, payment.pluginTransactionId);
      refused(await wix.refund(payment, AMOUNT + 1));
    },
  },
  {
    id: 'repeat.another-card',
    section: '9.2',
    title: 'an approved payment that comes again with a bad card stays approved (derived)',
    fix: 'Look the id up before anything else: a repeat decides nothing.',
    needs: ['declined'],
    run: async (wix) => {
      const payment = await wix.paid();
      const { paymentMethodData } = wix.bodyOf({ card: declinedCard(wix) });
      approved(await wix.call('create', { ...payment.request, paymentMethodData }));
    },
  },
  {
    id: 'repeat.events-agree',
    section: '9.3',
    title: 'the events of a payment that came five times at once say the same',
    fix: 'One payment has one outcome, whoever asks.',
    run: async (wix) => {
      const request = wix.bodyOf();
      await Promise.all(Array.from({ length: 5 }, () => wix.call('create', request)));
      const payment = {
        wixTransactionId: String(request.wixTransactionId),
        pluginTransactionId: '',
        merchant: wix.merchant,
      };
      await wix.event(payment, 'transaction', isFinal, wix.config.limits.pendingSeconds);
      await wix.quiet();
      const finals = wix.events(payment, 'transaction').filter(({ body }) => isFinal(body));
      same('the number of different final events', new Set(finals.map(({ envelope }) => canonical(envelope))).size, 1);
    },
    limitSeconds: pendingLimit,
  },
  {
    id: 'repeat.other-payment',
    section: '9.1',
    title: 'the same card, order and amount under a new wixTransactionId is a new payment',
    fix: 'Only wixTransactionId tells a repeat: not the order, not the amount.',
    run: async (wix) => {
      const payment = await wix.paid();
      const body = approved(await wix.call('create', { ...payment.request, wixTransactionId: randomUUID() }));
      demand(body.pluginTransactionId !== payment.pluginTransactionId, 'both have the same pluginTransactionId');
    },
  },
  {
    id: 'pending.then-approved',
    section: '12.4',
    title: 'a pending payment that is approved later is told, with the same pluginTransactionId',
    fix: 'Send a second transaction event, without reasonCode.',
    needs: ['pendingApproved'],
    limitSeconds: pendingLimit,
    run: async (wix) => {
      const { payment, reasonCode } = await decidedLater(wix, wix.config.cards.pendingApproved);
      same('reasonCode of the final event', reasonCode, undefined);
      const { body } = await wix.event(payment, 'transaction', isFinal);
      same('pluginTransactionId', body.pluginTransactionId, payment.pluginTransactionId);
    },
  },
  {
    id: 'pending.then-declined',
    section: '12.4',
    title: 'a pending payment that is declined later is told with the code of the decline',
    fix: 'Send a second transaction event, with the reasonCode of the decline.',
    needs: ['pendingDeclined'],
    limitSeconds: pendingLimit,
    run: async (wix) => {
      const { reasonCode } = await decidedLater(wix, wix.config.cards.pendingDeclined);
      demand(reasonCode !== undefined, 'the final event has no reasonCode');
    },
  },
  {
    id: 'pending.repeat-after-end',
    section: '9.2',
    title: 'a repeat of a payment that was pending gets its latest state',
    fix: 'Answer the present state, not the first answer.',
    needs: ['pendingApproved'],
    limitSeconds: pendingLimit,
    run: async (wix) => {
      const { payment } = await decidedLater(wix, wix.config.cards.pendingApproved);
      same(
        'pluginTransactionId',
        approved((await wix.again(payment)).answer).pluginTransactionId,
        payment.pluginTransactionId,
      );
    },
  },
  {
    id: 'pending.declined-repeat-after-end',
    section: '9.2',
    title: 'a repeat of a pending payment that was declined later gets the decline',
    fix: 'Answer the present state, not the first answer.',
    needs: ['pendingDeclined'],
    limitSeconds: pendingLimit,
    run: async (wix) => {
      const { payment, reasonCode } = await decidedLater(wix, wix.config.cards.pendingDeclined);
      same('reasonCode', refused((await wix.again(payment)).answer).reasonCode, reasonCode);
    },
  },
  {
    id: 'pending.never-after-final',
    section: '9.3',
    title: 'a pending event that could not be delivered in time is dropped, not sent after the final one',
    fix: 'Order the events of a payment; once a final one was delivered, drop what is older.',
    needs: ['pendingApproved'],
    limitSeconds: pendingLimit,
    run: async (wix) => {
      const wixTransactionId = randomUUID();
      const hasEnded = () => wix.events({ wixTransactionId }).some(({ accepted, body }) => accepted && isFinal(body));
      // Until the final one was taken; a plugin that sends nothing before its pending event was taken gets there too.
      wix.fail(wixTransactionId, { times: 4, where: (body) => !isFinal(body) && !hasEnded() });
      const { pendingApproved: card = '' } = wix.config.cards;
      const payment = await wix.pay({ card, change: (body) => Object.assign(body, { wixTransactionId }) });
      pending(payment.answer);
      const { pendingSeconds, retrySeconds } = wix.config.limits;
      await wix.event(payment, 'transaction', isFinal, pendingSeconds + 4 * retrySeconds);
      await wix.quiet();
      const taken = wix.events(payment, 'transaction').filter(({ accepted }) => accepted);
      const end = taken.findIndex(({ body }) => isFinal(body));
      demand(
        taken.slice(end).every(({ body }) => isFinal(body)),
        'a pending event came after the final one',
      );
    },
  },
  {
    id: 'pending.ends-once',
    section: '9.3',
    title: 'a pending payment ends once: no other outcome follows its final event',
    fix: 'Nothing may follow an approved or a declined event but a duplicate.',
    needs: ['pendingApproved'],
    limitSeconds: pendingLimit,
    run: async (wix) => {
      const { payment } = await decidedLater(wix, wix.config.cards.pendingApproved);
      await wix.quiet();
      const ends = wix.events(payment, 'transaction').filter(({ body }) => isFinal(body));
      same('the number of outcomes', new Set(ends.map(({ body }) => body.reasonCode)).size, 1);
    },
  },
];
