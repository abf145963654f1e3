import assert from 'node:assert/strict';
import type { PaymentDetails } from '../../proto/gen/payments/v1/payment_details_pb.js';
import type { CreateTransactionRequest } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Transaction_State as State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { exampleJson, startGateway, type TestGateway } from './harness.ts';

// What becomes of a create that is bent out of shape.

// biome-ignore lint/suspicious/noExplicitAny: a body that a test bends out of shape
export type Body = any;
export type Change = (body: Body) => void;

export const fullCreate = (): Body => exampleJson('create-transaction.card-approve.request.json');
export const googlePayCreate = (): Body => exampleJson('create-transaction.googlepay-cryptogram.request.json');

/** Puts a value at a path such as order.description.currency. */
export const put =
  (path: string, value: unknown): Change =>
  (body) => {
    const steps = path.split('.');
    const last = steps.pop()!;
    let place = body;
    for (const step of steps) place = place[step] ??= {};
    place[last] = value;
  };

export interface CreateReader {
  readonly gateway: TestGateway;
  /** What reaches the core when Wix sends this body: an object, or JSON text. */
  askedOf(body: Body): Promise<CreateTransactionRequest>;
  /** The same for the full example, or another, after a change. */
  asked(change: Change, body?: Body): Promise<CreateTransactionRequest>;
  /** Fails unless the core is asked to carry it out. */
  accepted(change: Change, body?: Body): Promise<CreateTransactionRequest & { details: PaymentDetails }>;
  /** Fails unless the core is told of exactly this refusal. */
  refused(change: Change, code: number, errorCode: string, message?: string, body?: Body): Promise<void>;
}

/** A gateway whose core approves everything, and answers every refusal with itself. */
export async function startCreateReader(): Promise<CreateReader> {
  const declined = { id: 'ours', state: State.DECLINED, idWithheld: true } as const;
  const gateway = await startGateway({
    script: {
      createTransaction: ({ refusal }) =>
        refusal
          ? {
              transaction: declined,
              refusal: { reason: refusal.reason, errorCode: refusal.errorCode, message: refusal.message },
            }
          : { transaction: { id: 'ours', state: State.CAPTURED } },
    },
  });

  async function askedOf(body: Body): Promise<CreateTransactionRequest> {
    const answer = await gateway.post('create-transaction', body);
    assert.equal(answer.status, 200);
    assert.equal(gateway.calls.length, 1, answer.text);
    return gateway.calls.pop()!.request;
  }
  const asked = (change: Change, body: Body = fullCreate()) => {
    change(body);
    return askedOf(body);
  };
  return {
    gateway,
    askedOf,
    asked,
    async accepted(change, body) {
      const request = await asked(change, body);
      assert.equal(request.refusal, undefined, request.refusal?.message);
      assert.ok(request.details);
      return { ...request, details: request.details };
    },
    async refused(change, code, errorCode, message, body) {
      const { refusal, details } = await asked(change, body);
      assert.deepEqual([refusal?.reason, refusal?.errorCode], [code, errorCode], refusal?.message);
      if (message) assert.equal(refusal?.message, message);
      assert.equal(details, undefined);
    },
  };
}
