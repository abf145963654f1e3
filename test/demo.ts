import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { parseArgs, styleText } from 'node:util';
import { CONTROL_PORT, type Line, runDemo, type Summary } from './control.ts';
import type { Verdict } from './flows.ts';
import { startPlayground } from './playground.ts';

const HELP = `Drives every flow of card payments as Wix would, and holds each against the contract.

  npm run demo [-- --data DIR]

Uses the connector of \`npm start\` if it runs, else starts one of its own on the same data.

  --data DIR   where everything is kept (./.data)
  --help

Exits with 1 if a flow breaks a rule.
`;

const { values } = parseArgs({
  options: { data: { type: 'string', default: './.data' }, help: { type: 'boolean', short: 'h' } },
});

/** The flows of a running `npm start`, or undefined if there is none. */
async function fromRunning(): Promise<AsyncIterable<Line> | undefined> {
  const response = await fetch(`http://127.0.0.1:${CONTROL_PORT}/demo`, { method: 'POST' }).catch(() => undefined);
  if (!response?.body) return undefined;
  const lines = createInterface({ input: Readable.fromWeb(response.body as import('node:stream/web').ReadableStream) });
  return (async function* () {
    for await (const line of lines) yield JSON.parse(line) as Line;
  })();
}

async function demo(data: string): Promise<number> {
  const running = await fromRunning();
  if (running) return print(running);
  const free = {
    GATEWAY_PORT: '0',
    GATEWAY_ADMIN_PORT: '0',
    CORE_GRPC_PORT: '0',
    CORE_HTTP_PORT: '0',
    RELAY_PORT: '0',
  };
  const playground = await startPlayground({ data, env: free });
  try {
    return await print(runDemo(playground));
  } finally {
    await playground.stop();
  }
}

async function print(lines: AsyncIterable<Line>): Promise<number> {
  let code = 1;
  for await (const line of lines) {
    if ('flow' in line) printVerdict(line);
    else code = printSummary(line);
  }
  if (code !== 0) console.log(styleText('red', 'The demo did not come to a good end.'));
  return code;
}

function printVerdict({ flow, answer, event, problems }: Verdict): void {
  const mark = problems.length === 0 ? styleText('green', 'ok  ') : styleText('red', 'FAIL');
  console.log(`${mark} ${flow.padEnd(34)} ${short(answer, 70).padEnd(70)} ${short(event, 90)}`);
  for (const problem of problems) console.log(styleText('red', `       ${problem}`));
}

function short(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}

function printSummary({ flows, failed, violations, untold, chargedTwice, nodeMb, postgresMb }: Summary): number {
  console.log(`
${flows} flows, ${failed} failed; over all that ever happened here: ${violations.length} violations of the contract, ${untold.length} outcomes untold, ${chargedTwice.length} payments charged twice
Node ${nodeMb} MB resident, PostgreSQL ${postgresMb} MB
`);
  for (const problem of [...violations, ...untold, ...chargedTwice]) console.log(styleText('red', `  ${problem}`));
  return failed + violations.length + untold.length + chargedTwice.length === 0 ? 0 : 1;
}

if (values.help) process.stdout.write(HELP);
else
  demo(values.data).then(
    (code) => {
      process.exitCode = code;
    },
    (error: Error) => {
      console.error(`npm run demo: ${error.message}`);
      process.exitCode = 1;
    },
  );
