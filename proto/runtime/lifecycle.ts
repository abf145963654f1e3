import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ConfigError, type Env } from './config.ts';
import { createLog, type Log } from './log.ts';
import { registry } from './metrics.ts';

// How a service starts, says that it is well, and ends.

/** An orderly end takes DRAIN_MS (8 s) and a little; after this it is forced (R38). */
const FORCE_AFTER_MS = 10_000;

export interface Service {
  start(): Promise<void>;
  /** Ends in order: what is in flight has `drainMs` (its own DRAIN_MS by default). May be called more than once. */
  stop(drainMs?: number): Promise<void>;
}

export interface HealthReport {
  ready: boolean;
  detail?: Record<string, string>;
}

/**
 * Serves GET /health/live (asks nothing outside the process), /health/ready (200 or 503, R45) and /metrics; everything else is the
 * fallback's, or 404.
 */
export function createAdminServer(options: {
  host: string;
  port: number;
  health: () => Promise<HealthReport>;
  log: Log;
  fallback?: (request: IncomingMessage, response: ServerResponse) => void;
}): { start(): Promise<number>; stop(): Promise<void> } {
  const { host, port, health, log, fallback } = options;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.method === 'GET' ? request.url?.split('?')[0] : undefined;
    if (path === '/health/live') return sendJson(response, 200, { live: true });
    if (path === '/health/ready') {
      const report = await health().catch((): HealthReport => ({ ready: false }));
      return sendJson(response, report.ready ? 200 : 503, report);
    }
    if (path === '/metrics') {
      response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics());
      return;
    }
    if (fallback) return fallback(request, response);
    sendJson(response, 404, { error: 'not found' });
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((err: unknown) => {
      log.error('admin.failed', { err });
      response.destroy();
    });
  });
  return {
    start: () => listen(server, port, host),
    stop: () => closeHttp(server, 1000),
  };
}

function sendJson(response: ServerResponse, code: number, body: object): void {
  response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Resolves with the port that was bound; rejects if it is taken. */
export function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Stops accepting, lets what is in flight end for up to drainMs, then cuts it off. */
export async function closeHttp(server: Server, drainMs: number): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // A connection kept alive is idle only once its present answer has gone out, so it is looked at again and again.
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const force = setTimeout(() => server.closeAllConnections(), drainMs);
  await closed;
  clearInterval(idle);
  clearTimeout(force);
}

/**
 * The whole of a main: takes the environment, starts, and stops at SIGTERM or SIGINT. The process ends by itself when nothing is left
 * to do, with code 0; after 10 s it is forced. What is wrong with the configuration is printed on stderr, one line each, with code 1.
 * The names in `secrets` leave process.env, so that no child process inherits them (R34).
 */
export function runMain(name: string, start: (env: Env) => Promise<Service>, secrets: readonly string[] = []): void {
  const env: Env = { ...process.env };
  for (const secret of secrets) delete process.env[secret];
  const log = createLog(name, env.LOG_LEVEL || 'info');

  async function run(): Promise<Service> {
    const service = await start(env);
    try {
      await service.start();
      return service;
    } catch (error) {
      await service.stop();
      throw error;
    }
  }

  const fail = (err: unknown) => {
    process.exitCode = 1;
    if (err instanceof ConfigError) process.stderr.write(err.problems.map((line) => `${name}: ${line}\n`).join(''));
    else log.alert('service_failed', { err });
  };
  const running = run().catch(fail);

  let stopping = false;
  const stop = async (signal: string) => {
    if (stopping) return;
    stopping = true;
    log.info('service.stopping', { signal });
    setTimeout(() => {
      log.alert('service_forced', { signal });
      process.exit(1);
    }, FORCE_AFTER_MS).unref();
    const service = await running;
    await service?.stop().catch(fail);
    log.info('service.stopped');
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Of a rejection that nobody handled too. Nothing is known of the state that the process is in: its rows are, to reconcile.
  process.on('uncaughtException', (err) => {
    log.alert('uncaught_exception', { err });
    process.exit(1);
  });
}
