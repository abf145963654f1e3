import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';

// Encryption at rest and message authentication under keys that rotate: the first key seals, every key opens (R31).

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

/** A blob that cannot be opened: its key is not in the ring, or it was forged, cut, or sealed for another aad. */
export class UnsealError extends Error {
  override name = 'UnsealError';
}

/** Its keys are nowhere on the object, so that nothing can print them. */
export interface KeyRing {
  /** The first one seals. */
  readonly ids: readonly string[];
  /** version byte, length of the key id, key id, nonce, ciphertext, tag; AES-256-GCM. The aad binds the blob to its owner. */
  seal(plain: Uint8Array, aad: string): Uint8Array;
  /** Throws an UnsealError. */
  unseal(blob: Uint8Array, aad: string): Uint8Array;
  keyIdOf(blob: Uint8Array): string;
  /** HMAC-SHA-256 under a key that is derived from the first key for this purpose alone. */
  mac(purpose: string, data: string): Buffer;
  /** The same under every key, the first key's first. */
  macs(purpose: string, data: string): { keyId: string; mac: Buffer }[];
  /** Whether the mac is right under any key; takes the same time whatever is wrong with it. */
  verify(purpose: string, data: string, mac: Uint8Array): boolean;
}

/**
 * Reads `id:base64[,id:base64]`; a bare key has id 0. A key may as well be in base64url or hex, and wrapped over lines: 32 bytes look alike
 * in no two of them. Throws an Error that names the rule and quotes nothing.
 */
export function createKeyRing(text: string): KeyRing {
  const keys = new Map<string, Buffer>();
  for (const entry of text.split(',')) {
    const [, id = '0', text = ''] = /^(?:([\w-]{1,32}):)?([\s\S]+)$/.exec(entry.trim()) ?? [];
    const key = text.replaceAll(/\s/g, '');
    const encoding = /^[0-9a-f]{64}$/i.test(key) ? 'hex' : /^[A-Za-z0-9+/_-]{43}=?$/.test(key) ? 'base64' : undefined;
    if (!encoding)
      throw new Error('must be id:base64[,id:base64], with ids of 1 to 32 of A-Z a-z 0-9 _ - and keys of 32 bytes');
    if (keys.has(id)) throw new Error('has the same key id twice');
    const bytes = Buffer.from(key, encoding);
    if (new Set(bytes).size === 1) throw new Error('has a key that nobody drew: openssl rand -base64 32 draws one');
    keys.set(id, bytes);
  }
  const ids = [...keys.keys()];
  const first = ids[0]!;
  const derived = new Map<string, KeyObject>();

  function macUnder(id: string, purpose: string, data: string): Buffer {
    const name = `${id}:${purpose}`;
    const derive = () => createSecretKey(Buffer.from(hkdfSync('sha256', keys.get(id)!, '', purpose, KEY_BYTES)));
    const key = derived.get(name) ?? derive();
    derived.set(name, key);
    return createHmac('sha256', key).update(data).digest();
  }

  const macs = (purpose: string, data: string) => ids.map((keyId) => ({ keyId, mac: macUnder(keyId, purpose, data) }));

  function seal(plain: Uint8Array, aad: string): Uint8Array {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', keys.get(first)!, nonce).setAAD(Buffer.from(aad));
    const head = Buffer.from([VERSION, first.length, ...Buffer.from(first)]);
    return Buffer.concat([head, nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  function keyIdOf(blob: Uint8Array): string {
    const length = blob[1] ?? 0;
    if (blob[0] !== VERSION || blob.length < 2 + length + NONCE_BYTES + TAG_BYTES)
      throw new UnsealError('not a sealed blob');
    return Buffer.from(blob.subarray(2, 2 + length)).toString('latin1');
  }

  function unseal(blob: Uint8Array, aad: string): Uint8Array {
    const id = keyIdOf(blob);
    const key = keys.get(id);
    if (!key) throw new UnsealError('sealed with a key that is not configured');
    const [nonceAt, bodyAt] = [2 + id.length, 2 + id.length + NONCE_BYTES];
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, blob.subarray(nonceAt, bodyAt), {
        authTagLength: TAG_BYTES,
      })
        .setAAD(Buffer.from(aad))
        .setAuthTag(blob.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(blob.subarray(bodyAt, -TAG_BYTES)), decipher.final()]);
    } catch {
      throw new UnsealError('forged, damaged, or sealed for another owner');
    }
  }

  return {
    ids,
    seal,
    unseal,
    keyIdOf,
    mac: (purpose, data) => macUnder(first, purpose, data),
    macs,
    verify: (purpose, data, mac) =>
      macs(purpose, data).some((own) => own.mac.length === mac.length && timingSafeEqual(own.mac, mac)),
  };
}
