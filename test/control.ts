import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { closeHttp, listen } from '../proto/runtime/lifecycle.ts';
import { type Behaviour, CARDS } from './engine/cards.ts';
import { runFlows, type Stage, type Verdict } from './flows.ts';
import type { Playground } from './playground.ts';
import { createWorkbench, type Means } from './wix/workbench.ts';

// A small door to a running playground, for `npm run demo` and for curl. Development only.

export const CONTROL_PORT = Number(process.env.CONTROL_PORT || 8099);

/** What came out of all flows. */
export interface Summary {
  readonly flows: number;
  readonly failed: number;
  /** What broke the contract, over the whole history of the simulated Wix. */
  readonly violations: readonly string[];
  /** Outcomes that Wix was answered and has not been told by an event. */
  readonly untold: readonly string[];
  /** By the engine's books: payments charged more than once. */
  readonly chargedTwice: readonly string[];
  readonly nodeMb: number;
  readonly postgresMb: number;
}

export type Line = Verdict | Summary;

/** Runs every flow, then looks at everything that ever happened here. */
export async function* runDemo(stage: Stage): AsyncGenerator<Line> {
  let flows = 0;
  let failed = 0;
  for await (const verdict of runFlows(stage)) {
    flows += 1;
    if (verdict.problems.length > 0) failed += 1;
    yield verdict;
  }
  yield { flows, failed, ...look(stage) };
}

function look({ wix, engine }: Stage): Omit<Summary, 'flows' | 'failed'> {
  const approvals = engine.books
    .list()
    .filter(({ kind, outcome }) => kind === 'authorize' && outcome.kind.case === 'approved');
  const byPayment = Map.groupBy(approvals, ({ transactionId }) => transactionId);
  return {
    violations: wix.violations,
    untold: wix.untold,
    chargedTwice: [...byPayment].filter(([, entries]) => entries.length > 1).map(([id]) => id),
    nodeMb: Math.round(process.memoryUsage.rss() / 1e6),
    postgresMb: postgresMb(),
  };
}

/** Proportional share of memory of the PostgreSQL processes that this process began, on Linux; 0 elsewhere. */
function postgresMb(): number {
  try {
    const kilobytes = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => {
        try {
          if (!readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('postgres')) return 0;
          return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
        } catch {
          return 0;
        }
      });
    return Math.round(kilobytes.reduce((sum, each) => sum + each, 0) / 1e3);
  } catch {
    return 0;
  }
}

/** What a payment at the checkout of the workbench can be made with. */
const MEANS: readonly Means[] = [
  { number: '4242424242424242', outcome: 'approved' },
  ...Object.entries(CARDS).map(([number, behaviour]) => ({ number, outcome: inWords(behaviour) })),
  { method: 'iDeal', outcome: 'the buyer goes to a bank' },
  { method: 'multibanco', outcome: 'a voucher, paid days later' },
  { method: '', outcome: 'the buyer types a card in at the engine' },
  { wallet: 'googlePay', outcome: 'approved' },
  { wallet: 'applePay', outcome: 'approved' },
];

function inWords({ declines, reviews, silent, aftermath, partial, threeDSecure }: Behaviour): string {
  if (threeDSecure === 'challenge fails') return '3-D Secure: challenge fails, declined';
  const end = declines ? `declined ${declines[0]}: ${declines[2]}` : 'approved';
  return [
    threeDSecure && `3-D Secure: ${threeDSecure}`,
    reviews && 'pending 5005 first',
    silent && `no answer, ${silent}`,
    partial ? 'half of it is approved, where the merchant takes less' : end,
    aftermath && `then ${aftermath}`,
  ]
    .filter(Boolean)
    .join(', ');
}

/** POST /demo answers a line of JSON for each flow and one at the end; GET /status what is known now. */
export async function serveControl(
  playground: Pick<Playground, 'wix' | 'engine' | 'gatewayUrl'>,
  at = CONTROL_PORT,
): Promise<{ readonly port: number; stop(): Promise<void> }> {
  let port = at;
  const { wix, engine, gatewayUrl } = playground;
  const faults = { none: undefined, 'is down': 'unavailable', 'loses its answers': 'drop answer' } as const;
  const workbench = createWorkbench(
    {
      ...{ wix, gatewayUrl, means: MEANS },
      spoil: (fault) => {
        engine.fault = fault === 'none' ? undefined : () => faults[fault];
      },
    },
    () => `http://127.0.0.1:${port}`,
  );
  /** No page of another site, and no name that another site points at this machine, drives it. */
  const isOwn = ({ headers: { host, origin } }: IncomingMessage) =>
    host === `127.0.0.1:${port}` && (!origin || origin === `http://${host}`);

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isOwn(request)) return void response.writeHead(403).end('This is at another address.\n');
    if (await workbench(request, response)) return;
    response.setHeader('content-type', 'application/x-ndjson');
    if (request.method === 'POST' && request.url === '/demo') {
      for await (const line of runDemo(playground)) response.write(`${JSON.stringify(line)}\n`);
      response.end();
    } else if (request.method === 'GET' && request.url === '/status') {
      const totals = playground.engine.books.totals();
      const status = { ...look(playground), events: playground.wix.events().length, totals };
      response.end(`${JSON.stringify(status, (_, value) => (typeof value === 'bigint' ? String(value) : value), 2)}\n`);
    } else response.writeHead(404).end();
  }
  const server = createServer((request, response) => {
    answer(request, response).catch(() => (response.headersSent ? response.destroy() : response.writeHead(500).end()));
  });
  port = await listen(server, at, '127.0.0.1');
  return { port, stop: () => closeHttp(server, 0) };
}
