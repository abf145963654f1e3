import assert from 'node:assert/strict';
import { createWatch } from '../../proto/runtime/kafka-client.ts';
import { registry } from '../../proto/runtime/metrics.ts';
import { quietLog } from '../support/log.ts';

describe('the watch over Kafka', () => {
  const realNow = performance.now;
  let now = 0;
  before(() => {
    performance.now = () => now;
  });
  after(() => {
    performance.now = realNow;
  });

  it('says an outage once and its end once, and R44 alerts once when it lasts for a minute', async () => {
    const log = quietLog();
    const watch = createWatch(log, 'publisher');
    const said = () => log.lines.splice(0).map(({ level, event }) => `${level} ${event}`);
    const up = async () =>
      (await registry.getSingleMetric('kafka_up')?.get())?.values.find(({ labels }) => labels.role === 'publisher')
        ?.value;
    watch.works();
    assert.deepEqual([said(), await up()], [[], 1]);
    watch.trouble(new Error('refused'));
    assert.deepEqual([said(), await up()], [['warn kafka.trouble'], 0]);
    now += 59_999;
    watch.trouble(new Error('refused'));
    assert.deepEqual(said(), ['debug kafka.trouble']);
    now += 1;
    watch.trouble(new Error('refused'));
    watch.trouble(new Error('refused'));
    assert.deepEqual(said(), ['debug kafka.trouble', 'error kafka_trouble', 'debug kafka.trouble']);
    watch.works();
    assert.deepEqual([said(), await up()], [[], 1]);
    now += 15_000;
    watch.works();
    watch.works();
    assert.deepEqual(said(), ['info kafka.recovered']);
    watch.trouble('again');
    assert.deepEqual(said(), ['warn kafka.trouble']);
  });

  it('R44 alerts once when something works now and then, but not for long', () => {
    const log = quietLog();
    const watch = createWatch(log, 'consumer');
    for (let second = 0; second <= 120; second++) {
      watch.trouble(new Error('crashed'));
      watch.works();
      now += 1_000;
    }
    assert.deepEqual(
      log.lines.filter(({ level }) => level !== 'debug').map(({ event }) => event),
      ['kafka.trouble', 'kafka_trouble'],
    );
  });

  it('takes trouble after a quiet time in which it worked for a new outage', () => {
    const log = quietLog();
    const watch = createWatch(log, 'publisher');
    watch.trouble(new Error('refused'));
    watch.works();
    now += 3_600_000;
    watch.trouble(new Error('refused'));
    assert.deepEqual(
      log.lines.map(({ event }) => event),
      ['kafka.trouble', 'kafka.trouble'],
    );
  });
});
