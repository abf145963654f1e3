import { parseArgs } from 'node:util';
import { createClient, type Transport } from '@connectrpc/connect';
import { z } from 'zod';
import { coreConfig, processorConfig } from './core/config.ts';
import { SEND_MS } from './core/publish-outbox.ts';
import { type CoreService, createCore } from './core/service.ts';
import { gatewayConfig } from './gateway/config.ts';
import { createGateway, type Gateway } from './gateway/service.ts';
import { PaymentsService } from './proto/gen/payments/v1/payments_service_pb.js';
import { actAs, withToken } from './proto/runtime/callers.ts';
import {
  databaseUrl,
  type Env,
  parseConfig,
  refuseDevelopmentSecrets,
  Secret,
  secretNames,
  text,
} from './proto/runtime/config.ts';
import { createDirectTransport } from './proto/runtime/direct-transport.ts';
import { startEmbeddedPostgres } from './proto/runtime/embedded-postgres.ts';
import { createGrpcTransport } from './proto/runtime/grpc-transport.ts';
import { createKafkaPublisher, createKafkaReceiver, hideTimerWarnings } from './proto/runtime/kafka.ts';
import { kafkaConfig } from './proto/runtime/kafka-client.ts';
import { runMain, type Service } from './proto/runtime/lifecycle.ts';
import { createLog, type Log } from './proto/runtime/log.ts';
import { ensureSafety, warnOfPlaintext } from './proto/runtime/safe-config.ts';
import { readTls } from './proto/runtime/tls.ts';
import { relayConfig } from './webhook-relay/config.ts';
import { createRelay, type Relay } from './webhook-relay/service.ts';

// Gateway, core and webhook-relay in one process: they talk as they would apart, without the wire between them. With KAFKA_BROKERS the
// events go over Kafka, for whoever else reads them.

type Places = { DATABASE_URL?: Secret | undefined; DATA_DIR?: string | undefined };
const isOnePlace = ({ DATABASE_URL, DATA_DIR }: Places) => (DATABASE_URL === undefined) !== (DATA_DIR === undefined);
const NOT_ONE_PLACE = {
  path: ['DATABASE_URL'],
  message: 'or DATA_DIR must be set, and not both',
  // Said together with whatever else is wrong.
  when: () => true,
};

/** The three services' environment as one, with the data in DATABASE_URL, or in DATA_DIR by an embedded PostgreSQL. */
const servicesConfig = z
  .object({ ...gatewayConfig.shape, ...coreConfig.shape, ...relayConfig.shape })
  .extend({ DATABASE_URL: databaseUrl().optional(), DATA_DIR: text().optional() })
  .extend({ ...kafkaConfig.shape, KAFKA_BROKERS: kafkaConfig.shape.KAFKA_BROKERS.optional() })
  .refine(isOnePlace, NOT_ONE_PLACE)
  .superRefine(ensureSafety);

export interface Connector extends Service {
  readonly gateway: Gateway;
  readonly core: CoreService;
}

/** Builds the three services around an engine; each gets its part of the environment. Throws a ConfigError. */
export async function createConnector(
  env: Env,
  deps: { processor: Transport; log: (service: string) => Log },
): Promise<Connector> {
  const { DATA_DIR, DATABASE_URL, KAFKA_BROKERS, ...config } = parseConfig(servicesConfig, env);
  const postgres = DATA_DIR
    ? await startEmbeddedPostgres({ dataDir: DATA_DIR, roles: ['core', 'relay'], log: deps.log('postgres') })
    : undefined;
  const database = (role: string) => DATABASE_URL ?? new Secret(postgres?.urls[role] ?? '');

  const kafka = KAFKA_BROKERS && { ...config, KAFKA_BROKERS };
  const [coreLog, relayLog] = [deps.log('core'), deps.log('webhook-relay')];
  const relay: Relay = createRelay(
    { ...config, DATABASE_URL: database('relay') },
    { log: relayLog, isReceiving: () => receiver?.isMoving() ?? true },
  );
  const receiver = kafka && createKafkaReceiver({ config: kafka, receive: relay.receive, log: relayLog });
  const publisher = kafka && createKafkaPublisher({ config: kafka, sendMs: SEND_MS, log: coreLog });
  const core = createCore(
    { ...config, DATABASE_URL: database('core') },
    {
      log: coreLog,
      processor: deps.processor,
      events: publisher ?? { publish: relay.receive },
      ...(relay.deliveries && { relay: relay.deliveries }),
    },
  );
  const asGateway = actAs({ name: 'gateway', role: 'gateway' });
  const transport = createDirectTransport(core.routes, [...core.interceptors, asGateway]);
  const gateway = createGateway(config, {
    payments: createClient(PaymentsService, transport),
    log: deps.log('gateway'),
  });

  const inOrder: Service[] = [relay, receiver, publisher, core, gateway].filter((service) => service !== undefined);
  async function stop(): Promise<void> {
    // One drain for all, so that the whole ends within its time (R38).
    const end = performance.now() + config.DRAIN_MS;
    for (const service of inOrder.toReversed()) await service.stop(Math.max(0, end - performance.now()));
    await postgres?.stop();
  }
  async function start(): Promise<void> {
    try {
      for (const service of inOrder) await service.start();
    } catch (error) {
      await stop();
      throw error;
    }
  }
  return { gateway, core, start, stop };
}

const HELP = `Runs gateway, core and webhook-relay in one process, for real use.

  npm run connector

Configured by the environment alone; README.md has the table. Necessary are WIX_PUBLIC_KEY, WIX_APP_ID, WIX_APP_SECRET,
WIX_USER_AGENT, PROCESSOR_URL, PROCESSOR_TOKEN, CREDENTIALS_KEY, EVENTS_KEY, MODE_WHEN_ABSENT, and DATABASE_URL or DATA_DIR.
Every secret may come from a file instead: NAME_FILE. Ends in order at SIGTERM.
`;

/** For real use: the engine is the PSP's, at PROCESSOR_URL. */
export const connectorConfig = z
  .object({ ...servicesConfig.shape, ...processorConfig.shape })
  .refine(isOnePlace, NOT_ONE_PLACE)
  .superRefine(ensureSafety);

async function fromEnvironment(env: Env): Promise<Service> {
  const config = parseConfig(connectorConfig, env);
  refuseDevelopmentSecrets(connectorConfig, env);
  const log = (service: string) => createLog(service, config.LOG_LEVEL);
  warnOfPlaintext(config, log('connector'));
  const processor = createGrpcTransport({
    url: config.PROCESSOR_URL,
    tls: readTls('PROCESSOR', config),
    interceptors: [withToken(config.PROCESSOR_TOKEN)],
    defaultTimeoutMs: config.PROCESSOR_TIMEOUT_MS,
  });
  const connector = await createConnector(env, { processor, log });
  const stop = async () => {
    await connector.stop();
    processor.close();
  };
  return { start: connector.start, stop };
}

if (import.meta.main) {
  hideTimerWarnings(process);
  const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' } } });
  if (values.help) process.stdout.write(HELP);
  else
    runMain('connector', fromEnvironment, secretNames(z.object({ ...servicesConfig.shape, ...processorConfig.shape })));
}
