import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { keepKeys } from '../../conformance/signature.ts';
import { startEngine } from '../faults/engine-process.ts';
import { endAll, freePort } from '../faults/program.ts';
import { ENGINE_TOKEN, newKey, startConnector } from '../faults/surroundings.ts';
import { onSignal } from '../support/on-signal.ts';

// npm run conformance:connector [-- flags of npm run conformance]: the connector and the simulated engine as processes of their own, as
// docs/CONFORMANCE.md has a plugin run, and the kit as a third one, which knows of them what connector.yaml says.

const CONFIG = path.join(import.meta.dirname, 'connector.yaml');
const KIT = path.join(import.meta.dirname, '../../conformance/main.ts');
/** Wix's ids of apps are GUIDs, and name a plugin's hosted page too. */
const APP = { id: '3d1f6a52-7c0e-4b8a-9e41-5f2b8c6d7a90', secret: 'conformance-app-secret' };

async function run(folder: string): Promise<number> {
  const files = { privateKey: path.join(folder, 'wix-private.pem'), publicKey: path.join(folder, 'wix-public.pem') };
  const { publicKeyPem } = keepKeys(files);
  const [port, gatewayPort] = [await freePort(), await freePort()];
  const engine = await startEngine(path.join(folder, 'engine'));
  const connector = await startConnector({
    ...{ WIX_PUBLIC_KEY: publicKeyPem, WIX_API_URL: `http://127.0.0.1:${port}`, WIX_USER_AGENT: 'connector/1.0.0' },
    ...{ WIX_APP_ID: APP.id, WIX_APP_SECRET: APP.secret, PROCESSOR_URL: engine.url, PROCESSOR_TOKEN: ENGINE_TOKEN },
    ...{
      CREDENTIALS_KEY: newKey(),
      EVENTS_KEY: newKey(),
      DATA_DIR: path.join(folder, 'data'),
      MODE_WHEN_ABSENT: 'sandbox',
    },
    // Pending payments are looked after within a second.
    RECONCILE_GRACE_MS: '1000',
    // Links for buyers name the port before the gateway listens.
    ...{ PUBLIC_URL: `http://127.0.0.1:${gatewayPort}`, BUYER_TIMEOUT_MS: '10000' },
    ...{ GATEWAY_PORT: gatewayPort, GATEWAY_ADMIN_PORT: '0', CORE_HTTP_PORT: '0', RELAY_PORT: '0' },
  });
  const flags = {
    ...{ config: CONFIG, 'base-url': connector.url, 'private-key': files.privateKey, 'public-key': files.publicKey },
    ...{ 'events-port': port, 'app-id': APP.id, 'app-secret': APP.secret },
  };
  const given = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const kit = spawn(process.execPath, [KIT, ...given, ...process.argv.slice(2)], { stdio: 'inherit' });
  const [code] = await once(kit, 'close');
  return code ?? 2;
}

const folder = mkdtempSync(path.join(tmpdir(), 'conformance-'));
// The embedded PostgreSQL runs as nobody where this is root.
chmodSync(folder, 0o755);
onSignal(() => endAll(folder));
process.exitCode = await run(folder).finally(async () => {
  await endAll(folder);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});
