import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, createClient } from '@connectrpc/connect';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { eventually } from '../support/eventually.ts';
import { hasCode } from './contract-kit.ts';
import { authorizeOrder, refundOrder, requestIdOf, subjectOf } from './orders.ts';
import { reasonOf } from './outcomes.ts';

const TOKEN = 'a-token-of-the-tests-that-is-long-enough';

describe('the simulated engine as a program', () => {
  let data: string;
  let running: ChildProcess | undefined;
  /** Where its pages are. */
  let pages: string;

  beforeEach(() => {
    data = mkdtempSync(join(tmpdir(), 'engine-'));
  });
  afterEach(async () => {
    await kill();
    rmSync(data, { recursive: true, force: true });
  });

  async function start(): Promise<string> {
    const env = {
      ...process.env,
      ENGINE_PORT: '0',
      ENGINE_HTTP_PORT: '0',
      ENGINE_DATA: data,
      ENGINE_TOKEN: TOKEN,
      LOG_LEVEL: 'error',
    };
    running = spawn(process.execPath, [program('main.ts')], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    running.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      printed += chunk;
    });
    return eventually(() => {
      const port = /listens on (127\.0\.0\.1:\d+)/.exec(printed)?.[1];
      assert.ok(port);
      [, pages = ''] = /pages at (http:\S+)/.exec(printed) ?? [];
      return port;
    });
  }

  async function kill(): Promise<void> {
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    running.kill('SIGKILL');
    await once(running, 'exit');
  }

  async function using<T>(url: string, token: string, run: (client: Client) => Promise<T>): Promise<T> {
    const interceptors = [withToken(new Secret(token))];
    const transport = createGrpcTransport({ url, interceptors, defaultTimeoutMs: 5_000 });
    try {
      return await run(createClient(ProcessorService, transport));
    } finally {
      transport.close();
    }
  }
  type Client = ReturnType<typeof createClient<typeof ProcessorService>>;

  const listed = () =>
    JSON.parse(
      execFileSync(process.execPath, [program('list-books.ts'), '--data', data, '--json'], { encoding: 'utf8' }),
    );

  it('remembers after kill -9 all that it answered and all that it charged', async () => {
    const orders = ['4242424242424242', '4000000000000002', '4000000000000119'].map((number) =>
      authorizeOrder({ number }),
    );
    const [paid, declined, unanswered] = orders as [(typeof orders)[0], (typeof orders)[0], (typeof orders)[0]];
    const refund = refundOrder(paid, 590n);
    const before = await using(await start(), TOKEN, async (client) => {
      await assert.rejects(client.authorize(unanswered, { timeoutMs: 500 }), hasCode(Code.DeadlineExceeded));
      return [await client.authorize(paid), await client.authorize(declined), await client.refund(refund)];
    });
    await kill();
    await using(await start(), TOKEN, async (client) => {
      assert.deepEqual(
        [await client.authorize(paid), await client.authorize(declined), await client.refund(refund)],
        before,
      );
      const { result } = await client.getOperation({ subject: subjectOf(unanswered) });
      assert.ok(result.case === 'outcome' && result.value.kind.case === 'approved');
    });
    const { operations, totals } = listed();
    assert.equal(operations.length, 4);
    assert.deepEqual(totals, [{ currency: 'EUR', operations: 4, held: '0', taken: '8590' }]);
    assert.equal(operations.find((row: { requestId: string }) => row.requestId === requestIdOf(paid)).sends, 2);
  });

  it('remembers after kill -9 what a buyer decided, and the link of one who has not', async () => {
    const orders = [1, 2].map(() =>
      authorizeOrder({ number: '4000000000003220', returnUrl: 'https://connector.example/return/1' }),
    );
    const press = async (path: string, choice: string) => {
      const body = new URLSearchParams({ choice });
      const { status, headers } = await fetch(`${pages}${path}`, { method: 'POST', body, redirect: 'manual' });
      assert.deepEqual([status, headers.get('location')], [303, 'https://connector.example/return/1']);
    };
    const paths = await using(await start(), TOKEN, (client) =>
      Promise.all(
        orders.map(async (order) => {
          const { kind } = (await client.authorize(order)).outcome!;
          return kind.case === 'buyerAction' ? new URL(kind.value.url).pathname : '';
        }),
      ),
    );
    await press(paths[0]!, 'approve');
    await kill();
    await using(await start(), TOKEN, async (client) => {
      await press(paths[0]!, 'cancel');
      await press(paths[1]!, 'cancel');
      const ends = orders.map(async (order) => {
        const { result } = await client.getOperation({ subject: subjectOf(order) });
        return result.case === 'outcome' && reasonOf(result.value);
      });
      assert.deepEqual(await Promise.all(ends), ['approved', Reason.BUYER_CANCELED]);
    });
  });

  it('R35 writes no card number, security code or holder into its books', async () => {
    const card = {
      number: '5105105105105100',
      expiryMonth: 1,
      expiryYear: 2030,
      // No number: those of times and references may hold any.
      cvv: 'SecurityCode',
      holderName: 'Secret Holder',
    };
    await using(await start(), TOKEN, (client) =>
      client.authorize(
        authorizeOrder({ details: { method: { case: 'card', value: card }, setupCredentialsOnFile: true } }),
      ),
    );
    const written = readdirSync(data).map((name) => readFileSync(join(data, name), 'latin1'));
    assert.ok(written.join('').includes('5100'));
    for (const secret of [card.number, card.cvv, card.holderName, card.number.slice(0, 6)])
      assert.ok(!written.some((text) => text.includes(secret)), secret);
  });

  it('R33 serves nobody without its token', async () => {
    await using(await start(), `${TOKEN}-but-another`, async (client) => {
      await assert.rejects(client.authorize(authorizeOrder()), hasCode(Code.Unauthenticated));
    });
    assert.deepEqual(listed().operations, []);
  });

  it('does not start without a token of 32 characters, and names the variable', () => {
    const env = { ...process.env, ENGINE_DATA: data, ENGINE_TOKEN: 'short' };
    assert.throws(
      () => execFileSync(process.execPath, [program('main.ts')], { env, stdio: 'pipe' }),
      (error: { stderr: Buffer }) => /ENGINE_TOKEN/.test(error.stderr.toString()),
    );
  });

  it('shows pages over TLS or on this machine alone, or does not start, and names the variable', () => {
    const env = { ...process.env, ENGINE_DATA: data, ENGINE_TOKEN: TOKEN };
    for (const wrong of [
      { ENGINE_HTTP_URL: 'http://pay.example' },
      { ENGINE_HTTP_URL: 'https://pay.example/a?b' },
      { ENGINE_HTTP_HOST: '0.0.0.0' },
    ])
      assert.throws(
        () => execFileSync(process.execPath, [program('main.ts')], { env: { ...env, ...wrong }, stdio: 'pipe' }),
        (error: { stderr: Buffer }) => /ENGINE_HTTP_URL/.test(error.stderr.toString()),
      );
  });

  it('lists its books as a table, and explains itself', () => {
    const run = (file: string, ...args: string[]) =>
      execFileSync(process.execPath, [program(file), ...args], { encoding: 'utf8' });
    assert.match(run('main.ts', '--help'), /ENGINE_TOKEN/);
    assert.match(run('list-books.ts', '--help'), /--json/);
    assert.throws(
      () => execFileSync(process.execPath, [program('list-books.ts'), '--data', data], { stdio: 'pipe' }),
      /no books/,
    );
  });
});

function program(name: string): string {
  return join(import.meta.dirname, name);
}
