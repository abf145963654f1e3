import { isOpen } from '../../../core/operation.ts';
import { isApproved } from '../../../core/transaction.ts';
import { comeBack, mayComeBack } from './buyer.ts';
import { contraryOf, decideLater, type Entry, isUndecided, lapse, mayLapse, refundReturns, truths } from './engine.ts';
import { isDue } from './ledger.ts';
import { override, reconcile, report } from './reconcile.ts';
import { type Asked, deliver, nextEvent, toldEnd } from './wix.ts';
import { captureOrVoid, create, refund } from './wix-calls.ts';
import { ASKED, advance, begin, crash, runnable, type World } from './world.ts';

// What may happen next, each with its weight: a process goes on, or somebody does something - Wix, the engine, an operator, time, fate.

interface Action {
  readonly name: string;
  readonly happen: () => void;
}
type Weighted = readonly [weight: number, action: Action];

const may = (weight: number, name: string, happen: () => void): Weighted => [weight, { name, happen }];

export function possible(world: World): Weighted[] {
  const { ledger, engine } = world;
  return [
    ...runnable(world).map((process) => may(20, 'somebody goes on', () => advance(world, process))),
    ...callsOfWix(world),
    ...surroundings(world),
    ...[...engine.entries.values()].flatMap((entry) => doingsOfEngine(world, entry)),
    ...ledger.operations.flatMap((operation) =>
      isOpen(operation) && (operation.held || ['capture', 'void', 'refund'].includes(operation.kind))
        ? truths(world, operation.id).map((outcome) =>
            may(1, 'an operator overrides', () => begin(world, 'override', () => override(world, operation, outcome))),
          )
        : [],
    ),
  ];
}

function surroundings(world: World): Weighted[] {
  const { ledger, late } = world;
  const wait = (weight: number, seconds: number) =>
    may(weight, `${seconds} s pass`, () => {
      world.now += seconds * 1000;
    });
  return [
    // A part of the answer budget; more than a lease; more than the time for resends; more than a buyer's and any expiry.
    ...[wait(3, 5), wait(ledger.isLocked ? 40 : 5, 91), wait(1, 1_000), wait(4, 7_300)],
    ...(ledger.operations.some(({ id }) => isDue(ledger, id, world.now))
      ? [may(20, 'a core reconciles', () => reconcile(world, world.choose(2)))]
      : []),
    ...(world.processes.length > 0 ? [may(1, 'a core crashes', () => crash(world, world.choose(2)))] : []),
    ...late.map((message, i) =>
      may(4, `late arrives: ${message.name}`, () => {
        late.splice(i, 1);
        message.arrive();
      }),
    ),
    ...(mayComeBack(world) ? [may(4, 'the buyer comes back', () => begin(world, 'buyer', () => comeBack(world)))] : []),
    ...(nextEvent(world) ? [may(5, 'Wix hears an event', () => deliver(world))] : []),
  ];
}

/** What Wix takes for approved; all, before it knows. */
const approvedOf = ({ ledger }: World) => ledger.payment?.authorizedAmount || ASKED;

/** Everything at any time, but most of it when it makes sense; the same again with the same id, as Wix and the gateway do. */
function callsOfWix(world: World): Weighted[] {
  const { ledger, wix } = world;
  const pay = () => begin(world, 'create', (core) => create(world, core));
  if (!ledger.payment) return [may(20, 'Wix creates', pay)];
  const ask = (kind: Asked['kind'], amount: bigint | undefined) => {
    const asked = { kind, key: `${kind} ${wix.asked.length + 1}`, amount, sends: 0 };
    wix.asked.push(asked);
    start(world, asked);
  };
  const often = isApproved(ledger.payment.state) ? 8 : 1;
  const isTold = toldEnd(wix) === 'approved';
  const isUnanswered = ({ key }: Asked) => !wix.answers.some(({ to }) => to === key);
  return [
    may(1, 'Wix creates again', pay),
    ...(wix.asked.length < 6
      ? [
          may(often, 'Wix captures', () => ask('capture', world.choose(2) ? 60n : approvedOf(world))),
          may(Math.ceil(often / 4), 'Wix voids', () => ask('void', approvedOf(world))),
          may(often, 'Wix refunds', () => ask('refund', [40n, undefined, ASKED][world.choose(3)])),
        ]
      : []),
    ...wix.asked
      .filter((asked) => asked.kind === 'refund' || (isTold && isUnanswered(asked)))
      .map((asked) => may(1, 'the same again', () => start(world, asked))),
  ];
}

function start(world: World, asked: Asked): void {
  const { kind } = asked;
  asked.sends += 1;
  begin(world, asked.key, (core) =>
    kind === 'refund' ? refund(world, core, asked) : captureOrVoid(world, core, kind, asked),
  );
}

function doingsOfEngine(world: World, entry: Entry): Weighted[] {
  const { ledger } = world;
  const known = ledger.operations.find(({ id }) => id === entry.requestId);
  const tell = (outcome: Entry['outcome']) =>
    begin(world, `report of ${entry.kind}`, () => report(world, entry.requestId, outcome));
  const contrary = known && !isOpen(known) ? contraryOf(entry) : undefined;
  const isRefunded = entry.kind === 'refund' && known?.state === 'approved';
  return [
    may(1, 'the engine reports', () => tell(entry.outcome)),
    ...(isUndecided(entry) ? [may(6, 'the engine decides', () => decideLater(world, entry))] : []),
    ...(entry.kind === 'authorize' && mayLapse(world) ? [may(1, 'the authorization lapses', () => lapse(world))] : []),
    ...(isRefunded && entry.outcome.kind.case === 'approved'
      ? [may(1, 'the refund comes back', () => refundReturns(world, entry))]
      : []),
    ...(contrary ? [may(1, 'the engine contradicts itself', () => tell(contrary))] : []),
  ];
}
