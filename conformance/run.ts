import { type Check, missing } from './check.ts';
import { CHECKS } from './checks.ts';
import type { Config } from './config.ts';
import { createMask, type Mask } from './mask.ts';
import type { Signer } from './signature.ts';
import { Blocked, Broken, type Call, createWix, type Run } from './wix.ts';
import { type SubmittedEvent, startWixServer, type WixServer } from './wix-server.ts';

// Runs checks: many at once, then those that disturb others, then those that look at everything.

export type Verdict = 'passed' | 'failed' | 'blocked' | 'not run';

export interface Result {
  readonly check: Check;
  readonly verdict: Verdict;
  /** What is wrong, or what the config lacks. */
  readonly says: string;
  readonly seconds: number;
  readonly calls: readonly Call[];
  readonly events: readonly SubmittedEvent[];
}

export interface Report {
  readonly config: Config;
  readonly mask: Mask;
  readonly results: readonly Result[];
  readonly seconds: number;
  readonly startedAt: Date;
  /** To be read before everything else; may be empty. */
  readonly notice: string;
}

/** The plugin cannot be tried at all. */
export class Unreachable extends Error {
  override name = 'Unreachable';
}

export interface RunOptions {
  readonly config: Config;
  readonly signer: Signer;
  readonly checks?: readonly Check[];
  readonly onStart?: (server: WixServer) => void;
  readonly onResult?: (result: Result, done: number, total: number) => void;
}

export async function runChecks(options: RunOptions): Promise<Report> {
  const { config, signer } = options;
  const { host, port, appId, appSecret } = config.wix;
  const server = await startWixServer({ host, port, appId, appSecret });
  try {
    options.onStart?.(server);
    const nobody = { wixMerchantId: '', credentials: config.merchant.credentials };
    return await runAll({ config, signer, server, calls: [], merchant: nobody }, options);
  } finally {
    await server.stop();
  }
}

async function runAll(run: Run, { checks = CHECKS, onResult }: RunOptions): Promise<Report> {
  const { config } = run;
  const startedAt = new Date();
  const begun = performance.now();
  const unconnected = await connectMerchant(run);
  const unpaid = await payOnce(run);
  const notice = unpaid && (unconnected || unpaid);
  const results = new Map<Check, Result>();
  const keep = (given: Result) => {
    // Who refuses everything refuses forgeries and nonsense too: that is no virtue.
    const isForNothing = unpaid !== '' && given.verdict === 'passed' && !given.check.id.startsWith('connect.');
    const says = 'it would be green for nothing while an ordinary payment is not approved';
    const result: Result = isForNothing ? { ...given, verdict: 'blocked', says } : given;
    results.set(result.check, result);
    onResult?.(result, results.size, checks.length);
  };

  /** Looking back at nothing would be green for nothing. */
  const isLonely = checks.every(({ when }) => when === 'after');
  const lacking = (check: Check) => [...missing(check, config), ...(isLonely ? ['other checks to run before it'] : [])];
  for (const check of checks.filter((check) => lacking(check).length > 0))
    keep({ check, verdict: 'not run', says: `needs ${lacking(check).join(', ')}`, seconds: 0, calls: [], events: [] });
  const runnable = checks.filter((check) => lacking(check).length === 0);

  const queue = runnable.filter(({ when }) => when === undefined);
  const work = async () => {
    for (let check = queue.shift(); check; check = queue.shift()) keep(await runOne(run, check));
  };
  await Promise.all(Array.from({ length: config.limits.parallel }, work));
  for (const when of ['alone', 'after'] as const)
    for (const check of runnable.filter((check) => check.when === when)) keep(await runOne(run, check));

  return {
    ...{ config, mask: createMask(config), startedAt, notice, seconds: (performance.now() - begun) / 1_000 },
    results: checks.flatMap((check) => results.get(check) ?? []),
  };
}

/** Payments are made to one merchant. Says what is wrong if it cannot be connected: the credentials of the config are then taken. */
async function connectMerchant(run: Run): Promise<string> {
  const wix = createWix(run, new AbortController().signal);
  try {
    const { answer, merchant } = await wix.connect();
    run.merchant = merchant;
    if (answer.status === 200 && answer.body?.reasonCode === undefined) return '';
    const hint =
      answer.status === 200 ? 'Are its credentials right?' : 'Does the plugin verify with the public key of the kit?';
    return `The merchant could not be connected: ${answer.status} ${answer.text.slice(0, 200)}. ${hint} Begin there: much of the rest follows from it.`;
  } catch (error) {
    throw new Unreachable((error as Error).message);
  }
}

/** Says what is wrong with an ordinary payment. */
async function payOnce(run: Run): Promise<string> {
  const wix = createWix(run, new AbortController().signal);
  return wix.paid().then(
    () => '',
    (error: Error) =>
      `An ordinary payment is not approved: it ${error.message}. Begin there: much of the rest follows from it.`,
  );
}

async function runOne(run: Run, check: Check): Promise<Result> {
  const { limits } = run.config;
  const limit =
    check.limitSeconds?.(limits) ?? 6 * limits.answerSeconds + 2 * limits.eventSeconds + limits.quietSeconds;
  const ending = new AbortController();
  const wix = createWix(run, ending.signal);
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Broken(`it did not end within ${Math.round(limit)} s`)),
    limit * 1_000,
  );
  const begun = performance.now();
  let verdict: Verdict = 'passed';
  let says = '';
  try {
    await Promise.race([check.run(wix), late.promise]);
  } catch (error) {
    verdict = error instanceof Blocked ? 'blocked' : 'failed';
    const isKnown = error instanceof Broken || error instanceof Blocked;
    says = isKnown ? error.message : `the check itself broke: ${(error as Error).stack}`;
  } finally {
    clearTimeout(timer);
    ending.abort();
    wix.close();
  }
  return { check, verdict, says, seconds: (performance.now() - begun) / 1_000, ...wix.traffic() };
}
