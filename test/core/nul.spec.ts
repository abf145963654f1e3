import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { clone, create, type DescMessage, type Message, type MessageShape, ScalarType } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { Code, ConnectError } from '@connectrpc/connect';
import { PaymentsService } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { cardPayment, createTestCore, type TestCore } from '../support/core.ts';

const NUL = 'a\0b';
const UUID = randomUUID();

/** The message once for each text in it, with a NUL in that text. */
function* spoiled(desc: DescMessage, message: Message, depth = 3): Generator<Message> {
  for (const field of desc.fields) {
    const put = (value: unknown): Message => {
      const copy = clone(desc, message as MessageShape<typeof desc>);
      const target = copy as unknown as Record<string, unknown>;
      if (field.oneof) target[field.oneof.localName] = { case: field.localName, value };
      else target[field.localName] = value;
      return copy;
    };
    if (field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING) yield put(NUL);
    if (field.fieldKind === 'map')
      yield* [put({ [NUL]: 'x' }), put({ x: NUL })].filter(() => field.mapKind === 'scalar');
    if (field.fieldKind === 'message' && depth > 0) {
      const inner = reflect(desc, message).isSet(field)
        ? reflect(desc, message).get(field).message
        : create(field.message);
      for (const each of spoiled(field.message, inner as Message, depth - 1)) yield put(each);
    }
  }
}

describe('a NUL in any text of a request', () => {
  let test: TestCore;
  before(async () => {
    test = await createTestCore();
  });
  after(() => test.stop());

  it('is refused or taken by the core, and never an error of its own', async () => {
    const merchant = await test.connect();
    const good = cardPayment(merchant);
    const { transaction } = await test.payments.createTransaction(good);
    const { externalId, merchantCredentials } = good;
    const about = { externalId, transactionId: transaction?.id ?? '', merchantCredentials, callId: UUID, amount: 1n };
    const whole: Record<string, object> = {
      createTransaction: { ...good, externalId: randomUUID() },
      captureTransaction: about,
      voidTransaction: about,
      refundTransaction: { ...about, externalRefundId: randomUUID() },
      getTransaction: { key: { case: 'id', value: UUID } },
      connectMerchantAccount: { ...merchant, credentials: merchantCredentials },
      reportOutcome: { requestId: UUID, outcome: { kind: { case: 'failed', value: {} } } },
      reportRefund: { key: { case: 'transactionId', value: about.transactionId }, processorReference: 'r', amount: 1n },
    };
    const wrong: string[] = [];
    let tried = 0;
    for (const method of PaymentsService.methods) {
      const request = create(method.input, whole[method.localName] as never);
      for (const bad of spoiled(method.input, request))
        for (const role of ['gateway', 'operator', 'backoffice'] as const) {
          const client = test.as({ name: role, role }) as unknown as Record<string, (bad: Message) => unknown>;
          tried += 1;
          const answer = client[method.localName]?.(bad);
          const code = await (method.methodKind === 'unary' ? (answer as Promise<unknown>) : first(answer)).then(
            () => undefined,
            (error) => ConnectError.from(error).code,
          );
          if (code === Code.Internal || code === Code.Unknown || code === Code.Unavailable)
            wrong.push(
              `${method.name} as ${role}: ${JSON.stringify(bad, (_, v) => (typeof v === 'bigint' ? Number(v) : v))}`,
            );
        }
    }
    assert.deepEqual([...new Set(wrong)], []);
    assert.ok(tried > 150);
    // A report of an operation that nobody knows is alerted.
    const errors = test.log.lines.filter(({ level, alert }) => level === 'error' && !alert);
    assert.deepEqual(errors, []);
  });
});

async function first(stream: unknown): Promise<void> {
  for await (const _ of stream as AsyncIterable<unknown>) return;
}
