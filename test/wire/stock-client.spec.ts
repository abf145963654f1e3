import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type Authority, createAuthority } from '../support/certificates.ts';
import { pythonWith } from '../support/python.ts';
import { type LoneCore, payOverGrpc, startCore, startEngine, tokenOf } from './apart.ts';

const run = promisify(execFile);
const PACKAGES = ['grpcio==1.85.1', 'grpcio-reflection==1.85.1', 'grpcio-health-checking==1.85.1'];
const SERVICE = 'payments.v1.PaymentsService';
const BEYOND_DOUBLE = 9_007_199_254_740_993n;

describe("Python's gRPC client, which knows nothing of the core but what reflection says", function () {
  this.timeout(120_000);
  let python: string;
  let folder: string;
  let authority: Authority;
  let engine: Awaited<ReturnType<typeof startEngine>>;
  const cores: LoneCore[] = [];

  before(async function () {
    const found = await pythonWith(...PACKAGES);
    if (!found) return this.skip();
    python = found;
    folder = mkdtempSync(path.join(tmpdir(), 'stock-client-'));
    authority = createAuthority('our authority');
    const own = authority.issue('core');
    engine = await startEngine();
    cores.push(await startCore(engine.url));
    cores.push(
      await startCore(engine.url, { CORE_TLS_CA: authority.cert, CORE_TLS_CERT: own.cert, CORE_TLS_KEY: own.key }),
    );
  });
  after(async () => {
    for (const { core } of cores) await core.stop(0);
    await engine?.stop();
    if (folder) rmSync(folder, { recursive: true });
  });

  // biome-ignore lint/suspicious/noExplicitAny: each test knows which answer it looks at
  type LearnedOutcome = { answer?: any; code?: string; details?: string };

  async function ask(target: string, ...args: string[]): Promise<LearnedOutcome> {
    const client = path.join(import.meta.dirname, 'stock-client.py');
    const { stdout } = await run(python, [client, target, ...args]);
    return JSON.parse(stdout);
  }
  const plain = () => `127.0.0.1:${cores[0]?.grpcPort}`;
  const get = (externalId: string, ...options: string[]) =>
    ask(plain(), 'call', SERVICE, 'GetTransaction', JSON.stringify({ externalId }), ...options);

  it('lists the services and checks their health without a token', async () => {
    assert.deepEqual(await ask(plain(), 'list'), { answer: [SERVICE] });
    assert.deepEqual(await ask(plain(), 'health', SERVICE), { answer: 'SERVING' });
  });

  it('reads a transaction with every digit of its amount', async () => {
    const externalId = await payOverGrpc(cores[0]!, BEYOND_DOUBLE);
    const { answer } = await get(externalId, '--token', tokenOf('reader'));
    assert.equal(answer.transaction.externalId, externalId);
    assert.equal(answer.transaction.capturedAmount, String(BEYOND_DOUBLE));
    assert.equal(answer.operations.length, 1);
  });

  it('R33 is refused without a token, with a wrong one, and beyond its role', async () => {
    assert.equal((await get('x')).code, 'UNAUTHENTICATED');
    assert.equal((await get('x', '--token', tokenOf('nobody'))).code, 'UNAUTHENTICATED');
    assert.equal((await get('x', '--token', tokenOf('engine'))).code, 'PERMISSION_DENIED');
    assert.equal((await get('x', '--token', tokenOf('reader'))).code, 'NOT_FOUND');
  });

  it('R33 gets in over TLS with a certificate, and not without', async () => {
    const file = (name: string, text: string) => {
      writeFileSync(path.join(folder, name), text);
      return path.join(folder, name);
    };
    const { cert, key } = authority.issue('back office');
    const ca = ['--ca', file('ca.pem', authority.cert)];
    const own = ['--cert', file('cert.pem', cert), '--key', file('key.pem', key)];
    const target = `localhost:${cores[1]?.grpcPort}`;
    assert.deepEqual(await ask(target, 'health', SERVICE, ...ca, ...own), { answer: 'SERVING' });
    assert.equal((await ask(target, 'health', SERVICE, ...ca)).code, 'UNAVAILABLE');
    assert.equal((await ask(target, 'health', SERVICE)).code, 'UNAVAILABLE');
  });
});
