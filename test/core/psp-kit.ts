import assert from 'node:assert/strict';
import type { Client } from '@connectrpc/connect';
import { Event_Type } from '../../proto/gen/payments/v1/event_pb.js';
import type { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Initiator, type Transaction } from '../../proto/gen/payments/v1/transaction_pb.js';
import { cardPayment, createTestCore, type TestCore } from '../support/core.ts';
import { eventually } from '../support/eventually.ts';

// A core, and the PSP's own people and engine who call it.

export type Merchant = Awaited<ReturnType<TestCore['connect']>>;

export interface Psp {
  readonly test: TestCore;
  readonly merchant: Merchant;
  readonly desk: Client<typeof PaymentsService>;
  readonly engine: Client<typeof PaymentsService>;
  pay(more?: Parameters<typeof cardPayment>[2] & { number?: string; of?: Merchant }): Promise<Transaction>;
  find(payment: Transaction): Promise<Awaited<ReturnType<Client<typeof PaymentsService>['getTransaction']>>>;
  /** Type, initiator and whether Wix is told, of the events after the first, once there are so many of them. */
  happened(payment: Transaction, count: number): Promise<unknown[][]>;
  /** Minor units that the engine has taken and not returned. */
  charged(payment: Transaction): bigint;
}

/** For all tests of one `describe`; filled before the first of them. */
export function usePsp(): Psp {
  const psp = {} as Psp;
  before(async () => {
    const test = await createTestCore();
    Object.assign(psp, {
      test,
      merchant: await test.connect(),
      desk: test.as({ name: 'desk', role: 'backoffice' }),
      engine: test.as({ name: 'acquirer', role: 'engine' }),
      pay: async ({ number, of = psp.merchant, ...more } = {}) => {
        const { transaction } = await test.payments.createTransaction(cardPayment(of, number, more));
        assert.ok(transaction);
        return transaction;
      },
      find: ({ id }) => psp.desk.getTransaction({ key: { case: 'id', value: id } }),
      happened: ({ externalId }, count) =>
        eventually(() => {
          const events = test.eventsOf(externalId);
          assert.ok(events.length > count, `${events.length} events`);
          return events.slice(1).map(({ type, initiator, forWix }) => [Event_Type[type], Initiator[initiator], forWix]);
        }),
      charged: ({ id }) => test.engine.books.charged(id),
    } satisfies Psp);
  });
  afterEach(() => {
    psp.test.engine.fault = undefined;
  });
  after(() => psp.test.stop());
  return psp;
}
