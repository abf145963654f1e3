import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { eventually } from '../support/eventually.ts';
import { endPostgres, endPrograms, freePort, isAlive, postmasterOf, startProgram } from './program.ts';
import { adminUrlOf, letLeasesEnd, openMatters } from './surroundings.ts';

// What a visitor may do: kill the demo in the middle, and start again on the same data.

describe('npm run demo, killed in the middle', function () {
  this.timeout(60_000);
  let data: string;
  let postgresDir: string;

  beforeEach(() => {
    data = mkdtempSync(path.join(tmpdir(), 'demo-'));
    chmodSync(data, 0o755);
    postgresDir = path.join(data, 'postgres');
  });
  afterEach(async () => {
    await endPrograms();
    await endPostgres(postgresDir);
    rmSync(data, { recursive: true, force: true });
  });

  const programs = async () => {
    const own = {
      GATEWAY_PORT: '0',
      GATEWAY_ADMIN_PORT: '0',
      RELAY_PORT: '0',
      CORE_GRPC_PORT: '0',
      CORE_HTTP_PORT: '0',
      ENGINE_HTTP_PORT: '0',
    };
    const [wixPort, controlPort] = [await freePort(), await freePort()];
    const env = { ...own, WIX_PORT: wixPort, CONTROL_PORT: controlPort };
    return {
      demo: () => startProgram('test/demo.ts', env, ['--data', data]),
      start: () => startProgram('test/start.ts', env, ['--data', data]),
      status: async () => (await fetch(`http://127.0.0.1:${controlPort}/status`)).json() as Promise<Status>,
    };
  };

  /** After so many flows: within one whose payment has no answer, and within one whose payment is under review. */
  for (const [postgres, flows] of [
    ['its PostgreSQL lives on', 7],
    ['its PostgreSQL dies too', 5],
  ] as const)
    it(`R14 npm start tells what was untold and charges nothing twice, when ${postgres}`, async () => {
      const { demo, start, status } = await programs();
      const killed = demo();
      await killed.until(({ out }) => assert.ok(out.split('\n').length > flows));
      if (postgres.includes('dies')) await Promise.all([killed.kill(), endPostgres(postgresDir, 'SIGKILL')]);
      else {
        await killed.kill();
        assert.ok(isAlive(postmasterOf(postgresDir)!));
        await letLeasesEnd(adminUrlOf(postgresDir));
      }
      const started = start();
      await started.until(({ out }) => assert.match(out, /^Ready after/m));
      await letLeasesEnd(adminUrlOf(postgresDir));
      await eventually(
        async () => {
          const { violations, untold, chargedTwice } = await status();
          const open = await openMatters(adminUrlOf(postgresDir));
          const nothing = { violations: [], untold: [], chargedTwice: [], open: [] };
          assert.deepEqual({ violations, untold, chargedTwice, open }, nothing);
        },
        { timeoutMs: 20_000, every: 100 },
      );
      assert.ok((await status()).events > 0);
      started.signal('SIGTERM');
      assert.equal(await started.ended, 0, started.err);
      assert.equal(postmasterOf(postgresDir), undefined);
    });
});

interface Status {
  readonly violations: string[];
  readonly untold: string[];
  readonly chargedTwice: string[];
  readonly events: number;
}
