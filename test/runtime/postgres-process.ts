import { startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';
import { createLog } from '../../proto/runtime/log.ts';

// For embedded-postgres.spec.ts: starts the cluster in the folder it is given, prints where it is, and stays until SIGTERM.

const log = createLog('postgres-process', 'info', { write: (line) => process.stderr.write(line) });
const roles = ['core', 'relay'];
const { urls, adminUrl, stop } = await startEmbeddedPostgres({ dataDir: process.argv[2]!, roles, log });
const alive = setInterval(() => undefined, 1000);
process.once('SIGTERM', async () => {
  await stop();
  clearInterval(alive);
});
process.stdout.write(`${JSON.stringify({ urls, adminUrl })}\n`);
