import { createServer } from 'node:http';
import { z } from 'zod';
import { integer, parseConfig, port, secret, secretNames, text } from '../../proto/runtime/config.ts';
import { closeHttp, listen, runMain, type Service } from '../../proto/runtime/lifecycle.ts';

// A service for lifecycle.spec.ts: answers the variables that its children would inherit, after WAIT_MS.

const schema = z.object({
  PORT: port(0),
  WAIT_MS: integer(0),
  DRAIN_MS: integer(5000),
  NAME: text(),
  PASSWORD: secret(),
});

runMain(
  'fixture',
  async (env): Promise<Service> => {
    const config = parseConfig(schema, env);
    const server = createServer((request, response) => {
      if (request.url === '/reject') Promise.reject(new Error('nobody handles me, 4242424242424242'));
      process.stdout.write('{"event":"request"}\n');
      setTimeout(() => response.end(Object.keys(process.env).join()), config.WAIT_MS).unref();
    });
    return {
      start: async () => {
        const bound = await listen(server, config.PORT, '127.0.0.1');
        process.stdout.write(`${JSON.stringify({ event: 'listening', port: bound })}\n`);
      },
      stop: () => closeHttp(server, config.DRAIN_MS),
    };
  },
  secretNames(schema),
);
