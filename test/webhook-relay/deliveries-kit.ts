import assert from 'node:assert/strict';
import { type Client, createClient, createRouterTransport } from '@connectrpc/connect';
import type { Event } from '../../proto/gen/payments/v1/event_pb.js';
import { DeliveriesService } from '../../proto/gen/relay/v1/deliveries_pb.js';
import { actAs } from '../../proto/runtime/callers.ts';
import { deliveriesService } from '../../webhook-relay/deliveries-service.ts';
import { freshDatabase } from '../support/database.ts';
import { KEYS, type Kit, newPayment, openKit } from './relay-kit.ts';

// The relay's parts, driven by hand, and an operator who looks on.

export interface DeliveriesKit extends Kit {
  /** Ada. */
  readonly operator: Client<typeof DeliveriesService>;
  get({ id }: Event): ReturnType<Client<typeof DeliveriesService>['getDelivery']>;
  down(): void;
  up(): void;
}

/** For all tests of one `describe`; renewed before each of them. */
export function useDeliveries(): DeliveriesKit {
  const kit = {} as DeliveriesKit;
  let url: string;
  before(async () => {
    url = await freshDatabase();
  });
  beforeEach(async () => {
    const parts = await openKit(url);
    await parts.db.query('truncate decisions');
    const service = deliveriesService({
      db: parts.db,
      keys: KEYS,
      log: parts.log,
      receiver: parts.receiver,
      wake: () => undefined,
      breaker: () => ({ open: false, slots: 8 }),
    });
    const interceptors = [actAs({ name: 'ada', role: 'operator' })];
    const operator = createClient(
      DeliveriesService,
      createRouterTransport((router) => router.service(DeliveriesService, service), { router: { interceptors } }),
    );
    Object.assign(kit, parts, {
      operator,
      get: ({ id }: Event) => operator.getDelivery({ eventId: id }),
      down: () => parts.wix.answerEvent(() => ({ status: 503, body: 'down' })),
      up: () => parts.wix.answerEvent(() => undefined),
    });
  });
  afterEach(async () => {
    await kit.close();
    assert.deepEqual(kit.wix.problems, []);
  });
  return kit;
}

/** An approval, a capture and a refund of one payment. */
export function life(): [Event, Event, Event] {
  const next = newPayment();
  return [next('TRANSACTION_APPROVED'), next('CAPTURE_SUCCEEDED'), next('REFUND_SUCCEEDED')];
}
