import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

// Certificates for tests, made when they are needed and written down in DER by hand, since Node reads X.509 and does not write it.

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface Authority extends Certificate {
  /** A certificate of a server or a client alike: for localhost and 127.0.0.1, or for another host alone. */
  issue(name: string, options?: { expired?: boolean; host?: string }): Certificate;
}

const DAY_MS = 86_400_000;
const OID = { commonName: '550403', subjectAltName: '551d11', basicConstraints: '551d13' };
const ECDSA_WITH_SHA256 = der(0x30, oid('2a8648ce3d040302'));

export function createAuthority(name: string): Authority {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const isAuthority = extension(OID.basicConstraints, der(0x30, der(0x01, Buffer.from([0xff]))));
  const own = certify({ subject: name, subjectKey: privateKey, issuer: name, issuerKey: privateKey }, isAuthority);
  return {
    cert: own,
    key: pemOf(privateKey),
    issue: (subject, { expired = false, host } = {}) => {
      const { privateKey: subjectKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const dns = (text: string) => der(0x82, Buffer.from(text));
      const hosts = host ? [dns(host)] : [dns('localhost'), der(0x87, Buffer.from([127, 0, 0, 1]))];
      const names = extension(OID.subjectAltName, der(0x30, ...hosts));
      const parties = { subject, subjectKey, issuer: name, issuerKey: privateKey };
      return { cert: certify(parties, names, expired ? -1 : 1), key: pemOf(subjectKey) };
    },
  };
}

interface Parties {
  readonly subject: string;
  readonly subjectKey: KeyObject;
  readonly issuer: string;
  readonly issuerKey: KeyObject;
}

/** Valid for two days: until tomorrow or, with -1, until yesterday. */
function certify({ subject, subjectKey, issuer, issuerKey }: Parties, extensions: Buffer, ends: 1 | -1 = 1): string {
  const at = (days: number) => {
    const [date = ''] = new Date(Date.now() + days * DAY_MS).toISOString().replaceAll(/[-:T]/g, '').split('.');
    return der(0x18, Buffer.from(`${date}Z`));
  };
  const nameOf = (text: string) => der(0x30, der(0x31, der(0x30, oid(OID.commonName), der(0x0c, Buffer.from(text)))));
  const toBeSigned = der(
    0x30,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ECDSA_WITH_SHA256,
    nameOf(issuer),
    der(0x30, at(ends - 2), at(ends)),
    nameOf(subject),
    createPublicKey(subjectKey).export({ type: 'spki', format: 'der' }),
    der(0xa3, der(0x30, extensions)),
  );
  const signature = der(0x03, Buffer.from([0]), sign('sha256', toBeSigned, issuerKey));
  const lines =
    der(0x30, toBeSigned, ECDSA_WITH_SHA256, signature)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** A critical extension. */
function extension(id: string, value: Buffer): Buffer {
  return der(0x30, oid(id), der(0x01, Buffer.from([0xff])), der(0x04, value));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}
