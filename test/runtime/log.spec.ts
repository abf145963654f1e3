import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { counter, registry } from '../../proto/runtime/metrics.ts';
import { quietLog } from '../support/log.ts';

describe('the log', () => {
  it('writes one line for each event, with its fields', () => {
    const log = quietLog();
    log.info('transaction.captured', { transaction: 't1', amount: 5n });
    const { time, ...line } = log.lines[0]!;
    assert.deepEqual(line, {
      level: 'info',
      service: 'test',
      transaction: 't1',
      event: 'transaction.captured',
      amount: 5,
    });
    assert.match(String(time), /^\d{4}-\d\d-\d\dT/);
    assert.equal(log.lines.length, 1);
  });

  it('R20 prints of an error its name, code, message, stack and cause, scrubbed, and nothing else of it', () => {
    const log = quietLog();
    const cause = new RangeError('because of 4242 4242 4242 4242');
    const err = Object.assign(new TypeError('no 4242424242424242 here', { cause }), { code: 'E1', detail: 'hunter2' });
    log.error('it.failed', { err });
    const printed = log.lines[0]!.err as Record<string, unknown>;
    assert.deepEqual(Object.keys(printed), ['name', 'code', 'message', 'stack', 'cause']);
    assert.equal(printed.message, 'no [card number] here');
    assert.equal((printed.cause as typeof printed).message, 'because of [card number]');
    assert.doesNotMatch(JSON.stringify(log.lines), /4242|hunter2/);
  });

  it('R47 prints the beginning of an error that says more than anybody reads', () => {
    const log = quietLog();
    const huge = `no ${'4 4 '.repeat(1_000_000)}`;
    log.error('it.failed', { err: new Error(huge, { cause: huge }) });
    assert.ok(JSON.stringify(log.lines).length < 20_000);
  });

  it('R7 prints no message of a parser, since it quotes what was parsed', () => {
    const log = quietLog();
    for (const text of ['hunter2', '{"a": hunter2}'])
      try {
        JSON.parse(text);
      } catch (err) {
        log.error('it.failed', { err });
      }
    assert.equal(log.lines.length, 2);
    assert.doesNotMatch(JSON.stringify(log.lines), /hunter2/);
  });

  it('R44 raises an alert as one error line and one count', async () => {
    const log = quietLog();
    const count = async () =>
      (await counter('alerts_total', '').get()).values.find(({ labels }) => labels.name === 'test_alert')?.value ?? 0;
    const before = await count();
    log.alert('test_alert', { transaction: 't1' });
    assert.equal(await count(), before + 1);
    assert.equal(log.lines.length, 1);
    assert.equal(log.lines[0]?.level, 'error');
    assert.equal(log.lines[0]?.alert, 'test_alert');
    assert.match(await registry.metrics(), /alerts_total\{name="test_alert"\} \d/);
  });

  /** A program that logs as ours do, to a pipe. */
  const program = (body: string) => {
    const log = path.join(import.meta.dirname, '../../proto/runtime/log.ts');
    const source = `import { createLog } from ${JSON.stringify(log)}; const log = createLog('test', 'info'); ${body}`;
    return spawn(process.execPath, ['--input-type=module-typescript', '-e', source], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  };

  it('prints all that was logged before an exit, or an error that nobody catches', async () => {
    for (const end of ['process.exit(3)', 'throw new Error("unseen")']) {
      const child = program(`for (let i = 0; i < 500; i++) log.info('line'); ${end}`);
      child.stderr.resume();
      const out = await text(child.stdout);
      assert.equal(out.split('\n').length - 1, 500, end);
    }
  });

  it('lets its process go on when nobody reads it any more', async () => {
    const child = program(`let i = 0; const timer = setInterval(() => {
      log.info('line', { i: i++ }); if (i > 50) { clearInterval(timer); process.stderr.write('went on'); } }, 5)`);
    child.stdout.once('data', () => child.stdout.destroy());
    assert.equal(await text(child.stderr), 'went on');
  });
});
