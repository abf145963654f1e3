import type { Client } from '@connectrpc/connect';
import type { ProcessorService } from '../proto/gen/processor/v1/processor_pb.js';
import type { DeliveriesService } from '../proto/gen/relay/v1/deliveries_pb.js';
import type { Database } from '../proto/runtime/database.ts';
import type { Log } from '../proto/runtime/log.ts';
import type { Admission } from './admission.ts';
import type { Calls, Turns } from './calls.ts';
import type { CoreConfig } from './config.ts';
import type { Silence } from './engine-silence.ts';
import type { Merchants } from './merchants.ts';
import type { Result, ToSettle } from './settle.ts';
import type { Beginning, Begun } from './store/begin-payments.ts';
import type { Watchers } from './watchers.ts';

/** What the core's functions need; built once in service.ts. */
export interface Core {
  readonly config: CoreConfig;
  readonly db: Database;
  readonly log: Log;
  readonly processor: Client<typeof ProcessorService>;
  /** The relay's deliveries, to show; undefined where the core is not told where it is. */
  readonly relay: Client<typeof DeliveriesService> | undefined;
  /** What may begin. */
  readonly admission: Admission;
  readonly turns: Turns;
  readonly merchants: Merchants;
  /** tx 1 of a create, together with others. */
  readonly beginPayment: (beginning: Beginning) => Promise<Begun>;
  /** tx 2, together with others. */
  readonly settle: (learned: ToSettle) => Promise<Result>;
  readonly engineSilence: Silence;
  /** Calls that a caller waits for. */
  readonly calls: Calls;
  /** Reconciliation's. */
  readonly reconciliations: Calls;
  /** Callers that follow a payment. */
  readonly watchers: Watchers;
  /** An event was committed. */
  readonly wakePublisher: () => void;
  /** Something is due now. */
  readonly wakeReconcile: () => void;
}
