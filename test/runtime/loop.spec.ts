import assert from 'node:assert/strict';
import { type Loop, sleep, startLoop } from '../../proto/runtime/loop.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';

const FOR_EVER = 1_000_000;

describe('a loop', () => {
  const log = quietLog();
  let loop: Loop | undefined;
  afterEach(() => loop?.stop());

  function start(runOnce: (signal: AbortSignal) => Promise<number>, idleMs = FOR_EVER): Loop {
    loop = startLoop('test', runOnce, { idleMs, log });
    return loop;
  }

  it('runs again at once while there is work, then waits to be woken', async () => {
    const work = [3, 1, 0, 0];
    let runs = 0;
    const { wake } = start(async () => work[runs++] ?? 0);
    await eventually(() => assert.equal(runs, 3));
    wake();
    await eventually(() => assert.equal(runs, 4));
  });

  it('looks again by itself after its idle time', async () => {
    let runs = 0;
    start(async () => {
      runs++;
      return 0;
    }, 1);
    await eventually(() => assert(runs > 2));
  });

  it('runs once more when it was woken during a run', async () => {
    let runs = 0;
    let end: () => void = () => undefined;
    const { wake } = start(async () => {
      runs++;
      if (runs === 1)
        await new Promise<void>((resolve) => {
          end = resolve;
        });
      return 0;
    });
    wake();
    end();
    await eventually(() => assert.equal(runs, 2));
  });

  it('logs an error and idles, so that an outage does not make it spin', async () => {
    let runs = 0;
    const { wake } = start(async () => {
      runs++;
      throw new Error('outage');
    });
    const failures = () => log.lines.filter(({ event }) => event === 'loop.failed');
    await eventually(() => assert.equal(failures().length, 1));
    assert.equal(runs, 1);
    wake();
    await eventually(() => assert.equal(failures().length, 2));
  });

  it('stops after the present run, whose signal says so', async () => {
    let begun = false;
    let ended = false;
    const { stop } = start(async (signal) => {
      begun = true;
      await sleep(FOR_EVER, signal);
      ended = true;
      return 1;
    });
    await eventually(() => assert(begun));
    await stop();
    assert(ended);
  });
});

describe('a sleep', () => {
  it('ends early at its signal, also one that was aborted before', async () => {
    const signal = new AbortController();
    const asleep = sleep(FOR_EVER, signal.signal);
    signal.abort();
    await asleep;
    await sleep(FOR_EVER, signal.signal);
  });
});
