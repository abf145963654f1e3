import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createNetServer, type Server as NetServer, type Socket } from 'node:net';
import type { TLSSocket, Server as TlsServer } from 'node:tls';
import { promisify } from 'node:util';
import { boundConnections, peerOf } from './bounds.ts';
import { afterByteOrderMark, ConfigError, type Env } from './config.ts';
import { createLog, type Log } from './log.ts';
import { measureProcess, registry } from './metrics.ts';
import { onRenewed, startRenewing } from './renew.ts';
import { secureContextOf, type Tls } from './tls.ts';
import { startTracing } from './tracing.ts';

// How a service starts, says that it is well, and ends.

/** An orderly end takes DRAIN_MS (8 s) and a little; after this it is forced (R38). */
const FORCE_AFTER_MS = 10_000;

/** Of an admin port. Whoever does not ask, or does not take its answer, is cut off after the time-outs, in milliseconds. */
const CONNECTIONS_MAX = 1_000;
const LIMITS = { headersTimeout: 5_000, requestTimeout: 10_000, connectionsCheckingInterval: 1_000 };
const ANSWER_TAKEN_MS = 10_000;

/** Connections that wait to be accepted; of one that finds no place the kernel drops bytes, which come again after seconds. */
const BACKLOG = 4_096;

/** Sockets that listen on a port to which many connect at once. */
const LISTENERS = 16;
const SHARES_PORTS = ['linux', 'freebsd'].includes(process.platform);

/** For what a library does after an orderly end, such as closing its connections. */
const LEFT_OVER_MS = 500;

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
 * Serves GET and HEAD of /health/live (asks nothing outside the process), /health/ready (200 or 503, R45) and /metrics; what is none of these is the
 * fallback's. With TLS it is HTTPS; a CA then keeps those who show no certificate of it from the fallback, not from health and metrics.
 */
export function createAdminServer(options: {
  host: string;
  port: number;
  health: () => Promise<HealthReport>;
  log: Log;
  tls?: Tls | undefined;
  fallback?: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
}): { start(): Promise<number>; stop(): Promise<void> } {
  const { host, port, health, log, tls, fallback } = options;
  measureProcess();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const send = (code: number, body: string, type = 'application/json') =>
      void response.setTimeout(ANSWER_TAKEN_MS).writeHead(code, { 'content-type': type }).end(body);
    const path = request.method === 'GET' || request.method === 'HEAD' ? request.url?.split('?')[0] : undefined;
    if (path === '/health/live') return send(200, '{"live":true}');
    if (path === '/metrics') return send(200, await registry.metrics(), registry.contentType);
    if (path === '/health/ready') {
      const report = await health().catch((): HealthReport => ({ ready: false }));
      return send(report.ready ? 200 : 503, JSON.stringify(report));
    }
    if (!fallback) return send(404, '{"error":"not found"}');
    if (tls?.ca && !(request.socket as TLSSocket).authorized)
      return send(401, '{"code":"unauthenticated","message":"a client certificate is required"}');
    fallback(request, response);
  }

  const handle = (request: IncomingMessage, response: ServerResponse) =>
    answer(request, response).catch((err: unknown) => {
      log.error('admin.failed', { err });
      response.destroy();
    });
  // Who has no certificate is let in as far as health and metrics.
  const asking = { requestCert: tls?.ca !== undefined, rejectUnauthorized: false };
  const server = tls
    ? createTlsServer({ ...LIMITS, ...secureContextOf(tls), ...asking }, handle)
    : createServer(LIMITS, handle);
  const stopRenewing = tls
    ? onRenewed(() => (server as unknown as TlsServer).setSecureContext(secureContextOf(tls)))
    : () => {};
  const connections = boundConnections(server, CONNECTIONS_MAX);
  server.on('request', ({ socket }, response) => {
    const peer = peerOf(socket);
    connections.keep(peer);
    response.once('close', () => connections.release(peer));
  });
  return {
    start: () => listen(server, port, host),
    stop: () => {
      stopRenewing();
      return closeHttp(server, 1000);
    },
  };
}

/** Resolves with the port that was bound; rejects if it is taken. */
export async function listen(server: NetServer, port: number, host: string): Promise<number> {
  await once(server.listen({ port, host, backlog: BACKLOG }), 'listening');
  return (server.address() as AddressInfo).port;
}

/** The other sockets that listen for a server. */
const listeners = new WeakMap<Server, readonly NetServer[]>();

/**
 * Listens on a port to which many connect at once, with several sockets that share it: the event loop accepts one connection of each of
 * them a turn, and the turns of a busy process are few. With one socket where the system knows no SO_REUSEPORT.
 */
export async function listenToMany(server: Server, port: number, host: string): Promise<number> {
  if (!SHARES_PORTS) return listen(server, port, host);
  if (port !== 0) {
    // Another process of this user could share the port too, and get part of the calls: it must be free.
    const probe = createNetServer();
    await listen(probe, port, host);
    await promisify(probe.close.bind(probe))();
  }
  const options = { host, backlog: BACKLOG, reusePort: true };
  await once(server.listen({ ...options, port }), 'listening');
  const { port: bound } = server.address() as AddressInfo;
  const accept = (socket: Socket) => server.emit('connection', socket);
  const others = Array.from({ length: LISTENERS - 1 }, () =>
    createNetServer({ allowHalfOpen: true, noDelay: true }, accept),
  );
  listeners.set(server, others);
  for (const other of others) await once(other.listen({ ...options, port: bound }), 'listening');
  return bound;
}

/** Stops accepting, lets what is in flight end for up to drainMs, then cuts it off. */
export async function closeHttp(server: Server, drainMs: number): Promise<void> {
  if (!server.listening) return;
  const closed = [...(listeners.get(server) ?? []), server].map((listener) => once(listener.close(), 'close'));
  // A connection kept alive is idle only once its present answer has gone out, so it is looked at again and again.
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const force = setTimeout(() => server.closeAllConnections(), drainMs);
  await Promise.all(closed);
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
  for (const secret of secrets.flatMap((name) => [name, afterByteOrderMark(name)])) delete process.env[secret];
  const log = createLog(name, env.LOG_LEVEL ?? '');

  const fail = (err: unknown) => {
    process.exitCode = 1;
    if (err instanceof ConfigError) process.stderr.write(err.problems.map((line) => `${name}: ${line}\n`).join(''));
    else log.alert('service_failed', { err });
  };

  async function run(): Promise<Service | undefined> {
    let service: Service | undefined;
    try {
      await startTracing(name, env, log);
      service = await start(env);
      startRenewing(log);
      await service.start();
    } catch (err) {
      fail(err);
      await service?.stop().catch(fail);
    }
    return service;
  }
  const running = run();

  let isStopping = false;
  async function stop(signal: string): Promise<void> {
    if (isStopping) return;
    isStopping = true;
    log.info('service.stopping', { signal });
    setTimeout(() => {
      log.alert('service_forced', { signal });
      process.exit(1);
    }, FORCE_AFTER_MS).unref();
    await (await running)?.stop().catch(fail);
    log.info('service.stopped');
    // All that is ours is at its end. A library may have left a connection open, such as one to a proxy that does not answer.
    setTimeout(() => process.exit(), LEFT_OVER_MS).unref();
  }
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Of a rejection that nobody handled too. Nothing is known of the state that the process is in: its rows are, to reconcile.
  process.on('uncaughtException', (err) => {
    log.alert('uncaught_exception', { err });
    process.exit(1);
  });
}
