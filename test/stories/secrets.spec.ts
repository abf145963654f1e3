import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code, ConnectError } from '@connectrpc/connect';
import { useStage } from '../support/stage.ts';

describe('what is kept of a payment, in the database and in the log', () => {
  const stage = useStage();

  /** Everything that anybody could read there, events included. */
  const readAll = async () => {
    const tables = await stage.db.query<{ name: string }>(
      `select schemaname || '.' || tablename as name from pg_tables where schemaname in ('core', 'relay')`,
    );
    assert.ok(tables.length >= 8);
    const rows = await Promise.all(
      tables.map(({ name }) => stage.db.query<{ row: string }>(`select row(t.*)::text as row from ${name} as t`)),
    );
    const asText = (bytes: string) => Buffer.from(bytes, 'hex').toString('latin1');
    const texts = rows.flat().map(({ row }) => row.replace(/\\x([0-9a-f]+)/g, (_, bytes) => asText(bytes)));
    return [...texts, JSON.stringify(stage.log.lines)].join('\n');
  };

  it('R13 R35 is no card number, security code, name or address', async () => {
    const holderName = `Holder-${randomUUID()}`;
    const payment = await stage.pay({
      number: '5105105105105100',
      change: (body) => Object.assign((body.paymentMethodData as { card: object }).card, { holderName, cvv: '9173' }),
    });
    await stage.settled(payment);
    const all = await readAll();
    assert.ok(
      all.includes(payment.wixTransactionId) && all.includes(`"pluginTransactionId":"${payment.pluginTransactionId}"`),
    );
    for (const secret of [/5105105105105100/, new RegExp(holderName), /\W9173\W/, /203\.0\.113\.24/, /Carvalho/])
      assert.doesNotMatch(all, secret);
  });

  it('R35 is not even a part of a short card number, of which first six and last four are nearly all', async () => {
    for (const number of ['639173820460', '6391738204616']) {
      const payment = await stage.pay({ number });
      await stage.settled(payment);
    }
    assert.doesNotMatch(await readAll(), /639173/);
  });

  it('R31 is no token by which the buyer could be charged again', async () => {
    const payment = await stage.pay({ wallet: 'googlePay', setup: true });
    const [token = assert.fail()] = /tok_\w+/.exec(payment.answer.text) ?? [];
    const { body } = await stage.told(payment, 'transaction');
    assert.deepEqual(body.credentialsOnFile, payment.answer.body?.credentialsOnFile);
    await stage.settled(payment);
    assert.ok(!(await readAll()).includes(token));
  });

  it('R31 is no credential of the merchant', async () => {
    const merchant = await stage.connect({ credentials: { api_key: 'a-very-secret-key', account_ref: 'HP-40' } });
    const payment = await stage.wix.pay(merchant);
    await stage.settled(payment);
    assert.ok(!(await readAll()).includes('a-very-secret-key'));
  });

  it('R20 is no word of an engine that fails: it may quote what it was asked with', async () => {
    const merchant = await stage.connect({ credentials: { api_key: 'a-quoted-key', account_ref: 'HP-41' } });
    stage.once('authorize', new ConnectError('no such key: a-quoted-key, security code 9174', Code.InvalidArgument));
    const payment = await stage.wix.pay(merchant);
    assert.equal(payment.answer.body?.reasonCode, 1003);
    await stage.settled(payment);
    const all = await readAll();
    assert.match(all, /"event":"processor.no_answer"/);
    assert.doesNotMatch(all, /a-quoted-key|9174/);
  });

  it('R20 is a reference as the engine gave it, unless it is the payment’s own card', async () => {
    const referenceOf = async (processorReference: string) => {
      stage.once('authorize', { kind: { case: 'approved', value: { processorReference } } });
      const { pluginTransactionId } = await stage.pay({ number: '5105105105105100' });
      const [row] = await stage.db.query<{ reference: string }>(
        `select processor_reference as reference from core.operations where transaction_id = $1`,
        [pluginTransactionId],
      );
      return row?.reference;
    };
    assert.equal(await referenceOf('4242424242424242'), '4242424242424242');
    assert.equal(await referenceOf('ref 5105-1051-0510-5100'), 'ref [card number]');
  });
});
