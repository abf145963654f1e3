import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseWixJson, readInteger } from '../../gateway/wix-json.ts';

const MAX = 2n ** 63n - 1n;
const read = (json: string) => readInteger(parseWixJson(Buffer.from(`{"amount":${json}}`))?.amount);
const int64 = fc.bigInt({ min: 0n, max: MAX });

describe('amounts in JSON', () => {
  it('are read without loss, as a number or as a string of digits', () => {
    fc.assert(
      fc.property(int64, (amount) => {
        assert.equal(read(String(amount)), amount);
        assert.equal(read(`"${amount}"`), amount);
      }),
      { examples: [[0n], [2n ** 53n], [2n ** 53n + 1n], [MAX - 1n], [MAX]] },
    );
  });

  it('are refused above int64', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: MAX + 1n, max: 10n ** 40n }), (amount) => {
        assert.equal(read(String(amount)), undefined);
        assert.equal(read(`"${amount}"`), undefined);
      }),
      { examples: [[MAX + 1n], [10n ** 19n]] },
    );
  });

  it('are refused with a sign, a fraction or an exponent', () => {
    const decorated = fc.tuple(
      int64,
      fc.constantFrom('-', '+'),
      fc.constantFrom('.0', '.5', 'e0', 'E2', 'e-1', '.0e1'),
    );
    fc.assert(
      fc.property(decorated, ([amount, sign, tail]) => {
        assert.equal(read(`-${amount}`), undefined);
        assert.equal(read(`${amount}${tail}`), undefined);
        assert.equal(read(`"${sign}${amount}"`), undefined);
        assert.equal(read(`"${amount}${tail}"`), undefined);
      }),
    );
  });

  it('are refused when they are any other text or any other JSON', () => {
    const isDigits = (text: string) => /^[0-9]{1,19}$/.test(text);
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }).filter((text) => !isDigits(text)),
        (text) => assert.equal(read(JSON.stringify(text)), undefined),
      ),
      { examples: [[''], [' '], [' 1'], ['1 '], ['1\n'], ['1,000'], ['1_000'], ['0x10'], ['١٢'], ['Infinity']] },
    );
    for (const json of ['true', 'false', 'null', '[]', '[1]', '{}', '{"value":1}', '1e999', '-0', '0.0'])
      assert.equal(read(json), undefined, json);
  });
});

describe('a JSON body of Wix', () => {
  const parse = (text: string) => parseWixJson(Buffer.from(text));

  it('is read as JSON.parse reads it, but for nulls and whole numbers', () => {
    const json = fc.jsonValue({ noUnicodeString: false, maxDepth: 4 });
    const seen = (value: unknown): unknown => {
      if (value === null) return undefined;
      const written = JSON.stringify(value);
      if (typeof value === 'number' && /^\d{1,19}$/.test(written)) return BigInt(written);
      if (Array.isArray(value)) return value.map(seen);
      if (typeof value !== 'object') return value;
      const entries = Object.entries(value!).filter(([, member]) => member !== null);
      return Object.fromEntries(entries.map(([key, member]) => [key, seen(member)]));
    };
    const dense = (value: unknown): unknown => {
      if (Array.isArray(value)) return Array.from(value, dense);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, dense(member)]));
    };
    fc.assert(
      fc.property(json, (value) => {
        const text = JSON.stringify({ value });
        assert.deepEqual(dense(parse(text)), seen(JSON.parse(text)));
      }),
    );
  });

  it('keeps properties called __proto__ and constructor as properties', () => {
    const body = parse('{"__proto__":"a","constructor":"b","toString":null}');
    assert.deepEqual(Object.entries(body ?? {}), [
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ]);
  });

  it('may begin with a byte order mark', () => {
    assert.deepEqual(parse('\ufeff{"a":"b"}'), { a: 'b' });
  });
});
