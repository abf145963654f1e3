import { z } from 'zod';
import {
  flag,
  isLoopback,
  logLevel,
  milliseconds,
  PLAINTEXT_REFUSED,
  port,
  secret,
  text,
} from '../proto/runtime/config.ts';
import { readPublicKeys } from './verify-wix-signature.ts';

export type GatewayConfig = z.infer<typeof gatewayConfig>;

/** What the gateway needs wherever it runs. */
export const gatewayConfig = z.object({
  GATEWAY_HOST: text().default('127.0.0.1'),
  GATEWAY_PORT: port(8080),
  GATEWAY_ADMIN_PORT: port(8081),
  WIX_PUBLIC_KEY: text().transform((pem, context) => {
    try {
      return readPublicKeys(pem);
    } catch (error) {
      context.issues.push({ code: 'custom', input: undefined, message: (error as Error).message });
      return z.NEVER;
    }
  }),
  CORE_DEADLINE_MS: milliseconds(10_000),
  ANSWER_BUDGET_MS: milliseconds(8_000),
  DRAIN_MS: milliseconds(8_000),
  LOG_LEVEL: logLevel(),
});

/** The gateway as a process of its own, with the core elsewhere. */
export const standaloneConfig = gatewayConfig
  .extend({
    CORE_URL: text().default('127.0.0.1:50051'),
    CORE_TOKEN: secret(32),
    ALLOW_PLAINTEXT: flag(false),
  })
  .refine(({ CORE_URL, ALLOW_PLAINTEXT }) => ALLOW_PLAINTEXT || isLoopback(CORE_URL), {
    path: ['CORE_URL'],
    message: PLAINTEXT_REFUSED,
  });
