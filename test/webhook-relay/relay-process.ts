import { parseConfig } from '../../proto/runtime/config.ts';
import { runMain } from '../../proto/runtime/lifecycle.ts';
import { createLog } from '../../proto/runtime/log.ts';
import { relayConfig } from '../../webhook-relay/config.ts';
import { createRelay } from '../../webhook-relay/service.ts';

// A relay in a process of its own, for a test to kill.

runMain('relay', async (env) => {
  const config = parseConfig(relayConfig, env);
  return createRelay(config, { log: createLog('relay', config.LOG_LEVEL) });
});
