import { randomInt } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { onSignal } from '../support/on-signal.ts';
import { createChance } from './chance.ts';
import { endAll } from './program.ts';
import { soak } from './soak.ts';
import { soakApart } from './soak-apart.ts';

const HELP = `Kills, stops and starts what serves payments while they go on; then holds what Wix was told against what the engine took.

  npm run faults [-- --apart] [--seconds N] [--in-flight 8] [--seed N]

Without --apart: the connector in one process, its PostgreSQL and the engine; Wix fails too. 60 s by default.
With --apart: two gateways, two cores and two relays as processes, one PostgreSQL, one Kafka broker and the engine. Each is
killed in turn; the core that publishes and a relay that delivers sleep for longer than their lock and leases. 90 s by
default, and one round at least. Needs java and mvn for the broker.

Faults come in rounds, each in an order, with pauses and for times that the seed decides; it is printed first.

Exits with 1 if a payment was charged otherwise than told, an outcome was not told or told wrongly, or anything stays
undecided.
`;

const { values } = parseArgs({
  options: {
    apart: { type: 'boolean', default: false },
    seconds: { type: 'string' },
    'in-flight': { type: 'string', default: '8' },
    seed: { type: 'string', default: String(randomInt(1_000_000)) },
    help: { type: 'boolean', short: 'h' },
  },
});

async function main(): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'soak-'));
  chmodSync(folder, 0o755);
  onSignal(() => endAll(folder));
  try {
    const inFlight = Number(values['in-flight']);
    const seconds = Number(values.seconds ?? (values.apart ? '90' : '60'));
    process.stdout.write(`seed ${values.seed}\n`);
    const isWell = await (values.apart ? soakApart : soak)(
      folder,
      seconds,
      inFlight,
      createChance(Number(values.seed)),
    );
    process.stdout.write(isWell ? 'All is well.\n' : 'Not all is well.\n');
    process.exitCode = isWell ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

if (values.help) process.stdout.write(HELP);
else await main();
