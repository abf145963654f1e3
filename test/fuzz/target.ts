import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { createCallers, requireToken } from '../../proto/runtime/callers.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createLog } from '../../proto/runtime/log.ts';
import { createEngine } from '../engine/engine.ts';
import { freePort, startProgram } from '../faults/program.ts';
import { ENGINE_TOKEN, newKey } from '../faults/surroundings.ts';
import { eventually } from '../support/eventually.ts';
import { type Operation, send } from '../wix/client.ts';
import { eventViolations } from '../wix/contract.ts';
import { toJson } from '../wix/json.ts';
import { createKeys, type Keys } from '../wix/keys.ts';
import { connectRequest, paymentRequest } from '../wix/requests.ts';
import { createWixServer } from '../wix/server.ts';
import type { Door, Known } from './inputs.ts';

// The connector in a process of its own, between a Wix and an engine that remember nothing of what they hear.

const ROLES = ['gateway', 'engine', 'backoffice', 'reader', 'operator'];

export interface Target {
  readonly ports: Readonly<Record<Door | 'grpc', number>>;
  readonly keys: Keys;
  readonly known: Known;
  /** What the events broke of the contract, so far. */
  readonly violations: string[];
  /** Error lines and alerts of the connector, so far. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  /** Whatever it printed that is no line of its log. */
  stray(): string;
  /** Of the connector's memory, in MiB; undefined where the system does not say. */
  rss(): number | undefined;
  /** Fails if the connector is not ready, or a plain payment is not approved. */
  ensureHealth(): Promise<void>;
  stop(): Promise<void>;
}

export async function openTarget(databaseUrl: string): Promise<Target> {
  const log = createLog('fuzz', 'error');
  const violations: string[] = [];
  const wix = createWixServer({
    ...{ appId: 'fuzz-app', appSecret: () => 'fuzz-app-secret', log },
    onSubmission: ({ headers, text, violations: found }) => {
      violations.push(...found, ...eventViolations(headers, text));
    },
    onViolation: (violation) => violations.push(violation),
  });
  const engine = createEngine({ data: ':memory:', log, pendingMs: 200 });
  const allowed = Object.fromEntries(ProcessorService.methods.map(({ name }) => [name, ['gateway'] as const]));
  const doors = [requireToken(createCallers(`core:gateway:${ENGINE_TOKEN}`), allowed, log)];
  const host = '127.0.0.1';
  const server = createGrpcServer({ host, port: 0, routes: engine.routes, interceptors: doors, log });
  const keys = createKeys();
  const ports = {
    ...{ gateway: Number(await freePort()), 'gateway admin': Number(await freePort()) },
    ...{ core: Number(await freePort()), relay: Number(await freePort()), grpc: Number(await freePort()) },
  };
  const tokens = ROLES.map((role) => ({ role, secret: randomBytes(32).toString('hex') }));
  const callers = tokens.map(({ role, secret }) => `fuzz-${role}:${role}:${secret}`).join(',');
  const connector = startProgram('connector.ts', {
    ...{ DATABASE_URL: databaseUrl, LOG_LEVEL: 'error', MODE_WHEN_ABSENT: 'sandbox', EVENT_DELAY_MS: '50' },
    ...{ WIX_API_URL: await wix.start(), WIX_APP_ID: 'fuzz-app', WIX_APP_SECRET: 'fuzz-app-secret' },
    ...{ WIX_PUBLIC_KEY: keys.publicKeyPem, WIX_USER_AGENT: 'fuzz/1.0.0' },
    PUBLIC_URL: `http://${host}:${ports.gateway}`,
    ...{ PROCESSOR_URL: `http://${host}:${await server.start()}`, PROCESSOR_TOKEN: ENGINE_TOKEN },
    ...{ CREDENTIALS_KEY: newKey(), EVENTS_KEY: newKey(), CORE_TOKENS: callers, RELAY_TOKENS: callers },
    ...{ GATEWAY_PORT: String(ports.gateway), GATEWAY_ADMIN_PORT: String(ports['gateway admin']) },
    ...{ CORE_HTTP_PORT: String(ports.core), CORE_GRPC_PORT: String(ports.grpc), RELAY_PORT: String(ports.relay) },
  });
  engine.start();
  const url = `http://${host}:${ports.gateway}`;
  const call = async (operation: Operation, body: object) => {
    const answer = await send(keys, url, operation, toJson(body));
    assert.equal(answer.status, 200, answer.text);
    return answer.body ?? {};
  };
  const connect = async () => {
    const merchantId = randomUUID();
    const account = { apiKey: 'fuzz', accountRef: randomUUID() };
    const { credentials } = await call('connect', connectRequest({ merchantId, credentials: account }));
    return { merchantId, credentials: credentials as Record<string, string> };
  };
  const pay = async (merchant: Awaited<ReturnType<typeof connect>>) => {
    const request = paymentRequest(merchant, { authorizeOnly: true });
    const { pluginTransactionId, reasonCode } = await call('create', request);
    assert.equal(reasonCode, undefined);
    const wixTransactionId = String(request.wixTransactionId);
    return { wixTransactionId, pluginTransactionId: String(pluginTransactionId) };
  };
  const merchant = await eventually(connect, { timeoutMs: 60_000, every: 200 });
  const known = { ...merchant, ...(await pay(merchant)), tokens: tokens.map(({ secret }) => secret) };
  return {
    ...{ ports, keys, known, violations, lines: connector.lines },
    stray: () => {
      const out = connector.out.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
      return [...out, connector.err].join('\n').trim();
    },
    rss: () => {
      if (process.platform !== 'linux') return undefined;
      const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${connector.pid}/status`, 'utf8')) ?? [];
      return Math.round(Number(kib) / 1024);
    },
    ensureHealth: async () => {
      const ready = `http://${host}:${ports.core}/health/ready`;
      await eventually(async () => assert.equal((await fetch(ready)).status, 200), { timeoutMs: 30_000 });
      await eventually(async () => pay(await connect()), { timeoutMs: 30_000, every: 500 });
    },
    stop: async () => {
      connector.signal('SIGTERM');
      await connector.ended;
      await server.stop(0);
      await engine.stop();
      await wix.stop();
    },
  };
}
