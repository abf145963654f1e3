import { z } from 'zod';
import { milliseconds, port, text, token } from '../../proto/runtime/config.ts';
import { servesSafely, tlsEntries } from '../../proto/runtime/tls.ts';

/** What the simulated engine takes from the environment. */
export const engineConfig = z
  .object({
    ENGINE_TOKEN: token(),
    ENGINE_HOST: text().default('127.0.0.1'),
    ENGINE_PORT: port(50_061),
    ENGINE_DATA: text().default('./.data/engine'),
    ENGINE_PENDING_MS: milliseconds(1_500),
    ...tlsEntries('ENGINE'),
    ...tlsEntries('CORE'),
    CORE_URL: text().optional(),
    CORE_TOKEN: token().optional(),
    LOG_LEVEL: text().default('info'),
  })
  .superRefine(servesSafely('ENGINE'))
  .refine((config) => !config.CORE_URL || config.CORE_TOKEN, {
    path: ['CORE_TOKEN'],
    message: 'is needed with CORE_URL',
  });
