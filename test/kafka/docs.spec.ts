import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Database } from '../../proto/runtime/database.ts';
import { signMessage } from '../../proto/runtime/event-bus.ts';
import { KEYS } from '../support/core.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { useKafka } from '../support/kafka.ts';
import { type ScriptedWix, startScriptedWix } from '../webhook-relay/scripted-wix.ts';
import {
  commitEvents,
  coreDatabase,
  deliveries,
  EVENT_KEYS,
  makeEvents,
  startCore,
  startRelay,
  unpublished,
} from './kit.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const DOCUMENT = readFileSync(path.join(ROOT, 'docs/EVENTS.md'), 'utf8');
const blocks = (language: string) =>
  Array.from(DOCUMENT.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms')), ([, code = '']) => code);
const [typescript = ''] = blocks('ts');
const [python = '', signature = ''] = blocks('python');

/** A Python that has what the document asks for, if this machine has one. */
const PYTHON = [process.env.PYTHON ?? 'python3'].find(
  (name) => spawnSync(name, ['-c', 'import confluent_kafka, google.protobuf, grpc_tools']).status === 0,
);

describe('docs/EVENTS.md', function () {
  this.timeout(60_000);
  const kafka = useKafka();
  let dir: string;
  let url: string;
  let env: Record<string, string>;
  let db: Database;
  let wix: ScriptedWix;
  const parts: { stop(): Promise<void> }[] = [];
  const children: ChildProcess[] = [];
  before(async () => {
    // Within the repository, where the packages are found.
    mkdirSync(path.join(ROOT, '.data'), { recursive: true });
    dir = mkdtempSync(path.join(ROOT, '.data/events-'));
    url = await freshDatabase();
    env = kafka.newEnv();
    db = coreDatabase(url);
    wix = await startScriptedWix();
    parts.push(await startCore(url, env));
  });
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    for (const part of parts.toReversed()) await part.stop();
    await wix?.close();
    await db?.close();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });

  const command = (...args: string[]) =>
    promisify(execFile)(process.execPath, [path.join(ROOT, 'ops/republish.ts'), ...args], {
      env: { DATABASE_URL: url },
    });

  /** Runs a consumer of the document in a group of its own, and gives what it has printed so far. */
  function consume(program: string, file: string, group: string): () => string[] {
    const child = spawn(program, [file], { cwd: dir, env: { ...process.env, ...env, KAFKA_GROUP: group } });
    children.push(child);
    let out = '';
    let err = '';
    child.stdout.on('data', (text) => (out += text));
    child.stderr.on('data', (text) => (err += text));
    return () => {
      assert.equal(child.exitCode, null, err);
      return out.split('\n').filter((line) => /^[0-9a-f-]{36} /.test(line));
    };
  }

  it('R26 says how to fill a gap: an event that was lost on its way reaches Wix by republish, and no other twice', async () => {
    const events = makeEvents(3, 2);
    parts.push(await startRelay(url, env, wix));
    const lost = events[0]!;
    await commitEvents(db, [lost], true);
    await commitEvents(db, events.slice(1));
    await eventually(async () => assert.equal(await unpublished(db), 0));
    await eventually(async () => assert.equal((await deliveries(db)).delivered, 4));
    const { stdout } = await command('--transaction', lost.externalId);
    assert.match(stdout, /^2 events /);
    await eventually(async () => assert.deepEqual(await deliveries(db), { delivered: 6 }));
    assert.equal(wix.events.length, 6);
    assert.match((await command('--since', '2000-01-01T00:00:00Z')).stdout, /^6 events /);
    await eventually(async () => assert.equal(await unpublished(db), 0));
    assert.match((await command('--transaction', lost.transactionId)).stdout, /^2 events /);
    assert.match((await command('--since', '2000-01-01T00:00:00Z', '--until', '2000-01-02T00:00:00Z')).stdout, /^0 /);
    assert.match((await command('--help')).stdout, /--transaction ID/);
    await assert.rejects(command(), /either --transaction or --since/);
    await assert.rejects(command('--since', 'yesterday'), /must be a time/);
    assert.equal(wix.events.length, 6);
  });

  /** A sale takes 4590 and a refund gives it back; what comes again is not booked again. */
  async function assertBooks(booked: () => string[]): Promise<void> {
    const events = makeEvents(5, 3).map((event) => ({ ...event, capturedAmount: 4590n }));
    await commitEvents(db, events);
    await eventually(async () => assert.equal(await unpublished(db), 0));
    for (const { transactionId } of events.slice(0, 2)) await command('--transaction', transactionId);
    // On every partition there is something behind what came again.
    const last = makeEvents(60).map((event) => ({ ...event, capturedAmount: 4590n }));
    await commitEvents(db, last);
    const expected = [...events, ...last].map(
      ({ transactionId, sequence }) => `${transactionId} ${sequence} ${sequence === 1n ? 4590 : -4590} EUR`,
    );
    const isOurs = (line: string) => expected.some((other) => other.slice(0, 36) === line.slice(0, 36));
    // JavaScript prints a bigint with an n.
    const lines = () => booked().map((line) => line.replaceAll(/(?<=\d)n\b/g, ''));
    await eventually(() => assert.deepEqual(lines().filter(isOurs).toSorted(), expected.toSorted()), {
      timeoutMs: 20_000,
    });
  }

  it('shows how to book from TypeScript: its code runs, and books each event once', async () => {
    symlinkSync(path.join(ROOT, 'proto/gen'), path.join(dir, 'gen'));
    writeFileSync(path.join(dir, 'ledger.ts'), typescript);
    await assertBooks(consume(process.execPath, 'ledger.ts', 'ledger'));
  });

  if (PYTHON)
    it('shows how to book from Python, and how to check a signature: its code runs', async () => {
      const protos = ['event', 'merchant_account', 'outcome', 'payment_details', 'reason', 'transaction'];
      mkdirSync(path.join(dir, 'python/gen'), { recursive: true });
      const generated = spawnSync(
        PYTHON,
        [
          ...[
            '-m',
            'grpc_tools.protoc',
            '-I',
            path.join(ROOT, 'proto'),
            `--python_out=${path.join(dir, 'python/gen')}`,
          ],
          ...protos.map((name) => `payments/v1/${name}.proto`),
        ],
        { encoding: 'utf8' },
      );
      assert.equal(generated.status, 0, generated.stderr);
      writeFileSync(path.join(dir, 'python/ledger.py'), python.replace('"gen"', '"python/gen"'));
      await assertBooks(consume(PYTHON, 'python/ledger.py', 'python-ledger'));

      const { key, value, headers } = signMessage(EVENT_KEYS, 'key', Buffer.from('value'), {
        b: '2',
        'a-1': 'x',
        a: '1',
      });
      const call = (text: string) =>
        `is_signed(${JSON.stringify(KEYS.EVENTS_KEY)}, ${JSON.stringify(text)}, ${JSON.stringify(String(value))}.encode(), ${JSON.stringify(headers)})`;
      const checked = spawnSync(PYTHON, ['-c', `${signature}\nprint(${call(key)}, ${call('other')})`], {
        encoding: 'utf8',
      });
      assert.equal(checked.stdout.trim(), 'True False', checked.stderr);
    });
});
