import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { create, type DescField, type DescFile, type DescMessage, fromJson } from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import fc from 'fast-check';
import { CreateTransactionRequestSchema } from '../../proto/gen/payments/v1/payments_service_pb.js';
import { type Transaction_State, TransactionSchema } from '../../proto/gen/payments/v1/transaction_pb.js';
import { bounded, cut, redact, scrub } from '../../proto/runtime/redact.ts';

const GENERATED = path.join(import.meta.dirname, '../../proto/gen');
const HUSH = 'must not be printed';

async function allMessages(): Promise<DescMessage[]> {
  const names = readdirSync(GENERATED, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('_pb.js'));
  const modules = await Promise.all(names.map((name) => import(path.join(GENERATED, name))));
  const isFile = (value: unknown): value is DescFile => (value as { kind?: unknown }).kind === 'file';
  const files = modules.flatMap((module) => Object.values(module)).filter(isFile);
  return files.flatMap((file) => [...nestedTypes(file)]).filter((type) => type.kind === 'message');
}

const isRedacted = (field: DescField) => field.proto.options?.debugRedact === true;

/** A field that holds a card number, a token or credentials, by its name. Numbers, flags and enums hold none of them. */
function isSensitive(field: DescField): boolean {
  const holdsText = field.scalar === undefined || field.scalar === 9 || field.scalar === 12;
  return holdsText && !field.enum && /^(number|pan|cvv|cryptogram|token)$|credentials/.test(field.name);
}

/** A message whose fields are all redacted needs no option on the fields that hold it; sealed bytes give nothing away. */
function isCovered(field: DescField): boolean {
  return isRedacted(field) || field.message?.fields.every(isRedacted) === true || field.name.startsWith('sealed_');
}

/** JSON of a message in which this one field is set. */
function withOnly(field: DescField): Record<string, never> {
  const one = field.message ? {} : HUSH;
  const value = field.fieldKind === 'map' ? { [HUSH]: one } : field.fieldKind === 'list' ? [one] : one;
  return { [field.jsonName]: value as never };
}

describe('R32 printing a message', () => {
  it('demands debug_redact on every field that holds a card number, a token or credentials', async () => {
    const fields = (await allMessages()).flatMap((message) => message.fields).filter(isSensitive);
    assert.deepEqual(fields.filter((field) => !isCovered(field)).map(String), []);
    for (const name of ['number', 'pan', 'cvv', 'cryptogram', 'token', 'credentials'])
      assert(
        fields.some((field) => field.name === name),
        `no field is named ${name} any more`,
      );
  });

  it('shows nothing of any field that carries debug_redact', async () => {
    const messages = await allMessages();
    assert(messages.length > 30);
    for (const message of messages)
      for (const field of message.fields.filter(isRedacted))
        assert.deepEqual(
          redact(message, fromJson(message, withOnly(field))),
          { [field.name]: '[redacted]' },
          String(field),
        );
  });

  it('hides at any depth and keeps the rest: names of enums, int64 as text, the length of bytes', () => {
    const message = create(CreateTransactionRequestSchema, {
      externalId: 'w1',
      amount: 9_007_199_254_740_993n,
      mode: 2,
      merchantCredentials: { values: { apiKey: HUSH } },
      details: {
        method: { case: 'card', value: { number: '4242424242424242', expiryYear: 2030, cvv: '123' } },
        items: [{ id: 'i1', price: 5n }, { id: 'i2' }],
        billingAddress: { firstName: HUSH, city: 'Berlin' },
      },
    });
    assert.deepEqual(redact(CreateTransactionRequestSchema, message), {
      external_id: 'w1',
      merchant_credentials: { values: '[redacted]' },
      mode: 'MODE_SANDBOX',
      amount: '9007199254740993',
      details: {
        card: { number: '[redacted]', expiry_year: 2030, cvv: '[redacted]' },
        items: [{ id: 'i1', price: '5' }, { id: 'i2' }],
        billing_address: { first_name: '[redacted]', city: 'Berlin' },
      },
    });
  });

  it('prints an enum value that is not known here as its number', () => {
    assert.deepEqual(redact(TransactionSchema, create(TransactionSchema, { state: 99 as Transaction_State })), {
      state: 99,
    });
  });
});

/** The same digits in another script, of which this is the zero. */
const digitsOf = (digits: string, zero: string) =>
  digits.replace(/\d/g, (digit) => String.fromCodePoint(zero.codePointAt(0)! + Number(digit)));

describe('R20 scrubbing a text', () => {
  it('takes card numbers out, also with single spaces or dashes in them', () => {
    for (const number of [
      '4242424242424242',
      '4242 4242 4242 4242',
      '4242-4242-4242-4242',
      '378282246310005',
      '6304000000000000',
    ])
      assert.equal(scrub(`card ${number}, refused`), 'card [card number], refused');
    assert.equal(scrub('card4242424242424242x'), 'card[card number]x');
    assert.equal(scrub('4242424242424242/5555555555554444'), '[card number]/[card number]');
  });

  it('takes a card number out that has other digits beside it', () => {
    assert.equal(scrub('code 05 4242424242424242'), 'code 05 [card number]');
    assert.equal(scrub('4242424242424242 12 2030'), '[card number] 12 2030');
  });

  it('takes card numbers out whatever stands between their digits but letters, in the digits of any script', () => {
    for (const between of ['.', '\u00a0', '/', '\n', '  ', '_', ' - ', '*', '\u200b', '\r\n\t'])
      assert.equal(scrub(`a${['4242', '4242', '4242', '4242'].join(between)}b`), 'a[card number]b');
    assert.equal(scrub([...'4242424242424242'].join(' ')), '[card number]');
    for (const zero of ['０', '٠', '०', '𝟎', '𝟶'])
      assert.equal(scrub(digitsOf('4242424242424242', zero)), '[card number]');
  });

  it('keeps other numbers', () => {
    for (const text of [
      '4242424242424241',
      '12345678901',
      'order 20261124-102853',
      '',
      '1.5',
      '4242 4242 x 4242 4242',
      // These pass Luhn; but no card begins so, and people write dates in groups.
      '2026-11-24 10:28:54.016',
      '192.168.100.203',
    ])
      assert.equal(scrub(text), text);
  });

  it('R47 takes time in proportion to the text, and looks at no more of a long one than it keeps', () => {
    for (const part of ['1 1 ', '4 4 ', '1111', '１.１.', '1a1a', '    ', '1   ', '5105105105105100 '])
      assert.ok(scrub(part.repeat(200_000)).length > 0);
    for (const part of ['4 4 ', '4242-4242-4242-4242 ', '1'])
      assert.ok(bounded(part.repeat(10_000_000), 300).length <= 300);
  });

  it('R20 leaves no part of a number at the end of what it looked at', () => {
    for (let spaces = 1150; spaces < 1250; spaces++)
      assert.doesNotMatch(bounded(`No 4242 4242${' '.repeat(spaces)}4242 4242, no`, 300), /4242/);
  });

  it('leaves no Luhn-valid run of 12 to 19 digits', () => {
    const digits = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 11, maxLength: 18 });
    fc.assert(
      fc.property(digits, fc.string(), fc.string(), (first, before, after) => {
        const sum = first
          .reverse()
          .reduce((total, digit, i) => total + (i % 2 ? digit : digit * 2 - (digit > 4 ? 9 : 0)), 0);
        const number = `${first.reverse().join('')}${(10 - (sum % 10)) % 10}`;
        const text = `${before.replace(/[\d -]/g, '')}${number}${after.replace(/[\d -]/g, '')}`;
        assert(!scrub(text).includes(number), text);
      }),
    );
  });
});

describe('cutting a text', () => {
  it('keeps at most so many characters and never half of one', () => {
    assert.equal(cut('abc', 3), 'abc');
    assert.equal(cut('abcd', 3), 'abc');
    assert.equal(cut('a😀b', 2), 'a');
    assert.equal(cut('a😀b', 3), 'a😀');
    assert.equal(cut('a', 0), '');
    assert.equal(cut('😀', 0), '');
  });
});
