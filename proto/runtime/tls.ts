import { X509Certificate } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { parsedBy, Secret, secretBy } from './config.ts';
import { gauge } from './metrics.ts';
import { readPem } from './pem.ts';

// TLS between services, by configuration: what this side of a connection shows, and whom it believes (R33). What came from a file is
// read again when that has changed (renew.ts): connections made from then on show and believe it.

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
  const certificates = parsedBy((pem): Pem => ({ text: readCertificates(pem) })).optional();
  const key = secretBy((pem) => new Secret(readPem(pem).join('\n'))).optional();
  const entries = { [`${peer}_TLS_CA`]: certificates, [`${peer}_TLS_CERT`]: certificates, [`${peer}_TLS_KEY`]: key };
  return entries as Record<Certificates<P>, typeof certificates> & Record<`${P}_TLS_KEY`, typeof key>;
}

/** Certificates that may be renewed. */
export interface Pem {
  readonly text: string;
}

/** What a configuration says of a peer; undefined if it says nothing. */
export function readTls<P extends string>(
  peer: P,
  config: { [K in Certificates<P>]?: Pem | undefined } & { [K in `${P}_TLS_KEY`]?: Secret | undefined },
): Tls | undefined {
  const values = config as Readonly<Record<string, Pem | Secret | undefined>>;
  const ca = values[`${peer}_TLS_CA`] as Pem | undefined;
  const cert = values[`${peer}_TLS_CERT`] as Pem | undefined;
  const key = values[`${peer}_TLS_KEY`] as Secret | undefined;
  if (cert) showDaysLeft(peer, cert);
  if (!ca && !cert && !key) return undefined;
  return {
    get ca() {
      return ca?.text;
    },
    get cert() {
      return cert?.text;
    },
    key,
  };
}

const shown = new Map<string, Pem>();

/** Of the first certificate, which is this side's own. */
function showDaysLeft(peer: string, cert: Pem): void {
  shown.set(peer, cert);
  gauge('certificate_days_left', 'Until the own certificate of <PEER>_TLS_CERT expires.', ['peer'], (all) => {
    for (const [name, { text }] of shown)
      all.set({ peer: name }, (new X509Certificate(text).validToDate.getTime() - Date.now()) / 86_400_000);
  });
}

/** As Node's TLS takes it. */
export function secureContextOf({ ca, cert, key }: Tls): SecureContextOptions {
  return { ca, cert, key: key?.reveal(), minVersion: 'TLSv1.2' };
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
