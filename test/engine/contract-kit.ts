import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { toJson } from '@bufbuild/protobuf';
import { type CallOptions, type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { legalReason } from '../../core/reason.ts';
import { Mode } from '../../proto/gen/payments/v1/merchant_account_pb.js';
import { type Outcome, OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import { Reason } from '../../proto/gen/payments/v1/reason_pb.js';
import {
  type AuthorizeRequest,
  type CaptureRequest,
  ProcessorService,
  type RefundRequest,
  type VoidRequest,
} from '../../proto/gen/processor/v1/processor_pb.js';
import { eventually } from '../support/eventually.ts';
import type { CardName, Means } from './contract-means.ts';
import { authorizeOrder, captureOrder, type PaymentOptions, refundOrder, subjectOf, voidOrder } from './orders.ts';

// What a promise is held with: an engine spoken to as the core would, and words for what it must have said.

/** What an engine need not have, and has not. */
export class NotOffered extends Error {}

export type Order = AuthorizeRequest | CaptureRequest | VoidRequest | RefundRequest;
export type Kind = NonNullable<Outcome['kind']['case']>;
/** What Cancel answers: it is ended, or an outcome. */
export type End = 'tombstone' | 'ended' | Outcome;
/** All that an engine may say of an operation. */
export type LearnedOutcome = End | 'not found';

export interface KitOptions extends Omit<PaymentOptions, 'number' | 'mode' | 'details'> {
  readonly card?: CardName;
  /** Wix wants to charge again later. */
  readonly setUp?: boolean;
  /** No buyer is present. */
  readonly merchantInitiated?: boolean;
}

export interface Kit {
  readonly engine: Client<typeof ProcessorService>;
  readonly means: Means;
  /** Orders with a fresh request id. An authorize is a sale of 45.90 by the approved card if nothing else is said. */
  order(options?: KitOptions): AuthorizeRequest;
  capture(payment: AuthorizeRequest, amount?: bigint): CaptureRequest;
  void(payment: AuthorizeRequest, amount?: bigint): VoidRequest;
  refund(payment: AuthorizeRequest, amount?: bigint): RefundRequest;
  /** Sends an order, by default with the deadline of an answer to Wix. Throws what came instead of an outcome. */
  send(order: Order, options?: CallOptions): Promise<Outcome>;
  ask(order: Order): Promise<LearnedOutcome>;
  cancel(order: Order): Promise<End>;
  reverse(order: Order): Promise<Outcome>;
  /** Sends it and demands approval exactly as asked. */
  approve(order: Order): Promise<Outcome>;
  /** Sends it and demands a refusal with a reason that Wix may hear. */
  refuse(order: Order): Promise<Outcome>;
  /** An approved payment: held with `authorizeOnly`, else captured. */
  paid(options?: KitOptions): Promise<AuthorizeRequest>;
  /** Sends one order many times at once and demands one outcome. */
  sendAtOnce(order: Order): Promise<Outcome>;
  /** Waits until it is decided, as an outcome that comes late is learnt. */
  decided(order: Order): Promise<LearnedOutcome>;
}

const AT_ONCE = 8;
/** Of nobody: a buyer of the suite goes to no page. */
const RETURN_URL = 'https://connector.example/return/AAAAAAAAAAAAAAAAAAAAAA';

export async function createKit(transport: Transport, means: Means): Promise<Kit> {
  const engine = createClient(ProcessorService, transport);
  const inTime = { timeoutMs: means.deadlineMs };
  const { result } = await engine.verifyAccount(verifyRequest(means), inTime);
  if (result.case !== 'account') throw new Error('VerifyAccount does not accept the credentials of the test merchant');
  // As the core does: what the engine adds to the credentials comes back with every order.
  const values = { ...means.credentials, ...result.value.extraCredentials?.values };
  const accountReference = result.value.accountReference;

  function own<T extends Order>(order: T): T {
    order.instruction!.accountReference = accountReference;
    order.instruction!.credentials!.values = values;
    return order;
  }
  const subject = (order: Order) => ({ subject: subjectOf(order) });

  const kit: Kit = {
    engine,
    means,
    order({ card = 'approved', merchantInitiated = false, setUp = false, ...options } = {}) {
      const chosen = means.cards[card];
      assert.ok(chosen, `there is no card for ${card}`);
      const order = own(
        authorizeOrder({
          currency: means.currency,
          returnUrl: merchantInitiated ? '' : RETURN_URL,
          ...options,
          details: {
            method: { case: 'card', value: { ...CARD, ...defined(chosen) } },
            setupCredentialsOnFile: setUp,
          },
        }),
      );
      return Object.assign(order, { merchantInitiated });
    },
    capture: (payment, amount) => own(captureOrder(payment, amount)),
    void: (payment, amount) => own(voidOrder(payment, amount)),
    refund: (payment, amount) => own(refundOrder(payment, amount)),
    async send(order, options = inTime) {
      const { outcome } = await sender(engine, order)(options);
      assert.ok(outcome?.kind.case, `${kindOf(order)} was answered without an outcome`);
      return outcome;
    },
    async ask(order) {
      const answer = await engine.getOperation(subject(order), inTime);
      assert.ok(answer.result.case, 'GetOperation was answered with neither an outcome nor not_found');
      return answer.result.case === 'outcome' ? answer.result.value : 'not found';
    },
    async cancel(order) {
      const answer = await engine.cancel(subject(order), inTime);
      assert.ok(answer.result.case, 'Cancel was answered with neither an end nor an outcome');
      if (answer.result.case === 'outcome') return answer.result.value;
      return answer.result.value.tombstone ? 'tombstone' : 'ended';
    },
    async reverse(order) {
      const { outcome } = await engine.reverse(subject(order), inTime);
      assert.ok(outcome?.kind.case, 'Reverse was answered without an outcome');
      return outcome;
    },
    async approve(order) {
      const outcome = await kit.send(order);
      ensureApprovedAsAsked(order, outcome);
      return outcome;
    },
    async refuse(order) {
      const outcome = await kit.send(order);
      ensureRefused(order, outcome);
      return outcome;
    },
    async paid(options) {
      const order = kit.order(options);
      await kit.approve(order);
      return order;
    },
    async sendAtOnce(order) {
      const outcomes = await Promise.all(Array.from({ length: AT_ONCE }, () => kit.send(order)));
      for (const outcome of outcomes) ensureSame(outcome, outcomes[0]!);
      return outcomes[0]!;
    },
    decided: (order) =>
      eventually(
        async () => {
          const said = await kit.ask(order);
          assert.ok(!isOpen(said), `it still says ${say(said)} after ${means.lateMs} ms`);
          return said;
        },
        { timeoutMs: means.lateMs, every: 50 },
      ),
  };
  return kit;
}

const CARD = { expiryMonth: 9, expiryYear: 2031, cvv: '737', holderName: 'Ines Carvalho' };

export function verifyRequest(means: Means) {
  const { credentials, country, currency } = means;
  return { externalMerchantId: MERCHANT, credentials: { values: credentials }, mode: Mode.SANDBOX, country, currency };
}

/** One for each run. */
const MERCHANT = randomUUID();

function sender(engine: Client<typeof ProcessorService>, order: Order) {
  return (options: CallOptions): Promise<{ outcome?: Outcome | undefined }> => {
    switch (order.$typeName) {
      case 'processor.v1.AuthorizeRequest':
        return engine.authorize(order, options);
      case 'processor.v1.CaptureRequest':
        return engine.capture(order, options);
      case 'processor.v1.VoidRequest':
        return engine.void(order, options);
      case 'processor.v1.RefundRequest':
        return engine.refund(order, options);
    }
  };
}

function kindOf(order: Order): 'authorize' | 'capture' | 'void' | 'refund' {
  return /\.(\w+)Request$/.exec(order.$typeName)![1]!.toLowerCase() as ReturnType<typeof kindOf>;
}

/** Drops what is undefined, so that it does not hide a default. */
function defined<T extends object>(value: T) {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined));
}

/** An outcome in a few words. */
export function say(said: LearnedOutcome): string {
  if (typeof said === 'string') return said;
  const { kind } = said;
  if (kind.case === 'declined') return `declined ${Reason[kind.value.reason] ?? kind.value.reason}`;
  if (kind.case !== 'approved') return kind.case ?? 'nothing';
  const { amount, currency, processorReference } = kind.value;
  return ['approved', amount, currency, processorReference && `as ${processorReference}`].filter(Boolean).join(' ');
}

export function isOpen(said: LearnedOutcome): boolean {
  return isA(said, 'pending', 'buyerAction', 'unknown');
}

type Word = Kind | Extract<LearnedOutcome, string>;

export function isA(said: LearnedOutcome, ...words: readonly Word[]): boolean {
  const word = typeof said === 'string' ? said : said.kind.case;
  return word !== undefined && words.includes(word);
}

export function ensure(said: LearnedOutcome, ...words: readonly Word[]): void {
  assert.ok(isA(said, ...words), `it said ${say(said)} where ${words.join(' or ')} is due`);
}

/** Neither an approval nor something that may still become one. */
export function ensureRefused(order: Order, outcome: Outcome): void {
  ensure(outcome, 'declined', 'failed');
  if (outcome.kind.case !== 'declined') return;
  const { reason } = outcome.kind.value;
  assert.equal(
    Reason[legalReason(kindOf(order), reason, '').reason],
    Reason[reason] ?? String(reason),
    `a ${kindOf(order)} may not be declined with this reason`,
  );
}

function ensureApprovedAsAsked(order: Order, outcome: Outcome): void {
  ensure(outcome, 'approved');
  if (outcome.kind.case !== 'approved') return;
  const { amount: asked, currency } = order.instruction!;
  const said = outcome.kind.value;
  assert.equal(said.amount ?? asked, asked, `approved ${said.amount} where ${asked} was asked`);
  assert.equal(said.currency || currency, currency, `approved ${said.currency} where ${currency} was asked`);
  assert.match(said.processorReference, /^.{1,200}$/, 'an approval has a processor_reference of 1..200 characters');
}

/** The same outcome, as far as money goes: what may be added later (an acquirer's reference, a time) does not count. */
export function ensureSame(one: LearnedOutcome, other: LearnedOutcome): void {
  assert.equal(essence(one), essence(other), `it said ${say(other)} once and ${say(one)} another time`);
}

function essence(said: LearnedOutcome): string {
  if (typeof said === 'string') return said;
  const { kind } = said;
  if (kind.case === 'declined') return `declined ${kind.value.reason} ${kind.value.errorCode}`;
  if (kind.case !== 'approved') return kind.case ?? '';
  const { amount, currency, processorReference, authorizationCode } = kind.value;
  return ['approved', amount, currency, processorReference, authorizationCode].join(' ');
}

/** Every text of an outcome, by the path of its field. */
export function textsOf(said: LearnedOutcome): [path: string, text: string][] {
  return typeof said === 'string' ? [] : textsIn(toJson(OutcomeSchema, said), '');
}

function textsIn(value: unknown, path: string): [path: string, text: string][] {
  if (typeof value === 'string') return [[path, value]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => textsIn(member, path ? `${path}.${name}` : name));
}

export function hasCode(...codes: readonly Code[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ConnectError, String(error));
    const said = `${Code[error.code]}: ${error.rawMessage}`;
    assert.ok(codes.includes(error.code), `${said}, where ${codes.map((code) => Code[code]).join(' or ')} is due`);
    return true;
  };
}
