import path from 'node:path';
import { sleep } from '../../proto/runtime/loop.ts';
import { openBooks } from '../engine/books.ts';
import type { Wix } from '../wix/wix.ts';
import type { Chance } from './chance.ts';
import { type EngineProcess, startEngine } from './engine-process.ts';
import { endPostgres, endPrograms, type Program } from './program.ts';
import { createShoppers } from './shoppers.ts';
import {
  adminUrlOf,
  connectMerchant,
  letLeasesEnd,
  openSurroundings,
  type Surroundings,
  startConnector,
} from './surroundings.ts';
import { judge, print } from './verdict.ts';

/** Between two faults, at least and at most. */
const CALM_MS = [200, 3_800] as const;
/** How long what is stopped or broken stays so. */
const TROUBLE_MS = [200, 2_800] as const;
/** In which all must be settled when the trouble is over. */
const SETTLE_MS = 60_000;

/** What runs, and is replaced by what runs after it. */
interface Scene extends Surroundings {
  readonly dataDir: string;
  connector: Program & { readonly url: string };
  engineProcess: EngineProcess;
}

function faultsOf(scene: Scene, chance: Chance): Readonly<Record<string, () => Promise<void>>> {
  const { wix, dataDir, env } = scene;
  const restart = async () => {
    scene.connector = await startConnector(env);
    await letLeasesEnd(adminUrlOf(dataDir));
  };
  const stopped = async (program: Program) => {
    program.signal('SIGSTOP');
    await sleep(chance.ms(...TROUBLE_MS));
    program.signal('SIGCONT');
  };
  const broken = async (failure: Parameters<Wix['fail']>[0]) => {
    const heal = wix.fail(failure);
    await sleep(chance.ms(...TROUBLE_MS));
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
      await sleep(chance.ms(...TROUBLE_MS));
      await scene.connector.kill();
      await restart();
    },
    'engine killed': async () => {
      await scene.engineProcess.kill();
      await sleep(chance.ms(...TROUBLE_MS));
      scene.engineProcess = await scene.engineProcess.again();
    },
    'connector asleep': () => stopped(scene.connector),
    'engine asleep': () => stopped(scene.engineProcess),
    'Wix refuses events': () => broken({ status: 500 }),
    'Wix gives no tokens': () => broken({ at: 'token', reset: true }),
    'Wix hangs': () => broken({ hang: true }),
  };
}

/** Answers whether all was well. */
export async function soak(folder: string, seconds: number, inFlight: number, chance: Chance): Promise<boolean> {
  const stage = await openSurroundings();
  const dataDir = path.join(folder, 'data');
  const books = path.join(folder, 'engine');
  try {
    const engineProcess = await startEngine(books);
    const env = { ...stage.env, DATA_DIR: dataDir, PROCESSOR_URL: engineProcess.url };
    const scene: Scene = { ...stage, env, dataDir, engineProcess, connector: await startConnector(env) };
    const shoppers = createShoppers(stage.wix, [await connectMerchant(stage.wix, scene.connector.url)]);
    const faults = Object.entries(faultsOf(scene, chance));
    const counts = new Map(faults.map(([name]) => [name, 0]));
    let round: typeof faults = [];

    const end = Date.now() + seconds * 1000;
    const shopping = shoppers.shop({ inFlight, more: () => Date.now() < end }).then(
      () => undefined,
      (error: Error) => error,
    );
    while (Date.now() < end) {
      if (round.length === 0) round = chance.shuffled(faults);
      await sleep(chance.ms(...CALM_MS));
      const [name, fault] = round.pop()!;
      await fault();
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const unanswered = await shopping;
    print(Object.fromEntries(counts));
    const taken = openBooks(books, { readOnly: true });
    const databaseUrl = adminUrlOf(dataDir);
    const problems = unanswered ? [unanswered.message] : [];
    return await judge({ wix: stage.wix, books: taken, shoppers, databaseUrl, settleMs: SETTLE_MS, problems });
  } finally {
    await endPrograms();
    await endPostgres(dataDir);
    await stage.close();
  }
}
