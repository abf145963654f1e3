import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import type { z } from 'zod';
import { isLoopback, parsedBy, Secret, secretBy } from './config.ts';
import { readPem } from './pem.ts';

// TLS between services, by configuration: what this side of a connection shows, and whom it believes (R33). Certificates are read once,
// at start: a new one takes a restart.

/** PEM texts; `cert` and `key` go together. */
export interface Tls {
  /** Whose signature the other side must have. A client without it believes the roots that Node knows, a server lets any client in. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: Secret | undefined;
}

type Certificates<P extends string> = `${P}_TLS_CA` | `${P}_TLS_CERT`;

/** <PEER>_TLS_CA, <PEER>_TLS_CERT and <PEER>_TLS_KEY, as entries of a configuration; each may come from a file. */
export function tlsEntries<P extends string>(peer: P) {
  const certificates = parsedBy(readCertificates).optional();
  const key = secretBy((pem) => new Secret(readPem(pem).join('\n'))).optional();
  const entries = { [`${peer}_TLS_CA`]: certificates, [`${peer}_TLS_CERT`]: certificates, [`${peer}_TLS_KEY`]: key };
  return entries as Record<Certificates<P>, typeof certificates> & Record<`${P}_TLS_KEY`, typeof key>;
}

/** What a configuration says of a peer; undefined if it says nothing. */
export function tlsOf<P extends string>(
  peer: P,
  config: { [K in Certificates<P>]?: string | undefined } & { [K in `${P}_TLS_KEY`]?: Secret | undefined },
): Tls | undefined {
  const { [`${peer}_TLS_CA`]: ca, [`${peer}_TLS_CERT`]: cert, [`${peer}_TLS_KEY`]: key } = config as Values;
  return ca || cert || key ? ({ ca, cert, key } as Tls) : undefined;
}

type Values = Readonly<Record<string, unknown>>;

/** For `superRefine`, where this side serves: it has a pair, or nothing. */
export const servesSafely = (peer: string) => (config: Values, context: z.RefinementCtx) => {
  const tls = demandPair(peer, config, context);
  if (tls?.ca && !tls.cert)
    context.addIssue({ code: 'custom', path: [`${peer}_TLS_CERT`], message: `is missing beside ${peer}_TLS_CA` });
};

/** For `superRefine`, where this side calls <PEER>_URL: over https, or on this machine, or because ALLOW_PLAINTEXT accepts it. */
export const callsSafely = (peer: string) => (config: Values, context: z.RefinementCtx) => {
  const tls = demandPair(peer, config, context);
  const url = String(config[`${peer}_URL`]);
  const refuse = (message: string) => context.addIssue({ code: 'custom', path: [`${peer}_URL`], message });
  if (!url.startsWith('https://') && tls) refuse(`must be https:// for ${peer}_TLS_*`);
  else if (isPlaintext(url) && !config.ALLOW_PLAINTEXT) refuse(PLAINTEXT_REFUSED);
};

const PLAINTEXT_REFUSED =
  'is not on this machine, and nothing encrypts the way to it: take https://, or ALLOW_PLAINTEXT=true accepts that';

/** Whether what goes to this URL, or host:port, can be read on the way. */
export const isPlaintext = (url: string): boolean => !url.startsWith('https://') && !isLoopback(url);

/** As Node's TLS takes it. */
export function secureContextOf({ ca, cert, key }: Tls): SecureContextOptions {
  return { ca, cert, key: key?.reveal(), minVersion: 'TLSv1.2' };
}

function demandPair(peer: string, config: Values, context: z.RefinementCtx): Tls | undefined {
  const tls = tlsOf(peer, config as Parameters<typeof tlsOf>[1]);
  if (!tls?.cert !== !tls?.key)
    context.addIssue({ code: 'custom', path: [`${peer}_TLS_CERT`], message: `and ${peer}_TLS_KEY go together` });
  else if (tls?.cert && tls.key && !isPair(tls.cert, tls.key))
    context.addIssue({ code: 'custom', path: [`${peer}_TLS_KEY`], message: `is not the key of ${peer}_TLS_CERT` });
  return tls;
}

function isPair(cert: string, key: Secret): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key.reveal()));
  } catch {
    return false;
  }
}

/** One or more certificates in PEM, and nothing else. */
export function readCertificates(pem: string): string {
  const found = readPem(pem);
  try {
    for (const certificate of found) new X509Certificate(certificate);
  } catch {
    found.length = 0;
  }
  if (found.length === 0) throw new Error('must hold certificates in PEM');
  return found.join('\n');
}
