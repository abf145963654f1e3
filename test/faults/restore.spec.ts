import assert from 'node:assert/strict';
import { drillRestore } from './restore-drill.ts';

/** A payment that we had ended ourselves is declined again, 1003, in the engine's words: why we did is lost with our rows. */
const ENDED_BY_US = /"errorCode":"CANCELLED".*"reasonCode":1003.*"errorCode":"NOT_PROCESSED".*"reasonCode":1003/;

describe('a database that is restored to an hour ago under load, in one process', function () {
  this.timeout(240_000);

  it('is not started on, has from the engine what it lost, and Wix hears one story', async () => {
    const { printed, figures } = await drillRestore({}, ENDED_BY_US);
    assert.match(printed, /there is no Kafka/);
    assert.match(printed, /Brought back [1-9]\d* payments, [1-9]\d* operations, 0 events/);
    if (process.env.FIGURES) process.stdout.write(`${printed}${JSON.stringify(figures)}\n`);
  });
});
