import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { sleep } from '../../proto/runtime/loop.ts';
import { READERS } from '../kafka/read-topic.ts';
import { eventually } from '../support/eventually.ts';
import { type KafkaBroker, untilKafkaAnswers } from '../support/kafka-broker.ts';
import type { Chance } from './chance.ts';
import { isAlive, type Program } from './program.ts';
import { type Instance, type ServicesApart, startServicesApart } from './services-apart.ts';
import { createShoppers } from './shoppers.ts';
import { ask } from './surroundings.ts';
import { judge, print } from './verdict.ts';

/** Between two faults, at least and at most. */
const CALM_MS = [200, 3_800] as const;
/** How long what is killed stays so. */
const DOWN_MS = [200, 2_800] as const;
/** Longer than the database leaves a publisher its lock without hearing of it. */
const PUBLISHER_SLEEPS_MS = 6_000;
/** Longer than a lease on a delivery. */
const DELIVERER_SLEEPS_MS = 35_000;
/** Who are paid in turn. */
const MERCHANTS = 8;
/** In which all must be settled when the trouble is over; what a killed relay held is free only when its lease is over. */
const SETTLE_MS = 120_000;

/** Each in turn; the round says whose turn it is of two. */
function faultsOf(apart: ServicesApart, chance: Chance): Readonly<Record<string, (round: number) => Promise<void>>> {
  const { services, engine, broker, databaseUrl } = apart;
  const of = (two: readonly Instance[], round: number) => two[round % 2] as Instance;
  const killed = async ({ program, again }: Instance) => {
    await program.kill();
    await sleep(chance.ms(...DOWN_MS));
    await again();
  };
  return {
    'gateway killed': (round) => killed(of(services.gateways, round)),
    'core killed': (round) => killed(of(services.cores, round)),
    'relay killed': (round) => killed(of(services.relays, round)),
    'engine killed': () => killed(engine),
    'PostgreSQL killed': async () => {
      await apart.killPostgres();
      await sleep(chance.ms(...DOWN_MS));
      await apart.startPostgres();
    },
    'broker killed': async () => {
      writeFileSync(path.join(broker.dir, 'down'), '');
      signalBroker(broker, 'SIGKILL');
      await sleep(chance.ms(...DOWN_MS));
      rmSync(path.join(broker.dir, 'down'));
      await untilKafkaAnswers(broker.address);
    },
    'publishing core asleep': async () => {
      signalBroker(broker, 'SIGSTOP');
      const publisher = await eventually(() => stopPublisher(services.cores, databaseUrl)).finally(() =>
        signalBroker(broker, 'SIGCONT'),
      );
      await sleep(PUBLISHER_SLEEPS_MS);
      const holder = await lockHolder(databaseUrl);
      publisher.program.signal('SIGCONT');
      assert.notEqual(holder, publisher.name, 'a publisher that sleeps keeps its lock');
    },
    'delivering relay asleep': async (round) => {
      // While only one of them is in the consumers' group, that one takes all.
      const heldOf = (which: number) => deliveriesHeldAsleep(of(services.relays, which).program, apart);
      const held = (await heldOf(round)) || (await heldOf(round + 1));
      assert.notEqual(held, 0, 'the relays that slept held no delivery');
    },
  };
}

/** Stops a relay for longer than its leases while Wix does not answer, and says how many deliveries it held. */
async function deliveriesHeldAsleep(program: Program, { wix, databaseUrl }: ServicesApart): Promise<number> {
  const held = (until: string) => ask(databaseUrl, `select from relay.transactions where claimed_until < ${until}`);
  const heal = wix.fail({ hang: true });
  const isBusy = async () => assert.ok((await held(`'infinity'`)).length >= 20, 'the relays have little to do');
  await eventually(isBusy, { timeoutMs: 20_000, every: 100 }).finally(() => {
    program.signal('SIGSTOP');
    heal();
  });
  // By then the calls of the other one have timed out: whatever is held for longer is the sleeper's.
  await sleep(DELIVERER_SLEEPS_MS / 2);
  const { length } = await held(`now() + interval '15 seconds'`);
  await sleep(DELIVERER_SLEEPS_MS / 2);
  program.signal('SIGCONT');
  return length;
}

function signalBroker({ dir }: KafkaBroker, name: NodeJS.Signals): void {
  process.kill(Number(readFileSync(path.join(dir, 'pid'), 'utf8')), name);
}

/** Stops the core that holds the publisher's lock, which it holds for as long as the broker does not answer. */
async function stopPublisher(cores: readonly Instance[], databaseUrl: string): Promise<Instance> {
  const holder = await lockHolder(databaseUrl);
  const core = cores.find(({ name }) => name === holder);
  assert.ok(core, 'no core publishes');
  core.program.signal('SIGSTOP');
  if ((await lockHolder(databaseUrl)) === core.name) return core;
  core.program.signal('SIGCONT');
  throw new Error('the publisher was through');
}

async function lockHolder(databaseUrl: string): Promise<string | undefined> {
  const [holder] = await ask<{ name: string }>(
    databaseUrl,
    `select application_name as name from pg_locks join pg_stat_activity using (pid)
     where locktype = 'advisory' and granted and application_name like 'core-%'`,
  );
  return holder?.name;
}

/** Payments whose events stand on the topic, or reached Wix, in another order than they happened. */
async function disorder({ env, databaseUrl }: ServicesApart): Promise<string[]> {
  const highest = new Map<string, number>();
  const onTopic = (await READERS['a plain consumer']?.(env))?.flatMap(({ key, headers }) => {
    const before = highest.get(key) ?? 0;
    const sequence = Number(headers.sequence);
    highest.set(key, Math.max(before, sequence));
    return sequence <= before + 1 ? [] : [`${key}: ${sequence} after ${before} on the topic`];
  });
  const told = await ask<{ problem: string }>(
    databaseUrl,
    `with told as (
       select transaction_id, sequence, min(started_at) as at
       from relay.deliveries join relay.attempts using (event_id)
       where http_status = 200 and error is null group by 1, 2),
     following as (select *, lag(at) over (partition by transaction_id order by sequence) as before from told)
     select transaction_id || ': ' || sequence || ' told before the one before it' as problem from following where at < before`,
  );
  return [...(onTopic ?? ['the topic was not read']), ...told.map(({ problem }) => problem)];
}

/** Runs for so many seconds, and for one round of all faults at least. Answers whether all was well. */
export async function soakApart(folder: string, seconds: number, inFlight: number, chance: Chance): Promise<boolean> {
  // A gateway gives up a core that sleeps, as quickly as everything here.
  const apart = await startServicesApart(folder, { CORE_DEADLINE_MS: '2000' });
  const { wix, books, databaseUrl, services, engine } = apart;
  try {
    // Of one merchant a single relay may hold all that may be held at once.
    const shoppers = createShoppers(wix, await Promise.all(Array.from({ length: MERCHANTS }, () => apart.connect())));
    const faults = Object.entries(faultsOf(apart, chance));
    let round: typeof faults = [];
    const end = Date.now() + seconds * 1000;
    let isOver = false;
    const problems: string[] = [];
    const note = ({ message }: Error) => void problems.push(message);
    const shopping = shoppers.shop({ inFlight, more: () => !isOver }).catch(note);
    for (let i = 0; i < faults.length || Date.now() < end; i++) {
      await sleep(chance.ms(...CALM_MS));
      if (round.length === 0) round = chance.shuffled(faults);
      const [name, fault] = round.pop()!;
      const before = shoppers.done;
      const begun = Date.now();
      await fault(Math.floor(i / faults.length)).catch((error: Error) => note(new Error(`${name}: ${error.message}`)));
      print({ [`payments during ${((Date.now() - begun) / 1000).toFixed(1)} s of: ${name}`]: shoppers.done - before });
    }
    isOver = true;
    await shopping;
    const look = async () => {
      const programs = [engine, ...Object.values(services).flat()];
      return {
        'events out of order': await disorder(apart),
        'programs ended by themselves': programs
          .filter(({ program }) => !isAlive(program.pid))
          .map(({ name, program }) => `${name}: ${program.err}`),
      };
    };
    return await judge({ wix, books, shoppers, databaseUrl, settleMs: SETTLE_MS, problems, look });
  } finally {
    await apart.close();
  }
}
