import assert from 'node:assert/strict';
import { Code, ConnectError } from '@connectrpc/connect';
import { type Admission, type Arrival, createAdmission } from '../../core/admission.ts';
import { createTurns, hasShare, startBudget } from '../../core/calls.ts';
import { errorInfo } from '../../proto/runtime/rpc.ts';
import { quietLog } from '../support/log.ts';

const BUDGET_MS = 4_000;

describe('R48 what may begin', () => {
  const arrive = (more: Partial<Arrival> = {}): Arrival => ({
    kind: 'create',
    externalId: crypto.randomUUID(),
    owner: crypto.randomUUID(),
    ...more,
  });

  /** Calls that last until they are told to end, in the order in which they began. */
  const visitors = (admission: Admission) => {
    const begun: string[] = [];
    const ends = new Map<string, () => void>();
    const come = (name: string, arrival = arrive()) =>
      admission.admit(arrival, startBudget(BUDGET_MS, undefined), async () => {
        begun.push(name);
        await new Promise<void>((resolve) => ends.set(name, resolve));
      });
    const end = async (name: string) => {
      ends.get(name)?.();
      await new Promise(setImmediate);
    };
    return { begun, come, end };
  };

  const isRefused = (error: unknown) =>
    error instanceof ConnectError && error.code === Code.Unavailable && errorInfo(error)?.reason === 'OVERLOADED';

  it('is let in at once while there is room, and then in turn: what follows a payment, and a repeat, before new payments', async () => {
    const { begun, come, end } = visitors(createAdmission(() => 2, BUDGET_MS, quietLog()));
    const repeated = arrive();
    const all = [come('known', repeated), come('other')];
    await new Promise(setImmediate);
    all.push(come('new 1'), come('new 2'), come('refund', arrive({ kind: 'follow_up' })), come('repeat', repeated));
    await new Promise(setImmediate);
    assert.deepEqual(begun, ['known', 'other']);
    for (const name of ['known', 'other', 'refund', 'repeat', 'new 1', 'new 2']) await end(name);
    await Promise.all(all);
    assert.deepEqual(begun, ['known', 'other', 'refund', 'repeat', 'new 1', 'new 2']);
  });

  it('is what can be done in time: the rest is refused as it comes, and nothing of it begins', async () => {
    const { begun, come, end } = visitors(createAdmission(() => 1, BUDGET_MS, quietLog()));
    const first = come('first');
    const fates = await Promise.all(
      Array.from({ length: 2_000 }, (_, i) =>
        Promise.race([
          come(`later ${i}`).then(() => 'done', isRefused),
          new Promise((resolve) => setImmediate(resolve)),
        ]),
      ),
    );
    const refused = fates.filter((fate) => fate === true).length;
    assert.ok(refused > 1_000 && refused < 2_000, `${refused} of 2000 were refused`);
    assert.equal(fates.indexOf(true), 2_000 - refused, 'an earlier one was refused for a later one');
    assert.deepEqual(begun, ['first']);
    await end('first');
    await first;
    assert.deepEqual(begun, ['first', 'later 0']);
  });

  it('is never all of one merchant', async () => {
    const { come, end, begun } = visitors(createAdmission(() => 1, BUDGET_MS, quietLog()));
    const first = come('first');
    const owner = 'the busy one';
    const fates: unknown[] = [];
    for (let i = 0; i < 500; i++)
      void come(`busy ${i}`, arrive({ owner })).catch((error) => fates.push(isRefused(error)));
    await new Promise(setImmediate);
    assert.ok(fates.length > 0 && fates.every((fate) => fate === true));
    let isIn = true;
    void come('small').catch(() => {
      isIn = false;
    });
    await new Promise(setImmediate);
    assert.ok(isIn);
    await end('first');
    await first;
    assert.deepEqual(begun, ['first', 'busy 0']);
  });

  it('gives its place to the next one, whatever became of it', async () => {
    const admission = createAdmission(() => 1, BUDGET_MS, quietLog());
    const budget = startBudget(BUDGET_MS, undefined);
    const fails = () => Promise.reject(new Error('no database'));
    for (let i = 0; i < 5; i++) await assert.rejects(admission.admit(arrive(), budget, fails), /no database/);
    assert.equal(await admission.admit(arrive(), budget, async () => 'in'), 'in');
  });

  it('is refused when its turn does not come, and says that it sheds', async () => {
    const admission = createAdmission(() => 1, 200, quietLog());
    const { come, end, begun } = visitors(admission);
    const first = come('first');
    assert.equal(admission.isShedding(), false);
    await assert.rejects(come('waits in vain'), isRefused);
    assert.equal(admission.isShedding(), true);
    await end('first');
    await first;
    assert.deepEqual(begun, ['first']);
  });

  it('R44 alerts once when it has gone on for five seconds, and again only after a minute of calm', async () => {
    const log = quietLog();
    let now = 0;
    // So short a budget leaves no time to wait.
    const { come, end } = visitors(
      createAdmission(
        () => 1,
        40,
        log,
        () => now,
      ),
    );
    const alerts = () => log.lines.filter(({ alert }) => alert === 'overloaded').length;
    const shedEvery = async (ms: number, times: number) => {
      for (let i = 0; i < times; i++, now += ms) await assert.rejects(come('too much'), isRefused);
    };
    const first = come('first');
    await shedEvery(1_000, 5);
    assert.equal(alerts(), 0);
    await shedEvery(1_000, 20);
    assert.equal(alerts(), 1);
    now += 59_000;
    await shedEvery(1_000, 20);
    assert.equal(alerts(), 1);
    now += 61_000;
    await shedEvery(20_000, 10);
    assert.equal(alerts(), 1, 'now and then is no overload');
    now += 61_000;
    await shedEvery(1_000, 20);
    assert.equal(alerts(), 2);
    await end('first');
    await first;
  });

  it('shares places: one alone has three quarters of them, and there is always one for somebody else', () => {
    const owned = new Map<string, number>();
    let taken = 0;
    const take = (owner: string) => {
      const own = owned.get(owner) ?? 0;
      if (!hasShare(own, taken, 200)) return false;
      owned.set(owner, own + 1);
      taken += 1;
      return true;
    };
    while (take('first'));
    assert.equal(owned.get('first'), 151);
    for (const next of ['second', 'third', 'fourth']) {
      assert.ok(take(next), `${next} found no place`);
      while (take(next));
    }
  });
});

describe('R48 what many wait for at once', () => {
  const turns = createTurns();
  const budget = () => startBudget(5_000, undefined);

  it('takes turns for one payment, and is not held up by another', async () => {
    let running = 0;
    const work = async () => {
      running += 1;
      assert.equal(running, 1);
      await new Promise(setImmediate);
      running -= 1;
      return 'done';
    };
    const blocked = Promise.withResolvers<void>();
    const other = turns.take('other', budget(), () => blocked.promise);
    const results = await Promise.all(Array.from({ length: 50 }, () => turns.take('one', budget(), work)));
    assert.deepEqual(results, Array(50).fill('done'));
    blocked.resolve();
    await other;
  });

  it('goes on when one of them fails, and gives up when its time is over', async () => {
    await assert.rejects(
      turns.take('fails', budget(), () => Promise.reject(new Error('no'))),
      /no/,
    );
    assert.equal(await turns.take('fails', budget(), async () => 'yes'), 'yes');
    const blocked = Promise.withResolvers<string>();
    const long = turns.take('long', budget(), () => blocked.promise);
    assert.equal(await turns.take('long', startBudget(20, undefined), () => assert.fail('it ran')), undefined);
    blocked.resolve('end');
    assert.equal(await long, 'end');
    assert.equal(await turns.take('long', budget(), async () => 'next'), 'next');
  });

  it('is read once for all who asked meanwhile, and never from before they asked', async () => {
    let value = 0;
    let reads = 0;
    const read = async () => {
      reads += 1;
      const found = value;
      await new Promise(setImmediate);
      return found;
    };
    const early = turns.read('row', read);
    value = 1;
    const late = await Promise.all(Array.from({ length: 400 }, () => turns.read('row', read)));
    assert.equal(await early, 0);
    assert.deepEqual(new Set(late), new Set([1]));
    assert.equal(reads, 2);
    await assert.rejects(
      turns.read('row', () => Promise.reject(new Error('lost'))),
      /lost/,
    );
    assert.equal(await turns.read('row', read), 1);
  });
});
