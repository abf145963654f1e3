import { once } from 'node:events';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import net from 'node:net';
import { Code } from '@connectrpc/connect';
import fc from 'fast-check';
import { send } from '../wix/client.ts';
import { answerViolations } from '../wix/contract.ts';
import { parseObject } from '../wix/json.ts';
import { type Input, inputs, prefixOf } from './inputs.ts';
import { openTarget, type Target } from './target.ts';

// Sends what may come, and holds every answer against what the doors may say.

const LEGAL: Readonly<Record<string, readonly number[]>> = {
  gateway: [200, 400, 401, 404, 405, 408, 413, 415, 431, 503],
  // Of Node's own: 417. The others are those of the Connect protocol, but for what says that it is our fault.
  else: [200, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 417, 429, 431, 499, 501, 503, 504],
};
const OUR_FAULT = [Code.Internal, Code.Unknown, Code.DataLoss];
/** What an engine must raise that contradicts itself, gives back what nobody can keep, or returns too much; here inputs make it do so. */
const ALERTS = ['contradiction', 'processor_answer_unreadable', 'refund_above_remaining'];
/** Of a payment, by the contract: credentials, and digits of the card behind a wallet. */
const ANYTHING = {
  paymentMethodData: { googlePay: {} },
  setupCredentialsOnFile: { offSession: true },
  moto: false,
};
const IN_FLIGHT = 32;
const BATCH = 500;
const ANSWER_MS = 60_000;
/** A watch is left, not answered, while its payment is open. */
const WATCH_MS = 1_000;
/** Of this process: then the machine stood still, or had no time for it, nor for the connector. */
const PAUSE_MS = 5_000;
const RSS_STEPS = 10;
/** After the first step: what is still being compiled and cached then, and what a collection has not yet given back. */
const RSS_GROWTH_MAX = 250;

export interface Report {
  readonly seconds: number;
  /** How often each door gave each answer. */
  readonly answers: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
  /** The connector's memory in MiB as the run went on, in steps. */
  readonly rss: readonly (number | undefined)[];
}

/** Input number `i` is the same for the same seed; of what stays in the database nothing is. */
export async function fuzz(options: {
  databaseUrl: string;
  count: number;
  seed: number;
  from?: number;
  onStep?: (text: string) => void;
}): Promise<Report> {
  const { databaseUrl, count, seed, from = 0, onStep } = options;
  const target = await openTarget(databaseUrl);
  const arbitrary = inputs(target.known);
  const answers = new Map<string, number>();
  const failures: string[] = [];
  const rss: (number | undefined)[] = [];
  const session = createSession(target.ports.grpc);
  const seen = new Set<unknown>();
  const pauses = watchPauses();
  const startedAt = performance.now();
  const seconds = () => Math.round((performance.now() - startedAt) / 1000);

  async function run(input: Input, number: number): Promise<void> {
    const begun = pauses.count();
    const { answer, wrong } = await judge(target, session, seen, input).catch((error: Error) => ({
      answer: pauses.count() > begun ? 'none in a pause' : 'none',
      wrong: pauses.count() > begun ? [] : [`no answer: ${error.message}`],
    }));
    const name = `${input.kind === 'bytes' ? input.door : input.kind} ${answer}`;
    answers.set(name, (answers.get(name) ?? 0) + 1);
    failures.push(...wrong.map((line) => `input ${number}: ${line}\n${described(input)}`));
  }

  try {
    for (let batch = from; batch < from + count; batch += BATCH) {
      const size = Math.min(BATCH, from + count - batch);
      const list = fc.sample(arbitrary, { seed: seed + batch, numRuns: BATCH }).slice(0, size);
      let begun = 0;
      const lane = async () => {
        while (begun < list.length) await run(list[begun]!, batch + begun++);
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
      const done = batch + size - from;
      if (Math.floor((done * RSS_STEPS) / count) > rss.length) {
        rss.push(target.rss());
        onStep?.(`${done} inputs, ${seconds()} s, ${rss.at(-1)} MiB, ${failures.length} failures`);
      }
      if (failures.length > 100) break;
    }
    await target.ensureHealth();
  } catch (error) {
    failures.push(`not well in the end: ${(error as Error).message}`);
  } finally {
    session.close();
    pauses.end();
    await target.stop();
  }
  const isExpected = (line: Target['lines'][number]) => ALERTS.includes(String(line.alert)) || isBusy(line);
  const unexpected = target.lines.filter((line) => !isExpected(line));
  failures.push(...target.violations, ...unexpected.map((line) => JSON.stringify(line)));
  const growth = (rss.at(-1) ?? 0) - (rss[0] ?? 0);
  if (growth > RSS_GROWTH_MAX) failures.push(`memory grew by ${growth} MiB: ${rss.join(', ')}`);
  if (target.stray()) failures.push(`printed: ${target.stray()}`);
  return { seconds: seconds(), answers: Object.fromEntries([...answers].sort()), failures, rss };
}

/** A busy machine is answered as it is stated, and logged: it is none of the inputs' doing. */
function isBusy({ err }: Target['lines'][number]): boolean {
  const { code, message } = (err ?? {}) as { code?: Code; message?: string };
  return code === Code.Unavailable || code === Code.DeadlineExceeded || /timeout|not queryable/.test(message ?? '');
}

/** Counts how often this process was not run for long. */
function watchPauses() {
  let count = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    if (now - last > PAUSE_MS) count += 1;
    last = now;
  }, 1_000);
  return { count: () => count, end: () => clearInterval(timer) };
}

interface Verdict {
  readonly answer: string;
  readonly wrong: readonly string[];
}

async function judge(
  target: Target,
  session: ReturnType<typeof createSession>,
  seen: Set<unknown>,
  input: Input,
): Promise<Verdict> {
  if (input.kind === 'signed') {
    const url = `http://127.0.0.1:${target.ports.gateway}`;
    const { status, text, headers } = await send(target.keys, url, input.operation, input.body, {
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const answer = { status, text, contentType: headers.get('content-type') ?? '' };
    const body = parseObject(input.body.toString()) ?? {};
    // A payment that comes again is answered as it was the first time, whatever is asked for now.
    const asked = seen.has(body.wixTransactionId) ? { ...body, ...ANYTHING } : body;
    seen.add(body.wixTransactionId);
    const wrong = answerViolations(input.operation, asked, answer);
    return { answer: String(status), wrong: [...wrong, ...illegal('gateway', status)] };
  }
  if (input.kind === 'grpc') {
    const { code, reset } = await session.call(input);
    const isOurFault = code !== undefined && OUR_FAULT.includes(code) && input.framed;
    return {
      answer: code === undefined ? reset : (Code[code] ?? 'OK'),
      wrong: isOurFault ? [`code ${Code[code]}`] : [],
    };
  }
  const text = await exchange(target.ports[input.door], input.bytes);
  const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => Number(status));
  const wrong = input.door === 'grpc' ? [] : statuses.flatMap((status) => illegal(input.door, status));
  // In streams and gRPC-Web the library says so of a message that cannot be read.
  const isRead = !/parse(%20| )binary/.test(text);
  const isOurFault = isRead && /"code":"(internal|unknown|data_loss)"|grpc-status: ?(2|13|15)\b/.test(text);
  return {
    answer: statuses.join(' ') || 'closed',
    wrong: [...wrong, ...(isOurFault ? [`says that it is our fault: ${text}`] : [])],
  };
}

const illegal = (door: string, status: number) =>
  (LEGAL[door] ?? LEGAL.else)!.includes(status) || status === 100 ? [] : [`${door} has status ${status}`];

/** Sends bytes and an end, and reads until the other side closes. */
async function exchange(port: number, bytes: Buffer): Promise<string> {
  const socket = net.connect({ port, host: '127.0.0.1' });
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  // A reset is one of the ways in which a connection is closed.
  socket.on('error', () => undefined);
  const isWatch = bytes.includes('WatchTransaction');
  let isLate = false;
  const timer = setTimeout(
    () => {
      isLate = !isWatch;
      socket.destroy();
    },
    isWatch ? WATCH_MS : ANSWER_MS,
  );
  socket.end(bytes);
  await once(socket, 'close').finally(() => clearTimeout(timer));
  if (isLate) throw new Error('the connection stays open');
  return text;
}

/** A connection for gRPC, opened anew when it is closed. */
function createSession(port: number) {
  let session: ClientHttp2Session | undefined;
  const open = () => {
    if (session && !session.closed && !session.destroyed) return session;
    session = connect(`http://127.0.0.1:${port}`).on('error', () => undefined);
    return session;
  };
  async function call(input: Extract<Input, { kind: 'grpc' }>): Promise<{ code: Code | undefined; reset: string }> {
    const stream = open().request({
      ':method': 'POST',
      ':path': input.path,
      ...{ 'content-type': 'application/grpc+proto', te: 'trailers' },
      ...(input.token && { authorization: `Bearer ${input.token}` }),
    });
    let status: unknown;
    const note = (headers: Record<string, unknown>) => {
      status = headers['grpc-status'] ?? status;
    };
    stream
      .on('response', note)
      .on('trailers', note)
      .on('error', () => undefined)
      .resume();
    const isWatch = input.path.includes('WatchTransaction');
    const timer = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), isWatch ? WATCH_MS : ANSWER_MS);
    const length = input.message.length + (input.framed ? 0 : 7);
    stream.end(Buffer.concat([prefixOf(length), input.message]));
    await new Promise<void>((resolve) => stream.once('close', resolve)).finally(() => clearTimeout(timer));
    return { code: status === undefined ? undefined : Number(status), reset: `reset ${stream.rstCode}` };
  }
  return { call, close: () => session?.destroy() };
}

function described(input: Input): string {
  return JSON.stringify(input, (_, value) =>
    value?.type === 'Buffer' ? Buffer.from(value.data).toString('latin1') : value,
  ).slice(0, 3_000);
}
