import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import type { Fault } from './broken-engines.ts';
import { pending } from './outcomes.ts';

// Engines that list their operations wrongly.

const LISTED = 'tells what was ordered since a time: as it came, without credentials, with what asking tells';

export const LIST_FAULTS: readonly (readonly [fault: string, foundBy: string, Fault])[] = [
  [
    'lists orders without our record of them',
    LISTED,
    (sound) => ({
      listOperations: async (request) => {
        const page = await sound.listOperations(request);
        for (const { instruction } of page.operations) if (instruction) instruction.ledgerRecord = new Uint8Array();
        return page;
      },
    }),
  ],
  [
    'lists what was undone as if it were not',
    'tells which approvals were undone',
    (sound) => ({
      listOperations: async (request) => {
        const page = await sound.listOperations(request);
        for (const listed of page.operations) listed.reversed = false;
        return page;
      },
    }),
  ],
  [
    'lists the first page alone',
    LISTED,
    (sound) => ({
      listOperations: async (request) => ({ ...(await sound.listOperations(request)), nextPageToken: '' }),
    }),
  ],
  [
    'lists orders with the outcome that they had first',
    'tells an order again whose outcome has changed since',
    (sound) => ({
      listOperations: async (request) => {
        const page = await sound.listOperations(request);
        for (const listed of page.operations) listed.outcome = pending(Reason.PENDING_GENERAL, 'r');
        return page;
      },
    }),
  ],
];
