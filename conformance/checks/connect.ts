import { randomUUID } from 'node:crypto';
import type { Check, Need } from '../check.ts';
import type { Config } from '../config.ts';
import { demand, notDone, refused, same, succeeded } from '../expect.ts';
import { isObject } from '../json.ts';
import { connectBody } from '../requests.ts';
import type { Wix } from '../wix.ts';

// Connecting a merchant (contract 4).

const connected = async (wix: Wix, change = {}) => succeeded((await wix.connect(change)).answer);

const CONDITIONS: readonly [
  id: string,
  credentials: keyof Config['merchant'],
  need: Need,
  code: number,
  what: string,
][] = [
  ['wrong', 'wrongCredentials', 'wrongCredentials', 2002, 'credentials that are not valid'],
  ['blocked', 'blockedCredentials', 'blockedCredentials', 2001, 'an account that is blocked'],
  ['inactive', 'inactiveCredentials', 'inactiveCredentials', 2000, 'an account that is not active'],
];

export const CONNECT_CHECKS: readonly Check[] = [
  {
    id: 'connect.credentials-kept',
    section: '4.3',
    title: 'every credential comes back as it was',
    fix: 'Answer the whole credentials object that came, no name removed, renamed or changed; add what you need later.',
    run: async (wix) => {
      const { credentials } = await connected(wix);
      demand(isObject(credentials), 'credentials is no object');
      for (const [name, value] of Object.entries(wix.config.merchant.credentials))
        same(`credentials.${name}`, credentials[name], value);
    },
  },
  {
    id: 'connect.more-credentials-kept',
    section: '4.3',
    title: 'credentials that the plugin does not use come back too',
    fix: 'Answer every property that came, those too that your code does not read.',
    run: async (wix) => {
      const more = { kitCheckbox: 'true', kitNumber: '007', kitText: ' a "b" é ' };
      const { credentials } = await connected(wix, { credentials: { ...wix.config.merchant.credentials, ...more } });
      for (const [name, value] of Object.entries(more))
        same(`credentials.${name}`, isObject(credentials) ? credentials[name] : undefined, value);
    },
  },
  {
    id: 'connect.credentials-are-strings',
    section: '4.3',
    title: 'every credential in the answer is a string',
    fix: 'Write booleans, numbers and dates as strings: "true", "42".',
    run: async (wix) => {
      const { credentials } = await connected(wix);
      const wrong = Object.entries(isObject(credentials) ? credentials : {}).filter(
        ([, value]) => typeof value !== 'string',
      );
      demand(wrong.length === 0, `no strings: ${wrong.map(([name]) => name).join(', ')}`);
    },
  },
  {
    id: 'connect.account-id',
    section: '4.3',
    title: 'the answer has an accountId',
    fix: 'Answer your own id of the merchant account as a string in accountId.',
    run: async (wix) => {
      const { accountId } = await connected(wix);
      demand(typeof accountId === 'string' && accountId !== '', `accountId is ${JSON.stringify(accountId)}`);
    },
  },
  {
    id: 'connect.account-name',
    section: '4.3',
    title: 'the answer has an accountName',
    fix: 'Answer a name that the merchant will recognise in accountName.',
    run: async (wix) => {
      const { accountName } = await connected(wix);
      demand(typeof accountName === 'string' && accountName !== '', `accountName is ${JSON.stringify(accountName)}`);
    },
  },
  {
    id: 'connect.account-id-stable',
    section: '4.3',
    title: 'the accountId is the same when a merchant connects again',
    fix: 'Find the account that is there; do not make a new one for each call.',
    run: async (wix) => {
      const wixMerchantId = randomUUID();
      const { accountId } = await connected(wix, { wixMerchantId });
      same('accountId', (await connected(wix, { wixMerchantId })).accountId, accountId);
    },
  },
  {
    id: 'connect.account-id-stable-at-once',
    section: '9.1',
    title: 'the accountId is the same when a merchant connects five times at once',
    fix: 'Let a unique index decide which call makes the account.',
    run: async (wix) => {
      const wixMerchantId = randomUUID();
      const answers = await Promise.all(Array.from({ length: 5 }, () => connected(wix, { wixMerchantId })));
      same('the number of accountIds', new Set(answers.map(({ accountId }) => accountId)).size, 1);
    },
  },
  {
    id: 'connect.account-id-distinct',
    section: '4.3',
    title: 'two merchants with accounts of their own have different accountIds',
    fix: 'accountId identifies the account at the PSP.',
    needs: ['otherCredentials'],
    run: async (wix) => {
      const { accountId } = await connected(wix);
      const other = await connected(wix, { credentials: wix.config.merchant.otherCredentials });
      demand(accountId !== other.accountId, `both are ${JSON.stringify(accountId)}`);
    },
  },
  {
    id: 'connect.without-country-and-currency',
    section: '4.2',
    title: 'country and currency may be missing',
    fix: 'Do not demand them at connecting: the currency is checked on every payment.',
    run: async (wix) => {
      const { country, currency, ...body } = connectBody(wix.config);
      succeeded(await wix.call('connect', body));
    },
  },
  {
    id: 'connect.without-mode',
    section: '4.2',
    title: 'mode may be missing',
    fix: 'Treat mode as optional.',
    run: async (wix) => {
      const { mode, ...body } = connectBody(wix.config);
      succeeded(await wix.call('connect', body));
    },
  },
  {
    id: 'connect.unknown-mode',
    section: '2',
    title: 'a mode that is not known yet does no harm (derived)',
    fix: 'Treat a value that you do not know like an absent one, never like live.',
    run: async (wix) => {
      const { status } = (await wix.connect({ mode: 'undefined' })).answer;
      same('the status', status, 200);
    },
  },
  ...CONDITIONS.flatMap(([id, credentials, need, code, what]): Check[] => [
    {
      id: `connect.${id}-code`,
      section: '12.1',
      title: `${what}: refused with ${code}`,
      fix: `Answer {"reasonCode":${code},"errorCode":...,"errorMessage":...}.`,
      needs: [need],
      run: async (wix) =>
        void refused((await wix.connect({ credentials: wix.config.merchant[credentials] })).answer, code),
    },
    {
      id: `connect.${id}-without-account`,
      section: '4.4',
      title: `${what}: the refusal has no accountId`,
      fix: 'Leave accountId out of a refusal.',
      needs: [need],
      run: async (wix) => {
        const { answer } = await wix.connect({ credentials: wix.config.merchant[credentials] });
        same('accountId', refused(answer).accountId, undefined);
      },
    },
  ]),
  {
    id: 'connect.currency-code',
    section: '12.1',
    title: 'a currency that the account does not take: refused with 2009',
    fix: 'Check the currency where you can, and answer reasonCode 2009.',
    needs: ['refusedCurrency'],
    run: async (wix) =>
      void refused((await wix.connect({ currency: wix.config.merchant.refusedCurrency })).answer, 2009),
  },
  {
    id: 'connect.sandbox-account-live',
    section: '12.1',
    title: 'a sandbox account that is connected live: refused with 2008',
    fix: 'Compare mode with the kind of account, and answer reasonCode 2008.',
    needs: ['sandbox'],
    run: async (wix) => void refused((await wix.connect({ mode: 'live' })).answer, 2008),
  },
  ...['credentials', 'wixMerchantId'].map(
    (field): Check => ({
      id: `connect.needs-${field === 'credentials' ? 'credentials' : 'merchant'}`,
      section: '4.2',
      title: `a call without ${field} connects nobody`,
      fix: `Demand ${field}: answer reasonCode 1004, required fields are missing.`,
      run: async (wix) => {
        const body = connectBody(wix.config);
        delete body[field];
        notDone(await wix.call('connect', body));
      },
    }),
  ),
];
