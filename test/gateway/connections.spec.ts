import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { Worker } from 'node:worker_threads';
import {
  bytesOf,
  connect,
  digestOf,
  exampleJson,
  type Script,
  startGateway,
  stopGateways,
  type TestGateway,
} from './harness.ts';

const script: Script = { connectMerchantAccount: () => ({ account: { id: 'acct', name: 'Tidepool' } }) };
const body = bytesOf(exampleJson('connect-account.basic.request.json'));

describe('the connections of the gateway', () => {
  after(stopGateways);

  /** A signed call over a connection of its own, or the agent's: its status, and the port that it came from. */
  const call = (gateway: TestGateway, agent: Agent | false = false, more: Record<string, string> = {}) =>
    new Promise<{ status: number | undefined; port: number | undefined }>((resolve, reject) => {
      const headers = { 'content-type': 'application/json', digest: digestOf(body), 'content-length': body.length };
      const options = { method: 'POST', agent, headers: { ...headers, ...more } };
      const sent = request(`${gateway.url}/wix/v1/connect-account`, options, (response) => {
        const { localPort: port } = response.socket;
        response.resume().on('end', () => resolve({ status: response.statusCode, port }));
      });
      sent.on('error', reject).end(body);
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
});
