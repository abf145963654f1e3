import {
  constants,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
} from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

// The key of the simulated Wix app, and the signatures that Wix makes with it (Wix contract, section 3): written by hand, so that
// what verifies them is held against something else than itself.

/** Wix's tokens live two minutes. */
const LIFE_SECONDS = 120;

/** Ways in which a signature can be wrong. 'tampered body' is a right one for other bytes. */
export type Forgery =
  | 'no header'
  | 'no prefix'
  | 'wrong key'
  | 'alg none'
  | 'HS256'
  | 'PS256'
  | 'expired'
  | 'no exp'
  | 'no hash'
  | 'other hash'
  | 'tampered body';

export interface Keys {
  /** What the PSP finds in its app dashboard. */
  readonly publicKeyPem: string;
  /** The Digest header for a body; undefined for 'no header'. */
  digestFor(body: Uint8Array, forgery?: Forgery): string | undefined;
}

/** With a folder, the key is kept there and found again. */
export function createKeys(folder?: string): Keys {
  const privateKey = createPrivateKey(folder ? storedKey(folder) : newKey());
  const publicKeyPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }) as string;

  const signers: Record<string, (input: string) => Buffer> = {
    RS256: (input) => sign('RSA-SHA256', Buffer.from(input), privateKey),
    // The classic confusion: the public key, which everybody has, taken for a shared secret.
    HS256: (input) => createHmac('sha256', publicKeyPem).update(input).digest(),
    PS256: (input) =>
      sign('sha256', Buffer.from(input), { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
    none: () => Buffer.alloc(0),
  };

  function digestFor(body: Uint8Array, forgery?: Forgery): string | undefined {
    if (forgery === 'no header') return undefined;
    const now = Math.floor(Date.now() / 1_000);
    const iat = forgery === 'expired' ? now - 3_600 : now;
    const hash = createHash('sha256')
      .update(forgery === 'other hash' ? 'other bytes' : body)
      .digest('hex');
    const claims = {
      data: forgery === 'no hash' ? {} : { SHA256: hash },
      iat,
      ...(forgery !== 'no exp' && { exp: iat + LIFE_SECONDS }),
    };
    const alg = forgery === 'alg none' ? 'none' : forgery === 'HS256' || forgery === 'PS256' ? forgery : 'RS256';
    const input = `${encoded({ alg, typ: 'JWT' })}.${encoded(claims)}`;
    const signature = forgery === 'wrong key' ? sign('RSA-SHA256', Buffer.from(input), newKey()) : signers[alg]!(input);
    return `${forgery === 'no prefix' ? '' : 'JWT='}${input}.${signature.toString('base64url')}`;
  }

  return { publicKeyPem, digestFor };
}

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function storedKey(folder: string): string {
  const file = join(folder, 'wix-key.pem');
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, newKey(), { mode: 0o600 });
  }
  return readFileSync(file, 'utf8');
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
}
