import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import path from 'node:path';
import { closeHttp, createAdminServer, type HealthReport, listen } from '../../proto/runtime/lifecycle.ts';
import { counter } from '../../proto/runtime/metrics.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';

const PROGRAM = path.join(import.meta.dirname, 'service-process.ts');

describe('R38 a service process', () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  function run(env: Record<string, string>) {
    const child = spawn(process.execPath, [PROGRAM], { env: { NAME: 'x', PASSWORD: 'hunter2', ...env } });
    children.push(child);
    const output = { out: '', err: '' };
    child.stdout.on('data', (data) => {
      output.out += data;
    });
    child.stderr.on('data', (data) => {
      output.err += data;
    });
    const line = (event: string) =>
      eventually(() => {
        const found = output.out.split('\n').find((text) => text.includes(`"event":"${event}"`));
        assert(found, `${event} is not in ${output.out}${output.err}`);
        return JSON.parse(found) as Record<string, unknown>;
      });
    return { child, output, line, exit: once(child, 'exit') };
  }

  it('answers the request in flight at SIGTERM, accepts no other, and exits 0', async () => {
    const { child, line, exit } = run({ WAIT_MS: '300' });
    const { port } = await line('listening');
    const agent = new http.Agent({ keepAlive: true });
    const answer = get(Number(port), '/', agent);
    await line('request');
    child.kill('SIGTERM');
    await line('service.stopping');
    await assert.rejects(get(Number(port), '/'), /ECONNREFUSED|ECONNRESET/);
    assert.match(await answer, /NAME/);
    assert.deepEqual(await exit, [0, null]);
    agent.destroy();
  });

  it('cuts off what takes longer than the drain time, and exits 0', async () => {
    const { child, line, exit } = run({ WAIT_MS: '7000', DRAIN_MS: '500' });
    const { port } = await line('listening');
    const answer = assert.rejects(get(Number(port), '/'), /socket hang up|ECONNRESET/);
    await line('request');
    child.kill('SIGINT');
    await line('service.stopping');
    child.kill('SIGINT');
    await answer;
    await line('service.stopped');
    assert.deepEqual(await exit, [0, null]);
  });

  it('does not wait for a connection that its client keeps, once its answer has gone out', async () => {
    const agent = new http.Agent({ keepAlive: true });
    const begun = Promise.withResolvers<void>();
    const server = http.createServer({ keepAliveTimeout: 1_000_000 }, (_, response) => {
      begun.resolve();
      setImmediate(() => response.end('answer'));
    });
    const answer = get(await listen(server, 0, '127.0.0.1'), '/', agent);
    await begun.promise;
    await closeHttp(server, 1_000_000);
    assert.equal(await answer, 'answer');
    agent.destroy();
  });

  it('says in one line each what is missing in its environment, and exits 1', async () => {
    const { output, exit } = run({ NAME: '', PORT: 'x' });
    assert.deepEqual(await exit, [1, null]);
    assert.equal(output.err, 'fixture: PORT must be a whole number from 0 to 65535\nfixture: NAME is missing\n');
  });

  it('exits 1 when it cannot start, and says why', async () => {
    const taken = http.createServer();
    const port = await listen(taken, 0, '127.0.0.1');
    const { line, exit } = run({ PORT: String(port) });
    const { alert, err } = await line('service_failed');
    assert.equal(alert, 'service_failed');
    assert.match(JSON.stringify(err), /EADDRINUSE/);
    assert.deepEqual(await exit, [1, null]);
    await closeHttp(taken, 0);
  });

  it('exits 1 with an alert after a rejection that nobody handled', async () => {
    const { line, exit, output } = run({ WAIT_MS: '7000' });
    const { port } = await line('listening');
    await get(Number(port), '/reject').catch(() => undefined);
    await line('uncaught_exception');
    assert.deepEqual(await exit, [1, null]);
    assert.doesNotMatch(output.out + output.err, /4242424242424242/);
  });

  it('R34 keeps its secrets out of what a child process would inherit', async () => {
    for (const name of ['PASSWORD', '\uFEFFPASSWORD']) {
      const { child, line, exit } = run({ PASSWORD: '', [name]: 'hunter2' });
      const { port } = await line('listening');
      assert.deepEqual((await get(Number(port), '/')).split(','), ['NAME']);
      child.kill('SIGTERM');
      await exit;
    }
  });
});

describe('R45 the admin server', () => {
  let report: () => Promise<HealthReport>;
  let port: number;
  const admin = createAdminServer({
    host: '127.0.0.1',
    port: 0,
    health: () => report(),
    log: quietLog(),
  });
  before(async () => {
    port = await admin.start();
  });
  after(() => admin.stop());

  const ask = async (url: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${url}`);
    return { code: response.status, body: await response.text() };
  };

  it('is ready or not as the service says, and not when it cannot say', async () => {
    report = async () => ({ ready: true });
    assert.deepEqual(await ask('/health/ready'), { code: 200, body: '{"ready":true}' });
    report = async () => ({ ready: false, detail: { database: 'down' } });
    assert.deepEqual(await ask('/health/ready?x'), { code: 503, body: '{"ready":false,"detail":{"database":"down"}}' });
    report = () => Promise.reject(new Error('no answer'));
    assert.deepEqual(await ask('/health/ready'), { code: 503, body: '{"ready":false}' });
  });

  it('answers HEAD as it answers GET', async () => {
    for (const [ready, code] of [
      [true, 200],
      [false, 503],
    ] as const) {
      report = async () => ({ ready });
      assert.equal((await fetch(`http://127.0.0.1:${port}/health/ready`, { method: 'HEAD' })).status, code);
    }
    assert.equal((await fetch(`http://127.0.0.1:${port}/health/live`, { method: 'HEAD' })).status, 200);
  });

  it('is alive without asking anything', async () => {
    report = () => assert.fail('asked');
    assert.equal((await ask('/health/live')).code, 200);
  });

  it('shows the metrics, and nothing else', async () => {
    counter('lifecycle_spec_total', 'For this spec.').inc();
    assert.match((await ask('/metrics')).body, /^lifecycle_spec_total 1$/m);
    assert.equal((await ask('/other')).code, 404);
  });

  it('stops twice without harm', async () => {
    await admin.stop();
    await admin.stop();
  });
});

function get(port: number, url: string, agent?: http.Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path: url, ...(agent && { agent }) }, (response) => {
      let body = '';
      response.on('data', (data) => {
        body += data;
      });
      response.on('end', () => resolve(body));
    });
    request.on('error', reject);
  });
}
