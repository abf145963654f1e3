import {
  constants,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
} from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

// The key of the Wix app that the kit plays, and the Digest headers it makes with it (contract 3).

/** Ways to sign differently. What is absent is as Wix does it. */
export interface Signing {
  readonly header?: 'absent' | 'without JWT=' | 'garbage';
  /** The header's name as it goes over the wire. */
  readonly headerName?: string;
  readonly algorithm?: 'RS256' | 'none' | 'HS256' | 'PS256' | 'RS512';
  readonly key?: 'another';
  /** Seconds from now at which the token was issued. */
  readonly issued?: number;
  /** Seconds that it lives; null for a token without an end. */
  readonly life?: number | null;
  /** What the token says of the body. */
  readonly data?: (sha256: string) => Record<string, string>;
  /** Bytes that are sent after those that were signed. */
  readonly appended?: string;
}

export interface Signer {
  readonly publicKeyPem: string;
  digestFor(body: Uint8Array, signing: Signing): string | undefined;
}

const LIFE_SECONDS = 120;

export function createSigner(privateKeyPem: string): Signer {
  const privateKey = createPrivateKey(privateKeyPem);
  const publicKeyPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }) as string;
  const algorithms: Record<string, (input: Buffer, key: typeof privateKey) => Buffer> = {
    RS256: (input, key) => sign('RSA-SHA256', input, key),
    RS512: (input, key) => sign('RSA-SHA512', input, key),
    PS256: (input, key) => sign('sha256', input, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
    // The classic confusion: the public key, which everybody has, taken for a shared secret.
    HS256: (input) => createHmac('sha256', publicKeyPem).update(input).digest(),
    none: () => Buffer.alloc(0),
  };

  return {
    publicKeyPem,
    digestFor: (body, { header, algorithm = 'RS256', key, issued = 0, life = LIFE_SECONDS, data }) => {
      if (header === 'absent') return undefined;
      if (header === 'garbage') return 'JWT=this.is.nothing';
      const iat = Math.floor(Date.now() / 1_000) + issued;
      const sha256 = createHash('sha256').update(body).digest('hex');
      const claims = { data: data ? data(sha256) : { SHA256: sha256 }, iat, ...(life !== null && { exp: iat + life }) };
      const input = `${encoded({ alg: algorithm, typ: 'JWT' })}.${encoded(claims)}`;
      const signingKey = key === 'another' ? createPrivateKey(newPrivateKey()) : privateKey;
      const signature = algorithms[algorithm]!(Buffer.from(input), signingKey).toString('base64url');
      return `${header === 'without JWT=' ? '' : 'JWT='}${input}.${signature}`;
    },
  };
}

/** Reads the private key, or makes one; writes the public one for the plugin. */
export function keepKeys(files: { readonly privateKey: string; readonly publicKey: string }): Signer {
  if (!existsSync(files.privateKey)) writeFileSync(files.privateKey, newPrivateKey(), { mode: 0o600 });
  const signer = createSigner(readFileSync(files.privateKey, 'utf8'));
  writeFileSync(files.publicKey, signer.publicKeyPem);
  return signer;
}

export function newPrivateKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
}

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
