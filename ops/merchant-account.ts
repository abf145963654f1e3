import type { Database } from '../proto/runtime/database.ts';
import { sleep } from '../proto/runtime/loop.ts';
import { createProgress, printable, runCommand } from './command.ts';
import { DATABASES_HELP, openDatabases } from './databases.ts';
import { DUTY_HELP, DUTY_OPTIONS, readReason, recorded } from './duty.ts';
import * as store from './store-duties.ts';

// What is done to one merchant's account by hand.

const HELP = `Suspends, resumes or forgets the account of a merchant.

  npm run suspend-merchant-account -- MERCHANT [--account REFERENCE] --reason TEXT
  npm run resume-merchant-account -- MERCHANT [--account REFERENCE] --reason TEXT
  npm run forget-merchant-account -- MERCHANT [--account REFERENCE] --reason TEXT

  MERCHANT             Wix's id of the merchant (wixMerchantId)
  --account REFERENCE  one account of the merchant by the engine's name for it; by default all
  --reason TEXT        why; it is kept

suspend: new payments are declined 3041 and Connect is refused 2001, in all cores from now on. What began before goes on, and captures, voids
and refunds of it are done.
resume: as before.
forget: takes away the stored credentials and the name, for good. The account is suspended first. Refused while money is open: a payment that is
not at rest, or an operation without outcome. Payments stay in the ledger until they are purged, without anything that could move them: a
refund is answered as by an unknown merchant. A later Connect begins anew, once it is resumed.

${DUTY_HELP}
${DATABASES_HELP}
`;

const COMMANDS = ['suspend', 'resume', 'forget'] as const;
/** No statement of a core that has read the account before is still under way then. */
const QUIET_MS = 10_000;

async function forget(db: Database, ids: readonly string[]): Promise<{ versions: number }> {
  const progress = createProgress();
  for (let left = QUIET_MS; left > 0; left -= 1_000) {
    progress.show(`${Math.ceil(left / 1000)} s until no new payment can be under way`);
    await sleep(1_000);
  }
  progress.end();
  return db.inTx(async (tx) => {
    ensureNoOpenMoney(await store.openMoney(tx, ids), ' It stays suspended');
    return { versions: await store.forget(tx, ids) };
  });
}

function ensureNoOpenMoney(open: readonly string[], consequence = ''): void {
  if (open.length === 0) return;
  const some = open.slice(0, 5).join(', ');
  throw new Error(
    `${open.length === 1_000 ? '1,000 or more' : open.length} payments of it have open money (${some}): capture, void or settle them first.${consequence}`,
  );
}

async function act(command: (typeof COMMANDS)[number], db: Database, ids: readonly string[]): Promise<object> {
  if (command === 'resume') return { resumed: await store.resume(db, ids) };
  const suspended = await store.suspend(db, ids);
  return command === 'suspend' ? { suspended } : forget(db, ids);
}

if (import.meta.main)
  await runCommand({
    name: 'merchant-account',
    help: HELP,
    options: { ...DUTY_OPTIONS, account: { type: 'string' }, reason: { type: 'string' } },
    positionals: [2, 2],
    async run({ 'dry-run': isDry, as, data, account = null, reason: given }, [name = '', merchant = '']) {
      const command = COMMANDS.find((known) => known === name);
      if (!command) throw new Error(`${name} is none of ${COMMANDS.join(', ')}`);
      const reason = readReason(given);
      const databases = openDatabases('merchant-account', { data });
      const { core } = databases;
      try {
        const accounts = await store.accountsOf(core, merchant, account);
        if (accounts.length === 0)
          throw new Error(`no account of merchant ${merchant}${account ? ` is called ${account}` : ' is known'}`);
        for (const { accountReference, suspendedAt, versions } of accounts)
          process.stdout.write(
            `${printable(`account ${accountReference}: ${versions} versions of credentials, ${suspendedAt ? `suspended since ${suspendedAt.toISOString()}` : 'active'}`)}\n`,
          );
        const ids = accounts.map(({ id }) => id);
        // Looked at before it is suspended, so that what cannot be forgotten goes on.
        if (command === 'forget') ensureNoOpenMoney(await store.openMoney(core, ids));
        if (isDry) {
          process.stdout.write(`would ${command} ${ids.length} of them\n`);
          return 0;
        }
        const asked = { merchant, accounts: accounts.map(({ accountReference }) => accountReference) };
        const done = await recorded(core, { command: `${command}-merchant-account`, as, reason, asked }, () =>
          act(command, core, ids),
        );
        process.stdout.write(
          `${Object.entries(done)
            .map(([what, count]) => `${count} ${what}`)
            .join(', ')}\n`,
        );
        return 0;
      } finally {
        await databases.close();
      }
    },
  });
