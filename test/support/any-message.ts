import { create, type DescField, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import fc from 'fast-check';

// Whatever a proto can carry, for properties: every member of every oneof, every number of every width, texts that nobody would send.

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 30 }) },
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ unit: fc.constantFrom('\0', '\r', '\n', '\u0085', '\ud7ff', '😀', 'a', '0'), maxLength: 400 }),
  fc.integer({ min: 1, max: 6000 }).map((length) => 'x'.repeat(length)),
  fc.constantFrom('123456\0\0', '4242424242424242', '4242 4242 4242 4242', 'https://psp.example/3ds?id=1'),
);

const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(0n, 1n, -1n, 4589n, 4590n, 4591n),
);

const SECONDS = 1_890_000_000n;
const seconds = fc.oneof(
  int64,
  fc.constantFrom(...[1n, 1_000n, 1_000_000n, 1_000_000_000n].map((unit) => SECONDS * unit), -62_135_596_800n),
);

/** A message of this kind; `override` has arbitraries for fields by their proto names, at any depth, `texts` one for all texts. */
export function anyMessage<D extends DescMessage>(
  schema: D,
  override: Readonly<Record<string, fc.Arbitrary<unknown>>> = {},
  texts: fc.Arbitrary<string> = text,
): fc.Arbitrary<MessageShape<D>> {
  const whatever = (field: DescField): fc.Arbitrary<unknown> => {
    if (override[field.name]) return override[field.name]!;
    if (field.fieldKind === 'message') return anyMessage(field.message, override, texts);
    if (field.fieldKind === 'enum') return fc.oneof(fc.constantFrom(...field.enum.values.map((v) => v.number)), int32);
    if (field.fieldKind !== 'scalar') throw new Error(`${field} is of no kind that is made here`);
    if (field.parent.typeName === 'google.protobuf.Timestamp') return field.name === 'seconds' ? seconds : int32;
    return { 9: texts, 8: fc.boolean(), 3: int64, 5: int32 }[field.scalar as number] ?? fc.constant(undefined);
  };
  const plainFields = schema.fields.filter((field) => !field.oneof);
  const parts = Object.fromEntries(
    plainFields.map((field) => [field.localName, fc.option(whatever(field), { nil: undefined, freq: 3 })]),
  );
  for (const oneof of schema.oneofs)
    parts[oneof.localName] = fc.oneof(
      fc.constant({ case: undefined }),
      ...oneof.fields.map((field) => ({
        arbitrary: whatever(field).map((value) => ({ case: field.localName, value })),
        weight: 3,
      })),
    );
  return fc.record(parts).map((init) => create(schema, init as never));
}

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
