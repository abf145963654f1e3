import { createClient } from '@connectrpc/connect';
import { PaymentsService } from '../proto/gen/payments/v1/payments_service_pb.js';
import { withToken } from '../proto/runtime/callers.ts';
import { parseConfig, refuseDevelopmentSecrets, secretNames } from '../proto/runtime/config.ts';
import { createGrpcTransport } from '../proto/runtime/grpc-transport.ts';
import { runMain } from '../proto/runtime/lifecycle.ts';
import { createLog } from '../proto/runtime/log.ts';
import { warnOfPlaintext } from '../proto/runtime/safe-config.ts';
import { readTls } from '../proto/runtime/tls.ts';
import { standaloneConfig } from './config.ts';
import { createGateway } from './service.ts';

runMain(
  'gateway',
  async (env) => {
    const config = parseConfig(standaloneConfig, env);
    refuseDevelopmentSecrets(standaloneConfig, env);
    const log = createLog('gateway', config.LOG_LEVEL);
    warnOfPlaintext(config, log);
    const core = createGrpcTransport({
      url: config.CORE_URL,
      tls: readTls('CORE', config),
      interceptors: [withToken(config.CORE_TOKEN)],
      defaultTimeoutMs: config.CORE_DEADLINE_MS,
    });
    const gateway = createGateway(config, { payments: createClient(PaymentsService, core), log });
    const stop = async () => {
      await gateway.stop();
      core.close();
    };
    return { start: gateway.start, stop };
  },
  secretNames(standaloneConfig),
);
