import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { freshDatabase } from '../support/database.ts';
import { mochaGlobalSetup, mochaGlobalTeardown } from '../support/setup.ts';
import { fuzz } from './fuzz.ts';

const HELP = `Sends the doors of a whole connector what nobody should send: bytes, headers, bodies of Wix's rightly signed with other values in
them, messages to the PSP's services with and without tokens.

  npm run fuzz [-- --inputs 10000 --seed N --from 0]

The same seed gives the same inputs, in batches of 500; --from begins at a later one, which is a multiple of 500.
Exits with 1 if an answer is none of the stated ones, something is logged as an error, or the connector is not well in the end.
`;

const { values } = parseArgs({
  options: {
    inputs: { type: 'string', default: '10000' },
    seed: { type: 'string', default: String(randomInt(1_000_000)) },
    from: { type: 'string', default: '0' },
    help: { type: 'boolean', short: 'h' },
  },
});

async function main(): Promise<void> {
  const say = (text: string) => process.stdout.write(`${text}\n`);
  say(`seed ${values.seed}`);
  await mochaGlobalSetup();
  try {
    const [count, seed, from] = [Number(values.inputs), Number(values.seed), Number(values.from)];
    const report = await fuzz({ databaseUrl: await freshDatabase(), count, seed, from, onStep: say });
    for (const [answer, times] of Object.entries(report.answers)) say(`${String(times).padStart(8)} ${answer}`);
    for (const failure of report.failures.slice(0, 50)) say(failure);
    say(`${count} inputs in ${report.seconds} s, memory ${report.rss.join(', ')} MiB`);
    say(report.failures.length === 0 ? 'All is well.' : `${report.failures.length} things are not well.`);
    process.exitCode = report.failures.length === 0 ? 0 : 1;
  } finally {
    await mochaGlobalTeardown();
  }
}

if (values.help) process.stdout.write(HELP);
else await main();
