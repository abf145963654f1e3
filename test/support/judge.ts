import assert from 'node:assert/strict';
import type { Engine } from '../engine/engine.ts';
import type { WixEvent } from '../wix/history.ts';
import type { Wix } from '../wix/wix.ts';
import { eventually } from './eventually.ts';

/** What every story ends with: the contract is kept, and the engine has taken exactly the money of which Wix was told. */
export async function assertKept({ wix, engine }: { wix: Wix; engine: Engine }): Promise<void> {
  await assertContract({ wix });
  await eventually(() => assert.deepEqual(disagreements(wix, engine), []));
  assert.deepEqual(wix.violations, []);
}

/** All that was answered was told, and nothing against the contract was said. */
export async function assertContract({ wix }: { wix: Wix }): Promise<void> {
  await eventually(() => assert.deepEqual(wix.untold, []));
  assert.deepEqual(wix.violations, []);
}

/** Payments of which Wix was told something else than the engine's books say. */
function disagreements(wix: Wix, engine: Engine): string[] {
  const accepted = Map.groupBy(
    wix.events().filter((event) => event.accepted),
    ({ wixTransactionId }) => wixTransactionId,
  );
  const told = new Map(
    [...accepted.values()].flatMap((events) => {
      const approval = events.find(({ kind, body }) => kind === 'transaction' && body.reasonCode === undefined);
      return approval ? [[approval.body.pluginTransactionId, events] as const] : [];
    }),
  );
  const authorizes = engine.books.list().filter(({ kind }) => kind === 'authorize');
  return authorizes.flatMap(({ transactionId, amount, sale }) => {
    const entries = engine.books.operations(transactionId);
    const taken = entries.reduce((sum, entry) => sum + entry.taken, 0n);
    const held = entries.reduce((sum, entry) => sum + entry.held, 0n);
    const expected = moneyTold(told.get(transactionId), amount, sale);
    return taken === expected.taken && held === expected.held
      ? []
      : [`${transactionId}: taken ${taken}, held ${held}; told ${expected.taken}, ${expected.held}`];
  });
}

/** What the events of an approved payment say of its money; without any, nothing moved. */
function moneyTold(events: readonly WixEvent[] | undefined, amount: bigint, sale: boolean) {
  if (!events) return { taken: 0n, held: 0n };
  const amountsOf = (wanted: string) => [
    // An event may come twice.
    ...new Map(
      events
        .filter(({ kind, body }) => kind === wanted && body.reasonCode === undefined)
        .map(({ text, body }) => [text, BigInt(String(body.amount))]),
    ).values(),
  ];
  // Less than was asked may have been approved.
  const told = events.find(({ kind, body }) => kind === 'transaction' && body.reasonCode === undefined);
  const authorized = BigInt(String(told?.body.authorizedAmount ?? amount));
  const captured = sale ? authorized : (amountsOf('capture')[0] ?? 0n);
  const isOver = sale || amountsOf('capture').length + amountsOf('void').length > 0;
  const refunded = amountsOf('refund').reduce((sum, each) => sum + each, 0n);
  return { taken: captured - refunded, held: isOver ? 0n : authorized };
}
