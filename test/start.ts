import { parseArgs } from 'node:util';
import { sleep } from '../proto/runtime/loop.ts';
import { CONTROL_PORT, serveControl } from './control.ts';
import { BACKOFFICE_TOKEN, OPERATOR_TOKEN, startPlayground } from './playground.ts';

const HELP = `Runs the whole connector on this machine, between a simulated Wix and a simulated engine. No money moves.

  npm start [-- --data DIR]

  --data DIR   where everything is kept (./.data); delete it to begin anew
  --help

What the README's configuration table lists of gateway, core and webhook-relay may be set, such as GATEWAY_PORT=9090, but for DATABASE_URL and what
names Wix, the engine and Kafka; and WIX_PORT (8090), ENGINE_HTTP_PORT
(50062) and CONTROL_PORT (8099) of the simulated Wix, of the simulated engine's pages and of this program. Ctrl-C ends it in order.
`;

const { values } = parseArgs({
  options: { data: { type: 'string', default: './.data' }, help: { type: 'boolean', short: 'h' } },
});

async function startAll(data: string) {
  const playground = await startPlayground({
    data,
    wixPort: Number(process.env.WIX_PORT || 8090),
    pagesPort: Number(process.env.ENGINE_HTTP_PORT || 50_062),
  });
  const control = await serveControl(playground).catch(async (error) => {
    await playground.stop();
    throw error;
  });
  return { playground, stop: () => control.stop().then(playground.stop) };
}

async function start(data: string): Promise<void> {
  const starting = startAll(data);
  let stopping: Promise<void> | undefined;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      // What failed to start has said so.
      stopping ??= starting.then(({ stop }) => stop()).catch(() => undefined);
    });
  const { playground } = await starting;
  const { wix, gatewayUrl, pagesUrl, env } = playground;
  console.log(`
Ready after ${process.uptime().toFixed(1)} s. No money moves here.

  workbench        http://127.0.0.1:${CONTROL_PORT}/workbench/ be Wix in a browser, and see every call and event
  Wix calls        ${gatewayUrl}/wix/v1/{connect-account,create-transaction,...}, signed
  buyers return    ${env.PUBLIC_URL}/return/..., to where the engine's page sends them
  events go to     ${env.WIX_API_URL} (a simulated Wix)
  console          http://127.0.0.1:${env.CORE_HTTP_PORT}/console/, token ${OPERATOR_TOKEN}
  buyers' pages    ${pagesUrl}/pay/... of the simulated engine
  your services    127.0.0.1:${env.CORE_GRPC_PORT} gRPC, token ${BACKOFFICE_TOKEN}
  health, metrics  http://127.0.0.1:${env.GATEWAY_ADMIN_PORT} gateway, :${env.CORE_HTTP_PORT} core, :${env.RELAY_PORT} relay; /health/ready, /metrics
  data             ${data}

Try next
  npm run demo                                 every flow, with a verdict each (in another terminal)
  curl -s http://127.0.0.1:${CONTROL_PORT}/status     what Wix heard, what the engine charged
  kill -9 ${process.pid}, and npm start again          nothing is lost, nothing is charged twice
`);
  const left = wix.untold.length;
  if (left === 0) return;
  console.log(`${left} outcomes of the last run are still to be told...`);
  while (wix.untold.length > 0 && !stopping) await sleep(100);
  if (!stopping) console.log('All outcomes of the last run have been told.');
}

if (values.help) process.stdout.write(HELP);
else
  start(values.data).catch((error: Error & { code?: string; port?: number }) => {
    const isTaken = error.code === 'EADDRINUSE';
    const hint = `port ${error.port} is in use. Is npm start running already? Every port can be set: npm start -- --help`;
    console.error(`npm start: ${isTaken ? hint : error.message}`);
    process.exit(1);
  });
