import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { type Approved, ApprovedSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { errorInfo } from '../../proto/runtime/rpc.ts';
import type { OutcomeInit } from '../engine/fault.ts';
import { approved, declined, failed } from '../engine/outcomes.ts';
import { eventually } from '../support/eventually.ts';
import { assertSays, SLOW, useStage } from '../support/stage.ts';
import type { Payment } from '../wix/wix.ts';

// Answers of an engine that the ledger cannot hold as they are: the money in them is never lost for it.

const NUL = '\0';
const time = (seconds: bigint) => ({ seconds, nanos: 0 });

describe('R47 an answer that the ledger cannot hold as it is', () => {
  const stage = useStage();
  const unreadable = ({ pluginTransactionId }: Payment) =>
    stage.log.lines.filter(
      ({ alert, transactionId }) => alert === 'processor_answer_unreadable' && transactionId === pluginTransactionId,
    );
  const operationsOf = ({ pluginTransactionId }: Payment) =>
    stage.db.query<Record<string, unknown>>(
      `select kind, state, authorization_code, processed_at, expires_at from operations where transaction_id = $1
       order by created_at`,
      [pluginTransactionId],
    );
  const seconds = 1_795_000_000n;

  const APPROVALS: readonly (readonly [what: string, field: string, Partial<Approved>])[] = [
    ['a code that is padded with NUL', 'authorization_code', { authorizationCode: `123456${NUL}${NUL}` }],
    ['NUL in a reference', 'processor_reference', { processorReference: `ref${NUL}1` }],
    ['a control character in a reference', 'acquirer_reference', { acquirerReference: 'r\u0007' }],
    ['a reference of a thousand characters', 'network_transaction_id', { networkTransactionId: 'n'.repeat(1000) }],
    [
      'a time in milliseconds',
      'processed_at',
      { processedAt: create(ApprovedSchema, { processedAt: time(seconds * 1000n) }).processedAt! },
    ],
    [
      'a time in microseconds',
      'processed_at',
      { processedAt: create(ApprovedSchema, { processedAt: time(seconds * 1_000_000n) }).processedAt! },
    ],
    [
      'a time in nanoseconds',
      'processed_at',
      { processedAt: create(ApprovedSchema, { processedAt: time(seconds * 1_000_000_000n) }).processedAt! },
    ],
    [
      'NUL in the scheme of a card',
      'card_details.scheme',
      {
        cardDetails: create(ApprovedSchema, { cardDetails: { scheme: `visa${NUL}`, bin: '424242', lastFour: '4242' } })
          .cardDetails!,
      },
    ],
    [
      'credentials on file of 5,000 characters',
      'credentials_on_file',
      {
        credentialsOnFile: create(ApprovedSchema, {
          credentialsOnFile: { info: { case: 'paymentMethodReference', value: { token: 't'.repeat(5000) } } },
        }).credentialsOnFile!,
      },
    ],
  ];
  for (const [what, field, said] of APPROVALS)
    it(`that approves with ${what} approves all the same, is told, and alerts once`, async () => {
      stage.once('authorize', approved(said));
      const payment = await stage.pay({ setup: true });
      assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId });
      await stage.told(payment, 'transaction');
      const alerts = unreadable(payment);
      assert.deepEqual(
        alerts.map(({ fields }) => fields),
        [[`approved.${field}`]],
      );
      assert.ok(!JSON.stringify(alerts).includes('t'.repeat(100)));
    });

  it('that declines with NUL in its texts is a decline, with the rest of them', async () => {
    stage.once('authorize', declined([3012, `51${NUL}`, `Not\nsufficient${NUL} funds`], `ref${NUL}`));
    const payment = await stage.pay();
    assertSays(payment.answer, 3012, '51');
    assert.equal(payment.answer.body?.errorMessage, 'Not sufficient funds');
    await stage.told(payment, 'transaction', 3012);
  });

  it('R35 that shows eight digits of a card is kept with six', async () => {
    const cardDetails = create(ApprovedSchema, { cardDetails: { scheme: 'visa', bin: '42424242', lastFour: '4242' } })
      .cardDetails!;
    stage.once('authorize', approved({ cardDetails }));
    const payment = await stage.pay({ wallet: 'googlePay' });
    assert.deepEqual(payment.answer.body?.cardDetails, { bin: '424242', lastFour: '4242' });
    const { body } = await stage.told(payment, 'transaction');
    assert.deepEqual(body.cardDetails, { bin: '424242', lastFour: '4242' });
    assert.deepEqual(unreadable(payment), []);
  });

  it('of a capture, void or refund is an answer, not 503', async () => {
    const odd = (kind: 'capture' | 'void' | 'refund') =>
      stage.once(kind, approved({ authorizationCode: `1${NUL}`, processedAt: timestampFromDate(new Date(8.64e15)) }));
    const [held, released] = await Promise.all([
      stage.pay({ authorizeOnly: true }),
      stage.pay({ authorizeOnly: true }),
    ]);
    odd('capture');
    assertSays(await stage.wix.capture(held));
    odd('refund');
    assertSays(await stage.wix.refund(held, { amount: 100 }));
    odd('void');
    assertSays(await stage.wix.void(released));
    for (const kind of ['capture', 'refund'] as const) await stage.told(held, kind);
    await stage.told(released, 'void');
  });

  for (const [what, at] of [
    ['zero', 0n],
    ['the first second of year 1', -62_135_596_800n],
    ['a time in milliseconds', seconds * 1000n],
  ] as const)
    it(`that is pending until ${what} has no end`, async () => {
      stage.once('authorize', { kind: { case: 'pending', value: { expiresAt: time(at) } } });
      const payment = await stage.pay();
      assert.equal(payment.answer.body?.reasonCode, 5009);
      const [authorize] = await operationsOf(payment);
      assert.deepEqual([authorize?.state, authorize?.expires_at], ['waiting', null]);
    });

  it('that declines in 3.8 million characters of numbers is a decline at once, in the first of them', async () => {
    stage.once('authorize', declined([3012, '51', `No: ${'4 4 '.repeat(950_000)}`]));
    const payment = await stage.pay();
    assertSays(payment.answer, 3012, '51');
    assert.match(String(payment.answer.body?.errorMessage), /^No: .{0,296}$/);
    await stage.told(payment, 'transaction', 3012);
  });

  it('R20 that has the card in the page for the buyer sends nobody there', async () => {
    for (const url of [
      'https://psp.example/?pan=5105105105105100&cvv=737',
      'https://psp.example/5105%2D1051%200510.5100',
    ]) {
      stage.once('authorize', { kind: { case: 'buyerAction', value: { url } } });
      const payment = await stage.pay({ number: '5105105105105100' });
      assert.deepEqual(payment.answer.body, { pluginTransactionId: payment.pluginTransactionId, reasonCode: 5009 });
      assert.deepEqual(unreadable(payment)[0]?.fields, ['buyer_action.url']);
    }
  });

  it('that has the end of a line in the page for the buyer names the page without it', async () => {
    const url = 'https://psp.example/3ds\r\n?id=1\r\nSet-Cookie: a=b';
    stage.once('authorize', { kind: { case: 'buyerAction', value: { url } } });
    const payment = await stage.pay();
    assert.equal(payment.answer.body?.redirectUrl, 'https://psp.example/3ds?id=1Set-Cookie:%20a=b');
  });

  it('about an account is refused if its reference is not whole, and its name is made fit', async () => {
    const account =
      (accountReference: string, name: string, currencies: string[] = []) =>
      () => ({
        result: { case: 'account' as const, value: { accountReference, name, currencies } },
      });
    const connect = () => stage.wix.connect(stage.gatewayUrl, { credentials: { api_key: 'test' } });
    stage.verdict = account(`acct${NUL}`, 'Shop');
    assertSays((await connect()).answer, 1002, 'NO_ANSWER');
    stage.verdict = account('acct', 'Shop', [`EUR${NUL}`]);
    assertSays((await connect()).answer, 1002, 'NO_ANSWER');
    stage.verdict = account(randomUUID(), `Shop${NUL} of\r\nInes`, ['EUR', `X${NUL}`]);
    const { answer } = await connect();
    assert.equal(answer.body?.accountName, 'Shop of Ines');
    const alerts = stage.log.lines.filter(({ alert, method }) => alert && method === 'verify_account');
    assert.deepEqual(
      alerts.map(({ fields }) => fields),
      [['account_reference'], ['currencies'], ['currencies', 'name']],
    );
  });
});

describe('R47 an outcome that cannot be written', () => {
  const stage = useStage();
  const POISON = approved({ authorizationCode: 'poison' });
  /** As a fault of ours would: what this outcome brings, the row does not take. */
  const spoil = () =>
    stage.db.query(`alter table operations add constraint spoiled check (authorization_code <> 'poison') not valid`);
  const mend = () => stage.db.query('alter table operations drop constraint if exists spoiled');
  afterEach(mend);

  it('alerts, counts as unknown, and is found when it can be written', async () => {
    await spoil();
    stage.once('authorize', POISON);
    const payment = await stage.pay();
    assert.equal(payment.answer.body?.reasonCode, 5009);
    await stage.told(payment, 'transaction', 5009);
    const alerts = stage.log.lines.filter(({ alert }) => alert === 'outcome_not_recorded');
    const { operationId, trigger, code, constraint } = alerts[0]!;
    assert.deepEqual(
      [operationId, trigger, code, constraint],
      [stage.requestId(payment), 'approved', '23514', 'spoiled'],
    );
    assert.ok(!JSON.stringify(alerts).includes('poison'));
    await mend();
    await stage.told(payment, 'transaction');
    assert.equal(stage.charged(payment), 4590n);
    assert.equal(await stage.sends(payment, 'authorize'), 1);
  });

  it('R16 alerts when it is a day old', async () => {
    await spoil();
    const payment = await stage.pay();
    stage.once('refund', POISON);
    assert.equal((await stage.wix.refund(payment, { amount: 100 })).status, 503);
    const aged = await stage.db.query(
      `update operations set changed_at = now() - interval '25 hours', due_at = now()
       where transaction_id = $1 and kind = 'refund' and state = 'unknown' returning id`,
      [payment.pluginTransactionId],
    );
    assert.equal(aged.length, 1);
    await eventually(() => assert.ok(stage.alerts(payment).includes('outcome_unknown_for_long')));
    await mend();
    await stage.told(payment, 'refund');
  });
});

describe('R47 a report that cannot be kept', () => {
  const stage = useStage({ env: SLOW });
  const refused = (call: Promise<unknown>, field: string) =>
    assert.rejects(call, (error) => {
      assert.ok(error instanceof ConnectError);
      assert.deepEqual([Code[error.code], errorInfo(error)?.metadata.field], ['InvalidArgument', field]);
      return true;
    });

  const REPORTS: readonly (readonly [field: string, OutcomeInit])[] = [
    ['outcome.approved.authorization_code', approved({ authorizationCode: `1${NUL}` })],
    ['outcome.approved.processed_at', { kind: { case: 'approved', value: { processedAt: time(1_795_000_000_000n) } } }],
    ['outcome.declined.message', declined([3012, '51', `No${NUL}`])],
    ['outcome.failed.error_code', failed(`E${NUL}`, '')],
    ['outcome.expired.message', { kind: { case: 'expired', value: { message: NUL } } }],
    ['outcome.pending.expires_at', { kind: { case: 'pending', value: { expiresAt: time(1_795_000_000_000n) } } }],
    ['outcome.buyer_action.url', { kind: { case: 'buyerAction', value: { url: 'http://psp.example/' } } }],
  ];
  for (const [field, outcome] of REPORTS)
    it(`is INVALID_ARGUMENT that names ${field}, and changes nothing`, async () => {
      stage.once('authorize', { kind: { case: 'pending', value: {} } });
      const payment = await stage.pay();
      await refused(stage.report(payment, 'authorize', outcome), field);
      assert.deepEqual(await stage.happened(payment), ['transaction_pending']);
      assert.deepEqual(stage.alerts(payment), []);
      stage.engine.settle(stage.requestId(payment), approved({}));
      await stage.told(payment, 'transaction');
    });

  it('R20 is INVALID_ARGUMENT where it quotes the card that paid, as a key or a reference does', async () => {
    const payment = await stage.pay({ number: '5105105105105100' });
    const [engine, backoffice] = [stage.as('engine', 'engine'), stage.as('shop', 'backoffice')];
    const { pluginTransactionId: transactionId } = payment;
    for (const card of ['5105105105105100', '5105.1051.0510.5100', '５１０５1051/0510/5100', '0510510510510510012']) {
      const key = { case: 'id' as const, value: transactionId };
      await refused(engine.reportRefund({ key, amount: 1n, processorReference: card }), 'processor_reference');
      await refused(backoffice.refundTransaction({ transactionId, amount: 1n, requestKey: card }), 'request_key');
      const outcome = approved({ acquirerReference: card });
      await refused(stage.report(payment, 'authorize', outcome), 'outcome.approved.acquirer_reference');
    }
    await backoffice.refundTransaction({ transactionId, amount: 1n, requestKey: '4242424242424242' });
  });

  it('R20 is kept without the card, where an operator quotes it', async () => {
    stage.once('authorize', { kind: { case: 'pending', value: {} } });
    const payment = await stage.pay({ number: '5105105105105100' });
    stage.engine.settle(stage.requestId(payment), approved({}));
    await stage.told(payment, 'transaction');
    await stage.report(payment, 'authorize', approved({}), 'seen: 5105.1051.0510.5100, cvv 737');
    const rows = await stage.db.query(
      'select reports.why from reports join operations on operations.id = operation_id where operations.transaction_id = $1',
      [payment.pluginTransactionId],
    );
    assert.deepEqual(rows, [{ why: 'seen: [card number], cvv [digits]' }]);
  });

  it('is INVALID_ARGUMENT of an operator too, and of a refund made elsewhere', async () => {
    const payment = await stage.pay();
    stage.once('refund', { kind: { case: 'pending', value: {} } });
    await stage.wix.refund(payment, { amount: 100 });
    const no = (outcome: OutcomeInit, why: string) => stage.report(payment, 'refund', outcome, why);
    await refused(no(failed('OPS', NUL), 'by hand'), 'outcome.failed.message');
    await refused(no(failed('OPS', ''), `by${NUL}hand`), 'override_reason');
    const engine = stage.as('engine', 'engine');
    const key = { case: 'id' as const, value: payment.pluginTransactionId };
    await refused(engine.reportRefund({ key, amount: 1n, processorReference: NUL }), 'processor_reference');
    await refused(
      engine.reportRefund({ key: { case: 'externalId', value: NUL }, amount: 1n, processorReference: 'r' }),
      'external_id',
    );
    await no(failed('OPS', 'By hand'), 'by hand');
    await stage.told(payment, 'refund', 1013);
    const processedAt = time(1_795_000_000_000n);
    await refused(engine.reportRefund({ key, amount: 1n, processorReference: 'r', processedAt }), 'processed_at');
  });

  it('R24 keeps no operator from declining a refund that the engine has declined itself', async () => {
    const payment = await stage.pay({ number: '4000000000005126' });
    const mute = stage.hold('getOperation', 'unavailable');
    stage.once('refund', 'drop answer');
    assert.equal((await stage.wix.refund(payment, { amount: 100 })).status, 503);
    await stage.report(payment, 'refund', failed('OPS', 'By hand'), 'declined in the portal');
    mute.release();
    await stage.told(payment, 'refund', 1013);
  });
});
