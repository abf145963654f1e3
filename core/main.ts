import { withToken } from '../proto/runtime/callers.ts';
import { parseConfig, refuseDevelopmentSecrets, secretNames } from '../proto/runtime/config.ts';
import { createGrpcTransport } from '../proto/runtime/grpc-transport.ts';
import { createKafkaPublisher, hideTimerWarnings } from '../proto/runtime/kafka.ts';
import { runMain } from '../proto/runtime/lifecycle.ts';
import { createLog } from '../proto/runtime/log.ts';
import { warnOfPlaintext } from '../proto/runtime/safe-config.ts';
import { readTls } from '../proto/runtime/tls.ts';
import { standaloneConfig } from './config.ts';
import { SEND_MS } from './publish-outbox.ts';
import { createRelayTransport } from './relay.ts';
import { createCore } from './service.ts';

hideTimerWarnings(process);
runMain(
  'core',
  async (env) => {
    const config = parseConfig(standaloneConfig, env);
    refuseDevelopmentSecrets(standaloneConfig, env);
    const log = createLog('core', config.LOG_LEVEL);
    warnOfPlaintext(config, log);
    const processor = createGrpcTransport({
      url: config.PROCESSOR_URL,
      tls: readTls('PROCESSOR', config),
      interceptors: [withToken(config.PROCESSOR_TOKEN)],
      defaultTimeoutMs: config.PROCESSOR_TIMEOUT_MS,
    });
    const { RELAY_URL } = config;
    const relay = RELAY_URL && createRelayTransport({ url: RELAY_URL, tls: readTls('RELAY', config) });
    const events = createKafkaPublisher({ config, sendMs: SEND_MS, log });
    const core = createCore(config, { log, processor, events, ...(relay && { relay }) });
    return {
      start: async () => {
        await events.start();
        await core.start();
      },
      stop: async () => {
        await core.stop();
        await events.stop();
        processor.close();
      },
    };
  },
  secretNames(standaloneConfig),
);
