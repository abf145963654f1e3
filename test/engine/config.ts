import { z } from 'zod';
import { flag, host, isLoopback, milliseconds, port, publicUrl, text, token } from '../../proto/runtime/config.ts';
import { ensureSafety } from '../../proto/runtime/safe-config.ts';
import { tlsEntries } from '../../proto/runtime/tls.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;

/** What the simulated engine takes from the environment. */
export const engineConfig = z
  .object({
    ENGINE_TOKEN: token(),
    ENGINE_HOST: host('127.0.0.1'),
    ENGINE_PORT: port(50_061),
    ENGINE_DATA: text().default('./.data/engine'),
    ENGINE_PENDING_MS: milliseconds(1_500),
    ENGINE_ANSWER_MS: milliseconds(0, { min: 0 }),
    ENGINE_HTTP_HOST: host('127.0.0.1'),
    ENGINE_HTTP_PORT: port(50_062),
    ENGINE_HTTP_URL: publicUrl().optional(),
    ENGINE_VOUCHER_MS: milliseconds(3 * DAY_MS, { max: 180 * DAY_MS }),
    ...tlsEntries('ENGINE'),
    ...tlsEntries('CORE'),
    CORE_URL: text().optional(),
    CORE_TOKEN: token().optional(),
    ALLOW_PLAINTEXT: flag(false),
    LOG_LEVEL: text().default('info'),
  })
  .superRefine(ensureSafety)
  .refine((config) => !config.CORE_URL || config.CORE_TOKEN, {
    path: ['CORE_TOKEN'],
    message: 'is needed with CORE_URL',
  })
  .refine((config) => config.ENGINE_HTTP_URL || isLoopback(config.ENGINE_HTTP_HOST), {
    path: ['ENGINE_HTTP_URL'],
    message: 'is needed where ENGINE_HTTP_HOST is not this machine alone',
  });
