import { randomUUID } from 'node:crypto';
import type { Check } from '../check.ts';
import { demand, notDone, refused, same, sameError, succeeded } from '../expect.ts';
import type { Answer } from '../http.ts';
import { AMOUNT } from '../requests.ts';
import type { Payment, Wix } from '../wix.ts';

// Captures and voids of authorizations (contract 7, 12.10).

type Ask = (wix: Wix, payment: Payment, amount?: number) => Promise<Answer>;
const capture: Ask = (wix, payment, amount = AMOUNT) => wix.capture(payment, amount);
const release: Ask = (wix, payment, amount = AMOUNT) => wix.void(payment, amount);

const done = ({ status, body }: Answer) => status === 200 && body?.reasonCode === undefined;
const PART = 3_000;

/** What a payment that is captured or voided is asked once more (7.5). */
const REPEATS: readonly [id: string, first: Ask, second: Ask, title: string, fix: string][] = [
  ['capture.after-capture', capture, capture, 'a captured payment is not captured again', 'already captured'],
  ['capture.after-void', release, capture, 'a voided payment is not captured', 'already voided'],
  ['void.after-capture', capture, release, 'a captured payment is not voided', 'already captured'],
  ['void.after-void', release, release, 'a voided payment is not voided again', 'already voided'],
];

/** What holds for both: `[operation, ask, kind of its event]`. */
const BOTH: readonly ['capture' | 'void', Ask][] = [
  ['capture', capture],
  ['void', release],
];

const checksOf = ([operation, ask]: (typeof BOTH)[number]): Check[] => [
  {
    id: `${operation}.whole`,
    section: '7.3',
    title: `a ${operation} of the authorized amount succeeds`,
    fix: 'Answer {} with status 200.',
    needs: ['authorizeOnly'],
    run: async (wix) => void succeeded(await ask(wix, await wix.authorized())),
  },
  {
    id: `${operation}.answer-is-empty`,
    section: '7.3',
    title: `a ${operation} that succeeds is answered {}`,
    fix: `There is no id of a ${operation} in this contract: answer {}.`,
    needs: ['authorizeOnly'],
    run: async (wix) => same('the answer', JSON.stringify(succeeded(await ask(wix, await wix.authorized()))), '{}'),
  },
  {
    id: `${operation}.amount-as-string`,
    section: '13.1',
    title: `the amount of a ${operation} may come as a string of digits (derived)`,
    fix: 'Read "4590" like 4590.',
    needs: ['authorizeOnly'],
    run: async (wix) => void succeeded(await ask(wix, await wix.authorized(), String(AMOUNT) as unknown as number)),
  },
  ...[0, -100, 10.5].map(
    (amount): Check => ({
      id: `${operation}.amount-${amount === 0 ? 'zero' : amount < 0 ? 'negative' : 'fraction'}`,
      section: '13.1',
      title: `a ${operation} of ${amount} is not made`,
      fix: 'Take a whole number of at least 1.',
      needs: ['authorizeOnly'],
      run: async (wix) => notDone(await ask(wix, await wix.authorized(), amount)),
    }),
  ),
  {
    id: `${operation}.too-much`,
    section: operation === 'capture' ? '7.4' : '7.2',
    title: `a ${operation} of more than was authorized is refused`,
    fix: 'Compare with the authorized amount, and answer 3001.',
    needs: ['authorizeOnly'],
    run: async (wix) => void refused(await ask(wix, await wix.authorized(), AMOUNT + 1)),
  },
  {
    id: `${operation}.of-sale`,
    section: '7',
    title: `a payment that was captured at once is not to be ${operation === 'void' ? 'voided' : 'captured again'}`,
    fix: 'Only a payment that was created with authorizeOnly: true can be captured or voided.',
    needs: ['authorizeOnly'],
    run: async (wix) => void refused(await ask(wix, await wix.paid())),
  },
  {
    id: `${operation}.of-unknown`,
    section: '7',
    title: `a ${operation} of a payment that the plugin does not know does nothing`,
    fix: 'Find the payment in your own records; without it answer an error.',
    needs: ['authorizeOnly'],
    run: async (wix) => {
      const names = { wixTransactionId: randomUUID(), pluginTransactionId: 'kit-unknown', merchant: wix.merchant };
      notDone(await ask(wix, names as Payment));
    },
  },
  {
    id: `${operation}.event`,
    section: '7.6',
    title: `a ${operation} is told with its amount, without an error`,
    fix: `Send {"event":{"${operation}":{"wixTransactionId":"...","amount":"4590"}}} after answering.`,
    needs: ['authorizeOnly'],
    run: async (wix) => {
      const payment = await wix.authorized();
      succeeded(await ask(wix, payment));
      const { body } = await wix.event(payment, operation);
      same('amount', body.amount, String(AMOUNT));
      same('reasonCode', body.reasonCode, undefined);
    },
  },
  {
    id: `${operation}.event-of-refusal`,
    section: '7.6',
    title: `a refused ${operation} is told too, with the amount that was asked for`,
    fix: `Send the ${operation} event with the amount asked for, and the same error as the answer.`,
    needs: ['authorizeOnly'],
    run: async (wix) => {
      const payment = await wix.authorized();
      const answer = refused(await ask(wix, payment, AMOUNT + 1));
      const { body } = await wix.event(payment, operation, ({ reasonCode }) => reasonCode !== undefined);
      same('amount', body.amount, String(AMOUNT + 1));
      sameError(body, answer);
    },
  },
  {
    id: `${operation}.at-once`,
    section: '7.5',
    title: `five calls at once ${operation} a payment once`,
    fix: 'A repeat of a call that is still running must not start a second one: lock the payment.',
    needs: ['authorizeOnly'],
    run: async (wix) => {
      const payment = await wix.authorized();
      const answers = await Promise.all(Array.from({ length: 5 }, () => ask(wix, payment)));
      demand(answers.some(done), `none of five succeeded: ${answers[0]?.text}`);
      await wix.quiet();
      const told = wix.events(payment, operation).filter(({ body }) => body.reasonCode === undefined);
      demand(new Set(told.map(({ text }) => text)).size <= 1, 'the events tell of several');
    },
  },
];

export const CAPTURE_VOID_CHECKS: readonly Check[] = [
  ...BOTH.flatMap(checksOf),
  ...REPEATS.map(
    ([id, first, second, title, fix]): Check => ({
      id,
      section: '7.5',
      title: `${title}: an error with status 200`,
      fix: `Answer an error that says "${fix}": 3031 until Wix publishes its codes, with an errorCode like ALREADY_CAPTURED.`,
      needs: ['authorizeOnly'],
      run: async (wix) => {
        const payment = await wix.authorized();
        succeeded(await first(wix, payment));
        refused(await second(wix, payment));
      },
    }),
  ),
  {
    id: 'capture.part',
    section: '7.4',
    title: 'a part can be captured, once',
    fix: 'Take 1 to the authorized amount, release the rest, and refuse a second capture.',
    needs: ['partialCapture'],
    run: async (wix) => {
      const payment = await wix.authorized();
      succeeded(await wix.capture(payment, PART));
      refused(await wix.capture(payment, AMOUNT - PART));
    },
  },
  {
    id: 'capture.part-event',
    section: '7.4',
    title: 'the event of a partial capture has the amount that was captured',
    fix: 'Tell the captured amount, not the authorized one.',
    needs: ['partialCapture'],
    run: async (wix) => {
      const payment = await wix.authorized();
      succeeded(await wix.capture(payment, PART));
      same('amount', (await wix.event(payment, 'capture')).body.amount, String(PART));
    },
  },
  {
    id: 'capture.part-limits-refunds',
    section: '6.3',
    title: 'of a partial capture no more is refunded than was captured',
    fix: 'Count refunds against the captured amount.',
    needs: ['partialCapture'],
    run: async (wix) => {
      const payment = await wix.authorized();
      succeeded(await wix.capture(payment, PART));
      refused(await wix.refund(payment, PART + 1));
      succeeded(await wix.refund(payment, PART));
    },
  },
  {
    id: 'capture.then-refund',
    section: '6.3',
    title: 'a captured payment can be refunded',
    fix: 'After the capture a payment is like any other.',
    needs: ['authorizeOnly'],
    run: async (wix) => {
      const payment = await wix.authorized();
      succeeded(await wix.capture(payment, AMOUNT));
      succeeded(await wix.refund(payment, AMOUNT));
    },
  },
  {
    id: 'capture.two-amounts-at-once',
    section: '7.5',
    title: 'of two captures at once one is made',
    fix: 'Check and write in one transaction, with the payment locked.',
    needs: ['partialCapture'],
    run: async (wix) => {
      const payment = await wix.authorized();
      const answers = await Promise.all([wix.capture(payment, PART), wix.capture(payment, AMOUNT - PART)]);
      await wix.quiet();
      const told = wix.events(payment, 'capture').filter(({ body }) => body.reasonCode === undefined);
      const amounts = new Set(told.map(({ body }) => body.amount));
      demand(
        amounts.size <= 1 && answers.filter(done).length >= 1,
        `captured: ${[...amounts].join(' and ') || 'none'}`,
      );
      demand(answers.filter(done).length === 1, 'both were answered as captured');
    },
  },
  {
    id: 'capture.fails',
    section: '7.3',
    title: 'a capture that the acquirer declines is answered with an error, and told',
    fix: 'Answer {"reasonCode":...} and send the capture event with the same error.',
    needs: ['captureFails'],
    run: async (wix) => {
      const payment = await wix.authorized({ card: wix.config.cards.captureFails ?? '' });
      const answer = refused(await wix.capture(payment, AMOUNT));
      const { body } = await wix.event(payment, 'capture', ({ reasonCode }) => reasonCode !== undefined);
      sameError(body, answer);
    },
  },
  {
    id: 'void.part',
    section: '7.2',
    title: 'a part cannot be voided',
    fix: 'voidAmount must equal the authorized amount: answer 3001.',
    needs: ['authorizeOnly'],
    run: async (wix) => void refused(await wix.void(await wix.authorized(), PART)),
  },
  {
    id: 'void.then-refund',
    section: '6.3',
    title: 'a voided payment is not refunded',
    fix: 'Nothing was taken: answer 3022.',
    needs: ['authorizeOnly'],
    run: async (wix) => {
      const payment = await wix.authorized();
      succeeded(await wix.void(payment, AMOUNT));
      refused(await wix.refund(payment, AMOUNT));
    },
  },
  {
    id: 'void.and-capture-at-once',
    section: '7.5',
    title: 'a capture and a void at once do not both succeed',
    fix: 'Check and write in one transaction, with the payment locked.',
    needs: ['authorizeOnly'],
    run: async (wix) => {
      const payment = await wix.authorized();
      const answers = await Promise.all([wix.capture(payment, AMOUNT), wix.void(payment, AMOUNT)]);
      demand(answers.filter(done).length <= 1, 'both succeeded');
    },
  },
  {
    id: 'void.refused-leaves-authorization',
    section: '7.2',
    title: 'after a refused void the payment can still be captured',
    fix: 'A refusal changes nothing.',
    needs: ['authorizeOnly'],
    run: async (wix) => {
      const payment = await wix.authorized();
      refused(await wix.void(payment, PART));
      succeeded(await wix.capture(payment, AMOUNT));
    },
  },
  {
    id: 'capture.refused-leaves-authorization',
    section: '7.4',
    title: 'after a refused capture the payment can still be captured',
    fix: 'A refusal changes nothing.',
    needs: ['authorizeOnly'],
    run: async (wix) => {
      const payment = await wix.authorized();
      refused(await wix.capture(payment, AMOUNT + 1));
      succeeded(await wix.capture(payment, AMOUNT));
    },
  },
];
