import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ConnectRouter } from '@connectrpc/connect';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { listen } from '../../proto/runtime/lifecycle.ts';
import { endPostgres, endPrograms, numberIn, startProgram } from '../faults/program.ts';
import { connectMerchant, openSurroundings, type Surroundings, startConnector } from '../faults/surroundings.ts';
import { bytesOf, digestOf, pemOf, scriptedCore, wixKeys } from '../gateway/harness.ts';
import { quietLog } from '../support/log.ts';

/** A host that only the proxy knows the way to. */
const WIX = 'wix.invalid';

describe('behind the proxy of a company', function () {
  this.timeout(60_000);
  let stage: Surroundings;
  let folder: string;
  const asked: string[] = [];
  /** It takes whatever comes, and passes nothing on. */
  let swallows = false;
  const tunnels = new Set<net.Socket>();

  const proxy = createServer();
  proxy.on('connect', ({ url = '' }: IncomingMessage, socket: net.Socket) => {
    asked.push(url);
    tunnels.add(socket.on('error', () => undefined));
    if (swallows) return void socket.resume();
    const there = net.connect(Number(new URL(stage.env.WIX_API_URL ?? '').port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(there).pipe(socket);
    });
    for (const [one, other] of [
      [socket, there],
      [there, socket],
    ])
      one?.on('error', () => other?.destroy());
  });

  before(async () => {
    stage = await openSurroundings();
    folder = mkdtempSync(path.join(tmpdir(), 'proxy-'));
    chmodSync(folder, 0o755);
  });
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    await endPrograms();
    for (const close of closing.splice(0)) await close();
  });
  after(async () => {
    await endPostgres(path.join(folder, 'data'));
    proxy.close();
    proxy.closeAllConnections();
    await stage.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('NODE_USE_ENV_PROXY=1 takes events to Wix through http_proxy, and nothing else; one that swallows them for a while loses none', async () => {
    const proxyUrl = `http://127.0.0.1:${await listen(proxy, 0, '127.0.0.1')}`;
    const connector = await startConnector({
      ...stage.env,
      DATA_DIR: path.join(folder, 'data'),
      WIX_API_URL: `http://${WIX}`,
      ALLOW_PLAINTEXT: 'true',
      NODE_USE_ENV_PROXY: '1',
      // In the spelling that gRPC would go by, too.
      http_proxy: proxyUrl,
      https_proxy: proxyUrl,
    });
    const merchant = await connectMerchant(stage.wix, connector.url);
    const payment = await stage.wix.pay(merchant);
    await stage.wix.eventFor(payment.wixTransactionId);

    swallows = true;
    for (const tunnel of tunnels) tunnel.destroy();
    const untold = await stage.wix.pay(merchant);
    const id = untold.pluginTransactionId;
    assert.ok(id, untold.answer.text);
    await connector.until(({ lines }) =>
      assert.ok(lines.some(({ transactionId, error }) => transactionId === id && /Timeout/.test(String(error)))),
    );
    swallows = false;
    await stage.wix.eventFor(untold.wixTransactionId);
    assert.deepEqual([...new Set(asked)], [`${WIX}:80`]);
    connector.signal('SIGTERM');
    assert.equal(await connector.ended, 0);
  });

  for (const name of ['grpc_proxy', 'https_proxy', 'http_proxy'])
    it(`the gateway asks the core past ${name}`, async () => {
      const { service } = scriptedCore({
        connectMerchantAccount: () => ({ account: { id: 'acct', name: 'Tidepool' } }),
      });
      const routes = (router: ConnectRouter) => router.service(PaymentsService, service);
      const core = createGrpcServer({ host: '127.0.0.1', port: 0, routes, log: quietLog() });
      closing.push(() => core.stop(0));
      let caught = 0;
      const swallower = net.createServer((socket) => {
        caught += 1;
        socket.on('error', () => undefined).resume();
      });
      closing.push(() => swallower.close());
      const gateway = startProgram('gateway/main.ts', {
        ...{ WIX_PUBLIC_KEY: pemOf(wixKeys.publicKey), CORE_TOKEN: 'a-token-of-thirty-two-characters' },
        ...{ GATEWAY_PORT: '0', GATEWAY_ADMIN_PORT: '0', NODE_USE_ENV_PROXY: '1' },
        CORE_URL: `http://127.0.0.1:${await core.start()}`,
        [name]: `http://127.0.0.1:${await listen(swallower, 0, '127.0.0.1')}`,
      });
      const port = await gateway.until((program) => numberIn(program, 'gateway.listening', 'port'));
      const body = bytesOf('{"wixMerchantId":"m","credentials":{}}');
      const response = await fetch(`http://127.0.0.1:${port}/wix/v1/connect-account`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', digest: digestOf(body) },
        body: body as Uint8Array<ArrayBuffer>,
      });
      assert.equal(response.status, 200);
      assert.match(await response.text(), /"accountId":"acct"/);
      assert.equal(caught, 0);
    });
});
