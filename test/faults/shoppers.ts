import { randomUUID } from 'node:crypto';
import { paymentRequest } from '../wix/requests.ts';
import type { Merchant, Payment, Wix } from '../wix/wix.ts';
import { untilAnswered } from './surroundings.ts';

// Wix under load: payments of every kind, each followed by what merchants do with it, every call repeated until it is answered.

export interface Shoppers {
  /** Begins payments as long as there are `more`, and resolves when all are through with what follows them. */
  shop(options: { inFlight: number; more: (begun: number) => boolean }): Promise<void>;
  readonly done: number;
  /** All that were answered. */
  readonly payments: readonly Payment[];
}

const CARDS = [
  '4242424242424242',
  '5555555555554444',
  '4000000000000002',
  '4242424242424242',
  '4000000000009235',
  '4242424242424242',
  '4000000000000119',
  '4000000000005126',
  '4242424242424242',
  '4000000000000259',
];

/** They pay the merchants in turn. */
export function createShoppers(wix: Wix, merchants: readonly Merchant[]): Shoppers {
  const payments: Payment[] = [];
  let begun = 0;
  let done = 0;

  async function pay(number: number): Promise<void> {
    const merchant = merchants[number % merchants.length] as Merchant;
    const authorizeOnly = number % 3 === 1;
    const request = paymentRequest(merchant, { number: CARDS[number % CARDS.length] ?? '', authorizeOnly });
    const payment = await untilAnswered(
      () => wix.create(merchant, request),
      ({ answer }) => answer.status,
    );
    payments.push(payment);
    if (payment.answer.body?.reasonCode !== undefined) return;
    const wixRefundId = randomUUID();
    const next = authorizeOnly ? (number % 2 ? 'capture' : 'void') : number % 2 ? 'refund' : 'again';
    const calls = {
      capture: () => wix.capture(payment),
      void: () => wix.void(payment),
      refund: () => wix.refund(payment, { wixRefundId, amount: 1000 }),
      again: async () => (await wix.again(payment)).answer,
    };
    await untilAnswered(calls[next], ({ status }) => status);
  }

  return {
    payments,
    get done() {
      return done;
    },
    shop: async ({ inFlight, more }) => {
      const shopper = async () => {
        while (more(begun)) {
          begun += 1;
          await pay(begun);
          done += 1;
        }
      };
      await Promise.all(Array.from({ length: inFlight }, shopper));
    },
  };
}
