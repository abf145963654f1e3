import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { withToken } from '../../proto/runtime/callers.ts';
import { Secret } from '../../proto/runtime/config.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { isPlaintext } from '../../proto/runtime/safe-config.ts';
import { createKit } from './contract-kit.ts';
import { type Means, meansSchema, SIMULATED_MEANS } from './contract-means.ts';
import { type EngineUnderTest, GROUPS, hold, unanswered } from './contract-suite.ts';

const HELP = `Holds an engine to processor.v1, promise by promise, over gRPC. It moves money of the test merchant.

  npm run test:processor -- --url http://127.0.0.1:50061 [--token TOKEN] [--cards FILE] [--only TEXT]

  --url        where the engine listens; https:// is TLS
  --token      what it asks for as bearer token; better in PROCESSOR_TOKEN, where no list of processes shows it
  --cards      JSON: the test cards, the merchant, currencies and times; without it those of the simulated engine
  --only       holds only the promises whose title, or whose group's, contains this
  --ca         PEM file: whose signature the engine's certificate has, where it is none that Node knows
  --cert --key PEM files: the caller's own, where the engine asks for one
  --plaintext  lets an http:// URL leave this machine: token and cards can be read on the way
  --list       prints the promises and what each needs
  --help       prints this

The file, with what each card makes the engine do. Only "approved" is necessary: what needs another card is skipped.

  {
    "cards": {
      "approved": "4242424242424242",        // or { "number": ..., "expiryMonth": 9, "expiryYear": 2031, "cvv": "737" }
      "declined": "...",
      "pendingThenApproved": "...",          // pending first, decided by itself within lateMs
      "pendingThenDeclined": "...",
      "answerLost": "...",                   // approves, but never answers
      "callLost": "...",                     // does nothing, and never answers
      "captureDeclined": "...",              // approves; captures are declined
      "refundDeclined": "...",               // approves; refunds are declined
      "buyerAction": "..."                   // asks for the buyer on a page
    },
    "credentials": { "apiKey": "test" },     // of the test merchant, as typed into Wix
    "wrongCredentials": { "apiKey": "invalid" },
    "country": "PT", "currency": "EUR", "otherCurrencies": ["JPY", "KWD"],
    "deadlineMs": 8000, "lateMs": 15000, "silenceMs": 2000
  }

Ends with 0 if every promise held, 1 if one is broken, 2 if it could not begin. docs/PROCESSORS.md explains what is promised.
`;

const OPTIONS = {
  url: { type: 'string' },
  token: { type: 'string' },
  cards: { type: 'string' },
  only: { type: 'string', default: '' },
  ca: { type: 'string' },
  cert: { type: 'string' },
  key: { type: 'string' },
  plaintext: { type: 'boolean', default: false },
  list: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

/** Why it cannot begin, for whoever called. */
class CannotBegin extends Error {}

function readMeans(file: string | undefined): Means {
  if (file === undefined) return SIMULATED_MEANS;
  try {
    // Comments are of the help text alone: the file is plain JSON.
    return meansSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    throw new CannotBegin(
      `${file}: ${error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message}`,
    );
  }
}

function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

function list(): void {
  for (const { title, promises } of GROUPS) {
    print(`\n${title}`);
    for (const { title, needs = [] } of promises)
      print(`  ${title}${needs.length > 0 ? ` [${needs.join(', ')}]` : ''}`);
  }
}

/** Prints one line for each promise, and why where it is broken. Returns whether all held. */
async function holdAll(engine: EngineUnderTest, only: string): Promise<boolean> {
  const count = { held: 0, skipped: 0, broken: 0 };
  for (const { title, promises } of GROUPS) {
    const chosen = promises.filter((promise) => `${title}: ${promise.title}`.includes(only));
    if (chosen.length > 0) print(`\n${title}`);
    for (const promise of chosen) {
      const verdict = await hold(engine, promise);
      count[verdict.came] += 1;
      if (verdict.came === 'held') print(`  ok      ${promise.title}`);
      if (verdict.came === 'skipped') print(`  skipped ${promise.title} (needs ${verdict.lacks})`);
      if (verdict.came === 'broken')
        print(`  BROKEN  ${promise.title}\n          ${verdict.why.message.replaceAll('\n', '\n          ')}`);
    }
  }
  print(`\n${count.held} held, ${count.skipped} skipped, ${count.broken} broken`);
  if (count.held + count.skipped + count.broken === 0) throw new CannotBegin(`no promise has "${only}" in its title`);
  return count.broken === 0;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) print(HELP);
  if (values.list) list();
  if (values.help || values.list) return 0;
  const { url } = values;
  if (!url) throw new CannotBegin('--url is missing, for example --url http://127.0.0.1:50061; --help says more');
  if (isPlaintext(url) && !values.plaintext)
    throw new CannotBegin(`${url} is not on this machine: --plaintext accepts that`);
  const means = readMeans(values.cards);
  const token = values.token ?? process.env.PROCESSOR_TOKEN;
  const [ca, cert, key] = [values.ca, values.cert, values.key].map((file) => file && readFileSync(file, 'utf8'));
  const channel = {
    url,
    tls: { ca, cert, key: key ? new Secret(key) : undefined },
    defaultTimeoutMs: means.deadlineMs,
  };
  const transport = createGrpcTransport({ ...channel, interceptors: token ? [withToken(new Secret(token))] : [] });
  const withoutToken = createGrpcTransport(channel);
  try {
    await createKit(transport, means).catch((error) => {
      throw new CannotBegin(`${url}: ${unanswered(error).message}`);
    });
    return (await holdAll({ transport, means, ...(token && { withoutToken }) }, values.only)) ? 0 : 1;
  } finally {
    transport.close();
    withoutToken.close();
  }
}

// Whoever read the output, such as head, has seen enough.
process.stdout.on('error', () => process.exit(2));
process.exitCode = await main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  return 2;
});
