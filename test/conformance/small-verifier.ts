import { createHash, createHmac, verify } from 'node:crypto';
import type { Bug } from './bugs.ts';

// How the small plugin knows Wix (contract 3.3).

const SKEW_SECONDS = 5;

export function isSigned(options: {
  readonly publicKeyPem: string;
  readonly has: (bug: Bug) => boolean;
  readonly operation: string;
  readonly raw: Buffer;
  readonly digest: string | string[] | undefined;
}): boolean {
  const { publicKeyPem, has, operation, raw } = options;
  const digest = String(options.digest ?? '');
  if (digest === '' && operation === 'void' && has('takes unsigned voids')) return true;
  if (!digest.startsWith('JWT=') && !(digest !== '' && has('does not need the prefix'))) return false;
  const [head = '', body = '', signature = ''] = digest.replace(/^JWT=/, '').split('.');
  try {
    const { alg } = decoded(head) as { alg?: string };
    const input = Buffer.from(`${head}.${body}`);
    const bytes = Buffer.from(signature, 'base64url');
    const secret = () => createHmac('sha256', publicKeyPem).update(input).digest();
    const isGood =
      (alg === 'RS256' && verify('RSA-SHA256', input, publicKeyPem, bytes)) ||
      (alg === 'none' && has('takes alg none')) ||
      (alg === 'HS256' && has('takes HS256') && secret().equals(bytes)) ||
      has('decodes without verifying');
    return isGood && isAlive(decoded(body), has) && isOf(decoded(body), raw, has);
  } catch {
    return false;
  }
}

function isAlive({ exp }: Record<string, unknown>, has: (bug: Bug) => boolean): boolean {
  if (exp === undefined) return has('takes tokens without end');
  return has('does not look at exp') || Number(exp) > Date.now() / 1_000 - SKEW_SECONDS;
}

function isOf({ data }: Record<string, unknown>, raw: Buffer, has: (bug: Bug) => boolean): boolean {
  const { SHA256 } = (data ?? {}) as { SHA256?: unknown };
  if (typeof SHA256 !== 'string' || SHA256 === '') return false;
  const bytes = has('hashes what it parsed') ? JSON.stringify(JSON.parse(String(raw))) : raw;
  const hash = createHash('sha256').update(bytes).digest('hex');
  const claimed = has('compares hashes by case') ? SHA256 : SHA256.toLowerCase();
  return (
    claimed === hash ||
    has('does not compare hashes') ||
    (has('compares the beginning of hashes') && hash.startsWith(claimed))
  );
}

function decoded(part: string): Record<string, unknown> {
  return JSON.parse(String(Buffer.from(part, 'base64url')));
}
