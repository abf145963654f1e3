import { createLog } from '../../proto/runtime/log.ts';
import { startEmbeddedPostgres } from '../../proto/runtime/embedded-postgres.ts';

// For embedded-postgres.spec.ts: starts the cluster in the folder it is given, prints where it is, and stays until SIGTERM.

const log = createLog('postgres-process', 'info', { write: (line) => process.stderr.write(line) });
const { urls, adminUrl, stop } = await startEmbeddedPostgres({
  dataDir: process.argv[2]!,
  roles: ['core', 'relay'],
  log,
});
process.stdout.write(`${JSON.stringify({ urls, adminUrl })}\n`);
const alive = setInterval(() => undefined, 1000);
process.once('SIGTERM', async () => {
  await stop();
  clearInterval(alive);
});
