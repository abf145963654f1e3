import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import type { Outcome } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { eventually } from '../support/eventually.ts';
import { authorizeOrder, captureOrder, refundOrder, requestIdOf, subjectOf, voidOrder } from './orders.ts';

/** What an engine needs to be held to its port: a way to reach it, and the cards that make it do the rare things. */
export interface EngineUnderTest {
  readonly transport: () => Transport;
  readonly cards: Readonly<Record<'approved' | 'declined' | 'pendingThenApproved' | 'unanswered', string>>;
  /** Credentials that it refuses. */
  readonly wrongCredentials: Record<string, string>;
}

/** The rules of processor.v1 (section H), for any engine: what the core relies on, and nothing of how the engine works inside. */
export function describeProcessor(name: string, { transport, cards, wrongCredentials }: EngineUnderTest): void {
  describe(`the processor port of ${name}`, () => {
    const engine = () => createClient(ProcessorService, transport());
    const get = async (order: Parameters<typeof subjectOf>[0]) =>
      (await engine().getOperation({ subject: subjectOf(order) })).result;
    const known = async (order: Parameters<typeof subjectOf>[0]) => {
      const result = await get(order);
      assert.equal(result.case, 'outcome');
      return result.value as Outcome;
    };
    const cancel = async (order: Parameters<typeof subjectOf>[0]) =>
      (await engine().cancel({ subject: subjectOf(order) })).result;
    const authorized = async (options: Parameters<typeof authorizeOrder>[0] = {}) => {
      const order = authorizeOrder({ authorizeOnly: true, ...options });
      assert.equal((await engine().authorize(order)).outcome?.kind.case, 'approved');
      return order;
    };
    const sold = () => authorized({ authorizeOnly: false });

    describe('verifying an account', () => {
      const request = { externalMerchantId: randomUUID(), mode: Mode.SANDBOX, country: 'PT', currency: 'EUR' };

      it('answers the same account reference, with a name, each time', async () => {
        const verify = () => engine().verifyAccount({ ...request, credentials: { values: { apiKey: 'k' } } });
        const [first, second] = [(await verify()).result, (await verify()).result];
        assert.equal(first.case, 'account');
        assert.deepEqual(first, second);
        assert.match(first.value.accountReference, /^.{1,200}$/);
        assert.match(first.value.name, /^.{1,200}$/);
      });

      it('refuses wrong credentials with a reason of the connection group', async () => {
        const { result } = await engine().verifyAccount({ ...request, credentials: { values: wrongCredentials } });
        assert.equal(result.case, 'refusal');
        assert.ok(
          [Reason.MERCHANT_ACCOUNT_INVALID, Reason.MERCHANT_ACCOUNT_IS_NOT_ACTIVE].includes(result.value.reason),
        );
      });
    });

    describe('one request id', () => {
      it('gives one outcome, however often it is sent', async () => {
        for (const number of [cards.approved, cards.declined]) {
          const order = authorizeOrder({ number });
          const first = await engine().authorize(order);
          assert.equal(first.outcome?.kind.case, number === cards.approved ? 'approved' : 'declined');
          assert.deepEqual(await engine().authorize(order), first);
          assert.deepEqual(await known(order), first.outcome);
        }
      });

      it('gives one outcome when it is sent many times at once', async () => {
        const order = authorizeOrder();
        const answers = await Promise.all(Array.from({ length: 8 }, () => engine().authorize(order)));
        for (const answer of answers) assert.deepEqual(answer, answers[0]);
      });

      it('keeps its outcome when it comes back with another body', async () => {
        const order = authorizeOrder({ amount: 100n });
        const first = await engine().authorize(order);
        const changed = authorizeOrder({ requestId: requestIdOf(order), amount: 999n, number: cards.declined });
        assert.deepEqual(await engine().authorize(changed), first);
      });

      it('is refused as another kind of operation: certainly nothing happens', async () => {
        const payment = await authorized();
        const capture = captureOrder(payment);
        capture.instruction!.requestId = requestIdOf(payment);
        await assert.rejects(engine().capture(capture), hasCode(Code.InvalidArgument));
        const released = await engine().void(voidOrder(payment));
        assert.equal(released.outcome?.kind.case, 'approved');
      });

      it('R15 is not found before it was sent', async () => {
        assert.equal((await get(authorizeOrder())).case, 'notFound');
      });
    });

    describe('an outcome that comes late', () => {
      it('is pending first, and is learnt by asking', async () => {
        const order = authorizeOrder({ number: cards.pendingThenApproved });
        assert.equal((await engine().authorize(order)).outcome?.kind.case, 'pending');
        await eventually(async () => assert.equal((await known(order)).kind.case, 'approved'));
      });

      it('is learnt by asking after a call that nobody answered', async () => {
        const order = authorizeOrder({ number: cards.unanswered });
        await assert.rejects(engine().authorize(order, { timeoutMs: 300 }), hasCode(Code.DeadlineExceeded));
        assert.equal((await known(order)).kind.case, 'approved');
      });
    });

    describe('capturing, voiding and refunding', () => {
      it('takes part of what is held, once, and releases the rest', async () => {
        const payment = await authorized({ amount: 4_590n });
        const capture = captureOrder(payment, 4_000n);
        const first = await engine().capture(capture);
        assert.equal(first.outcome?.kind.case, 'approved');
        assert.deepEqual(await engine().capture(capture), first);
        assertDeclined((await engine().capture(captureOrder(payment, 590n))).outcome);
        assertDeclined((await engine().void(voidOrder(payment))).outcome);
      });

      it('never takes more than is held, and then still takes what is', async () => {
        const payment = await authorized({ amount: 100n });
        assertDeclined((await engine().capture(captureOrder(payment, 101n))).outcome);
        assert.equal((await engine().capture(captureOrder(payment, 100n))).outcome?.kind.case, 'approved');
      });

      it('releases what is held, whole, and then has nothing to take', async () => {
        const payment = await authorized({ amount: 100n });
        assertDeclined((await engine().void(voidOrder(payment, 99n))).outcome);
        assert.equal((await engine().void(voidOrder(payment))).outcome?.kind.case, 'approved');
        assertDeclined((await engine().capture(captureOrder(payment))).outcome);
        assertDeclined((await engine().void(voidOrder(payment))).outcome);
      });

      it('returns money in parts, never above what was captured', async () => {
        const payment = await authorized({ authorizeOnly: false, amount: 1_000n });
        const first = refundOrder(payment, 600n);
        const answer = await engine().refund(first);
        assert.equal(answer.outcome?.kind.case, 'approved');
        assert.deepEqual(await engine().refund(first), answer);
        assertRefundDeclined((await engine().refund(refundOrder(payment, 401n))).outcome);
        assert.equal((await engine().refund(refundOrder(payment, 400n))).outcome?.kind.case, 'approved');
        assertRefundDeclined((await engine().refund(refundOrder(payment, 1n))).outcome);
      });

      it('returns nothing of a payment that was never captured', async () => {
        assertRefundDeclined((await engine().refund(refundOrder(await authorized()))).outcome);
      });

      it('does nothing for a payment that it does not know', async () => {
        const stranger = authorizeOrder();
        assertDeclined((await engine().capture(captureOrder(stranger))).outcome);
        assertDeclined((await engine().void(voidOrder(stranger))).outcome);
        assertRefundDeclined((await engine().refund(refundOrder(stranger))).outcome);
      });
    });

    describe('cancelling', () => {
      it('R15 leaves a tombstone for what was never seen: a later send fails, for ever', async () => {
        const [auth, sale] = [await authorized(), await sold()];
        const orders = [
          { order: authorizeOrder(), send: engine().authorize },
          { order: captureOrder(auth), send: engine().capture },
          { order: voidOrder(auth), send: engine().void },
          { order: refundOrder(sale), send: engine().refund },
        ];
        for (const { order, send } of orders) {
          assert.deepEqual(ended(await cancel(order)), { tombstone: true });
          const late = await (send as (request: unknown) => Promise<{ outcome?: Outcome }>)(order);
          assert.equal(late.outcome?.kind.case, 'failed');
          assert.equal((await known(order)).kind.case, 'failed');
          assert.deepEqual(ended(await cancel(order)), { tombstone: true });
        }
        assert.equal((await engine().capture(captureOrder(auth))).outcome?.kind.case, 'approved');
        assert.equal((await engine().refund(refundOrder(sale))).outcome?.kind.case, 'approved');
      });

      it('R15 ends what is pending, for ever', async () => {
        const order = authorizeOrder({ number: cards.pendingThenApproved, authorizeOnly: true });
        assert.equal((await engine().authorize(order)).outcome?.kind.case, 'pending');
        assert.deepEqual(ended(await cancel(order)), { tombstone: false });
        assert.equal((await known(order)).kind.case, 'failed');
        assert.deepEqual(ended(await cancel(order)), { tombstone: false });
        assertDeclined((await engine().capture(captureOrder(order))).outcome);
      });

      it('R15 answers what has finished with its outcome, and undoes nothing', async () => {
        const payment = await authorized();
        const result = await cancel(payment);
        assert.equal(result.case, 'outcome');
        assert.deepEqual(result.value, await known(payment));
        assert.equal((await engine().capture(captureOrder(payment))).outcome?.kind.case, 'approved');
        const declined = authorizeOrder({ number: cards.declined });
        await engine().authorize(declined);
        assert.equal(((await cancel(declined)).value as Outcome).kind.case, 'declined');
      });
    });

    describe('reversing', () => {
      const reverse = async (order: Parameters<typeof subjectOf>[0]) =>
        (await engine().reverse({ subject: subjectOf(order) })).outcome;

      it('R17 releases what was authorised, once', async () => {
        const payment = await authorized();
        const first = await reverse(payment);
        assert.equal(first?.kind.case, 'approved');
        assert.deepEqual(await reverse(payment), first);
        assertDeclined((await engine().capture(captureOrder(payment))).outcome);
      });

      it('R17 returns what was captured', async () => {
        const payment = await sold();
        assert.equal((await reverse(payment))?.kind.case, 'approved');
        assertRefundDeclined((await engine().refund(refundOrder(payment, 1n))).outcome);
      });

      it('does not claim to have undone what was never approved', async () => {
        assert.notEqual((await reverse(authorizeOrder()))?.kind.case, 'approved');
      });
    });
  });
}

function assertDeclined(outcome: Outcome | undefined): Reason {
  assert.equal(outcome?.kind.case, 'declined');
  assert.notEqual(outcome.kind.value.reason, Reason.UNSPECIFIED);
  return outcome.kind.value.reason;
}

function assertRefundDeclined(outcome: Outcome | undefined): void {
  assert.ok(REFUND_REASONS.includes(assertDeclined(outcome)));
}

const REFUND_REASONS = [
  Reason.REFUND_NOT_ALLOWED,
  Reason.PAYMENT_ALREADY_REFUNDED,
  Reason.PARTIAL_REFUND_NOT_ALLOWED,
  Reason.INSUFFICIENT_FUNDS_FOR_REFUND,
  Reason.REFUND_ATTEMPTS_EXCEEDED,
  Reason.REFUND_TIME_LIMIT_EXCEEDED,
  Reason.REFUND_TECHNICAL_ERROR,
];

function ended(result: { case: string | undefined; value?: unknown }): { tombstone: boolean } {
  assert.equal(result.case, 'ended');
  return { tombstone: (result.value as { tombstone: boolean }).tombstone };
}

export function hasCode(code: Code): (error: unknown) => boolean {
  return (error) => error instanceof ConnectError && error.code === code;
}
