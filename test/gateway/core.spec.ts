import assert from 'node:assert/strict';
import net from 'node:net';
import { Code, ConnectError } from '@connectrpc/connect';
import { Transaction_State as State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { rpcError } from '../../proto/runtime/rpc.ts';
import { eventually } from '../support/eventually.ts';
import { bytesOf, connect, digestOf, exampleJson, headOf, startGateway, stopGateways } from './harness.ts';

const create = bytesOf(exampleJson('create-transaction.card-approve.request.json'));
const approved = { transaction: { id: 'ours', state: State.CAPTURED } } as const;
const head = headOf('create-transaction', { Digest: digestOf(create), 'Content-Length': String(create.length) });

const calls = [
  ['connect-account', 'connectMerchantAccount', 'connect-account.basic'],
  ['create-transaction', 'createTransaction', 'create-transaction.card-approve'],
  ['refund-transaction', 'refundTransaction', 'refund-transaction.full'],
  ['capture-transaction', 'captureTransaction', 'capture-transaction.full'],
  ['void-transaction', 'voidTransaction', 'void-transaction.full'],
] as const;

describe('asking the core', () => {
  afterEach(stopGateways);

  const codes = [Code.Unavailable, Code.DeadlineExceeded, Code.Internal, Code.Unauthenticated, Code.ResourceExhausted];
  for (const code of codes)
    it(`R1 repeats a call that ended in ${Code[code]} once, with the same call_id`, async () => {
      let tries = 0;
      const gateway = await startGateway({
        script: {
          createTransaction: () => {
            if (++tries === 1) throw new ConnectError('no answer', code);
            return approved;
          },
        },
      });
      const answer = await gateway.post('create-transaction', create);
      assert.equal(answer.text, '{"pluginTransactionId":"ours"}');
      assert.equal(gateway.calls.length, 2);
      assert.equal(gateway.calls[0]!.request.callId, gateway.calls[1]!.request.callId);
      assert.deepEqual(gateway.calls[0]!.request, gateway.calls[1]!.request);
    });

  for (const [call, method, name] of calls)
    it(`R1 answers ${call} 503 and nothing else when the repeat has no answer either`, async () => {
      const gateway = await startGateway();
      const answer = await gateway.post(call, exampleJson(`${name}.request.json`));
      assert.equal(answer.status, 503);
      assert.equal(answer.text, '{}');
      assert.deepEqual(
        gateway.calls.map((made) => made.method),
        [method, method],
      );
    });

  it('R48 does not repeat what the core refuses because there is too much to do: 503, to be asked again in a second', async () => {
    const gateway = await startGateway({
      script: {
        createTransaction: () => {
          throw rpcError(Code.Unavailable, 'OVERLOADED', 'there is too much to do');
        },
      },
    });
    const answer = await gateway.post('create-transaction', create);
    assert.deepEqual([answer.status, answer.text, answer.headers.get('retry-after')], [503, '{}', '1']);
    assert.equal(gateway.calls.length, 1);
  });

  it('R48 stops asking a core that refuses and refuses, before it reads another body; what follows a payment is still asked', async () => {
    const gateway = await startGateway({
      script: {
        createTransaction: () => {
          throw rpcError(Code.Unavailable, 'OVERLOADED', 'there is too much to do', { scope: 'all' });
        },
        refundTransaction: () => ({ operation: { id: 'refund' } }),
      },
    });
    const asked = () => gateway.calls.filter(({ method }) => method === 'createTransaction').length;
    for (let i = 0; i < 200; i++) assert.equal((await gateway.post('create-transaction', create)).status, 503);
    assert.ok(asked() < 150, `${asked()} of 200 were asked`);
    const refund = await gateway.post('refund-transaction', exampleJson('refund-transaction.full.request.json'));
    assert.equal(refund.status, 200);
  });

  it('R48 goes on asking a core that refuses one merchant, who has more than a share', async () => {
    const gateway = await startGateway({
      script: {
        createTransaction: () => {
          throw rpcError(Code.Unavailable, 'OVERLOADED', 'there is too much to do', { scope: 'owner' });
        },
      },
    });
    for (let i = 0; i < 100; i++) assert.equal((await gateway.post('create-transaction', create)).status, 503);
    assert.equal(gateway.calls.length, 100);
  });

  it('R21 gives every call of Wix an id of its own', async () => {
    const gateway = await startGateway({ script: { createTransaction: () => approved } });
    await gateway.post('create-transaction', create);
    await gateway.post('create-transaction', create);
    const [first, second] = gateway.calls.map(({ request }) => request.callId);
    assert.notEqual(first, second);
  });

  it('R1 does not repeat once the answer budget is over', async () => {
    const gateway = await startGateway({
      env: { ANSWER_BUDGET_MS: '1' },
      script: {
        createTransaction: async () => {
          const startedAt = performance.now();
          await eventually(() => assert.ok(performance.now() - startedAt > 2), { every: 1 });
          throw new ConnectError('late', Code.Unavailable);
        },
      },
    });
    assert.equal((await gateway.post('create-transaction', create)).status, 503);
    assert.equal(gateway.calls.length, 1);
  });

  it('R4 gives up at its deadline, over both tries', async () => {
    const deadlines: number[] = [];
    const gateway = await startGateway({
      env: { CORE_DEADLINE_MS: '300' },
      script: {
        createTransaction: (_, context) => {
          deadlines.push(context.timeoutMs() ?? Number.POSITIVE_INFINITY);
          if (deadlines.length === 1) throw new ConnectError('no answer', Code.Unavailable);
          return new Promise(() => undefined);
        },
      },
    });
    assert.equal((await gateway.post('create-transaction', create)).status, 503);
    assert.equal(deadlines.length, 2);
    assert.ok(
      deadlines.every((left) => left > 0 && left <= 300),
      String(deadlines),
    );
  });

  it('R3 lets a call end that Wix has hung up on', async () => {
    let answer = (_: typeof approved) => {};
    let signal: AbortSignal | undefined;
    const gateway = await startGateway({
      script: {
        createTransaction: (_, context) => {
          signal = context.signal;
          return new Promise((resolve) => {
            answer = resolve;
          });
        },
      },
    });
    const client = connect(gateway.port);
    client.send(head);
    client.send(create);
    await eventually(() => assert.equal(gateway.calls.length, 1));
    client.socket.destroy();
    await client.closed;
    // Other calls go and come, so that the gateway has certainly seen the end of that connection.
    for (let i = 0; i < 3; i++) await gateway.post('void-transaction', {});
    assert.equal(signal?.aborted, false);
    answer(approved);
    await eventually(() => assert.ok(gateway.log.lines.some((line) => line.event === 'wix.create_transaction')));
    assert.equal(gateway.calls.length, 1);
  });

  it('does not tell Wix why there is no answer', async () => {
    const gateway = await startGateway({
      script: {
        createTransaction: () => {
          throw new Error('password of the database');
        },
      },
    });
    const answer = await gateway.post('create-transaction', create);
    assert.deepEqual([answer.status, answer.text], [503, '{}']);
  });

  for (const code of [Code.Unauthenticated, Code.PermissionDenied])
    it(`R44 alerts when the core answers ${Code[code]}, the first time, and names the setting`, async () => {
      const refuse = () => {
        throw new ConnectError('no', code);
      };
      const gateway = await startGateway({ script: { createTransaction: refuse } });
      assert.equal((await gateway.post('create-transaction', create)).status, 503);
      const alerts = gateway.log.lines.filter(({ alert }) => alert !== undefined);
      assert.deepEqual(
        alerts.map(({ alert, setting }) => [alert, setting]),
        [['token_refused', 'CORE_TOKEN']],
      );
    });

  it('R45 stays ready while the core does not answer', async () => {
    const gateway = await startGateway();
    await gateway.post('create-transaction', create);
    assert.equal((await fetch(`http://127.0.0.1:${gateway.adminPort}/health/ready`)).status, 200);
    const metrics = await (await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)).text();
    assert.match(metrics, /wix_call_duration_seconds_count\{call="create-transaction",status="503"\}/);
  });
});

describe('R38 stopping the gateway', () => {
  afterEach(stopGateways);

  const startSlow = async (env: Record<string, string> = {}) => {
    const answers: ((answer: typeof approved) => void)[] = [];
    const createTransaction = () => new Promise<typeof approved>((resolve) => answers.push(resolve));
    const gateway = await startGateway({ script: { createTransaction }, env });
    return { gateway, answers };
  };
  const isRefused = (port: number) =>
    new Promise<void>((resolve, reject) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.on('error', () => resolve());
      socket.on('connect', () => {
        socket.destroy();
        reject(new Error('still listening'));
      });
    });

  it('takes no new call and answers the one in flight', async () => {
    const { gateway, answers } = await startSlow();
    const inFlight = gateway.post('create-transaction', create);
    await eventually(() => assert.equal(answers.length, 1));
    const stopped = gateway.stop();
    await eventually(() => isRefused(gateway.port));
    answers[0]!(approved);
    assert.equal((await inFlight).text, '{"pluginTransactionId":"ours"}');
    await stopped;
    await isRefused(gateway.adminPort);
  });

  it('cuts off what is still in flight after DRAIN_MS, and may be asked twice', async () => {
    const { gateway, answers } = await startSlow({ DRAIN_MS: '50' });
    const client = connect(gateway.port);
    client.send(head);
    client.send(create);
    await eventually(() => assert.equal(answers.length, 1));
    await Promise.all([gateway.stop(), gateway.stop()]);
    assert.equal(await client.closed, '');
  });

  it('does not wait for connections that are idle', async () => {
    const { gateway } = await startSlow();
    const client = connect(gateway.port);
    client.send(`${headOf('void-transaction', { Digest: digestOf(bytesOf('{}')), 'Content-Length': '2' })}{}`);
    await new Promise((resolve) => client.socket.once('data', resolve));
    await gateway.stop();
    assert.match(await client.closed, /^HTTP\/1\.1 200 /);
  });
});
