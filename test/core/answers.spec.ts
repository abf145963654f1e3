import assert from 'node:assert/strict';
import { createClient, createRouterTransport, type ServiceImpl } from '@connectrpc/connect';
import fc from 'fast-check';
import { Event_Type as Type } from '../../proto/gen/payments/v1/event_pb.js';
import { type Outcome, OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Transaction_State as State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { createEngine } from '../engine/engine.ts';
import { approved } from '../engine/outcomes.ts';
import { anyMessage } from '../support/any-message.ts';
import { cardPayment, createTestCore, type TestCore } from '../support/core.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';

// Whatever an engine can say, said to a real core over a real database: the rows take it, and it is told.

const ASKED = 4590n;
type Kind = 'authorize' | 'capture' | 'void' | 'refund';

describe('R47 whatever an engine answers', function () {
  this.timeout(120_000);
  let stage: TestCore;
  let merchant: Awaited<ReturnType<TestCore['connect']>>;
  /** What the engine says of the next order of a kind. */
  const says: Partial<Record<Kind, Outcome>> = {};

  before(async () => {
    const simulated = createEngine({ data: ':memory:', log: quietLog() });
    const sound = createClient(ProcessorService, createRouterTransport(simulated.routes));
    const speak = (kind: Kind) => () => ({ outcome: says[kind] ?? approved({}) });
    const engine: ServiceImpl<typeof ProcessorService> = {
      verifyAccount: (request) => sound.verifyAccount(request),
      getOperation: (request) => sound.getOperation(request),
      cancel: (request) => sound.cancel(request),
      reverse: () => ({ outcome: approved({}) }),
      authorize: speak('authorize'),
      capture: speak('capture'),
      void: speak('void'),
      refund: speak('refund'),
    };
    stage = await createTestCore({
      engine: { ...simulated, routes: (router) => router.service(ProcessorService, engine) },
      env: { ANSWER_BUDGET_MS: '20000', PROCESSOR_TIMEOUT_MS: '60000' },
    });
    merchant = await stage.connect();
  });
  after(() => stage.stop());
  afterEach(() => {
    for (const kind of Object.keys(says)) delete says[kind as Kind];
  });

  const isNoise = ({ event }: Record<string, unknown>) => event === 'outcome_not_recorded' || event === 'call.broken';

  async function told(externalId: string, type: Type) {
    const event = await eventually(() => {
      const found = stage.eventsOf(externalId).find((one) => one.type === type);
      assert.ok(found, `no ${Type[type]}`);
      return found;
    });
    assert.deepEqual(stage.log.lines.filter(isNoise), []);
    return event;
  }

  /** What the tables make of an authorize's first answer, from the words of the proto alone. */
  function stateAfter({ kind }: Outcome, state: State | undefined): State {
    if (kind.case === 'declined' || kind.case === 'failed' || kind.case === 'expired') return State.DECLINED;
    if (kind.case === 'buyerAction')
      return state === State.AWAITING_BUYER && /^https?:/i.test(kind.value.url.trim()) ? state : State.PENDING;
    if (kind.case !== 'approved') return State.PENDING;
    const { amount = ASKED, currency } = kind.value;
    if (!['', 'EUR'].includes(currency) || amount > ASKED || amount < 0n) return State.PENDING;
    return amount === ASKED ? State.CAPTURED : State.DECLINED;
  }
  const EVENTS: Partial<Record<State, Type>> = {
    [State.DECLINED]: Type.TRANSACTION_DECLINED,
    [State.PENDING]: Type.TRANSACTION_PENDING,
    [State.CAPTURED]: Type.TRANSACTION_APPROVED,
    [State.AWAITING_BUYER]: Type.TRANSACTION_AWAITING_BUYER,
  };

  const anyOutcome = anyMessage(OutcomeSchema, { currency: fc.constantFrom('', 'EUR', 'USD', '\0') });

  it('to an authorize, its outcome and amount are in the row, in the answer, and in an event', () =>
    fc.assert(
      fc.asyncProperty(anyOutcome, async (outcome) => {
        says.authorize = outcome;
        const request = cardPayment(merchant);
        const { transaction } = await stage.payments.createTransaction(request);
        assert.equal(State[transaction!.state], State[stateAfter(outcome, transaction?.state)]);
        if (transaction!.state === State.CAPTURED) assert.equal(transaction?.capturedAmount, ASKED);
        await told(request.externalId, EVENTS[transaction!.state]!);
      }),
      { numRuns: 250 },
    ));

  for (const kind of ['capture', 'void', 'refund'] as const)
    it(`to a ${kind}, its outcome and amount are in the row and in an event, or it stays unknown`, () =>
      fc.assert(
        fc.asyncProperty(anyOutcome, async (outcome) => {
          delete says.authorize;
          says[kind] = outcome;
          const request = cardPayment(merchant, undefined, { authorizeOnly: kind !== 'refund' });
          const { transaction } = await stage.payments.createTransaction(request);
          const { merchantCredentials, externalId } = request;
          const about = { externalId, transactionId: transaction!.id, merchantCredentials: merchantCredentials! };
          const call = { ...about, callId: crypto.randomUUID(), amount: ASKED };
          const answer =
            kind === 'refund'
              ? stage.payments.refundTransaction({ ...about, externalRefundId: crypto.randomUUID(), amount: ASKED })
              : kind === 'capture'
                ? stage.payments.captureTransaction(call)
                : stage.payments.voidTransaction(call);
          const { operation, refusal } = await answer.catch(() => ({ operation: undefined, refusal: undefined }));
          const isNo = ['declined', 'failed', 'expired'].includes(outcome.kind.case ?? '');
          assert.equal(refusal !== undefined, isNo);
          if (isNo)
            await told(
              externalId,
              { capture: Type.CAPTURE_FAILED, void: Type.VOID_FAILED, refund: Type.REFUND_FAILED }[kind],
            );
          else if (operation)
            await told(
              externalId,
              { capture: Type.CAPTURE_SUCCEEDED, void: Type.VOID_SUCCEEDED, refund: Type.REFUND_SUCCEEDED }[kind],
            );
          else {
            const key = { case: 'externalId' as const, value: externalId };
            const { operations } = await stage.as({ name: 'x', role: 'reader' }).getTransaction({ key });
            assert.equal(operations.at(-1)?.state, 3);
          }
          assert.deepEqual(stage.log.lines.filter(isNoise), []);
        }),
        { numRuns: 60 },
      ));
});
