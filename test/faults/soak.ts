import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { sleep } from '../../proto/runtime/loop.ts';
import { type Books, openBooks } from '../engine/books.ts';
import type { Wix } from '../wix/wix.ts';
import { type EngineProcess, startEngine } from './engine-process.ts';
import { endPostgres, endPrograms, type Program } from './program.ts';
import { createShoppers, type Shoppers } from './shoppers.ts';
import {
  adminUrlOf,
  connectMerchant,
  disagreements,
  letLeasesEnd,
  openMatters,
  openSurroundings,
  type Surroundings,
  startConnector,
  untilSettled,
} from './surroundings.ts';

const HELP = `Kills, stops and starts the connector, its PostgreSQL and the engine, and makes Wix fail, while payments go on;
then holds what Wix was told against what the engine took.

  npm run faults [-- --seconds 60 --in-flight 8]

Exits with 1 if a payment was charged twice, an outcome was not told or told wrongly, or anything stays undecided.
`;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    'in-flight': { type: 'string', default: '8' },
    help: { type: 'boolean', short: 'h' },
  },
});

/** Between two faults. */
const CALM_MS = 2_000;
/** How long what is stopped or broken stays so. */
const TROUBLE_MS = 1_500;
/** In which all must be settled when the trouble is over. */
const SETTLE_MS = 60_000;

/** What runs, and is replaced by what runs after it. */
interface Scene extends Surroundings {
  readonly dataDir: string;
  connector: Program & { readonly url: string };
  engineProcess: EngineProcess;
}

function faultsOf(scene: Scene): Readonly<Record<string, () => Promise<void>>> {
  const { wix, dataDir, env } = scene;
  const restart = async () => {
    scene.connector = await startConnector(env);
    await letLeasesEnd(adminUrlOf(dataDir));
  };
  const stopped = async (program: Program) => {
    program.signal('SIGSTOP');
    await sleep(TROUBLE_MS);
    program.signal('SIGCONT');
  };
  const broken = async (failure: Parameters<Wix['fail']>[0]) => {
    const heal = wix.fail(failure);
    await sleep(TROUBLE_MS);
    heal();
  };
  return {
    'connector killed': async () => {
      await scene.connector.kill();
      await restart();
    },
    'connector and PostgreSQL killed': async () => {
      await Promise.all([scene.connector.kill(), endPostgres(dataDir, 'SIGKILL')]);
      await restart();
    },
    'PostgreSQL killed, then the connector': async () => {
      await endPostgres(dataDir, 'SIGKILL');
      await sleep(TROUBLE_MS);
      await scene.connector.kill();
      await restart();
    },
    'engine killed': async () => {
      await scene.engineProcess.kill();
      await sleep(TROUBLE_MS);
      scene.engineProcess = await scene.engineProcess.again();
    },
    'connector asleep': () => stopped(scene.connector),
    'engine asleep': () => stopped(scene.engineProcess),
    'Wix refuses events': () => broken({ status: 500 }),
    'Wix gives no tokens': () => broken({ at: 'token', reset: true }),
    'Wix hangs': () => broken({ hang: true }),
  };
}

/** Whether all was well. */
async function soak(folder: string, seconds: number, inFlight: number): Promise<boolean> {
  const stage = await openSurroundings();
  const dataDir = path.join(folder, 'data');
  const books = path.join(folder, 'engine');
  try {
    const engineProcess = await startEngine(books);
    const env = { ...stage.env, DATA_DIR: dataDir, PROCESSOR_URL: engineProcess.url };
    const scene: Scene = { ...stage, env, dataDir, engineProcess, connector: await startConnector(env) };
    const shoppers = createShoppers(stage.wix, await connectMerchant(stage.wix, scene.connector.url));
    const faults = Object.entries(faultsOf(scene));
    const counts = new Map(faults.map(([name]) => [name, 0]));

    const end = Date.now() + seconds * 1000;
    const shopping = shoppers.shop({ inFlight, more: () => Date.now() < end }).then(
      () => undefined,
      (error: Error) => error,
    );
    for (let i = 0; Date.now() < end; i++) {
      await sleep(CALM_MS);
      const [name, fault] = faults[i % faults.length]!;
      await fault();
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const unanswered = await shopping;
    print(Object.fromEntries(counts));
    return await judge(scene, openBooks(books, { readOnly: true }), shoppers, unanswered);
  } finally {
    await endPrograms();
    await endPostgres(dataDir);
    await stage.close();
  }
}

async function judge(scene: Scene, books: Books, shoppers: Shoppers, unanswered: Error | undefined): Promise<boolean> {
  const { wix } = scene;
  const url = adminUrlOf(scene.dataDir);
  const begun = Date.now();
  const late = await untilSettled(wix, url, SETTLE_MS).catch((error: Error) => error);
  const told = wix.events().filter(({ accepted }) => accepted);
  print({
    payments: shoppers.payments.length,
    'operations of the engine': books.list().length,
    'events told': told.length,
    'events told again': told.length - new Set(told.map(({ text }) => text)).size,
    'seconds until all was settled': Math.round((Date.now() - begun) / 1000),
  });
  const problems: Record<string, readonly string[]> = {
    'payments charged otherwise than told': disagreements(wix, books, shoppers.payments),
    'violations of the contract': wix.violations,
    'outcomes untold': wix.untold,
    'matters undecided': await openMatters(url),
    'other problems': [late, unanswered].flatMap((error) => (error ? [error.message] : [])),
  };
  books.close();
  print(Object.fromEntries(Object.entries(problems).map(([name, lines]) => [name, lines.length])));
  const lines = Object.values(problems).flat();
  for (const line of lines.slice(0, 20)) process.stdout.write(`  ${line}\n`);
  return lines.length === 0;
}

function print(figures: Record<string, number | string>): void {
  for (const [name, figure] of Object.entries(figures))
    process.stdout.write(`${String(figure).padStart(8)}  ${name}\n`);
}

async function main(seconds: number, inFlight: number): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'soak-'));
  chmodSync(folder, 0o755);
  try {
    const isWell = await soak(folder, seconds, inFlight);
    process.stdout.write(isWell ? 'All is well.\n' : 'Not all is well.\n');
    process.exitCode = isWell ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (values.help) process.stdout.write(HELP);
else await main(Number(values.seconds), Number(values['in-flight']));
