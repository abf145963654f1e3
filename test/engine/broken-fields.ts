import { clone, create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { CredentialsOnFileSchema, type Outcome, OutcomeSchema } from '../../proto/gen/payments/v1/outcome_pb.js';
import type { Fault } from './broken-engines.ts';

// Engines whose money is right and whose words are not, made like the broken engines.

type Value = NonNullable<Outcome['kind']['value']>;

function spoiled(outcome: Outcome | undefined, change: (value: Value) => object): Outcome {
  const copy = clone(OutcomeSchema, outcome!);
  Object.assign(copy.kind.value!, change(copy.kind.value!));
  return copy;
}

/** Says every outcome of an authorize otherwise. */
const saying =
  (change: (value: Value) => object): Fault =>
  (sound) => ({
    authorize: async (order) => ({ outcome: spoiled((await sound.authorize(order)).outcome, change) }),
  });

const seconds = (unit: bigint) => ({
  $typeName: 'google.protobuf.Timestamp' as const,
  nanos: 0,
  seconds: BigInt(Date.now()) * unit,
});
const at = (time: Timestamp) => saying((value) => ('processedAt' in value ? { processedAt: time } : {}));
const until = (expiresAt: Timestamp): Fault => {
  const outcome = create(OutcomeSchema, { kind: { case: 'pending', value: { expiresAt } } });
  return () => ({ authorize: () => ({ outcome }) });
};

/** Refers to a payment by its card, in groups of four and with its expiry. */
const quoting =
  (between: string): Fault =>
  (sound) => ({
    authorize: async (order) => {
      const method = order.details?.method;
      const number = method?.case === 'card' ? method.value.number : '';
      const processorReference = `${number.match(/.{4}/g)?.join(between)}${between}0931`;
      return { outcome: spoiled((await sound.authorize(order)).outcome, () => ({ processorReference })) };
    },
  });

/** Says this of what Wix may charge again with, where that is asked for, or always. */
const onFile =
  (said: MessageInitShape<typeof CredentialsOnFileSchema>, always = false): Fault =>
  (sound) => ({
    authorize: async (order) => {
      const { outcome } = await sound.authorize(order);
      const isDue = order.details?.setupCredentialsOnFile || always;
      const credentialsOnFile = create(CredentialsOnFileSchema, said);
      return { outcome: isDue ? spoiled(outcome, () => ({ credentialsOnFile })) : outcome! };
    },
  });
const card = (value: { networkTransactionId?: string; transactionLinkId?: string }) =>
  ({ info: { case: 'cardReference', value } }) as const;
const token = (value: string) => ({ info: { case: 'paymentMethodReference', value: { token: value } } }) as const;

const CARDS = 'R20 never repeats a card number';
const CONTROLS = 'R47 hold no control character: the padding of a fixed width is taken off';
const LENGTHS = 'R47 are no longer than the ledger keeps them';
const ON_FILE =
  'R52 hold what Wix may charge again with only where it is asked for: one reference, whole, within its limits';
const TIMES = 'R47 tell times in seconds: it was processed now, and what expires does so later';

export const FAULTS_OF_FIELDS: readonly (readonly [fault: string, foundBy: string, Fault])[] = [
  [
    'pads its codes with NUL',
    CONTROLS,
    saying((value) => ('authorizationCode' in value ? { authorizationCode: '123456\0\0' } : {})),
  ],
  ['declines in words with NUL', CONTROLS, saying((value) => ('message' in value ? { message: 'No\0' } : {}))],
  [
    'has references of any length',
    LENGTHS,
    saying((value) => ('processorReference' in value ? { processorReference: 'r'.repeat(201) } : {})),
  ],
  ...['.', '\u00a0', '/', '\n'].map(
    (between) => [`quotes the card with ${JSON.stringify(between)} in it`, CARDS, quoting(between)] as const,
  ),
  ['gives out tokens of any length', ON_FILE, onFile(token('t'.repeat(1001)))],
  ['gives out an empty token', ON_FILE, onFile(token(''))],
  ['gives out a token that nobody asked for', ON_FILE, onFile(token('tok_1'), true)],
  ['gives out a method and nothing to charge', ON_FILE, onFile({ paymentMethod: 'creditCard' })],
  ['gives out a method without end', ON_FILE, onFile({ ...token('tok_1'), paymentMethod: 'm'.repeat(101) })],
  ['gives out an empty card reference', ON_FILE, onFile(card({}))],
  [
    'gives out a link id that is too long',
    ON_FILE,
    onFile(card({ networkTransactionId: 'N1', transactionLinkId: 'l'.repeat(23) })),
  ],
  ['counts time in milliseconds', TIMES, at(seconds(1n))],
  ['counts time in microseconds', TIMES, at(seconds(1_000n))],
  ['counts time in nanoseconds', TIMES, at(seconds(1_000_000n))],
  ['says zero for no expiry', TIMES, until({ ...seconds(0n) })],
  ['says year 1 for no expiry', TIMES, until({ ...seconds(0n), seconds: -62_135_596_800n })],
];
