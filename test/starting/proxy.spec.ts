import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { listen } from '../../proto/runtime/lifecycle.ts';
import { endPostgres, endPrograms } from '../faults/program.ts';
import { connectMerchant, openSurroundings, type Surroundings, startConnector } from '../faults/surroundings.ts';

/** A host that only the proxy knows the way to. */
const WIX = 'wix.invalid';

describe('behind the proxy of a company', function () {
  this.timeout(60_000);
  let stage: Surroundings;
  let folder: string;
  const asked: string[] = [];

  const proxy = createServer();
  proxy.on('connect', ({ url = '' }: IncomingMessage, socket: net.Socket) => {
    asked.push(url);
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
  after(async () => {
    await endPrograms();
    await endPostgres(path.join(folder, 'data'));
    proxy.close();
    proxy.closeAllConnections();
    await stage.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('NODE_USE_ENV_PROXY=1 takes events to Wix through http_proxy, and nothing else', async () => {
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
    const payment = await stage.wix.pay(await connectMerchant(stage.wix, connector.url));
    await stage.wix.eventFor(payment.wixTransactionId);
    assert.deepEqual([...new Set(asked)], [`${WIX}:80`]);
    connector.signal('SIGTERM');
    assert.equal(await connector.ended, 0);
  });
});
