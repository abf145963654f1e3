import { randomUUID } from 'node:crypto';
import type { Check } from '../check.ts';
import { demand, same, succeeded } from '../expect.ts';
import { canonical } from '../json.ts';
import { AMOUNT } from '../requests.ts';
import type { Payment, Wix } from '../wix.ts';
import type { EventKind, Failure, SubmittedEvent } from '../wix-server.ts';

// What becomes of an event that Wix did not take (contract 8.6, 9.3, 9.5).

const TROUBLES: readonly [id: string, title: string, fix: string, failure: Omit<Failure, 'times'>][] = [
  ['500', 'status 500', 'Only 200 with {} is success.', { status: 500 }],
  ['503', 'status 503', 'Wait, then send again.', { status: 503 }],
  ['429', 'status 429', 'Wait, then send again.', { status: 429 }],
  ['400', 'status 400', 'A 4xx is no permission to drop an event.', { status: 400 }],
  ['401', 'status 401', 'Fetch a new token, and send again.', { status: 401 }],
  ['404', 'status 404', 'A 4xx is no permission to drop an event.', { status: 404 }],
  ['202', 'status 202', 'Only 200 is success.', { status: 202, body: '{}' }],
  [
    'redirect',
    'a redirect',
    'Do not take a redirect for success.',
    { status: 302, headers: { Location: '/elsewhere' } },
  ],
  [
    'html',
    'status 200 with a page instead of JSON',
    'Delivered is 200, application/json and {}: a page comes from something between.',
    { status: 200, contentType: 'text/html', body: '<html>ok</html>' },
  ],
  ['reset', 'a broken connection', 'No answer is no delivery.', { how: 'reset' }],
];

/** Within the quiet time. */
const ATTEMPTS_MAX = 6;

const retryLimit: NonNullable<Check['limitSeconds']> = ({ retrySeconds, answerSeconds }) =>
  2 * (retrySeconds + answerSeconds);

/** An event that fails once comes again. The id is known before the payment, so that the very first event fails. */
async function failing(
  wix: Wix,
  failure: Failure,
): Promise<{ payment: Payment; first: SubmittedEvent; next: SubmittedEvent }> {
  const wixTransactionId = randomUUID();
  wix.fail(wixTransactionId, failure);
  const payment = await wix.paid({ change: (body) => Object.assign(body, { wixTransactionId }) });
  const { retrySeconds } = wix.config.limits;
  const next = await wix.event(payment, 'transaction', () => true, retrySeconds * failure.times);
  const first = wix.events(payment)[0] as SubmittedEvent;
  demand(!first.accepted, 'the first attempt did not come');
  return { payment, first, next };
}

/** While the payment's own event fails, something that follows it happens. Wix must hear of the payment first. */
async function inOrder(
  wix: Wix,
  kind: EventKind,
  authorizeOnly: boolean,
  follow: (payment: Payment) => Promise<unknown>,
) {
  const wixTransactionId = randomUUID();
  wix.fail(wixTransactionId, { times: 2, kind: 'transaction' });
  const payment = await wix.paid({ authorizeOnly, change: (body) => Object.assign(body, { wixTransactionId }) });
  await follow(payment);
  const { retrySeconds } = wix.config.limits;
  await wix.event(payment, kind, () => true, retrySeconds * 2);
  const taken = wix.events(payment).filter(({ accepted }) => accepted);
  same('the first event that Wix took', taken[0]?.kind, 'transaction');
}

export const DELIVERY_CHECKS: readonly Check[] = [
  ...TROUBLES.map(
    ([id, title, fix, failure]): Check => ({
      id: `retry.${id}`,
      section: '8.6',
      title: `an event is sent again after ${title}`,
      fix: `${fix} Keep events in a table until they are delivered, and send them again with growing gaps.`,
      limitSeconds: retryLimit,
      run: async (wix) => void (await failing(wix, { times: 1, ...failure })),
    }),
  ),
  {
    id: 'retry.token',
    section: '8.6',
    title: 'an event is sent again if no token could be had',
    fix: 'A failed request for a token is a failed attempt to deliver: keep the event.',
    when: 'alone',
    limitSeconds: retryLimit,
    run: async (wix) => {
      wix.fail('', { at: 'token', times: 1 });
      await wix.event(await wix.paid(), 'transaction', () => true, wix.config.limits.retrySeconds);
    },
  },
  {
    id: 'retry.same-body',
    section: '8.6',
    title: 'an event that is sent again says the same',
    fix: 'Keep the body as it was first sent.',
    limitSeconds: retryLimit,
    run: async (wix) => {
      const { first, next } = await failing(wix, { times: 1 });
      same('the second attempt', canonical(next.envelope), canonical(first.envelope));
    },
  },
  {
    id: 'retry.fresh-token',
    section: '8.1',
    title: 'an event that is sent again has a new token',
    fix: 'Fetch a new token for each attempt.',
    limitSeconds: retryLimit,
    run: async (wix) => {
      const { first, next } = await failing(wix, { times: 1 });
      demand(first.headers.authorization !== next.headers.authorization, 'both attempts have the same token');
    },
  },
  {
    id: 'retry.many-times',
    section: '8.6',
    title: 'an event is sent until it is taken: three failures are not its end',
    fix: 'There is no number of attempts after which an event may be dropped.',
    limitSeconds: ({ retrySeconds, answerSeconds }) => 3 * retrySeconds + 2 * answerSeconds,
    run: async (wix) => void (await failing(wix, { times: 3 })),
  },
  {
    id: 'retry.pauses',
    section: '8.6',
    title: 'an event that is not taken is not sent again without a pause (derived)',
    fix: 'Wait a second or more before the second attempt, and longer before each further one.',
    run: async (wix) => {
      const wixTransactionId = randomUUID();
      wix.fail(wixTransactionId, { times: Number.POSITIVE_INFINITY });
      const payment = await wix.paid({ change: (body) => Object.assign(body, { wixTransactionId }) });
      await wix.until(payment, () => wix.events(payment)[0], 'the first attempt', wix.config.limits.eventSeconds);
      await wix.quiet();
      const { length } = wix.events(payment);
      demand(length <= ATTEMPTS_MAX, `it came ${length} times within ${wix.config.limits.quietSeconds} s`);
    },
  },
  {
    id: 'retry.refund',
    section: '8.6',
    title: 'a refund event is sent again too',
    fix: 'Deliver all events through one queue.',
    limitSeconds: retryLimit,
    run: async (wix) => {
      const payment = await wix.paid();
      wix.fail(payment.wixTransactionId, { times: 1, kind: 'refund' });
      succeeded(await wix.refund(payment, AMOUNT));
      await wix.event(payment, 'refund', () => true, wix.config.limits.retrySeconds);
    },
  },
  {
    id: 'retry.not-after-success',
    section: '8.6',
    title: 'an event that was taken is not sent again and again',
    fix: 'Mark an event as delivered once Wix answered 200 {}.',
    run: async (wix) => {
      const payment = await wix.paid();
      await wix.event(payment);
      await wix.quiet();
      const { length } = wix.events(payment, 'transaction');
      demand(length <= 2, `it came ${length} times`);
    },
  },
  {
    id: 'order.refund',
    section: '9.5',
    title: 'a refund is told after its payment, even if that event had to be sent again (derived)',
    fix: 'Deliver the events of one payment one after the other.',
    limitSeconds: ({ retrySeconds, answerSeconds }) => 2 * retrySeconds + 3 * answerSeconds,
    run: (wix) => inOrder(wix, 'refund', false, (payment) => wix.refund(payment, AMOUNT)),
  },
  {
    id: 'order.capture',
    section: '9.5',
    title: 'a capture is told after its payment, even if that event had to be sent again (derived)',
    fix: 'Deliver the events of one payment one after the other.',
    needs: ['authorizeOnly'],
    limitSeconds: ({ retrySeconds, answerSeconds }) => 2 * retrySeconds + 3 * answerSeconds,
    run: (wix) => inOrder(wix, 'capture', true, (payment) => wix.capture(payment, AMOUNT)),
  },
  {
    id: 'order.void',
    section: '9.5',
    title: 'a void is told after its payment, even if that event had to be sent again (derived)',
    fix: 'Deliver the events of one payment one after the other.',
    needs: ['authorizeOnly'],
    limitSeconds: ({ retrySeconds, answerSeconds }) => 2 * retrySeconds + 3 * answerSeconds,
    run: (wix) => inOrder(wix, 'void', true, (payment) => wix.void(payment, AMOUNT)),
  },
];
