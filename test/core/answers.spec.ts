import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, createRouterTransport, type ServiceImpl } from '@connectrpc/connect';
import fc from 'fast-check';
import { operationId } from '../../core/ids.ts';
import { renderCreation, renderOperation, renderRefund, type WixAnswer } from '../../gateway/wix-answer.ts';
import { Event_Type as Type } from '../../proto/gen/payments/v1/event_pb.js';
import { ApprovedSchema, type Outcome, OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { PaymentDetailsSchema } from '../../proto/gen/payments/v1/payment_details_pb.js';
import { Operation_State, Transaction_State as State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { errorInfo } from '../../proto/runtime/rpc.ts';
import { createKeyRing } from '../../proto/runtime/seal.ts';
import { renderEvent } from '../../webhook-relay/wix-event.ts';
import { createEngine } from '../engine/engine.ts';
import { approved, declined } from '../engine/outcomes.ts';
import { anyMessage } from '../support/any-message.ts';
import { anyCardNumber, digitsAlone, quoting } from '../support/card-shapes.ts';
import { cardPayment, createTestCore, KEYS, type TestCore } from '../support/core.ts';
import { eventually } from '../support/eventually.ts';
import { quietLog } from '../support/log.ts';
import { answerViolations, eventViolations } from '../wix/contract.ts';
import type { JsonObject } from '../wix/json.ts';

// Whatever an engine can say, said to a real core over a real database: the rows take it, and it is told.

const ASKED = 4590n;
const authorizeId = (id: string) => operationId('authorize', id, 'wix', id, 1);
type Kind = 'authorize' | 'capture' | 'void' | 'refund';
type Merchant = Awaited<ReturnType<TestCore['connect']>>;

/** A core whose engine says of an order of each kind what the test has it say. */
function useStage() {
  const stage = { says: {} } as TestCore & { merchant: Merchant; says: Partial<Record<Kind, Outcome>> };
  before(async () => {
    const simulated = createEngine({ data: ':memory:', log: quietLog() });
    const sound = createClient(ProcessorService, createRouterTransport(simulated.routes));
    const speak = (kind: Kind) => () => ({ outcome: stage.says[kind] ?? approved({}) });
    const engine: ServiceImpl<typeof ProcessorService> = {
      verifyAccount: (request) => sound.verifyAccount(request),
      getOperation: (request) => sound.getOperation(request),
      cancel: (request) => sound.cancel(request),
      reverse: () => ({ outcome: approved({}) }),
      listOperations: (request) => sound.listOperations(request),
      authorize: speak('authorize'),
      capture: speak('capture'),
      void: speak('void'),
      refund: speak('refund'),
    };
    const core = await createTestCore({
      engine: { ...simulated, routes: (router) => router.service(ProcessorService, engine) },
      env: { ANSWER_BUDGET_MS: '20000', PROCESSOR_TIMEOUT_MS: '60000' },
    });
    Object.assign(stage, core, { merchant: await core.connect() });
  });
  after(() => stage.stop());
  return stage;
}

describe('R47 whatever an engine answers', function () {
  this.timeout(120_000);
  const stage = useStage();
  const { says } = stage;
  afterEach(() => {
    for (const kind of Object.keys(says)) delete says[kind as Kind];
  });

  const isNoise = ({ event }: Record<string, unknown>) => event === 'outcome_not_recorded' || event === 'call.broken';

  /** What the tables make of an authorize's first answer, from the words of the proto alone. */
  function stateAfter({ kind }: Outcome, state: State, isLate: boolean): State {
    if (kind.case === 'declined' || kind.case === 'failed' || kind.case === 'expired') return State.DECLINED;
    // Where the buyer is awaited already, nobody who knows nothing changes that.
    if (isLate && (kind.case === 'buyerAction' || kind.case === 'unknown' || kind.case === undefined))
      return State.AWAITING_BUYER;
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
  /** As was asked, with whatever comes besides. */
  const anyApproval = anyMessage(ApprovedSchema, { amount: fc.constant(undefined), currency: fc.constant('') }).map(
    (value) => create(OutcomeSchema, { kind: { case: 'approved', value } }),
  );
  const keys = createKeyRing(KEYS.EVENTS_KEY);
  const HEADERS = { 'content-type': 'application/json', 'user-agent': 'stories/1.0', authorization: 'token' };

  /** The event of this type comes, and Wix would take what it is told of it. */
  async function assertTold(externalId: string, type: Type): Promise<void> {
    const event = await eventually(() => {
      const found = stage.eventsOf(externalId).find((one) => one.type === type);
      assert.ok(found, `no ${Type[type]}`);
      return found;
    });
    assert.deepEqual(stage.log.lines.filter(isNoise), []);
    if (event.forWix) assert.deepEqual(eventViolations(HEADERS, Buffer.from(renderEvent(event, keys)).toString()), []);
  }
  const assertAnswered = (call: 'create' | Exclude<Kind, 'authorize'>, request: JsonObject, answer: WixAnswer) => {
    const text = JSON.stringify(answer);
    assert.deepEqual(answerViolations(call, request, { status: 200, contentType: 'application/json', text }), []);
  };

  const ways = fc.record({ isWallet: fc.boolean(), setUp: fc.boolean(), isAuthenticated: fc.boolean() });

  it('R52 to an authorize, its outcome and amount are in the row, and in an answer and an event that Wix takes', () =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(anyOutcome, anyApproval),
        ways,
        async (outcome, { isWallet, setUp, isAuthenticated }) => {
          const request = isWallet ? walletPayment(stage.merchant) : cardPayment(stage.merchant);
          request.details!.setupCredentialsOnFile = setUp;
          const { externalId } = request;
          says.authorize = isAuthenticated ? PAGE : outcome;
          if (isAuthenticated) await stage.payments.createTransaction(request);
          const isLate = isAuthenticated && (await reported(authorizeId(externalId), outcome));
          const response = await stage.payments.createTransaction(request);
          const state = response.transaction!.state;
          if (isLate || !isAuthenticated) assert.equal(State[state], State[stateAfter(outcome, state, isLate)]);
          if (state === State.CAPTURED) assert.equal(response.transaction?.capturedAmount, ASKED);
          const sent = {
            paymentMethodData: isWallet ? { googlePay: {} } : { card: {} },
            setupCredentialsOnFile: { offSession: setUp },
          };
          assertAnswered('create', sent, renderCreation(response));
          await assertTold(externalId, EVENTS[state]!);
        },
      ),
      { numRuns: 150 },
    ));

  const PAGE = create(OutcomeSchema, { kind: { case: 'buyerAction', value: { url: 'https://psp.example/3ds' } } });

  /** Whether the core takes the report: what cannot be kept of it is refused with its name. */
  async function reported(requestId: string, outcome: Outcome): Promise<boolean> {
    try {
      await stage.as({ name: 'engine', role: 'engine' }).reportOutcome({ requestId, outcome });
      return true;
    } catch (error) {
      assert.equal(ConnectError.from(error).code, Code.InvalidArgument);
      assert.match(errorInfo(ConnectError.from(error))?.metadata.field ?? '', /^outcome(\.[a-z_]+)*$/);
      return false;
    }
  }

  const FOLLOW_UPS = {
    capture: { ok: Type.CAPTURE_SUCCEEDED, no: Type.CAPTURE_FAILED },
    void: { ok: Type.VOID_SUCCEEDED, no: Type.VOID_FAILED },
    refund: { ok: Type.REFUND_SUCCEEDED, no: Type.REFUND_FAILED },
  } as const;
  for (const kind of ['capture', 'void', 'refund'] as const)
    it(`to a ${kind}, its outcome and amount are in the row, the answer and an event, or it stays unknown`, () =>
      fc.assert(
        fc.asyncProperty(anyOutcome, async (outcome) => {
          delete says.authorize;
          says[kind] = outcome;
          const request = cardPayment(stage.merchant, undefined, { authorizeOnly: kind !== 'refund' });
          const { transaction } = await stage.payments.createTransaction(request);
          const { merchantCredentials, externalId } = request;
          const about = {
            externalId,
            transactionId: transaction!.id,
            merchantCredentials: merchantCredentials!,
            amount: ASKED,
          };
          const ask = {
            capture: () => stage.payments.captureTransaction({ ...about, callId: randomUUID() }),
            void: () => stage.payments.voidTransaction({ ...about, callId: randomUUID() }),
            refund: () => stage.payments.refundTransaction({ ...about, externalRefundId: randomUUID() }),
          }[kind];
          const response = await ask().catch(() => undefined);
          const isNo = ['declined', 'failed', 'expired'].includes(outcome.kind.case ?? '');
          assert.equal(response?.refusal !== undefined, isNo);
          if (response) {
            assertAnswered(
              kind,
              {},
              kind === 'refund' ? renderRefund(response as never) : renderOperation(response as never),
            );
            await assertTold(externalId, FOLLOW_UPS[kind][isNo ? 'no' : 'ok']);
          } else {
            const key = { case: 'externalId' as const, value: externalId };
            const { operations } = await stage.as({ name: 'x', role: 'reader' }).getTransaction({ key });
            assert.equal(operations.at(-1)?.state, Operation_State.UNKNOWN);
          }
          assert.deepEqual(stage.log.lines.filter(isNoise), []);
        }),
        { numRuns: 60 },
      ));
});

/** The same by a wallet that says nothing of the card behind it. */
function walletPayment(merchant: Merchant) {
  const request = cardPayment(merchant);
  request.paymentMethod = 'googlePay';
  request.details = create(PaymentDetailsSchema, {
    method: {
      case: 'wallet',
      value: { type: 1, pan: '4111111111111111', cryptogram: 'c', expiryMonth: 9, expiryYear: 2031 },
    },
  });
  return request;
}

describe('R20 R35 the number of the card that pays', function () {
  this.timeout(120_000);
  const stage = useStage();

  it('is in no row, no event and no line of the log, however an engine or a caller quotes it', async () => {
    const numbers: string[] = [];
    const quoted = anyCardNumber.chain((number) =>
      fc.tuple(fc.constant(number), anyMessage(OutcomeSchema, {}, quoting(number)), quoting(number)),
    );
    await fc.assert(
      fc.asyncProperty(quoted, async ([number, outcome, words]) => {
        numbers.push(number);
        stage.says.authorize = outcome;
        const { transaction } = await stage.payments.createTransaction(cardPayment(stage.merchant, number));
        // By now the core has forgotten the number.
        stage.says.refund = declined([3025, words, words], words);
        const key = { case: 'id', value: transaction!.id } as const;
        const operator = stage.as({ name: 'ada', role: 'operator' });
        const backoffice = stage.as({ name: 'shop', role: 'backoffice' });
        const engine = stage.as({ name: 'engine', role: 'engine' });
        const about = { transactionId: transaction!.id, amount: 1n };
        await Promise.allSettled([
          backoffice.refundTransaction({ ...about, requestKey: randomUUID() }),
          backoffice.refundTransaction({ ...about, requestKey: words }),
          engine.reportRefund({ key, amount: 1n, processorReference: words }),
          engine.reportOutcome({ requestId: authorizeId(transaction!.externalId), outcome }),
        ]);
        await operator
          .reportOutcome({
            requestId: authorizeId(transaction!.externalId),
            outcome: approved({ processorReference: words }),
            override: true,
            overrideReason: words,
          })
          .catch(() => undefined);
      }),
      { numRuns: 60 },
    );
    const tables = await stage.db.query<{ name: string }>(
      `select tablename as name from pg_tables where schemaname = 'core'`,
    );
    const rows = await Promise.all(
      tables.map(({ name }) => stage.db.query<{ row: string }>(`select row(t.*)::text as row from core.${name} as t`)),
    );
    const asText = (hex: string) => Buffer.from(hex, 'hex').toString();
    const texts = rows.flat().map(({ row }) => row.replace(/\\\\x([0-9a-f]+)/g, (_, hex: string) => asText(hex)));
    const all = [...texts, ...stage.log.lines.map((line) => JSON.stringify(line))].map(digitsAlone);
    assert.ok(all.length > 300);
    for (const number of numbers)
      assert.deepEqual(
        all.filter((text) => text.includes(number)),
        [],
      );
  });
});
