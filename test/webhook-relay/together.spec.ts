import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Event, Event_Type } from '../../proto/gen/payments/v1/event_pb.js';
import type { BusMessage } from '../../proto/runtime/event-bus.ts';
import { createReceiver } from '../../webhook-relay/receive.ts';
import { createRecorder, type Ended } from '../../webhook-relay/record.ts';
import { type Claim, claimDue } from '../../webhook-relay/store-attempts.ts';
import { sweep } from '../../webhook-relay/sweep.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { KEYS, type Kit, messageOf, newPayment, openKit } from './relay-kit.ts';

// Payments that are received and recorded in one tx, by two relays at once, against the same payments each alone.

/** What happens to one payment: events come, the first that is due is claimed, and its attempt ends while later events come. */
interface Life {
  readonly transactionId: string;
  readonly first: readonly BusMessage[];
  readonly later: readonly BusMessage[];
  readonly delivered: boolean;
  /** Its lease runs out before the attempt ends. */
  readonly lost: boolean;
  /** An operator parks what is being attempted. */
  readonly parked: boolean;
}

const types: (keyof typeof Event_Type)[] = [
  'TRANSACTION_PENDING',
  'TRANSACTION_APPROVED',
  'TRANSACTION_DECLINED',
  'REFUND_FAILED',
  'TRANSACTION_AWAITING_BUYER',
];
const messages = (min: number, max: number) =>
  fc.array(
    fc.record({
      sequence: fc.constantFrom(1n, 1n, 1n, 2n, 2n, 3n),
      type: fc.constantFrom(...types),
      as: fc.constantFrom('it is', 'it is', 'it is', 'it is', 'unreadable', 'refused', 'twice'),
    }),
    { minLength: min, maxLength: max },
  );
const lives: fc.Arbitrary<Life[]> = fc.array(
  fc
    .record({
      first: messages(1, 3),
      later: messages(0, 2),
      delivered: fc.boolean(),
      lost: fc.boolean(),
      parked: fc.constantFrom(false, false, true),
    })
    .map(({ first, later, ...life }) => {
      const next = newPayment();
      const { transactionId } = next('TRANSACTION_PENDING');
      const read = (some: typeof first) =>
        some.flatMap(({ sequence, type, as }) => {
          const event: Event = next(type, { sequence, forWix: type !== 'TRANSACTION_AWAITING_BUYER' });
          if (as === 'unreadable') return [messageOf(event, { value: Buffer.from([0xff]) })];
          if (as === 'refused') return [messageOf({ ...event, externalMerchantId: 'a\0b' })];
          return as === 'twice' ? [messageOf(event), messageOf(event)] : [messageOf(event)];
        });
      return { transactionId, first: read(first), later: read(later), ...life };
    }),
  { minLength: 6, maxLength: 16 },
);

describe('payments together', function () {
  this.timeout(120_000);
  let kit: Kit;
  before(async () => {
    kit = await openKit(await freshDatabase());
  });
  after(() => kit.close());

  const newReceiver = () => createReceiver({ db: kit.db, keys: KEYS, log: kit.log, delayMs: 0 });
  const newRecorder = () => createRecorder({ db: kit.db, log: kit.log });
  const claimAll = async () => {
    const all = { limit: 100, leaseMs: 30_000, after: '', share: 100, running: new Map<string, number>() };
    const { claims } = await claimDue(kit.db, all);
    return new Map(claims.map((claim) => [claim.transactionId, claim]));
  };
  const empty = () => kit.db.query('truncate transactions, deliveries, attempts');

  /** What an operator and the time do while attempts run. */
  async function meanwhile(some: readonly Life[], claims: ReadonlyMap<string, Claim>): Promise<void> {
    const parked = some.flatMap(({ parked, transactionId }) => (parked ? [claims.get(transactionId)?.eventId] : []));
    await kit.db.query(
      `update deliveries set state = 'parked' where event_id = any ($1::uuid[]) and state = 'waiting'`,
      [parked.filter((eventId) => eventId !== undefined)],
    );
    await kit.db.query('update transactions set claimed_until = now() where transaction_id = any ($1::uuid[])', [
      some.flatMap(({ lost, transactionId }) => (lost && claims.has(transactionId) ? [transactionId] : [])),
    ]);
    await sweep(kit);
  }

  function endOf({ delivered }: Pick<Life, 'delivered'>, claim: Claim): Ended {
    const answer = delivered ? { httpStatus: 200, error: null } : { httpStatus: 500, error: 'event: status 500' };
    const retryMs = delivered ? null : 3_600_000;
    return {
      claim,
      eventId: claim.eventId,
      delivered,
      stuck: false,
      durationMs: 1,
      ...answer,
      answer: '{}',
      retryMs,
      wasSent: true,
    };
  }

  /** All that is kept of each payment, but for times. */
  async function kept(): Promise<Map<string, string>> {
    const rows = await kit.db.query<{ transactionId: string; row: object; deliveries: object; attempts: object }>(
      `select transaction_id as "transactionId",
              json_build_array(done_through, final_told, next_event_id, next_attempt_at > now() + interval '1 minute', retrying, claim,
                               claimed_until is not null, gap_alert_at is not null, merchant) as row,
              (select json_agg(json_build_array(event_id, sequence, type, state, encode(body, 'base64'), message is not null, attempts,
                                                finished_at is not null) order by event_id)
               from deliveries d where d.transaction_id = t.transaction_id) as deliveries,
              (select json_agg(json_build_array(event_id, number, http_status, error, next_attempt_at is not null) order by event_id, number)
               from attempts join deliveries d using (event_id) where d.transaction_id = t.transaction_id) as attempts
       from transactions t`,
    );
    return new Map(rows.map(({ transactionId, ...rest }) => [transactionId, JSON.stringify(rest)]));
  }

  async function together(all: readonly Life[]): Promise<Map<string, string>> {
    await empty();
    const [one, other] = [newReceiver(), newReceiver()];
    const [first, later] = [all.flatMap((life) => life.first), all.flatMap((life) => life.later)];
    await Promise.all([one.receive(first), other.receive(all.toReversed().flatMap((life) => life.first))]);
    const claims = await claimAll();
    await meanwhile(all, claims);
    const recorders = [newRecorder(), newRecorder()];
    await Promise.all([
      one.receive(later),
      ...all.flatMap((life, i) => {
        const claim = claims.get(life.transactionId);
        return claim ? [recorders[i % 4 === 0 ? 0 : 1]!(endOf(life, claim))] : [];
      }),
    ]);
    return kept();
  }

  async function alone(life: Life, laterFirst: boolean): Promise<string | undefined> {
    await empty();
    const [receiver, record] = [newReceiver(), newRecorder()];
    await receiver.receive(life.first);
    const claims = await claimAll();
    await meanwhile([life], claims);
    const claim = claims.get(life.transactionId);
    if (laterFirst) await receiver.receive(life.later);
    if (claim) await record(endOf(life, claim));
    if (!laterFirst) await receiver.receive(life.later);
    return (await kept()).get(life.transactionId);
  }

  it('R26 R27 R28 R42 leave the same rows as each alone, whichever of its two changes comes first', async () => {
    await fc.assert(
      fc.asyncProperty(lives, async (all) => {
        const found = await together(all);
        for (const life of all) {
          const rows = found.get(life.transactionId);
          const possible = [await alone(life, false), await alone(life, true)];
          assert.ok(possible.includes(rows), `${rows}\nis neither\n${possible.join('\nnor\n')}`);
        }
      }),
      { numRuns: Number(process.env.TOGETHER_RUNS ?? 10) },
    );
  });

  it('R43 one that is locked holds up no other whose attempt ends at the same time', async () => {
    await empty();
    const events = Array.from({ length: 6 }, () => newPayment()('TRANSACTION_APPROVED'));
    await kit.receive(...events);
    const claims = [...(await claimAll()).values()];
    const record = newRecorder();
    const locked = claims.at(-1)!;
    const end = (claim: Claim) => record(endOf({ delivered: true }, claim));
    let ending: Promise<unknown> | undefined;
    await kit.db.inTx(async (tx) => {
      await tx.query('select from transactions where transaction_id = $1 for update', [locked.transactionId]);
      // The first two go alone, the others together.
      const others = claims.slice(0, -1).map(end);
      ending = end(locked);
      await Promise.all(others);
    });
    await ending;
    for (const event of events) assert.deepEqual(await kit.states(event), ['1:delivered']);
  });

  it('R43 one that is locked keeps no other of its batch from being stored', async () => {
    await empty();
    const [locked, other] = [newPayment(), newPayment()];
    const [first, second] = [locked('TRANSACTION_PENDING'), locked('TRANSACTION_APPROVED')];
    await kit.receive(first);
    const approved = other('TRANSACTION_APPROVED');
    let receiving: Promise<void> | undefined;
    await kit.db.inTx(async (tx) => {
      await tx.query('select from transactions where transaction_id = $1 for update', [first.transactionId]);
      receiving = kit.receive(approved, second);
      await eventually(async () => assert.deepEqual(await kit.states(approved), ['1:waiting']));
    });
    await receiving;
    assert.deepEqual(await kit.states(first), ['1:superseded', '2:waiting']);
  });
});
