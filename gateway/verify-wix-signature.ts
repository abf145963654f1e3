import { createHash, createPublicKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { jwtVerify } from 'jose';
import { z } from 'zod';
import { counter, gauge } from '../proto/runtime/metrics.ts';
import { readPem } from '../proto/runtime/pem.ts';
import { HttpError } from './wix-answer.ts';

const PREFIX = 'JWT=';
const SKEW_S = 5;
/** Wix's tokens live for two minutes. Whatever is signed may be sent again until it expires, so that is soon. */
const LIFE_S_MAX = 600;
const RSA_BITS_MIN = 2048;

/** Checks the Digest header; the body's hash that it vouches for is checked once the body has been read. */
export type VerifyWixSignature = (
  header: string,
) => Promise<{ readonly hash: string; verifyBody(body: Uint8Array): void }>;

/** Why a call was not believed: no Digest, an expired or too long one, a signature by no key of ours, wrong claims, another body. */
const refusals = counter('wix_signature_refusals_total', 'Calls answered 401, by cause.', ['cause']);
const lastSigned = gauge('wix_last_signed_call_timestamp_seconds', 'When the last call with a good signature came.');
const clockDifference = gauge('wix_clock_difference_seconds', "This clock less that of Wix's last signature (iat).");

function refused(cause: 'none' | 'expired' | 'signature' | 'life' | 'claims' | 'body', problem: string): HttpError {
  refusals.inc({ cause });
  return new HttpError(401, problem);
}

/** Only `data.SHA256` is known as a hash (contract 3.4). jose itself wants `iat` and `nbf` to be numbers where they are present. */
const claims = z.object({ data: z.strictObject({ SHA256: z.string().regex(/^[0-9a-f]{64}$/i) }) });

/**
 * Verifies the signature of contract 3 in two steps, so that nobody unsigned costs a body (R7): RS256 under one of the keys and an
 * `exp` that has not passed and is not far away, from the header alone; then the hash, over the bytes as they came. Both throw an
 * HttpError with 401.
 */
export function createSignatureVerifier(keys: readonly KeyObject[], now = () => new Date()): VerifyWixSignature {
  return async (header) => {
    if (!header.startsWith(PREFIX)) throw refused('none', 'no Digest header');
    const token = header.slice(PREFIX.length);
    const options = { algorithms: ['RS256'], requiredClaims: ['exp'], clockTolerance: SKEW_S, currentDate: now() };
    const { payload } = await Promise.any(keys.map((key) => jwtVerify(token, key, options))).catch(
      ({ errors }: AggregateError) => {
        const codes = errors.map(({ code }) => code);
        throw refused(codes.includes('ERR_JWT_EXPIRED') ? 'expired' : 'signature', codes.join(', '));
      },
    );
    const nowS = now().getTime() / 1000;
    const { exp = nowS, iat = nowS } = payload;
    if (exp - Math.min(iat, nowS) > LIFE_S_MAX) throw refused('life', 'exp is too far away');
    const { data } = claims.safeParse(payload);
    if (!data) throw refused('claims', 'no SHA256 claim');
    lastSigned.set(nowS);
    clockDifference.set(nowS - iat);
    const expected = Buffer.from(data.data.SHA256, 'hex');
    return {
      hash: expected.toString('hex'),
      verifyBody(body) {
        if (!timingSafeEqual(createHash('sha256').update(body).digest(), expected))
          throw refused('body', 'the body is not the one that was signed');
      },
    };
  };
}

/** Reads one or two RSA public keys in PEM, one after the other; two while Wix changes its key. Throws an Error that quotes nothing. */
export function readPublicKeys(pem: string): KeyObject[] {
  const blocks = readPem(pem);
  let keys: KeyObject[] = [];
  try {
    // Of a private key it would make the public one.
    if (!pem.includes('PRIVATE')) keys = blocks.map((block) => createPublicKey(block));
  } catch {
    // OpenSSL's reason helps nobody.
  }
  const areRsa = keys.every((key) => key.asymmetricKeyType === 'rsa' && bitsOf(key) >= RSA_BITS_MIN);
  if (!areRsa || keys.length < 1 || keys.length > 2)
    throw new Error(`must hold one or two RSA public keys in PEM, of at least ${RSA_BITS_MIN} bits`);
  return keys;
}

const bitsOf = (key: KeyObject) => key.asymmetricKeyDetails?.modulusLength ?? 0;
