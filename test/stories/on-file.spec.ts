import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { CredentialsOnFileSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { approved } from '../engine/outcomes.ts';
import { useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';

// What Wix may charge again with is checked like money; what does not fit is left out, and the payment is approved all the same.

type OnFile = MessageInitShape<typeof CredentialsOnFileSchema>;
const CARD = '5105105105105100';

describe('R52 credentials on file', () => {
  const stage = useStage();
  const approving = (onFile: OnFile, threeDSecureResult = '') =>
    approved({ credentialsOnFile: create(CredentialsOnFileSchema, onFile), threeDSecureResult });
  const card = (value: { networkTransactionId?: string; dsTransactionId?: string; transactionLinkId?: string }) =>
    ({ info: { case: 'cardReference', value } }) satisfies OnFile;
  const token = (value: string, paymentMethod = '') =>
    ({ info: { case: 'paymentMethodReference', value: { token: value } }, paymentMethod }) satisfies OnFile;
  const told = async (payment: Payment) => (await stage.told(payment, 'transaction')).body.credentialsOnFile;
  const lost = ({ pluginTransactionId }: Payment) =>
    stage.log.lines.filter(
      ({ alert, transactionId }) => alert === 'processor_answer_unreadable' && transactionId === pluginTransactionId,
    );

  const UNFIT: readonly (readonly [what: string, OnFile])[] = [
    ['a method alone', { paymentMethod: 'creditCard' }],
    ['a link id of 30 characters', card({ networkTransactionId: 'N1', transactionLinkId: 'l'.repeat(30) })],
    ['a method of 150 characters', token('tok_1', 'm'.repeat(150))],
    ['a card reference with nothing in it', card({})],
    ['a card reference without the id of its network', card({ dsTransactionId: 'D1' })],
    ['an empty token', token('')],
    ['a token longer than Wix could bring back', token('t'.repeat(1001))],
    ['NUL in a token', token('tok\0')],
    ['the number of the card for a token', token('5105 1051 0510 5100')],
  ];
  for (const [what, onFile] of UNFIT)
    it(`that are ${what} are left out, of the answer and of the event, with an alert`, async () => {
      stage.once('authorize', approving(onFile));
      const payment = await stage.pay({ setup: true, number: CARD });
      assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId });
      assert.equal(await told(payment), undefined);
      assert.deepEqual(
        lost(payment).map(({ fields }) => fields),
        [['approved.credentials_on_file']],
      );
    });

  it('that nobody asked for are left out, wherever they come from', async () => {
    const onFile = approving(token('tok_1'));
    stage.once('authorize', onFile);
    const answered = await stage.pay();
    stage.once('authorize', { kind: { case: 'pending', value: {} } });
    const reported = await stage.pay();
    stage.engine.settle(stage.requestId(reported), onFile);
    const { reportTo } = stage.engine;
    stage.engine.reportTo = undefined;
    stage.once('authorize', { kind: { case: 'pending', value: {} } });
    const asked = await stage.pay();
    stage.engine.settle(stage.requestId(asked), onFile);
    for (const payment of [answered, reported, asked]) {
      assert.equal(await told(payment), undefined);
      assert.ok(lost(payment).length > 0);
    }
    stage.engine.reportTo = reportTo;
  });

  it('that were asked for and fit are told, wherever they come from', async () => {
    const fits = card({ networkTransactionId: 'N'.repeat(1000), transactionLinkId: 'l'.repeat(22) });
    stage.once('authorize', approving(fits));
    const answered = await stage.pay({ setup: true });
    stage.once('authorize', { kind: { case: 'pending', value: {} } });
    const reported = await stage.pay({ setup: true });
    stage.engine.settle(stage.requestId(reported), approving(token('t'.repeat(1000), 'm'.repeat(100))));
    assert.deepEqual(await told(answered), { cardReference: fits.info.value });
    assert.deepEqual(answered.answer.body?.credentialsOnFile, { cardReference: fits.info.value });
    assert.deepEqual(await told(reported), {
      paymentMethodReference: { token: 't'.repeat(1000) },
      paymentMethod: 'm'.repeat(100),
    });
    assert.deepEqual([answered, reported].flatMap(lost), []);
  });

  it('of a card have the id of its directory server after 3-D Secure, or are left out', async () => {
    const without = card({ networkTransactionId: 'N1' });
    const whole = card({ networkTransactionId: 'N1', dsTransactionId: 'D1' });
    const authenticated = async (onFile: OnFile) => {
      stage.once('authorize', { kind: { case: 'buyerAction', value: { url: 'https://psp.example/3ds' } } });
      const payment = await stage.pay({ setup: true });
      stage.engine.settle(stage.requestId(payment), approving(onFile));
      return told(payment);
    };
    assert.equal(await authenticated(without), undefined);
    assert.deepEqual(await authenticated(whole), { cardReference: whole.info.value });
    assert.deepEqual(await authenticated(token('tok_1')), { paymentMethodReference: { token: 'tok_1' } });
    const frictionless = async (onFile: OnFile) => {
      stage.once('authorize', approving(onFile, 'Y'));
      return told(await stage.pay({ setup: true }));
    };
    assert.equal(await frictionless(without), undefined);
    assert.deepEqual(await frictionless(whole), { cardReference: whole.info.value });
  });

  it('R41 of a payment that an older version recorded are told: it did not keep whether they were asked for', async () => {
    stage.once('authorize', { kind: { case: 'pending', value: {} } });
    const payment = await stage.pay({ setup: true });
    await stage.db.query('update transactions set set_up_asked = null where id = $1', [payment.pluginTransactionId]);
    stage.engine.settle(stage.requestId(payment), approving(token('tok_1')));
    assert.deepEqual(await told(payment), { paymentMethodReference: { token: 'tok_1' } });
  });
});
