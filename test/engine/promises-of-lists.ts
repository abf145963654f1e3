import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { create, equals } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { Operation_Kind } from '../../proto/gen/payments/v1/transaction_pb.js';
import { InstructionSchema, type ListedOperation } from '../../proto/gen/processor/v1/processor_pb.js';
import { ensure, ensureSame, type Kit, NotOffered, type Order } from './contract-kit.ts';
import type { Group } from './contract-suite.ts';
import { requestIdOf } from './orders.ts';

// What an engine tells of all its orders since a time, for a ledger that was restored from a backup. It need not offer that.

/** Engine and suite may have clocks that differ a little. */
const BEFORE_MS = 60_000;

async function listSince(kit: Kit, since: number): Promise<Map<string, ListedOperation>> {
  const listed = new Map<string, ListedOperation>();
  let pageToken = '';
  do {
    // Small, so that there is more than one page.
    const request = { changedSince: timestampFromMs(since - BEFORE_MS), pageSize: 2, pageToken };
    const page = await kit.engine.listOperations(request, { timeoutMs: 10_000 }).catch((error: unknown) => {
      if (ConnectError.from(error).code === Code.Unimplemented) throw new NotOffered('ListOperations');
      throw error;
    });
    assert.ok(page.operations.length <= 2, 'a page has more operations than were asked for');
    for (const operation of page.operations) listed.set(operation.instruction?.requestId ?? '', operation);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return listed;
}

function recorded<T extends Order>(order: T): T {
  order.instruction!.ledgerRecord = new Uint8Array(randomBytes(300));
  return order;
}

export const LISTS: Group = {
  title: 'listing operations',
  promises: [
    {
      title: 'tells what was ordered since a time: as it came, without credentials, with what asking tells',
      hold: async (kit) => {
        const since = Date.now();
        const sale = recorded(kit.order());
        const hold = recorded(kit.order({ authorizeOnly: true }));
        for (const order of [sale, hold]) await kit.approve(order);
        const orders = [
          [Operation_Kind.AUTHORIZE, sale],
          [Operation_Kind.AUTHORIZE, hold],
          [Operation_Kind.CAPTURE, recorded(kit.capture(hold))],
          [Operation_Kind.REFUND, recorded(kit.refund(sale))],
        ] as const;
        for (const [kind, order] of orders) if (kind !== Operation_Kind.AUTHORIZE) await kit.approve(order);
        const listed = await listSince(kit, since);
        for (const [kind, order] of orders) {
          const { credentials: _, ...sent } = order.instruction!;
          const found = listed.get(sent.requestId);
          assert.ok(found?.instruction && found.outcome, `${Operation_Kind[kind]} is not listed`);
          assert.equal(Operation_Kind[found.kind], Operation_Kind[kind]);
          assert.equal(found.instruction.credentials, undefined, 'credentials are listed');
          assert.ok(
            equals(InstructionSchema, found.instruction, create(InstructionSchema, sent)),
            `${Operation_Kind[kind]} is listed otherwise than it came`,
          );
          ensureSame(found.outcome, await kit.ask(order));
        }
      },
    },
    {
      title: 'tells which approvals were undone',
      hold: async (kit) => {
        const since = Date.now();
        const [kept, undone] = [await kit.paid(), await kit.paid()];
        ensure(await kit.reverse(undone), 'approved');
        const listed = await listSince(kit, since);
        assert.deepEqual(
          [kept, undone].map((order) => listed.get(requestIdOf(order))?.reversed),
          [false, true],
        );
      },
    },
    {
      title: 'tells nothing that was only cancelled',
      hold: async (kit) => {
        const since = Date.now();
        const order = kit.order();
        await kit.cancel(order);
        assert.ok(!(await listSince(kit, since)).has(requestIdOf(order)));
      },
    },
    {
      title: 'tells an order again whose outcome has changed since',
      needs: ['pendingThenApproved'],
      hold: async (kit) => {
        const since = Date.now();
        const order = recorded(kit.order({ card: 'pendingThenApproved' }));
        ensure(await kit.send(order), 'pending');
        const decided = await kit.decided(order);
        const listed = (await listSince(kit, since)).get(requestIdOf(order));
        assert.ok(listed?.outcome, 'it is not listed');
        ensureSame(listed.outcome, decided);
      },
    },
  ],
};
