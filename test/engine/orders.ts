import { randomUUID } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import type { PaymentDetailsSchema } from '../../proto/gen/payments/v1/payment_details_pb.js';
import {
  type AuthorizeRequest,
  AuthorizeRequestSchema,
  type CaptureRequest,
  CaptureRequestSchema,
  type Instruction,
  InstructionSchema,
  type Original,
  type RefundRequest,
  RefundRequestSchema,
  type Subject,
  SubjectSchema,
  type VoidRequest,
  VoidRequestSchema,
} from '../../proto/gen/processor/v1/processor_pb.js';

// Orders to an engine as the core would give them, each with a fresh request id.

export interface PaymentOptions {
  readonly number?: string;
  readonly amount?: bigint;
  readonly currency?: string;
  readonly authorizeOnly?: boolean;
  readonly mode?: Mode;
  readonly requestId?: string;
  readonly transactionId?: string;
  readonly returnUrl?: string;
  readonly paymentMethod?: string;
  readonly merchantInitiated?: boolean;
  readonly allowPartial?: boolean;
  /** Instead of the card. */
  readonly details?: MessageInitShape<typeof PaymentDetailsSchema>;
}

export const APPROVED_CARD = '4242424242424242';

export function authorizeOrder(options: PaymentOptions = {}): AuthorizeRequest {
  const { number = APPROVED_CARD, authorizeOnly = false } = options;
  return create(AuthorizeRequestSchema, {
    instruction: instruction(options),
    capture: !authorizeOnly,
    paymentMethod: options.paymentMethod ?? 'creditCard',
    returnUrl: options.returnUrl ?? '',
    merchantInitiated: options.merchantInitiated ?? false,
    allowPartial: options.allowPartial ?? false,
    details: options.details ?? {
      method: {
        case: 'card',
        value: { number, expiryMonth: 9, expiryYear: 2031, cvv: '737', holderName: 'Ines Carvalho' },
      },
    },
  });
}

export function captureOrder(payment: AuthorizeRequest, amount = amountOf(payment)): CaptureRequest {
  return create(CaptureRequestSchema, { ...followUp(payment, amount), final: true });
}

export function voidOrder(payment: AuthorizeRequest, amount = amountOf(payment)): VoidRequest {
  return create(VoidRequestSchema, followUp(payment, amount));
}

export function refundOrder(payment: AuthorizeRequest, amount = amountOf(payment)): RefundRequest {
  return create(RefundRequestSchema, { ...followUp(payment, amount), why: 'REQUESTED_BY_CUSTOMER' });
}

/** Names the operation of an order, for GetOperation, Cancel and Reverse. */
export function subjectOf(order: { instruction?: Instruction | undefined }): Subject {
  const { requestId, transactionId, accountReference, credentials, mode } = order.instruction!;
  return create(SubjectSchema, {
    requestId,
    transactionId,
    accountReference,
    mode,
    createdAt: timestampNow(),
    ...(credentials && { credentials }),
  });
}

export function requestIdOf(order: { instruction?: Instruction | undefined }): string {
  return order.instruction!.requestId;
}

function followUp(payment: AuthorizeRequest, amount: bigint) {
  const { transactionId, currency, mode, requestId } = payment.instruction!;
  const original: Omit<Original, '$typeName'> = {
    requestId,
    processorReference: '',
    authorizedAmount: amountOf(payment),
    capturedAmount: payment.capture ? amountOf(payment) : 0n,
    remainingAmount: payment.capture ? amountOf(payment) : 0n,
  };
  return { instruction: instruction({ transactionId, currency, mode, amount }), original };
}

function amountOf(payment: AuthorizeRequest): bigint {
  return payment.instruction!.amount;
}

function instruction(options: PaymentOptions): Instruction {
  return create(InstructionSchema, {
    requestId: options.requestId ?? randomUUID(),
    transactionId: options.transactionId ?? randomUUID(),
    accountReference: 'acct_test',
    credentials: { values: { apiKey: 'key', accountRef: 'acct_test' } },
    mode: options.mode ?? Mode.SANDBOX,
    amount: options.amount ?? 4_590n,
    currency: options.currency ?? 'EUR',
    createdAt: timestampNow(),
    attempt: 1,
  });
}
