import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { z } from 'zod';
import type { Callers } from './callers.ts';
import { isLoopback, Secret } from './config.ts';
import type { Log } from './log.ts';
import type { KeyRing } from './seal.ts';
import { readTls, type Tls } from './tls.ts';

// What must hold between the settings of a process (R33): each way that carries a secret is encrypted, or stays on this machine, or
// ALLOW_PLAINTEXT accepts it; certificates have their keys, and protect something; no secret serves two purposes.

type Values = Readonly<Record<string, unknown>>;
type Refuse = (setting: string, message: string) => void;

/** For `superRefine` on the configuration of a process; it goes by the settings that are there. */
export function ensureSafety(config: Values, context: z.RefinementCtx): void {
  const refuse: Refuse = (setting, message) => context.addIssue({ code: 'custom', path: [setting], message });
  for (const peer of ['CORE', 'PROCESSOR', 'RELAY', 'ENGINE']) ensureCertificates(peer, config, refuse);
  ensureWholeSasl(config, refuse);
  ensureOwnSecrets(config, refuse);
  ensureOwnNames(config, refuse);
  if (config.ALLOW_PLAINTEXT) return;
  for (const [setting, remedy] of Object.entries(plaintextWays(config)))
    refuse(
      setting,
      `is not this machine alone, and nothing encrypts the way: ${remedy}, or ALLOW_PLAINTEXT=true accepts that`,
    );
}

/** One warning at start, of what ALLOW_PLAINTEXT accepts. */
export function warnOfPlaintext(config: Values, log: Log): void {
  const settings = Object.keys(plaintextWays(config));
  if (settings.length > 0) log.warn('plaintext.allowed', { settings });
}

/** Whether what goes to this URL, or host:port, can be read on the way. */
export const isPlaintext = (url: string): boolean => !url.startsWith('https://') && !isLoopback(url);

/** The settings whose way leaves this machine and can be read, each with what would encrypt it. */
function plaintextWays(config: Values): Record<string, string> {
  const ways: Record<string, string> = {};
  for (const name of ['CORE_URL', 'PROCESSOR_URL', 'RELAY_URL', 'WIX_API_URL'])
    if (config[name] !== undefined && isPlaintext(String(config[name]))) ways[name] = 'take https://';
  const database = config.DATABASE_URL as Secret | undefined;
  if (database && isPlaintextDatabase(database.reveal())) ways.DATABASE_URL = 'add ?sslmode=verify-full';
  const brokers = (config.KAFKA_BROKERS ?? []) as readonly string[];
  if (!config.KAFKA_SSL && !brokers.every(isLoopback)) ways.KAFKA_BROKERS = 'set KAFKA_SSL=true';
  for (const [peer, tokens] of Object.entries({ CORE: 'CORE_TOKENS', RELAY: 'RELAY_TOKENS', ENGINE: 'ENGINE_TOKEN' })) {
    const host = config[`${peer}_HOST`];
    if (host !== undefined && config[tokens] && !config[`${peer}_TLS_CERT`] && !isLoopback(String(host)))
      ways[`${peer}_HOST`] = `set ${peer}_TLS_CERT and ${peer}_TLS_KEY`;
  }
  return ways;
}

/** By the URL alone, as pg reads it: a host may stand in the query too, and one that begins with a slash is a socket's folder. */
function isPlaintextDatabase(url: string): boolean {
  const { hostname, searchParams } = new URL(url.replace('@/', '@localhost/'));
  const host = searchParams.get('host') ?? hostname.replace(/^%2F/i, '/');
  const mode = searchParams.get('sslmode');
  const isEncrypted = mode ? mode !== 'disable' : ['true', '1'].includes(searchParams.get('ssl') ?? '');
  return !isEncrypted && !host.startsWith('/') && !isLoopback(host);
}

/** A pair, or nothing; for a server with an authority a pair; for a client only with https://. */
function ensureCertificates(peer: string, config: Values, refuse: Refuse): void {
  const tls = readTls(peer, config as Parameters<typeof readTls>[1]);
  if (!tls) return;
  if (!tls.cert !== !tls.key) refuse(`${peer}_TLS_CERT`, `and ${peer}_TLS_KEY go together`);
  else if (tls.cert && !isPair(tls)) refuse(`${peer}_TLS_KEY`, `is not the key of ${peer}_TLS_CERT`);
  const url = config[`${peer}_URL`];
  if (url !== undefined && !String(url).startsWith('https://'))
    refuse(`${peer}_URL`, `must be https:// for ${peer}_TLS_*`);
  if (config[`${peer}_HOST`] !== undefined && tls.ca && !tls.cert)
    refuse(`${peer}_TLS_CERT`, `is missing beside ${peer}_TLS_CA`);
}

function isPair({ cert = '', key }: Tls): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key?.reveal() ?? ''));
  } catch {
    return false;
  }
}

function ensureWholeSasl(config: Values, refuse: Refuse): void {
  const names = ['KAFKA_SASL_MECHANISM', 'KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD'];
  if (names.filter((name) => config[name]).length % 3 !== 0)
    refuse('KAFKA_SASL_MECHANISM', 'goes with KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD: all or none');
}

/** The core keeps both for itself: who moved money is told by them. */
function ensureOwnNames({ CORE_TOKENS: tokens }: Values, refuse: Refuse): void {
  const taken = ({ name, role }: { name: string; role: string }) =>
    role !== 'gateway' && (name === 'wix' || name === 'system');
  if ((tokens as Callers | undefined)?.list.some(taken))
    refuse('CORE_TOKENS', 'must not name a caller wix or system, the gateway aside: the core keeps both');
}

/** Who is given one secret must not hold another: an engine is no caller of the core, and the relay cannot open merchants' credentials. */
function ensureOwnSecrets(config: Values, refuse: Refuse): void {
  const texts = Object.entries(config).flatMap(([name, value]) =>
    value instanceof Secret ? [{ name, text: value.reveal() }] : [],
  );
  for (const [i, { name, text }] of texts.entries()) {
    const same = texts.slice(0, i).find((other) => other.text === text)?.name;
    const asked = ['CORE_TOKENS', 'RELAY_TOKENS'].find((tokens) =>
      (config[tokens] as Callers | undefined)?.identify(text),
    );
    if (same ?? asked) refuse(name, `is the same secret as ${same ?? `one of ${asked}`}: each must be its own`);
  }
  const macsOf = (ring: unknown) => (ring as KeyRing | undefined)?.macs('comparison', '') ?? [];
  const others = new Set(macsOf(config.EVENTS_KEY).map(({ mac }) => mac.toString('hex')));
  if (macsOf(config.CREDENTIALS_KEY).some(({ mac }) => others.has(mac.toString('hex'))))
    refuse('CREDENTIALS_KEY', 'has a key of EVENTS_KEY: each must be its own');
}
