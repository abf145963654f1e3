import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { choose } from './checks.ts';
import { ConfigError, readConfig } from './config.ts';
import { htmlReport } from './report-html.ts';
import { junitReport } from './report-junit.ts';
import { isPassed, textReport } from './report-text.ts';
import { type Result, runChecks, Unreachable } from './run.ts';
import { keepKeys } from './signature.ts';

const HELP = `Plays Wix against the plugin of a payment service provider, and holds it against the contract.

  npm run conformance -- --config plugin.yaml [--only ID,...] [--report DIR]

  --config FILE            what the kit must know of the plugin, YAML or JSON: see docs/CONFORMANCE.md
  --keys                   write the keys and stop: the plugin must know the public one before anything else
  --only ID,...            these checks alone; retry.* are all that begin so
  --list                   the checks, their sections, and what each needs
  --report DIR             where report.txt, report.xml (JUnit) and report.html go (./conformance-report)
  --help

Instead of the config's entries, or beside them:

  --name TEXT              of the plugin
  --base-url URL           what endpoints are relative to
  --connect, --create, --refund, --capture, --void URL
  --private-key FILE       PEM to sign with; made if it is missing
  --public-key FILE        where the plugin finds the key to verify with
  --events-host, --events-port
                           where the token endpoint and Submit Event are served (127.0.0.1, 8090)
  --app-id, --app-secret   of the Wix app, as the plugin asks for tokens with
  --credential NAME=VALUE, --wrong-credential NAME=VALUE
                           what a merchant types; several times if there are several
  --card OUTCOME=NUMBER    approved, pendingApproved, pendingDeclined, captureFails, refundFails, challenged,
                           or declined:CODE
  --capability NAME[=false]
                           authorizeOnly, partialCapture, partialRefund, moto, googlePay, applePay, credentialsOnFile,
                           redirect, hostedPage

Exits with 0 if nothing is broken, 1 if something is, 2 if the plugin could not be tried.
`;

const TEXT = { type: 'string' } as const;
const TEXTS = { type: 'string', multiple: true } as const;

type Tree = Record<string, unknown>;

/** `a.b` = value in a tree, where there is a value. */
function put(tree: Tree, at: string, value: unknown): void {
  if (value === undefined) return;
  const [name = '', ...rest] = at.split('.');
  if (rest.length === 0) tree[name] = value;
  else {
    const inner = (tree[name] ?? {}) as Tree;
    tree[name] = inner;
    put(inner, rest.join('.'), value);
  }
}

/** `NAME=VALUE` as a pair. */
function pairOf(text: string): [name: string, value: string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, 'true'] : [text.slice(0, at), text.slice(at + 1)];
}

function readFlags() {
  return parseArgs({
    options: {
      ...{
        config: TEXT,
        only: TEXTS,
        report: TEXT,
        name: TEXT,
        'base-url': TEXT,
        'private-key': TEXT,
        'public-key': TEXT,
      },
      ...{
        connect: TEXT,
        create: TEXT,
        refund: TEXT,
        capture: TEXT,
        void: TEXT,
        'events-host': TEXT,
        'events-port': TEXT,
      },
      ...{
        'app-id': TEXT,
        'app-secret': TEXT,
        credential: TEXTS,
        'wrong-credential': TEXTS,
        card: TEXTS,
        capability: TEXTS,
      },
      keys: { type: 'boolean' },
      list: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  }).values;
}

function treeOf(flags: ReturnType<typeof readFlags>): Tree {
  const tree: Tree = {};
  put(tree, 'name', flags.name);
  put(tree, 'baseUrl', flags['base-url']);
  for (const operation of ['connect', 'create', 'refund', 'capture', 'void'] as const)
    put(tree, `endpoints.${operation}`, flags[operation]);
  put(tree, 'wix.privateKey', flags['private-key']);
  put(tree, 'wix.publicKey', flags['public-key']);
  put(tree, 'wix.host', flags['events-host']);
  put(tree, 'wix.port', flags['events-port'] === undefined ? undefined : Number(flags['events-port']));
  put(tree, 'wix.appId', flags['app-id']);
  put(tree, 'wix.appSecret', flags['app-secret']);
  // Names of credentials may hold points.
  const members = (pairs: readonly string[] | undefined) => pairs && Object.fromEntries(pairs.map(pairOf));
  put(tree, 'merchant.credentials', members(flags.credential));
  put(tree, 'merchant.wrongCredentials', members(flags['wrong-credential']));
  for (const [name, value] of (flags.capability ?? []).map(pairOf))
    put(tree, `capabilities.${name}`, value !== 'false');
  for (const [name, value] of (flags.card ?? []).map(pairOf)) {
    const code = /^declined:(\d+)$/.exec(name)?.[1];
    if (code) put(tree, `cards.declined.${value}`, Number(code));
    else put(tree, `cards.${name}`, value);
  }
  return tree;
}

function list(): void {
  for (const { id, section, title, needs = [] } of choose([]))
    process.stdout.write(
      `${id.padEnd(40)} ${section.padEnd(6)} ${title}${needs.length > 0 ? `  [${needs.join(', ')}]` : ''}\n`,
    );
  process.stdout.write(`${choose([]).length} checks\n`);
}

/** On a terminal a line that counts; elsewhere nothing until the end, but for what is wrong. */
function progress({ check, verdict }: Result, done: number, total: number): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${done}/${total} ${check.id}${done === total ? '\r\x1b[K' : ''}`);
  else if (verdict === 'failed') process.stderr.write(`${done}/${total} ${check.id} is broken\n`);
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError((error as Error).message);
  }
}

async function main(): Promise<number> {
  const flags = readFlags();
  if (flags.help) process.stdout.write(HELP);
  else if (flags.list) list();
  else return conformance(flags);
  return 0;
}

async function conformance(flags: ReturnType<typeof readFlags>): Promise<number> {
  if (Object.values(flags).every((value) => value === undefined))
    throw new ConfigError(
      'no plugin is named: write a file as docs/CONFORMANCE.md has it, and say --config FILE (see --help)',
    );
  const config = readConfig(flags.config === undefined ? '{}' : read(flags.config), treeOf(flags));
  // Files that a config names stand beside it.
  const beside = (file: string) => path.resolve(flags.config === undefined ? '.' : path.dirname(flags.config), file);
  const signer = keepKeys({ privateKey: beside(config.wix.privateKey), publicKey: beside(config.wix.publicKey) });
  if (flags.keys) {
    process.stdout.write(`The key to verify Wix's calls with is ${beside(config.wix.publicKey)}.\n`);
    return 0;
  }
  const checks = choose((flags.only ?? []).flatMap((text) => text.split(',')).filter(Boolean));
  if (checks.length === 0) throw new ConfigError('--only names no check: --list shows them');
  const report = await runChecks({
    ...{ config, signer, checks, onResult: progress },
    onStart: ({ url }) => process.stderr.write(`Wix's side is ${url}; ${checks.length} checks of ${config.name}\n`),
  });
  process.stdout.write(textReport(report));
  const folder = flags.report ?? 'conformance-report';
  mkdirSync(folder, { recursive: true });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the colours of a terminal have no place in a file.
  writeFileSync(path.join(folder, 'report.txt'), textReport(report).replaceAll(/\x1b\[\d+m/g, ''));
  writeFileSync(path.join(folder, 'report.xml'), junitReport(report));
  writeFileSync(path.join(folder, 'report.html'), htmlReport(report));
  process.stdout.write(`The report with every message is ${path.join(folder, 'report.html')}\n`);
  return isPassed(report) ? 0 : 1;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: Error & { code?: string }) => {
    const isUsers = error instanceof ConfigError || error.code?.startsWith('ERR_PARSE_ARGS');
    const hint = error instanceof Unreachable ? '\nIs the plugin running, and are the endpoints right?' : '';
    process.stderr.write(
      `npm run conformance: ${isUsers || hint || error.code ? error.message : error.stack}${hint}\n`,
    );
    process.exitCode = 2;
  },
);
