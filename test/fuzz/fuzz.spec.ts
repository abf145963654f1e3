import assert from 'node:assert/strict';
import { freshDatabase } from '../support/database.ts';
import { fuzz } from './fuzz.ts';

describe('whatever comes to the doors of a connector', function () {
  this.timeout(180_000);

  it('R7 R33 is answered as it is stated, costs no memory and breaks nothing', async () => {
    const { failures, answers } = await fuzz({ databaseUrl: await freshDatabase(), count: 3_000, seed: 20 });
    assert.deepEqual(failures, []);
    // It came through the doors, too.
    for (const answer of ['signed 200', 'signed 400', 'grpc OK', 'grpc NotFound', 'core 200', 'relay 200'])
      assert.ok(answers[answer], `nothing was answered ${answer}`);
  });
});
