import type { OutcomeInit } from '../engine/fault.ts';
import type { JsonObject } from '../wix/json.ts';
import { type PaymentOptions, sample } from '../wix/requests.ts';

// Which examples make one story with which, by the middle part of their file names.

export interface Connect {
  readonly request: string;
  readonly response: string;
  /** What the engine says that the account takes, instead of refusing it. */
  readonly currencies?: string[];
}

const asked = (response: string, request = response) => ({ request, response });

export const CONNECTS: readonly Connect[] = [
  ...['basic', 'enriched', 'string-typed-values', 'minimal', 'reconnect', 'invalid-credentials'].map((name) =>
    asked(name),
  ),
  { ...asked('currency-unsupported'), currencies: ['EUR'] },
  ...['not-active', 'blocked', 'method-not-activated', 'test-mode-account', 'general-error'].map((name) =>
    asked(name, 'basic'),
  ),
];

export interface Create {
  readonly create: string;
  /** The answer to a repeat before the first later event. */
  readonly waiting?: string;
  /** Events whose outcomes the engine comes to, one after the other. */
  readonly later?: readonly string[];
  /** The answer to a repeat in the end. */
  readonly after?: string;
  /** We refuse it ourselves and name no plugin id, where the example does. */
  readonly withheld?: true;
  /** The account takes euros alone. */
  readonly eurosOnly?: true;
}

const AT_ONCE = [
  ...['card-approve', 'card-decline', 'card-installments', 'card-zero-decimal-currency', 'card-three-decimal-currency'],
  ...['card-minimal', 'card-unknown-properties', 'card-pending-general', 'required-field-missing', 'method-unknown'],
  ...[
    'merchant-credentials-refused',
    'moto-approve',
    'apm-instant-decline',
    'googlepay-cryptogram',
    'googlepay-decline',
  ],
  ...[
    'applepay',
    'recurring-setup-network',
    'recurring-setup-token',
    'recurring-setup-declined',
    'recurring-setup-wallet',
  ],
  ...['recurring-charge-network', 'recurring-charge-network-without-ds', 'recurring-charge-token'],
  ...['recurring-charge-revoked', 'authorize-only', 'authorize-only-then-void'],
];

const redirected = (create: string, ...later: string[]): Create => ({ create, later });

export const CREATES: readonly Create[] = [
  ...AT_ONCE.map((create) => ({ create })),
  { create: 'card-approve', after: 'card-approve-replay' },
  { create: 'currency-unsupported', withheld: true, eurosOnly: true },
  { create: 'card-pending', later: ['card-pending-then-approved'] },
  { create: 'card-pending', later: ['card-pending-then-declined'], after: 'card-pending-replay-after-decline' },
  { create: '3ds', waiting: '3ds-replay-while-waiting', later: ['3ds-approved'], after: '3ds-replay-after-approval' },
  { create: '3ds', later: ['3ds-failed'], after: '3ds-replay-after-failure' },
  redirected('3ds', '3ds-canceled'),
  redirected('3ds', '3ds-pending', '3ds-approved'),
  redirected('sca-requested', 'sca-requested'),
  redirected('apm-redirect', 'apm-approved'),
  redirected('apm-redirect', 'apm-declined'),
  redirected('apm-redirect', 'apm-canceled'),
  redirected('apm-redirect', 'apm-pending', 'apm-pending-then-approved'),
  redirected('apm-redirect', 'apm-pending', 'apm-pending-then-declined'),
  redirected('ideal', 'ideal-approved'),
  redirected('hosted-page-app-id', 'hosted-page-approved'),
  redirected('hosted-page-method-absent'),
  redirected('voucher', 'voucher-pending', 'voucher-paid'),
  redirected('voucher', 'voucher-pending', 'voucher-expired'),
  redirected('googlepay-pan-only', 'googlepay-pan-only-approved'),
  redirected('recurring-setup-3ds', 'recurring-setup-3ds'),
  redirected('authorize-only-3ds', 'authorize-only-3ds'),
];

export interface Step {
  readonly call: 'refund' | 'capture' | 'void';
  readonly request: string;
  readonly response: string;
  readonly event?: string;
  /** We answer it ourselves. */
  readonly ours?: true;
  /** The refund of the step before. */
  readonly again?: true;
  readonly unknownPayment?: true;
}

export interface Flow {
  readonly title: string;
  /** What the payment is: an example, or one like them. */
  readonly create?: Create;
  readonly pay?: PaymentOptions;
  readonly steps: readonly Step[];
}

const step =
  (call: Step['call']) =>
  (request: string, response = request, more: Partial<Step> = {}): Step => ({ call, request, response, ...more });
const [refund, capture, voiding] = [step('refund'), step('capture'), step('void')];
const ours = { ours: true } as const;

export const CALLS: readonly Flow[] = [
  {
    title: 'captured, and asked for again',
    create: { create: 'authorize-only' },
    steps: [
      capture('full', 'full', { event: 'capture-full' }),
      capture('repeated', 'already-captured', ours),
      voiding('after-capture', 'already-captured', ours),
    ],
  },
  {
    title: 'voided, and asked for again',
    create: { create: 'authorize-only-then-void' },
    steps: [
      voiding('full', 'full', { event: 'void-full' }),
      voiding('repeated', 'already-voided', ours),
      capture('after-void', 'already-voided', ours),
    ],
  },
  {
    title: 'authorized on a page, captured in part',
    create: { create: 'authorize-only-3ds', later: ['authorize-only-3ds'] },
    steps: [capture('partial', 'partial', { event: 'capture-partial' })],
  },
  {
    title: 'refused captures and voids',
    pay: { amount: 12_000, authorizeOnly: true },
    steps: [
      capture('too-much', 'too-much', ours),
      voiding('amount-mismatch', 'amount-mismatch', ours),
      capture('declined', 'declined', { event: 'capture-declined' }),
      voiding('full', 'declined', { event: 'void-declined' }),
    ],
  },
  {
    title: 'refunded as a whole, and asked for again',
    steps: [
      refund('full', 'full', { event: 'refund-full' }),
      refund('full-replay', 'full-replay', { again: true, ...ours }),
      refund('full', 'already-refunded', ours),
    ],
  },
  {
    title: 'refunded in parts',
    steps: [
      refund('partial', 'partial', { event: 'refund-partial' }),
      refund('second-partial', 'second-partial', { event: 'refund-second-partial' }),
      refund('minimal', 'full'),
    ],
  },
  {
    title: 'refused refunds',
    steps: [
      refund('declined', 'declined', { event: 'refund-declined' }),
      refund('partial', 'partial-not-allowed'),
      refund('full', 'too-late'),
      refund('full', 'technical-error'),
      refund('full', 'unknown-payment', { unknownPayment: true, ...ours }),
    ],
  },
  {
    title: 'a refund of what is not captured',
    pay: { authorizeOnly: true },
    steps: [refund('full', 'not-allowed', ours)],
  },
];

const REQUESTS = ['gateway/examples.spec.ts', "exampleNames('create-transaction.', '.request.json')"] as const;
const ANSWERS = ['gateway/examples.spec.ts', "exampleNames('create-transaction.', '.response.json')"] as const;
const EVENTS = ['webhook-relay/wix-event.spec.ts', "file.startsWith('submit-event.')"] as const;
const quoted = (spec: string, ...files: string[]) =>
  Object.fromEntries(files.map((file) => [file, [spec, file] as const]));

/** Examples that no story here tells: the spec that reads each, and the words of it that do. */
export const ELSEWHERE: Readonly<Record<string, readonly [spec: string, words: string]>> = {
  ...quoted('gateway/signature.spec.ts', 'auth.digest.claims.json', 'auth.digest.fixture.json'),
  ...quoted('webhook-relay/wix-client.spec.ts', 'oauth.token.request.json', 'oauth.token.response.json'),
  ...quoted('webhook-relay/wix-client.spec.ts', 'submit-event.accepted.response.json', 'submit-event.envelope.json'),
  // The body of card-approve, which is sent again.
  'create-transaction.card-approve-replay.request.json': REQUESTS,
  // The processor declines within a payment of ours.
  'create-transaction.card-decline-without-plugin-id.request.json': REQUESTS,
  'create-transaction.card-decline-without-plugin-id.response.json': ANSWERS,
  'submit-event.card-decline-without-plugin-id.json': EVENTS,
  // Only for merchants that take a part (stories/partial.spec.ts).
  'create-transaction.partial-authorization.request.json': REQUESTS,
  'create-transaction.partial-authorization.response.json': ANSWERS,
  'submit-event.partial-authorization.json': EVENTS,
  // A switch of the core, U4.
  'submit-event.refund-late-failure.json': EVENTS,
  // Refunds of the PSP itself.
  'submit-event.refund-psp-initiated-full.json': EVENTS,
  'submit-event.refund-psp-initiated-partial.json': EVENTS,
  'submit-event.refund-psp-initiated-second-partial.json': EVENTS,
};

/** The files of every story here. */
export function filesTold(): string[] {
  const creates = [...CREATES, ...CALLS.flatMap(({ create }) => create ?? [])];
  return [
    ...CONNECTS.map(({ request }) => `connect-account.${request}.request.json`),
    ...CONNECTS.map(({ response }) => `connect-account.${response}.response.json`),
    ...creates.map(({ create }) => `create-transaction.${create}.request.json`),
    ...creates
      .flatMap(({ create, waiting, after }) => [create, waiting ?? [], after ?? []].flat())
      .map((response) => `create-transaction.${response}.response.json`),
    ...creates
      .flatMap(({ create, later = [] }) => (answerTo(create).redirectUrl ? later : [create, ...later]))
      .map((event) => `submit-event.${event}.json`),
    ...CALLS.flatMap(({ steps }) => steps).flatMap(({ call, request, response, event }) => [
      `${call}-transaction.${request}.request.json`,
      `${call}-transaction.${response}.response.json`,
      ...(event ? [`submit-event.${event}.json`] : []),
    ]),
  ];
}

export function answerTo(create: string): LearnedOutcome & { readonly pluginTransactionId?: string } {
  return sample(`create-transaction.${create}.response.json`);
}

interface LearnedOutcome extends JsonObject {
  readonly redirectUrl?: string;
  readonly reasonCode?: number;
  readonly errorCode?: string;
  readonly errorMessage?: string;
  readonly cardDetails?: { bin: string; lastFour: string };
  readonly credentialsOnFile?: {
    readonly cardReference?: Record<string, string>;
    readonly paymentMethodReference?: { token: string };
    readonly paymentMethod?: string;
  };
}

/** What the engine must say for Wix to hear this. */
export function outcomeOf(said: LearnedOutcome): OutcomeInit {
  const { redirectUrl, reasonCode, errorCode = '', errorMessage: message = '', cardDetails } = said;
  if (redirectUrl) return { kind: { case: 'buyerAction', value: { url: redirectUrl } } };
  if (reasonCode === 5005 || reasonCode === 5009) return { kind: { case: 'pending', value: { reason: reasonCode } } };
  if (reasonCode) return { kind: { case: 'declined', value: { reason: reasonCode, errorCode, message } } };
  const { cardReference, paymentMethodReference, paymentMethod = '' } = said.credentialsOnFile ?? {};
  return {
    kind: {
      case: 'approved',
      value: {
        ...(cardDetails && { cardDetails }),
        ...(cardReference && {
          credentialsOnFile: { info: { case: 'cardReference', value: cardReference }, paymentMethod },
        }),
        ...(paymentMethodReference && {
          credentialsOnFile: { info: { case: 'paymentMethodReference', value: paymentMethodReference }, paymentMethod },
        }),
      },
    },
  };
}
