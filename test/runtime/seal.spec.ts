import assert from 'node:assert/strict';
import { createKeyRing, UnsealError } from '../../proto/runtime/seal.ts';

const keyText = (id: string, byte: number) => `${id}:${Buffer.alloc(32, `key ${byte}`).toString('base64')}`;
const OLD = keyText('2025', 1);
const NEW = keyText('2026', 2);
const plain = Buffer.from('{"apiKey":"secret"}');

describe('R31 a key ring', () => {
  const ring = createKeyRing(OLD);

  it('opens what it sealed, for the same owner only', () => {
    const blob = ring.seal(plain, 'account 1');
    assert.deepEqual(Buffer.from(ring.unseal(blob, 'account 1')), plain);
    assert.throws(() => ring.unseal(blob, 'account 2'), UnsealError);
  });

  it('seals nothing and much', () => {
    for (const size of [0, 1, 100_000]) {
      const data = Buffer.alloc(size, 5);
      assert.deepEqual(Buffer.from(ring.unseal(ring.seal(data, ''), '')), data);
    }
  });

  it('never seals the same twice, nor shows any of it', () => {
    const [one, other] = [ring.seal(plain, 'a'), ring.seal(plain, 'a')];
    assert.notDeepEqual(one, other);
    assert(!Buffer.from(one).includes(plain.subarray(0, 8)));
  });

  it('refuses a blob in which any one bit was changed, or that was cut', () => {
    const blob = Buffer.from(ring.seal(plain, 'a'));
    for (let bit = 0; bit < blob.length * 8; bit++) {
      const forged = Buffer.from(blob);
      forged[bit >> 3]! ^= 1 << (bit & 7);
      assert.throws(() => ring.unseal(forged, 'a'), UnsealError, `bit ${bit}`);
    }
    for (let length = 0; length < blob.length; length++)
      assert.throws(() => ring.unseal(blob.subarray(0, length), 'a'), UnsealError, `length ${length}`);
  });

  it('seals with its first key and opens with each, so that keys rotate', () => {
    const blob = ring.seal(plain, 'a');
    const added = createKeyRing(`${OLD},${NEW}`);
    const moved = createKeyRing(`${NEW}, ${OLD}`);
    assert.equal(added.keyIdOf(added.seal(plain, 'a')), '2025');
    assert.equal(moved.keyIdOf(moved.seal(plain, 'a')), '2026');
    assert.equal(moved.keyIdOf(blob), '2025');
    assert.deepEqual(Buffer.from(moved.unseal(blob, 'a')), plain);
    assert.throws(() => createKeyRing(NEW).unseal(blob, 'a'), /not configured/);
  });

  it('finds a mac again under every key, and not under another purpose', () => {
    const added = createKeyRing(`${OLD},${NEW}`);
    const moved = createKeyRing(`${NEW},${OLD}`);
    const mac = ring.mac('lookup', 'data');
    assert.deepEqual(added.macs('lookup', 'data')[0], { keyId: '2025', mac });
    assert.deepEqual(moved.macs('lookup', 'data')[1], { keyId: '2025', mac });
    assert(moved.verify('lookup', 'data', mac));
    assert(!moved.verify('other', 'data', mac));
    assert(!moved.verify('lookup', 'date', mac));
    assert(!moved.verify('lookup', 'data', mac.subarray(1)));
    assert(!createKeyRing(NEW).verify('lookup', 'data', mac));
  });

  it('takes a key in hex, base64url or wrapped over lines for what it is', () => {
    const bytes = Buffer.from(Array.from({ length: 32 }, (_, i) => 255 - i * 5));
    const text = bytes.toString('base64');
    const blob = createKeyRing(`a:${text}`).seal(plain, 'a');
    const hex = bytes.toString('hex');
    const wrapped = `${text.slice(0, 20)}\r\n${text.slice(20, 40)}\n${text.slice(40)}`;
    for (const same of [hex, hex.toUpperCase(), bytes.toString('base64url'), text.slice(0, 43), wrapped])
      assert.deepEqual(Buffer.from(createKeyRing(`a:${same}`).unseal(blob, 'a')), plain, same);
  });

  it('gives a bare key the id 0', () => {
    assert.deepEqual(createKeyRing(OLD.replace(/^.*:/, '')).ids, ['0']);
  });

  it('refuses bad texts and quotes none of them', () => {
    const short = Buffer.alloc(31, 9).toString('base64');
    for (const text of [
      '',
      short,
      `a:${short}`,
      `a b:${OLD.slice(5)}`,
      `${OLD},${OLD}`,
      `${OLD},`,
      `${OLD}:x`,
      `${OLD}!`,
      Buffer.alloc(32).toString('base64'),
      `${OLD},z:${'0'.repeat(64)}`,
      `z:${'f'.repeat(64)}`,
    ])
      assert.throws(
        () => createKeyRing(text),
        (error: Error) => !error.message.includes(OLD.slice(5)) && !error.message.includes(short),
        text,
      );
  });
});
