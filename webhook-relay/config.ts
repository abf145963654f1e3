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
  secret,
  text,
  url,
} from '../proto/runtime/config.ts';
import { kafkaConfig } from '../proto/runtime/kafka-client.ts';
import { ensureSafety } from '../proto/runtime/safe-config.ts';
import { tlsEntries } from '../proto/runtime/tls.ts';

/** What the relay takes from the environment. */
export const relayConfig = z.object({
  DATABASE_URL: databaseUrl(),
  /** Whether statements are prepared; not through a pooler that cannot. */
  DATABASE_PREPARE: flag(true),
  /** Shared with the core alone: opens credentials on file, seals bodies, checks signatures. */
  EVENTS_KEY: keyRing(),
  WIX_API_URL: url('https:', 'http:').prefault('https://www.wixapis.com'),
  WIX_APP_ID: text(),
  WIX_APP_SECRET: secret(),
  WIX_USER_AGENT: text().refine((value) => /^[\w.-]+\/[\w.-]+$/.test(value), 'must look like name/version'),
  /** Node's own name: the calls of Wix go through the proxy that HTTPS_PROXY and the like name. */
  NODE_USE_ENV_PROXY: z
    .string()
    .optional()
    .transform((value) => value === '1'),
  /** The answer to Wix's call comes first (R6). */
  EVENT_DELAY_MS: milliseconds(200, { min: 0 }),
  /** Attempts that run at once; those of one merchant are a quarter of them at most (R29). */
  RELAY_CONCURRENCY: integer(128, { min: 1, max: 256 }),
  /** U7: an event that Wix has not taken since its first attempt so long ago is stuck: an alert, and an attempt every six hours (R29). */
  STUCK_AFTER_MS: milliseconds(3 * 24 * 3_600_000, { min: 1_000 }),
  RELAY_PORT: port(8082),
  /** Who may look at deliveries and decide about them; without it no RPC is served (R33). */
  RELAY_TOKENS: callerList().optional(),
  RELAY_HOST: host('127.0.0.1'),
  /** The port's certificate, and whose clients are let in. */
  ...tlsEntries('RELAY'),
  /** Ways that can be read on other machines are meant (R33). */
  ALLOW_PLAINTEXT: flag(false),
  DRAIN_MS: milliseconds(8000),
  LOG_LEVEL: logLevel(),
});

export type RelayConfig = z.infer<typeof relayConfig>;

/** The relay as a process of its own, with the core elsewhere. */
export const standaloneConfig = z.object({ ...relayConfig.shape, ...kafkaConfig.shape }).superRefine(ensureSafety);
