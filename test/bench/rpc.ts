import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { parseArgs } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { createClient, createRouterTransport, type Transport } from '@connectrpc/connect';
import * as connectNode from '@connectrpc/connect-node';
import * as grpc from '@grpc/grpc-js';
import {
  GetTransactionRequestSchema,
  GetTransactionResponseSchema,
  PaymentsService,
} from '../../proto/gen/payments/v1/payments_service_pb.js';
import { Transaction_State } from '../../proto/gen/payments/v1/transaction_pb.js';
import { definitionOf } from '../../proto/runtime/grpc-metadata.ts';
import { createGrpcServer } from '../../proto/runtime/grpc-server.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import { listen } from '../../proto/runtime/lifecycle.ts';
import { createLog } from '../../proto/runtime/log.ts';

// GetTransaction over every way there is from a client to the service, with an answer from memory in place of a database.

const HELP = `npm run bench:rpc [-- --seconds 0.9 --rounds 3 --flight 32]

Calls per second of one method over each way from client to server, the server in a process of its own. The ways take turns, so that
what else this machine does falls on all of them; the median round counts. Takes 20 s.
`;

const HOST = '127.0.0.1';
const REQUEST = create(GetTransactionRequestSchema, { key: { case: 'externalId', value: 'c7f1d4b2-external' } });
const ANSWER = create(GetTransactionResponseSchema, {
  transaction: {
    id: '4f9c3f0e-8f0c-5b52-9d7e-0d5f3f0f8a11',
    externalId: 'c7f1d4b2-external',
    externalMerchantId: 'a-merchant',
    state: Transaction_State.CAPTURED,
    capturedAmount: 4590n,
    currency: 'EUR',
    paymentMethod: 'creditCard',
  },
});
const routes: Parameters<typeof createRouterTransport>[0] = (router) =>
  router.service(PaymentsService, { getTransaction: () => ANSWER });
const GET = PaymentsService.method.getTransaction;

interface Ports {
  readonly http1: number;
  readonly http2: number;
  readonly raw: number;
  readonly ours: number;
}

/** The child process: every server at once, of which only the one that is asked works. */
async function serve(): Promise<void> {
  process.once('disconnect', () => process.exit());
  const adapter = connectNode.connectNodeAdapter({ routes });
  const raw = new grpc.Server();
  raw.addService({ get: definitionOf(GET) }, {
    get: (_: unknown, answer: grpc.sendUnaryData<typeof ANSWER>) => answer(null, ANSWER),
  } as grpc.UntypedServiceImplementation);
  const insecure = grpc.ServerCredentials.createInsecure();
  const ports: Ports = {
    http1: await listen(createHttp(adapter), 0, HOST),
    http2: await listen(createHttp2(adapter), 0, HOST),
    raw: await new Promise((resolve) => raw.bindAsync(`${HOST}:0`, insecure, (_, port) => resolve(port))),
    ours: await createGrpcServer({ host: HOST, port: 0, routes, log: createLog('bench', 'error') }).start(),
  };
  process.send?.(ports);
}

type Call = () => Promise<unknown>;

function waysTo({ http1, http2, raw, ours }: Ports): Record<string, Call> {
  const over = (transport: Transport): Call => {
    const client = createClient(PaymentsService, transport);
    return () => client.getTransaction(REQUEST);
  };
  const h2 = { baseUrl: `http://${HOST}:${http2}`, httpVersion: '2' as const };
  const keepAlive = { baseUrl: `http://${HOST}:${http1}`, httpVersion: '1.1' as const };
  const channel = new grpc.Client(`${HOST}:${raw}`, grpc.credentials.createInsecure());
  const { path, requestSerialize, responseDeserialize } = definitionOf(GET);
  const callRaw: Call = () =>
    new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + 10_000 };
      channel.makeUnaryRequest(path, requestSerialize, responseDeserialize, REQUEST, options, (error, answer) =>
        error ? reject(error) : resolve(answer),
      );
    });
  return {
    'Connect gRPC -> connect-node, HTTP/2': over(connectNode.createGrpcTransport({ baseUrl: h2.baseUrl })),
    'Connect -> connect-node, HTTP/2': over(connectNode.createConnectTransport(h2)),
    'Connect -> connect-node, HTTP/1.1': over(connectNode.createConnectTransport(keepAlive)),
    'grpc-js -> grpc-js': callRaw,
    'Connect on grpc-js, both sides (ours)': over(
      createGrpcTransport({ url: `${HOST}:${ours}`, defaultTimeoutMs: 10_000 }),
    ),
    'in one process': over(createRouterTransport(routes)),
  };
}

/** Calls per second, with so many in flight all the time. */
async function measure(call: Call, seconds: number, flight: number): Promise<number> {
  const startedAt = performance.now();
  const end = startedAt + seconds * 1000;
  let calls = 0;
  const callOn = async () => {
    for (; performance.now() < end; calls += 1) await call();
  };
  await Promise.all(Array.from({ length: flight }, callOn));
  return (calls * 1000) / (performance.now() - startedAt);
}

async function compare({ seconds, rounds, flight }: Record<'seconds' | 'rounds' | 'flight', number>): Promise<void> {
  const child = fork(import.meta.filename, ['--serve']);
  const [ports] = (await once(child, 'message')) as [Ports];
  const ways = Object.entries(waysTo(ports));
  const figures = new Map<string, number[]>(ways.map(([name]) => [name, []]));
  for (const [, call] of ways) await measure(call, seconds / 3, flight);
  for (let round = 0; round < rounds; round += 1)
    for (const [name, call] of ways) figures.get(name)?.push(await measure(call, seconds, flight));
  child.disconnect();

  const medians = [...figures].map(
    ([name, each]) => [name, each.toSorted((a, b) => a - b)[each.length >> 1] ?? 0] as const,
  );
  const ours = medians.find(([name]) => name.endsWith('(ours)'))?.[1] ?? 0;
  process.stdout.write(`${flight} in flight, median of ${rounds} rounds; the last column is relative to ours\n\n`);
  for (const [name, perSecond] of medians)
    process.stdout.write(
      `${name.padEnd(40)}${perSecond.toFixed(0).padStart(8)} calls/s${(perSecond / ours).toFixed(2).padStart(7)}\n`,
    );
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '0.9' },
    rounds: { type: 'string', default: '3' },
    flight: { type: 'string', default: '32' },
    serve: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) process.stdout.write(HELP);
else if (values.serve) await serve();
else {
  await compare({ seconds: Number(values.seconds), rounds: Number(values.rounds), flight: Number(values.flight) });
  process.exit();
}
