import assert from 'node:assert/strict';
import { type Client, createClient, createRouterTransport } from '@connectrpc/connect';
import type { Outcome } from '../../proto/gen/payments/v1/outcome_pb.js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { quietLog } from '../support/log.ts';
import { createEngine, type Engine } from './engine.ts';
import { authorizeOrder, type PaymentOptions, subjectOf } from './orders.ts';
import { reasonOf } from './outcomes.ts';
import { createPages, type Pages, type PagesOptions } from './pages.ts';

// A simulated engine with its pages, for tests that send buyers there.

export const CHALLENGED = '4000000000003220';
export const RETURN_URL = 'https://connector.example/return/abc';
export const CARD = { number: '4242 4242 4242 4242', expiry: '09/31', cvv: '737', holder: 'Ines Carvalho' };

/** A payment without a card, by a method as Wix names it; an empty name is a hosted page. */
export const redirect = (paymentMethod: string): PaymentOptions => ({
  paymentMethod,
  details: { method: { case: 'redirect', value: {} } },
});

export interface PagesKit {
  engine: Engine;
  client: Client<typeof ProcessorService>;
  pages: Pages;
  log: ReturnType<typeof quietLog>;
}

/** A fresh engine with pages for each test of a `describe`, and what tests do with it. */
export function usePages() {
  const kit = {} as PagesKit;

  async function stop(): Promise<void> {
    await kit.pages.stop();
    await kit.engine.stop();
  }
  async function start({ data = ':memory:', ...more }: Partial<PagesOptions & { data: string }> = {}): Promise<void> {
    const log = quietLog();
    const engine = createEngine({ data, log, pendingMs: 20 });
    const client = createClient(ProcessorService, createRouterTransport(engine.routes));
    const pages = createPages({ engine, log, decideMs: 20, ...more });
    Object.assign(kit, { log, engine, client, pages });
    await pages.start();
    engine.start();
  }
  beforeEach(() => start());
  afterEach(stop);

  const authorize = async (options: PaymentOptions = { number: CHALLENGED }) => {
    const order = authorizeOrder({ returnUrl: RETURN_URL, ...options });
    return { order, outcome: (await kit.client.authorize(order)).outcome! };
  };

  return Object.assign(kit, {
    authorize,
    restart: async (options?: Parameters<typeof start>[0]): Promise<void> => {
      await stop();
      await start(options);
    },
    /** A payment that waits for its buyer, and the link of its page. */
    sent: async (options?: PaymentOptions) => {
      const { order, outcome } = await authorize(options);
      assert.ok(outcome.kind.case === 'buyerAction', `it is ${reasonOf(outcome)}`);
      return { order, link: outcome.kind.value.url };
    },
    now: async (order: Parameters<typeof subjectOf>[0]): Promise<Outcome> => {
      const { result } = await kit.client.getOperation({ subject: subjectOf(order) });
      assert.ok(result.case === 'outcome');
      return result.value;
    },
    charged: (order: ReturnType<typeof authorizeOrder>): bigint =>
      kit.engine.books.charged(order.instruction!.transactionId),
  });
}

export const look = (link: string) => fetch(link, { redirect: 'manual' });

export const choose = (link: string, choice: string, fields: Record<string, string> = {}) =>
  fetch(link, { method: 'POST', body: new URLSearchParams({ ...fields, choice }), redirect: 'manual' });
