import { z } from 'zod';
import { flag, host, logLevel, milliseconds, parsedBy, port, text, token } from '../proto/runtime/config.ts';
import { ensureSafety } from '../proto/runtime/safe-config.ts';
import { tlsEntries } from '../proto/runtime/tls.ts';
import { readPublicKeys } from './verify-wix-signature.ts';

export type GatewayConfig = z.infer<typeof gatewayConfig>;

/** What the gateway needs wherever it runs. */
export const gatewayConfig = z.object({
  GATEWAY_HOST: host('127.0.0.1'),
  GATEWAY_PORT: port(8080),
  GATEWAY_ADMIN_PORT: port(8081),
  WIX_PUBLIC_KEY: parsedBy(readPublicKeys),
  CORE_DEADLINE_MS: milliseconds(10_000),
  ANSWER_BUDGET_MS: milliseconds(8_000),
  DRAIN_MS: milliseconds(8_000),
  LOG_LEVEL: logLevel(),
});

/** The gateway as a process of its own, with the core elsewhere. */
export const standaloneConfig = gatewayConfig
  .extend({
    CORE_URL: text().default('127.0.0.1:50051'),
    CORE_TOKEN: token(),
    /** Whose core is believed, and the gateway's own certificate. */
    ...tlsEntries('CORE'),
    ALLOW_PLAINTEXT: flag(false),
  })
  .superRefine(ensureSafety);
