import { parseConfig, refuseDevelopmentSecrets, secretNames } from '../proto/runtime/config.ts';
import { createKafkaReceiver, hideTimerWarnings } from '../proto/runtime/kafka.ts';
import { runMain } from '../proto/runtime/lifecycle.ts';
import { createLog } from '../proto/runtime/log.ts';
import { warnOfPlaintext } from '../proto/runtime/safe-config.ts';
import { standaloneConfig } from './config.ts';
import { createRelay, type Relay } from './service.ts';

hideTimerWarnings(process);
runMain(
  'webhook-relay',
  async (env) => {
    const config = parseConfig(standaloneConfig, env);
    refuseDevelopmentSecrets(standaloneConfig, env);
    const log = createLog('webhook-relay', config.LOG_LEVEL);
    warnOfPlaintext(config, log);
    const relay: Relay = createRelay(config, { log, isReceiving: () => events.isMoving() });
    const events = createKafkaReceiver({ config, receive: relay.receive, log });
    return {
      start: async () => {
        await relay.start();
        await events.start();
        log.info('relay.started', { port: relay.adminPort });
      },
      stop: async () => {
        await events.stop();
        await relay.stop();
      },
    };
  },
  secretNames(standaloneConfig),
);
