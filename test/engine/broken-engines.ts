import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { clone, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import type { Client, ServiceImpl } from '@connectrpc/connect';
import { type Approved, type Outcome, OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import {
  AuthorizeRequestSchema,
  CaptureRequestSchema,
  type Instruction,
  type ProcessorService,
  RefundRequestSchema,
  VoidRequestSchema,
} from '../../proto/gen/processor/v1/processor_pb.js';
import { LIST_FAULTS } from './broken-lists.ts';
import { approved, declined, pending } from './outcomes.ts';

// Engines with a single fault each, made by spoiling a sound one, and the promise of the contract suite that must find it.

export type Sound = Client<typeof ProcessorService>;
export type Fault = (sound: Sound) => Partial<ServiceImpl<typeof ProcessorService>>;
type Orders =
  | typeof AuthorizeRequestSchema
  | typeof CaptureRequestSchema
  | typeof VoidRequestSchema
  | typeof RefundRequestSchema;

/** A copy of an order with some of its instruction changed. */
function changed<D extends Orders & DescMessage>(schema: D, order: MessageShape<D>, change: Partial<Instruction>) {
  const copy = clone(schema, order);
  Object.assign((copy as { instruction?: Instruction }).instruction!, change);
  return copy;
}
const idOf = (order: { instruction?: Instruction | undefined }) => order.instruction?.requestId ?? '';
const another = () => ({ requestId: randomUUID() });

/** The outcome, said otherwise if it is an approval. */
function said({ outcome }: { outcome?: Outcome | undefined }, change: Partial<Approved>): { outcome: Outcome } {
  const copy = clone(OutcomeSchema, outcome!);
  if (copy.kind.case === 'approved') Object.assign(copy.kind.value, change);
  return { outcome: copy };
}
const isApproved = (outcome: Outcome | undefined) => outcome?.kind.case === 'approved';
const yes = (processorReference: string = randomUUID()) => ({ outcome: approved({ processorReference }) });
const tombstone = { result: { case: 'ended' as const, value: { tombstone: true } } };

export const FAULTS: readonly (readonly [fault: string, foundBy: string, Fault])[] = [
  ...LIST_FAULTS,
  [
    'charges again what is sent again',
    'gives one outcome, however often it is sent, and asking tells the same',
    (sound) => {
      const seen = new Set<string>();
      return {
        authorize: (order) => {
          const isRepeat = seen.has(idOf(order));
          seen.add(idOf(order));
          return sound.authorize(isRepeat ? changed(AuthorizeRequestSchema, order, another()) : order);
        },
      };
    },
  ],
  [
    'knows a request id only once it has answered',
    'gives one outcome and takes the money once when it is sent many times at once',
    (sound) => {
      const busy = new Set<string>();
      return {
        authorize: async (order) => {
          const isBusy = busy.has(idOf(order));
          busy.add(idOf(order));
          const answer = await sound.authorize(isBusy ? changed(AuthorizeRequestSchema, order, another()) : order);
          busy.delete(idOf(order));
          return answer;
        },
      };
    },
  ],
  [
    'charges again after its caller hung up',
    'R3 is found or is not, and is never doubled, when its caller hangs up',
    (sound) => {
      const lost = new Set<string>();
      return {
        authorize: async (order, { signal }) => {
          if (lost.has(idOf(order))) return sound.authorize(changed(AuthorizeRequestSchema, order, another()));
          let isAnswered = false;
          signal.addEventListener('abort', () => isAnswered || lost.add(idOf(order)));
          const answer = await sound.authorize(order);
          await delay(20);
          isAnswered = true;
          return answer;
        },
      };
    },
  ],
  [
    'refunds again what is sent again, and says the same',
    'refunds once when it is sent many times at once',
    (sound) => {
      const seen = new Set<string>();
      return {
        refund: async (order) => {
          if (seen.has(idOf(order))) await sound.refund(changed(RefundRequestSchema, order, another()));
          seen.add(idOf(order));
          return sound.refund(order);
        },
      };
    },
  ],
  [
    'goes by the newest body of a request id',
    'keeps its outcome when it comes back with another body',
    (sound) => ({
      authorize: async (order) => said(await sound.authorize(order), { amount: order.instruction?.amount ?? 0n }),
    }),
  ],
  [
    'answers a capture with the outcome of its authorize when the ids are the same',
    'never serves as the id of another kind of operation',
    (sound) => ({
      capture: async (order) => (idOf(order) === order.original?.requestId ? yes() : sound.capture(order)),
    }),
  ],
  [
    'says approved of what it has never seen',
    'R15 is not found before it was sent',
    (sound) => ({
      getOperation: async (request) => {
        const { result } = await sound.getOperation(request);
        return { result: result.case === 'notFound' ? { case: 'outcome', value: yes().outcome } : result };
      },
    }),
  ],
  [
    'says failed of what it has approved',
    'gives one outcome, however often it is sent, and asking tells the same',
    (sound) => ({
      getOperation: async (request) => {
        const { result } = await sound.getOperation(request);
        const isTold = result.case === 'outcome' && !isApproved(result.value);
        return { result: isTold ? result : { case: 'outcome', value: { kind: { case: 'failed', value: {} } } } };
      },
    }),
  ],
  [
    'says pending for ever',
    'that comes late is pending first, learnt by asking, and then approved for good',
    () => ({ getOperation: () => ({ result: { case: 'outcome', value: pending(Reason.PENDING_GENERAL, 'p') } }) }),
  ],
  [
    'declines what got lost on its way to the bank',
    'R15 is learnt by asking: what was approved behind the silence is told, never declined or forgotten',
    (sound) => ({
      authorize: (order, { signal }) =>
        Promise.race([
          sound.authorize(order, { signal }),
          delay(50, { outcome: declined([Reason.GENERAL_BANK_DECLINE, 'TIMEOUT', 'The bank did not answer']) }),
        ]),
    }),
  ],
  [
    'holds where it was to take',
    'R4 of an ordinary payment comes within the deadline: approved as asked, with a reference, and captured at once',
    (sound) => ({ authorize: (order, { signal }) => sound.authorize({ ...order, capture: false }, { signal }) }),
  ],
  [
    'takes where it was to hold',
    'R4 of an authorize-only payment holds the money and takes none',
    (sound) => ({ authorize: (order, { signal }) => sound.authorize({ ...order, capture: true }, { signal }) }),
  ],
  [
    'declines without a reason',
    'is declined with a reason that Wix knows, and stays declined',
    (sound) => ({
      authorize: async (order) => {
        const { outcome } = await sound.authorize(order);
        return isApproved(outcome) ? { outcome: outcome! } : { outcome: { kind: { case: 'declined', value: {} } } };
      },
    }),
  ],
  [
    'quotes the card number to the merchant',
    'R20 never repeats a card number',
    (sound) => ({
      authorize: async (order) => {
        const { method } = order.details!;
        const number = method.case === 'card' ? method.value.number : '';
        return said(await sound.authorize(order), { acquirerReference: `card ${number}` });
      },
    }),
  ],
  [
    'adds a fee to the amount',
    'R4 of an ordinary payment comes within the deadline: approved as asked, with a reference, and captured at once',
    (sound) => ({
      authorize: async (order) => said(await sound.authorize(order), { amount: order.instruction!.amount + 1n }),
    }),
  ],
  [
    'counts money in doubles',
    'R18 is never another amount: the last minor unit of a huge one counts, or the payment is declined',
    (sound) => ({
      authorize: (order) => {
        const amount = BigInt(Number(order.instruction!.amount));
        return sound.authorize(changed(AuthorizeRequestSchema, order, { amount }));
      },
    }),
  ],
  [
    'takes another currency',
    'R18 is never another currency: minor units of no or three decimals, or the payment is declined',
    (sound) => ({
      authorize: (order) => sound.authorize(changed(AuthorizeRequestSchema, order, { currency: 'EUR' })),
    }),
  ],
  [
    'does not look at the currency of a refund',
    'R18 of a capture, void or refund is in the currency of its payment',
    (sound) => ({ refund: (order) => sound.refund(changed(RefundRequestSchema, order, { currency: 'EUR' })) }),
  ],
  [
    'refunds nothing with success',
    'R25 moves nothing where there is nothing to move',
    (sound) => ({ refund: (order) => (order.instruction!.amount === 0n ? yes() : sound.refund(order)) }),
  ],
  [
    'captures all that is held, whatever was asked, and says what was asked',
    'takes part of what is held, once, and releases the rest',
    (sound) => ({
      capture: async (order) => {
        const amount = order.original!.authorizedAmount;
        const answer = await sound.capture(changed(CaptureRequestSchema, order, { amount }));
        return said(answer, { amount: order.instruction!.amount });
      },
    }),
  ],
  [
    'captures twice',
    'takes part of what is held, once, and releases the rest',
    (sound) => {
      const captured = new Set<string>();
      return {
        capture: async (order) => {
          const { outcome } = await sound.capture(order);
          const isSecond = captured.has(order.original!.requestId) && !isApproved(outcome);
          if (isApproved(outcome)) captured.add(order.original!.requestId);
          return isSecond ? yes() : { outcome: outcome! };
        },
      };
    },
  ],
  [
    'releases a part of what is held',
    'releases what is held, whole, and then has nothing to take',
    (sound) => ({
      void: (order) => sound.void(changed(VoidRequestSchema, order, { amount: order.original!.authorizedAmount })),
    }),
  ],
  [
    'refunds more than it has captured',
    'returns money in parts, never above what was captured',
    (sound) => ({
      refund: async (order) => {
        const { outcome } = await sound.refund(order);
        const isShort = outcome?.kind.case === 'declined' && outcome.kind.value.errorCode === 'ABOVE_REMAINING';
        return isShort ? yes() : { outcome: outcome! };
      },
    }),
  ],
  [
    'looks at the balance before it refunds, and again never',
    'never returns more than was captured when several refunds come at once',
    (sound) => {
      const busy = new Map<string, number>();
      return {
        refund: async (order) => {
          const payment = order.original!.requestId;
          busy.set(payment, (busy.get(payment) ?? 0) + 1);
          const { outcome } = await sound.refund(order);
          await delay(5);
          const wasAlone = busy.get(payment) === 1;
          return wasAlone || isApproved(outcome) ? { outcome: outcome! } : yes();
        },
      };
    },
  ],
  [
    'leaves no tombstone',
    'R15 leaves a tombstone for an authorize that was never seen: a late send fails, for ever',
    (sound) => ({
      cancel: async (request) => {
        const { result } = await sound.getOperation({ subject: request.subject! });
        return result.case === 'notFound' ? tombstone : sound.cancel(request);
      },
    }),
  ],
  [
    'looks for a tombstone before authorizes alone',
    'R15 leaves a tombstone for a refund that was never seen: a late send fails, for ever',
    (sound) => {
      const cancelled = new Set<string>();
      return {
        cancel: (request) => {
          cancelled.add(request.subject!.requestId);
          return sound.cancel(request);
        },
        refund: (order) =>
          sound.refund(cancelled.has(idOf(order)) ? changed(RefundRequestSchema, order, another()) : order),
      };
    },
  ],
  [
    'forgets a tombstone once it has been hit',
    'R15 leaves a tombstone for a capture that was never seen: a late send fails, for ever',
    (sound) => {
      const hit = new Set<string>();
      return {
        capture: async (order) => {
          if (hit.has(idOf(order))) return sound.capture(changed(CaptureRequestSchema, order, another()));
          const answer = await sound.capture(order);
          if (answer.outcome?.kind.case === 'failed') hit.add(idOf(order));
          return answer;
        },
      };
    },
  ],
  [
    'promises the end of a pending payment, and approves it later',
    'R15 ends what is pending: it is never approved later, while another one is',
    (sound) => ({
      cancel: async (request) => {
        const { result } = await sound.getOperation({ subject: request.subject! });
        const isPending = result.case === 'outcome' && result.value.kind.case === 'pending';
        return isPending ? { result: { case: 'ended', value: {} } } : sound.cancel(request);
      },
    }),
  ],
  [
    'undoes an approval when it is cancelled',
    'R17 of an approved payment answers its outcome and undoes nothing',
    (sound) => ({
      cancel: async (request) => {
        const answer = await sound.cancel(request);
        if (answer.result.case === 'outcome') await sound.reverse({ subject: request.subject! });
        return answer;
      },
    }),
  ],
  [
    'calls ended what it has approved',
    'R15 that races an authorize: one of them wins, and both say so for ever',
    (sound) => ({
      cancel: async (request) => {
        await sound.cancel(request);
        return { result: { case: 'ended', value: {} } };
      },
    }),
  ],
  [
    'reverses anew each time it is told to',
    'R17 returns what was taken, once, and says the same each time',
    (sound) => ({
      reverse: async (request) => said(await sound.reverse(request), { processorReference: randomUUID() }),
    }),
  ],
  [
    'says that it has reversed, and has not',
    'R17 releases what was authorised, once, and says the same each time',
    () => ({ reverse: () => yes('r') }),
  ],
  [
    'calls reversed what it has never seen',
    'does not claim to have undone what was never approved',
    (sound) => ({
      reverse: async (request) => {
        const { outcome } = await sound.reverse(request);
        return isApproved(outcome) ? { outcome: outcome! } : yes('r');
      },
    }),
  ],
];
