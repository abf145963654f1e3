import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { Worker } from 'node:worker_threads';
import { Code } from '@connectrpc/connect';
import { rpcError } from '../../proto/runtime/rpc.ts';
import { eventually } from '../support/eventually.ts';
import {
  bytesOf,
  connect,
  digestOf,
  exampleJson,
  headOf,
  type Script,
  startGateway,
  stopGateways,
  type TestGateway,
} from './harness.ts';

const payment = bytesOf(exampleJson('create-transaction.card-approve.request.json'));
const script: Script = { connectMerchantAccount: () => ({ account: { id: 'acct', name: 'Tidepool' } }) };
const body = bytesOf(exampleJson('connect-account.basic.request.json'));

describe('the connections of the gateway', () => {
  after(stopGateways);

  /** A signed call over a connection of its own, or the agent's: its status, and the port that it came from. */
  const call = (
    gateway: TestGateway,
    agent: Agent | false = false,
    more: Record<string, string> = {},
    name = 'connect-account',
  ) =>
    new Promise<{ status: number | undefined; port: number | undefined }>((resolve, reject) => {
      const sentBody = name === 'connect-account' ? body : payment;
      const headers = {
        'content-type': 'application/json',
        digest: digestOf(sentBody),
        'content-length': sentBody.length,
      };
      const options = { method: 'POST', agent, headers: { ...headers, ...more } };
      const sent = request(`${gateway.url}/wix/v1/${name}`, options, (response) => {
        const { localPort: port } = response.socket;
        response.resume().on('end', () => resolve({ status: response.statusCode, port }));
      });
      sent.on('error', reject).end(sentBody);
    });

  it('R7 are kept once they were signed, after a refusal too', async () => {
    const gateway = await startGateway({ script });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const calls = [
      await call(gateway, agent),
      await call(gateway, agent, { 'content-encoding': 'gzip', expect: '100-continue' }),
      await call(gateway, agent),
    ];
    agent.destroy();
    assert.deepEqual(
      calls.map(({ status }) => status),
      [200, 415, 200],
    );
  });

  it('R7 are closed with the answer to whatever was not signed', async () => {
    const gateway = await startGateway({ script });
    for (const [head, status] of [
      ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', 404],
      ['POST /wix/v1/sale HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n', 404],
      ['OPTIONS /wix/v1/connect-account HTTP/1.1\r\nHost: a\r\n\r\n', 405],
      ['GET /wix/v1/connect-account HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n', 405],
      ['POST /wix/v1/connect-account HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n', 401],
      ['POST /wix/v1/sale HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n', 404],
      ['POST /wix/v1/connect-account HTTP/1.1\r\nHost: a\r\nExpect: cake\r\nContent-Length: 0\r\n\r\n', 401],
      ['POST /wix/v1/connect-account HTTP/1.1\r\nContent-Length: 0\r\n\r\n', 400],
    ] as [string, number][]) {
      const { send, closed } = connect(gateway.port);
      send(head);
      assert.match(await closed, new RegExp(`^HTTP/1\\.1 ${status} `), head);
    }
    assert.deepEqual(gateway.calls, []);
  });

  it('R7 that have asked nothing make room when there are too many, the oldest first; a signed one stays', async () => {
    const gateway = await startGateway({ script, limits: { maxConnections: 3 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const first = await call(gateway, agent);
    const open = async () => {
      const opened = connect(gateway.port);
      await once(opened.socket, 'connect');
      return opened;
    };
    const silent = [await open(), await open(), await open(), await open()];
    assert.deepEqual(await Promise.all([silent[0]?.closed, silent[1]?.closed]), ['', '']);
    assert.deepEqual(await call(gateway, agent), first);
    assert.equal(silent[3]?.socket.destroyed, false);
    agent.destroy();
    for (const { socket } of silent) socket.destroy();
  });

  it('R7 of a flood, thousands of them silent, refused or half asked, let every signed call in', async () => {
    const gateway = await startGateway({ script });
    const workerData = { port: gateway.port, connections: 2_500 };
    const flood = new Worker(new URL('./flood.ts', import.meta.url), { workerData });
    try {
      await once(flood, 'message');
      const calls = await Promise.all(Array.from({ length: 24 }, () => call(gateway)));
      assert.deepEqual(
        calls.map(({ status }) => status),
        Array(24).fill(200),
      );
    } finally {
      await flood.terminate();
    }
  });

  it('R48 are accepted many at a time, however long the turns of a busy process take', async () => {
    const gateway = await startGateway({ script });
    const count = 640;
    // In a thread of its own: this one is the busy process.
    const callers = new Worker(
      `const { parentPort, workerData: { port, count } } = require('node:worker_threads');
       let open = count;
       for (let i = 0; i < count; i++)
         require('node:net').connect(port, '127.0.0.1')
           .on('error', () => undefined).on('close', () => --open === 0 && parentPort.postMessage('answered'))
           .resume().end('GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n');`,
      { eval: true, workerData: { port: gateway.port, count } },
    );
    let turns = 0;
    let isBusy = true;
    const takeATurn = () => {
      for (const end = performance.now() + 2; performance.now() < end; );
      turns += 1;
      if (isBusy) setImmediate(takeATurn);
    };
    const answered = once(callers, 'message');
    takeATurn();
    await answered;
    isBusy = false;
    await callers.terminate();
    // The event loop accepts one of each listening socket a turn.
    assert.ok(turns < count, `${turns} turns for ${count} connections`);
  });

  it('R48 that were signed stay while new payments are refused, and nothing more is verified then', async () => {
    const gateway = await startGateway({
      script: {
        ...script,
        createTransaction: () => {
          throw rpcError(Code.Unavailable, 'OVERLOADED', 'too much', { scope: 'all' });
        },
      },
    });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const damaged = { digest: 'JWT=damaged' };
    const refused: number[] = [];
    // How often the core still has to be asked is left to chance.
    while (refused.length < 10) {
      const signed = await call(gateway, agent, {}, 'create-transaction');
      const other = await call(gateway, agent, damaged, 'create-transaction');
      assert.equal(signed.status, 503);
      if (other.status !== 503) continue;
      assert.equal(other.port, signed.port);
      refused.push(other.status);
      assert.equal((await call(gateway, agent, {}, 'connect-account')).port, signed.port);
    }
    assert.equal((await call(gateway, agent, damaged, 'refund-transaction')).status, 401);
    agent.destroy();
  });

  it('R48 that stay take what is left of a refused body for a body, whatever stands in it', async () => {
    const gateway = await startGateway({
      script: {
        ...script,
        createTransaction: () => {
          throw rpcError(Code.Unavailable, 'OVERLOADED', 'too much', { scope: 'all' });
        },
      },
    });
    const heads = (name: string, content: Uint8Array, digest = digestOf(content)) =>
      headOf(name, { Digest: digest, 'Content-Length': String(content.length) });
    const hidden = Buffer.from(`${heads('refund-transaction', payment)}${payment}`);
    for (let refused = false; !refused; ) {
      const { socket, send, closed } = connect(gateway.port);
      let received = '';
      socket.on('data', (text) => {
        received += text;
      });
      const statuses = () => [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
      const answered = (count: number) => eventually(() => assert.equal(statuses().length, count), { every: 1 });
      send(Buffer.concat([Buffer.from(heads('create-transaction', payment)), payment]));
      await answered(1);
      // Refused from its headers, or looked at and refused: that is left to chance.
      send(heads('create-transaction', hidden, 'JWT=damaged'));
      await answered(2);
      refused = statuses()[1] === '503';
      if (refused) {
        send(hidden);
        send(Buffer.concat([Buffer.from(heads('connect-account', body)), body]));
        await answered(3);
        assert.deepEqual(statuses(), ['503', '503', '200']);
        assert.ok(gateway.calls.every(({ method }) => method !== 'refundTransaction'));
      }
      socket.destroy();
      await closed;
    }
  });
});
