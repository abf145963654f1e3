import { z } from 'zod';
import { callerList } from '../proto/runtime/callers.ts';
import {
  databaseUrl,
  flag,
  host,
  integer,
  keyRing,
  logLevel,
  milliseconds,
  port,
  publicUrl,
  token,
  url,
} from '../proto/runtime/config.ts';
import { kafkaConfig } from '../proto/runtime/kafka-client.ts';
import { ensureSafety } from '../proto/runtime/safe-config.ts';
import { tlsEntries } from '../proto/runtime/tls.ts';
import { requiredFields } from './required-fields.ts';
import { coreSwitches } from './switches.ts';

/** The core's part of the environment; README.md has the table. */
export const coreConfig = z.object({
  CORE_HOST: host('127.0.0.1'),
  CORE_GRPC_PORT: port(50051),
  CORE_HTTP_PORT: port(50052),
  /** Who may call; without it no RPC is served on the ports (R33). */
  CORE_TOKENS: callerList().optional(),
  /** The core's own certificate, for both ports, and whose clients it lets in. */
  ...tlsEntries('CORE'),
  DATABASE_URL: databaseUrl(),
  /** Connections in all; one of them is kept for health. */
  DATABASE_POOL_SIZE: integer(10, { min: 2, max: 200 }),
  /** Whether statements are prepared; not through a pooler that cannot. */
  DATABASE_PREPARE: flag(true),
  /** Encrypts merchants' credentials at rest (R31). */
  CREDENTIALS_KEY: keyRing(),
  /** Seals credentials on file and signs events; shared with the relay alone (R31, R39). */
  EVENTS_KEY: keyRing(),
  /** Mode of credentials whose Connect did not say (R12). */
  MODE_WHEN_ABSENT: z.enum(['live', 'sandbox'], 'must be live or sandbox'),
  /** R4: the core has answered by then. */
  ANSWER_BUDGET_MS: milliseconds(8_000, { min: 500, max: 60_000 }),
  /** R4: a processor call is given up after this; what became of it is then unknown. */
  PROCESSOR_TIMEOUT_MS: milliseconds(60_000, { min: 100, max: 600_000 }),
  /** R15: how long after that reconciliation asks. */
  RECONCILE_GRACE_MS: milliseconds(30_000, { min: 100, max: 600_000 }),
  /** R16: a buyer who has not finished by then has left. */
  BUYER_TIMEOUT_MS: milliseconds(3_600_000, { min: 1_000 }),
  /** Where buyers reach the gateway; without it no link is made, and the engine is told that it may show no page (R36). */
  PUBLIC_URL: publicUrl().optional(),
  /** R20: processor calls in flight; over it a new id is answered 503. */
  PROCESSOR_CALLS_MAX: integer(200, { min: 1, max: 10_000 }),
  /** What the PSP has made obligatory for buyers; a payment without it is declined 1004 or 4001..4004. */
  REQUIRED_FIELDS: requiredFields(),
  /** What Wix's contract leaves open. */
  ...coreSwitches,
  /** Serves the console, a page for support and operators, at /console/ of CORE_HTTP_PORT. */
  CONSOLE: flag(false),
  /** Ways that can be read on other machines are meant (R33). */
  ALLOW_PLAINTEXT: flag(false),
  DRAIN_MS: milliseconds(8_000, { min: 0, max: 9_000 }),
  LOG_LEVEL: logLevel(),
});
export type CoreConfig = z.infer<typeof coreConfig>;

/** Where the PSP's engine is; there is no default, so that none can be met by mistake (R34). */
export const processorConfig = z.object({
  PROCESSOR_URL: url('http:', 'https:'),
  PROCESSOR_TOKEN: token(),
  ...tlsEntries('PROCESSOR'),
});
export type ProcessorConfig = z.infer<typeof processorConfig>;

/** Where the relay is that shows its deliveries at the core's port too; without it the core shows none. */
export const relayAtConfig = z.object({ RELAY_URL: url('http:', 'https:').optional(), ...tlsEntries('RELAY') });

/** The core as a process of its own, with gateway and relay elsewhere. */
export const standaloneConfig = z
  .object({
    ...coreConfig.shape,
    ...processorConfig.shape,
    ...relayAtConfig.shape,
    ...kafkaConfig.shape,
    CORE_TOKENS: callerList(),
  })
  .superRefine(ensureSafety);
