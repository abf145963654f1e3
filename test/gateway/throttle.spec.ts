import assert from 'node:assert/strict';
import { createThrottle } from '../../gateway/throttle.ts';

describe('R48 new payments in front of a core that refuses many', () => {
  /** Offers so many a second for so long to a core that takes so many; answers how many were let through and taken. */
  const drive = (throttle: ReturnType<typeof at>, offered: number, takes: number, seconds: number) => {
    let through = 0;
    let taken = 0;
    let room = 0;
    for (let i = 0; i < offered * seconds; i++) {
      throttle.pass(1000 / offered);
      room = Math.min(room + takes / offered, 5);
      if (!throttle.admits()) continue;
      through += 1;
      if (room >= 1) {
        room -= 1;
        taken += 1;
      } else throttle.refused();
    }
    return { through: through / seconds, taken: taken / seconds };
  };

  /** With a clock of its own, and chance that comes again. */
  const at = () => {
    let now = 0;
    let last = 1;
    const random = () => {
      last = (last * 48_271) % 2_147_483_647;
      return last / 2_147_483_647;
    };
    const throttle = createThrottle(random, () => now);
    const pass = (ms: number) => {
      now += ms;
    };
    return { ...throttle, pass };
  };

  it('are all let through while it takes them, however long its answers take', () => {
    assert.equal(drive(at(), 500, 500, 10).through, 500);
  });

  it('are let through a little more often than it takes them, so that it is never idle', () => {
    const { through, taken } = drive(at(), 1_000, 100, 20);
    assert.ok(taken > 95, `${taken} were taken a second`);
    assert.ok(through < 200, `${through} were let through a second`);
  });

  it('are all let through again soon after the load has gone', () => {
    const throttle = at();
    drive(throttle, 1_000, 50, 5);
    throttle.pass(2_000);
    assert.equal(drive(throttle, 40, 50, 5).through, 40);
  });

  it('are never refused for a few refusals alone', () => {
    const throttle = at();
    for (let i = 0; i < 5; i++) {
      assert.ok(throttle.admits());
      throttle.refused();
    }
  });
});
