import assert from 'node:assert/strict';
import { drillRestore } from '../faults/restore-drill.ts';
import { useKafka } from '../support/kafka.ts';

describe('a database that is restored to an hour ago under load, with its events on Kafka', function () {
  this.timeout(240_000);
  const kafka = useKafka();

  it('has from the topic and the engine what it lost, word for word', async () => {
    const { printed, figures } = await drillRestore(kafka.newEnv());
    assert.match(printed, /and the topic test\./);
    assert.match(printed, /Brought back [1-9]\d* payments, [1-9]\d* operations, [1-9]\d* events/);
    if (process.env.FIGURES) process.stdout.write(`${printed}${JSON.stringify(figures)}\n`);
  });
});
