import assert from 'node:assert/strict';
import { UNKNOWN } from '../../../core/outcome.ts';
import type { ShopPage, Transaction } from '../../../core/transaction.ts';
import * as engine from './engine.ts';
import { operationById } from './ledger.ts';
import { AUTHORIZE_ID, read, settle } from './settle.ts';
import { call, type Flow, startBudget, type World } from './world.ts';

// A buyer who was sent to a page of the engine: comes back, twice, late, while others decide, or never. As core/return-buyer.ts has it.

const LOOK_MS = 5_000;
const isUndecided = ({ state }: Transaction) => state === 'awaiting_buyer' || state === 'pending';

/** Whether the engine has ever shown a page: only then somebody can come back from it. */
export function mayComeBack({ engine: { entries }, ledger }: World): boolean {
  const entry = entries.get(AUTHORIZE_ID);
  return (
    ledger.payment !== undefined && entry !== undefined && (ledger.payment.awaitedBuyer || engine.isUndecided(entry))
  );
}

export function* comeBack(world: World): Flow {
  const { ledger, rules } = world;
  const isOver = startBudget(world);
  const payment = () => ledger.payment ?? assert.fail('there is no payment');
  yield () => payment().state !== 'authorizing' || isOver();
  let hasLooked = false;
  if (isUndecided(payment()) && takeLook(world)) {
    yield* look(world);
    hasLooked = true;
  } else yield () => payment().state !== 'awaiting_buyer' || isOver();
  const { state } = payment();
  assert.ok(!hasLooked || state !== 'awaiting_buyer', 'a buyer who has come back is awaited');
  const page = rules.shopPage(payment());
  world.trace(`  the buyer is sent to ${page}`);
  world.shown.push(page);
}

/** One of those who come in this time, on whichever core. */
function takeLook({ ledger, now }: World): boolean {
  if (now - ledger.lookedAt < LOOK_MS) return false;
  ledger.lookedAt = now;
  return true;
}

function* look(world: World): Flow {
  const { ledger } = world;
  yield;
  const operation = operationById(ledger, AUTHORIZE_ID);
  if (operation.held) return;
  const answer = yield* call(world, 'ask for the buyer', () => engine.getOperation(world, AUTHORIZE_ID));
  const said = answer === undefined || typeof answer === 'string' ? UNKNOWN : read(world, operation, answer);
  yield;
  if (said !== UNKNOWN) yield* settle(world, AUTHORIZE_ID, said);
  yield;
  if (ledger.payment?.state === 'awaiting_buyer') yield* settle(world, AUTHORIZE_ID, { trigger: 'buyer_returned' });
}

/** What a buyer was shown agrees with what Wix is told in the end. */
export function ensureTrueShop(shown: readonly ShopPage[], end: string): void {
  const wrong = shown.filter((page) => {
    if (page === 'success') return end !== 'approved';
    if (page === 'cancel') return end !== 'declined 3030';
    return page === 'error' && (!end.startsWith('declined') || end === 'declined 3030');
  });
  assert.deepEqual(wrong, [], `a buyer was sent there, and Wix was told ${end}`);
}
