import type { Books } from '../engine/books.ts';
import type { Wix } from '../wix/wix.ts';
import type { Shoppers } from './shoppers.ts';
import { disagreements, openMatters, untilSettled } from './surroundings.ts';

// What a soak ends with: figures, and whatever is wrong.

/** Waits until nothing is open, prints what happened, and answers whether all was well. */
export async function judge(soaked: {
  wix: Wix;
  books: Books;
  shoppers: Shoppers;
  /** The superuser's. */
  databaseUrl: string;
  /** In which all must be settled. */
  settleMs: number;
  /** Problems known already. */
  problems: readonly string[];
  /** Further problems, looked for when all is settled. */
  look?: () => Promise<Record<string, readonly string[]>>;
}): Promise<boolean> {
  const { wix, books, shoppers, databaseUrl } = soaked;
  const begun = Date.now();
  const late = await untilSettled(wix, databaseUrl, soaked.settleMs).catch((error: Error) => error);
  const told = wix.events().filter(({ accepted }) => accepted);
  print({
    'payments accepted': shoppers.payments.length,
    'operations of the engine': books.list().length,
    'events told': told.length,
    'events told again': told.length - new Set(told.map(({ text }) => text)).size,
    'seconds until all was settled': Math.round((Date.now() - begun) / 1000),
  });
  const problems: Record<string, readonly string[]> = {
    'payments charged otherwise than told': disagreements(wix, books, shoppers.payments),
    'violations of the contract': wix.violations,
    'outcomes untold': wix.untold,
    'matters undecided': await openMatters(databaseUrl),
    ...(await soaked.look?.()),
    'other problems': [...soaked.problems, ...(late ? [late.message] : [])],
  };
  print(Object.fromEntries(Object.entries(problems).map(([name, lines]) => [name, lines.length])));
  const lines = Object.values(problems).flat();
  for (const line of lines.slice(0, 20)) process.stdout.write(`  ${line}\n`);
  return lines.length === 0;
}

export function print(figures: Record<string, number | string>): void {
  for (const [name, figure] of Object.entries(figures))
    process.stdout.write(`${String(figure).padStart(8)}  ${name}\n`);
}
