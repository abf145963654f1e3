import assert from 'node:assert/strict';
import { type Program, startProgram } from './program.ts';
import { ENGINE_TOKEN } from './surroundings.ts';

export interface EngineProcess extends Program {
  readonly url: string;
  /** Another one on the same books and the same port, after this one has ended. */
  again(): Promise<EngineProcess>;
}

/** Starts `npm run engine` and waits until it listens. `data`: the folder of its books; `answerMs`: what each of its answers takes. */
export async function startEngine(data: string, port = '0', answerMs = '0'): Promise<EngineProcess> {
  const env = {
    ENGINE_PORT: port,
    ENGINE_HTTP_PORT: '0',
    ENGINE_DATA: data,
    ENGINE_TOKEN,
    ENGINE_PENDING_MS: '200',
    ENGINE_ANSWER_MS: answerMs,
    LOG_LEVEL: 'error',
  };
  const program = startProgram('test/engine/main.ts', env);
  const bound = await program.until(({ out }) => {
    const [, found] = /listens on 127\.0\.0\.1:(\d+)/.exec(out) ?? [];
    assert.ok(found);
    return found;
  });
  return Object.assign(program, { url: `http://127.0.0.1:${bound}`, again: () => startEngine(data, bound, answerMs) });
}
