import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import path from 'node:path';
import { describe, it } from 'mocha';
import { approved } from '../engine/outcomes.ts';
import { KEYS } from '../support/core.ts';
import { asDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { assertSays, useStage } from '../support/stage.ts';

// The commands for operators, run as programs beside a running connector.

const ROOT = path.join(import.meta.dirname, '../..');
const OPERATOR_TOKEN = randomBytes(32).toString('hex');
const TOKENS = `ann:operator:${OPERATOR_TOKEN}`;

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

describe('the duties', function () {
  this.timeout(90_000);
  const keys = {
    CREDENTIALS_KEY: `new:${randomBytes(32).toString('base64')},${KEYS.CREDENTIALS_KEY}`,
    EVENTS_KEY: `new:${randomBytes(32).toString('base64')},${KEYS.EVENTS_KEY}`,
  };
  // Services that know both keys, and seal with the old ones still: a rotation under way.
  const old = (ring: string) => ring.split(',').toReversed().join();
  const stage = useStage({
    env: {
      CREDENTIALS_KEY: old(keys.CREDENTIALS_KEY),
      EVENTS_KEY: old(keys.EVENTS_KEY),
      CORE_TOKENS: TOKENS,
      RELAY_TOKENS: TOKENS,
    },
  });
  const env = () => ({
    ...keys,
    DATABASE_URL: stage.url,
    PATH: process.env.PATH,
    OPERATOR_TOKEN,
    CORE_URL: stage.coreGrpc,
    RELAY_URL: stage.coreUrl,
  });
  const run = (name: string, ...args: string[]) =>
    new Promise<Ended>((resolve) => {
      execFile(process.execPath, [path.join(ROOT, `ops/${name}.ts`), ...args], { env: env() }, (error, out, err) =>
        resolve({ code: error ? Number(error.code) : 0, out, err }),
      );
    });
  const rows = <Row>(sql: string, values: unknown[] = []): Promise<Row[]> =>
    asDatabase(stage.url, async (client) => (await client.query(sql, values)).rows);
  const count = async (sql: string, values: unknown[] = []) =>
    Number((await rows<{ count: string }>(`select count(*) ${sql}`, values))[0]?.count);
  const duties = (command: string) =>
    rows<{ step: string; operator: string; reason: string; details: Record<string, unknown> }>(
      'select step, operator, reason, details from core.duties where command = $1 order by id',
      [command],
    );
  /** All rows of both schemas, but for the record of commands. */
  const everything = async () => {
    const tables = await rows<{ name: string }>(
      `select table_schema || '.' || table_name as name from information_schema.tables where table_schema in ('core', 'relay') and table_name not in ('duties', 'database_identity') order by 1`,
    );
    return Promise.all(
      tables.map(async ({ name }) => [name, await rows(`select * from ${name} as it order by it::text`)]),
    );
  };

  it('are recorded in a table whose rows nobody changes or takes away', async () => {
    await run('purge', '--as', 'ann');
    const [begun, ended] = await duties('purge');
    assert.deepEqual([begun?.step, ended?.step, begun?.operator], ['begun', 'ended', 'ann']);
    for (const sql of ["update core.duties set reason = 'x'", 'delete from core.duties', 'truncate core.duties'])
      await assert.rejects(rows(sql), /neither changed nor taken away/);
  });

  it('say in one line what is wrong with the question, with exit code 2', async () => {
    for (const [name, args] of [
      ['purge', ['--payments-older-than-days', '30']],
      ['purge', ['--batch', '0']],
      ['merchant-account', ['suspend', 'x']],
      ['merchant-account', ['suspend']],
      ['settle', ['x', '--reason', 'y']],
      ['settle', ['x', '--approved', '--failed', '--reason', 'y']],
      ['settle', ['x', '--declined', 'no', '--reason', 'y']],
      ['release-held', []],
      ['rekey', ['--nonsense']],
      ['recover', []],
      ['recover', ['--since', 'yesterday', '--reason', 'x']],
    ] as const) {
      const { code, err } = await run(name, ...args);
      assert.equal(code, 2, `${name} ${args}: ${err}`);
      assert.match(err, /^[^\n]+ --help\)\n$/);
    }
  });

  describe('rekey', () => {
    const stale = async () => {
      const [credentials, payments] = [
        await count(`from core.merchant_credentials where key_id = 'test'`),
        await count(`from core.transactions where credentials_key_id = 'test'`),
      ];
      return { credentials, payments };
    };
    const load = async () => {
      const [merchant, other] = [stage.merchant, await stage.connect()];
      const payments = await Promise.all(Array.from({ length: 20 }, () => stage.wix.pay(merchant, { setup: true })));
      return { other, payments };
    };

    it('says what it would seal anew, and changes nothing, with --dry-run', async () => {
      const { payments } = await load();
      for (const payment of payments) await stage.settled(payment);
      const before = await everything();
      const { code, out } = await run('rekey', '--dry-run');
      assert.equal(code, 0, out);
      assert.match(
        out,
        /^credentials: would seal with new what is sealed with test\npayments: would seal with new what is sealed with test\ndeliveries: nothing is sealed with another key than new$/m,
      );
      assert.deepEqual(await everything(), before);
    });

    it('R31 killed in the middle and run again, beside a connector that takes payments, seals all of it anew, and no call fails', async () => {
      const { other, payments } = await load();
      let isOver = false;
      const answers: unknown[] = [];
      const paying = (async () => {
        while (!isOver) {
          const payment = await stage.wix.pay(stage.merchant, {});
          answers.push([payment.answer.status, payment.answer.body?.reasonCode]);
        }
      })();
      const child = spawn(process.execPath, [path.join(ROOT, 'ops/rekey.ts')], { env: env(), stdio: 'ignore' });
      await eventually(async () => assert.ok((await duties('rekey')).some(({ step }) => step === 'begun')));
      child.kill('SIGKILL');
      const { code, out, err } = await run('rekey');
      isOver = true;
      await paying;
      assert.equal(code, 0, err);
      assert.match(out, /CREDENTIALS_KEY test: nothing stored needs it; it may be removed/);
      assert.ok(
        answers.length > 3 &&
          answers.every(
            (answer) =>
              JSON.stringify(answer) === '[200,null]' ||
              JSON.stringify(answer) === '[200,undefined]' ||
              String(answer) === '200,',
          ),
        JSON.stringify(answers),
      );
      assert.deepEqual(await stale(), { credentials: 0, payments: 0 });
      // What was sealed anew is what it was.
      assertSays((await stage.wix.pay(other)).answer);
      const [payment] = payments;
      const again = await stage.wix.again(payment!);
      assert.equal(again.answer.text, payment!.answer.text);
      assert.ok(again.answer.body?.credentialsOnFile);
    });

    it('refuses to begin where a key is missing that is needed', async () => {
      const { code, err } = await new Promise<Ended>((resolve) => {
        const other = { ...env(), CREDENTIALS_KEY: `other:${randomBytes(32).toString('base64')}` };
        execFile(process.execPath, [path.join(ROOT, 'ops/rekey.ts')], { env: other }, (error, out, err) =>
          resolve({ code: Number(error?.code ?? 0), out, err }),
        );
      });
      assert.equal(code, 1);
      assert.match(err, /^rekey: CREDENTIALS_KEY lacks new, with which stored data is sealed\n$/);
    });
  });

  describe('purge', () => {
    const age = async (days: number) => {
      // Dates alone: what is of an age is decided by them.
      const back = `- interval '${days} days'`;
      await rows(`update core.outbox set published_at = published_at ${back}, occurred_at = occurred_at ${back}`);
      await rows(`update core.transactions set created_at = created_at ${back}, updated_at = updated_at ${back}`);
      await rows(
        `update core.operations set created_at = created_at ${back}, changed_at = changed_at ${back}, finished_at = finished_at ${back}`,
      );
      await rows(
        `update relay.deliveries set received_at = received_at ${back}, due_at = due_at ${back}, finished_at = finished_at ${back}`,
      );
    };

    it('R35 deletes links, events and deliveries when their time is over, and not before', async () => {
      const payment = await stage.pay({ number: '4000000000003220', authorizeOnly: false });
      await stage.settled(payment);
      const plain = await stage.pay();
      await stage.settled(plain);
      const { out: young } = await run('purge', '--dry-run');
      assert.match(young, /^would delete 0 links, 0 deliveries, 0 events, 0 payments\n$/);
      await age(91);
      const before = await everything();
      const dry = await run('purge', '--dry-run');
      assert.match(dry.out, /would delete \d+ links, [1-9]\d* deliveries, [1-9]\d* events, 0 payments/);
      assert.deepEqual(await everything(), before);
      const { code, err } = await run('purge', '--batch', '3');
      assert.equal(code, 0, err);
      const id = plain.pluginTransactionId;
      assert.equal(await count('from relay.deliveries where transaction_id = $1', [id]), 0);
      assert.equal(await count('from core.outbox where transaction_id = $1', [id]), 0);
      assert.equal(await count('from core.transactions where id = $1', [id]), 1);
      // An event that is sent once more by a publisher that slept is known to be done.
      assertSays(await stage.wix.refund(plain, { amount: 100 }));
      await stage.settled(plain);
      assert.equal(stage.wix.events(plain.wixTransactionId).length, 2);
    });

    it('R35 deletes payments that have been at rest for so long, and never open money', async () => {
      const rest = await stage.pay();
      const held = await stage.pay({ authorizeOnly: true });
      for (const payment of [rest, held]) await stage.settled(payment);
      await age(401);
      const fresh = await stage.pay();
      await stage.settled(fresh);
      const { code, err } = await run('purge', '--payments-older-than-days', '400', '--batch', '7');
      assert.equal(code, 0, err);
      const isThere = async ({ pluginTransactionId: id }: typeof rest) => [
        await count('from core.transactions where id = $1', [id]),
        await count('from relay.transactions where transaction_id = $1', [id]),
      ];
      assert.deepEqual(
        [await isThere(rest), await isThere(held), await isThere(fresh)],
        [
          [0, 0],
          [1, 1],
          [1, 1],
        ],
      );
      const unknown = await stage.wix.refund(rest, { amount: 100 });
      assert.equal(unknown.body?.reasonCode, 3022, unknown.text);
      assertSays(await stage.wix.capture(held));
      await stage.settled(held);
    });
  });

  describe('republish', () => {
    it('marks the events of a payment, says how many, and nothing else with --dry-run', async () => {
      const payment = await stage.pay();
      await stage.settled(payment);
      const dry = await run('republish', '--transaction', payment.wixTransactionId, '--dry-run');
      assert.equal(dry.out, '1 events would be published again by the running cores.\n', dry.err);
      assert.deepEqual(await duties('republish'), []);
      const { out } = await run('republish', '--transaction', payment.pluginTransactionId, '--as', 'ann');
      assert.equal(out, '1 events will be published again by the running cores.\n');
      assert.deepEqual(
        (await duties('republish')).map(({ step, operator }) => `${operator} ${step}`),
        ['ann begun', 'ann ended'],
      );
      await stage.settled(payment);
    });

    it('says what it does not know', async () => {
      const nobody = await run('republish', '--transaction', 'nobody');
      assert.deepEqual([nobody.code, nobody.err], [1, 'republish: no payment has the id nobody\n']);
      const [late, early] = ['2026-11-24T11:00:00Z', '2026-11-24T10:00:00Z'];
      assert.equal((await run('republish', '--since', late, '--until', early)).code, 2);
    });
  });

  describe('a merchant’s account', () => {
    const reason = ['--reason', 'a court says so'];

    it('suspended takes no new payments at once, finishes what began, and takes them again when it is resumed', async () => {
      const merchant = await stage.connect();
      const held = await stage.wix.pay(merchant, { authorizeOnly: true });
      const before = await stage.wix.pay(merchant);
      const dry = await run('merchant-account', 'suspend', merchant.merchantId, ...reason, '--dry-run');
      assert.match(dry.out, /would suspend 1 of them/);
      assert.equal((await run('merchant-account', 'suspend', merchant.merchantId, ...reason)).code, 0);
      const refused = await stage.wix.pay(merchant);
      assertSays(refused.answer, 3041, 'SUSPENDED');
      const reconnected = await stage.wix.connect(stage.gatewayUrl, {
        merchantId: merchant.merchantId,
        credentials: merchant.credentials,
      });
      assert.deepEqual([reconnected.answer.body?.reasonCode, reconnected.answer.body?.errorCode], [2001, 'SUSPENDED']);
      assertSays(await stage.wix.capture(held));
      assertSays(await stage.wix.refund(before, { amount: 100 }));
      assert.equal((await run('merchant-account', 'resume', merchant.merchantId, ...reason)).code, 0);
      assertSays((await stage.wix.pay(merchant)).answer);
      const [{ details } = { details: {} }] = await duties('suspend-merchant-account');
      assert.equal((details as { merchant?: string }).merchant, merchant.merchantId);
      for (const payment of [held, before, refused]) await stage.settled(payment);
    });

    it('forgotten has no credentials and no name left, and nothing of it is forgotten while money is open', async () => {
      const merchant = await stage.connect();
      const held = await stage.wix.pay(merchant, { authorizeOnly: true });
      const refused = await run('merchant-account', 'forget', merchant.merchantId, ...reason);
      const dry = await run('merchant-account', 'forget', merchant.merchantId, ...reason, '--dry-run');
      for (const { code, err } of [refused, dry]) {
        assert.equal(code, 1);
        assert.ok(err.includes(`1 payments of it have open money (${held.pluginTransactionId})`), err);
      }
      // It goes on.
      assertSays((await stage.wix.pay(merchant)).answer);
      assert.equal(
        await count('from core.merchant_credentials where external_merchant_id = $1', [merchant.merchantId]),
        1,
      );
      assertSays(await stage.wix.void(held));
      await stage.settled(held);
      const { code, out, err } = await run('merchant-account', 'forget', merchant.merchantId, ...reason);
      assert.equal(code, 0, err);
      assert.match(out, /1 versions\n$/);
      assert.equal(
        await count('from core.merchant_credentials where external_merchant_id = $1', [merchant.merchantId]),
        0,
      );
      assert.equal(
        await count(`from core.merchant_accounts where external_merchant_id = $1 and name = ''`, [merchant.merchantId]),
        1,
      );
      assertSays((await stage.wix.pay(merchant)).answer, 3041, 'AUTH_FAILED');
    });

    it('that is not known is said to be so', async () => {
      const { code, err } = await run('merchant-account', 'suspend', randomUUID(), ...reason);
      assert.deepEqual([code, /no account of merchant .* is known/.test(err)], [1, true]);
    });
  });

  it('settle ends what is held, under the name of the token, and changes nothing with --dry-run', async () => {
    stage.once('authorize', approved({ amount: 9_999n }));
    const payment = await stage.pay();
    const id = stage.requestId(payment);
    const dry = await run('settle', id, '--declined', '3002', '--reason', 'they say so', '--dry-run');
    assert.match(dry.out, /an operator has to settle it[\s\S]*would settle it; nothing was changed/);
    assert.equal(await count('from core.reports where operation_id = $1', [id]), 0);
    const { code, out, err } = await run('settle', id, '--declined', '3002', '--reason', 'they say so');
    assert.equal(code, 0, err);
    assert.match(out, /settled: the operation is declined\. Declined on /);
    const [report] = await rows<{ caller: string; why: string }>(
      'select caller, why from core.reports where operation_id = $1',
      [id],
    );
    assert.deepEqual(report, { caller: 'ann', why: 'they say so' });
    await stage.told(payment, 'transaction', 3002);
    const unknown = await run('settle', randomUUID(), '--failed', '--reason', 'no');
    assert.deepEqual([unknown.code, unknown.err], [1, 'settle: the core: there is no such transaction\n']);
  });

  it('release-held lists what is held, and nothing when there is nothing', async () => {
    const { code, out } = await run('release-held', '--dry-run');
    assert.deepEqual([code, out], [0, 'nothing is held\n']);
    const freed = await run('release-held', '--reason', 'keys are there again');
    assert.deepEqual([freed.code, freed.out], [0, '0 are held no longer, 0 stay held\n']);
    assert.equal(await count(`from relay.decisions where reason = 'keys are there again' and caller = 'ann'`), 1);
  });
});
